"""What analyses of a dataflow ask about tensors and nodes, however these are held: in a file, in a graph, emitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from onnxplain.ir.tensor import Shape

__all__ = ["View"]

V = TypeVar("V")
N = TypeVar("N")


class View(Protocol[V, N]):
    """What a pattern asks about tensors (V) and nodes (N). Tensors are the same where they are equal."""

    def name(self, value: V) -> str:
        """The name of a tensor, for people."""

    def maker(self, value: V) -> N | None:
        """The node that makes a tensor as its first output."""

    def operator(self, node: N) -> str:
        """The operator of a node, with its domain and a dot before it where it is not the standard's."""

    def inputs(self, node: N) -> Sequence[V | None]:
        """What a node reads; None for inputs left out."""

    def constant(self, value: V) -> np.ndarray[Any, Any] | None:
        """The values of a small constant, None for anything else."""

    def is_constant(self, value: V) -> bool:
        """Whether a tensor is a constant, however large."""

    def shape(self, value: V) -> Shape:
        """The extents of a tensor; numbers, names, None where unknown."""

    def attribute(self, node: N, name: str) -> Any:
        """The value of an attribute, None where it is not given."""

    def is_shared(self, value: V) -> bool:
        """Whether more than one node reads a tensor, or it is asked for from outside."""
