"""An operator and what it is applied to, as the rules of inference read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxplain.ir.inference.dims import numbers
from onnxplain.ir.schema import Signature
from onnxplain.ir.tensor import Dim, Shape, Tensor

__all__ = ["Applied", "Contents"]

Contents: TypeAlias = "Callable[[Tensor], tuple[Dim, ...] | None]"
"""What is known of the values of a small tensor of whole numbers."""


@dataclass(frozen=True)
class Applied:
    """An operator applied to tensors.

    Attributes:
        op: its name.
        domain: its operator-set domain.
        opset: the version of its operator set.
        known: what the standard says of it; None where it says nothing.
        inputs: the tensors, None for those left out.
        attributes: the attributes that are given.
        outputs: how many outputs are asked for.
        contents: what is known of the values of a tensor of whole numbers.
        value: the values of a small constant.
    """

    op: str
    domain: str
    opset: int
    known: Signature | None
    inputs: Sequence[Tensor | None]
    attributes: Mapping[str, Any]
    outputs: int
    contents: Contents
    value: Callable[[Tensor | None], np.ndarray[Any, Any] | None]

    def input(self, index: int) -> Tensor | None:
        """An input; None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def shape(self, index: int = 0) -> Shape:
        """The shape of an input; None where it is unknown, or the input left out."""
        found = self.input(index)
        return None if found is None else found.shape

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute: as given, else the standard's default, else this one."""
        found = self.attributes.get(name)
        if found is None and self.known is not None:
            found = self.known.defaults.get(name)
        return default if found is None else found

    def dims(self, index: int) -> tuple[Dim, ...] | None:
        """What is known of the values of an input that holds extents."""
        found = self.input(index)
        return None if found is None else self.contents(found)

    def ints(self, index: int) -> tuple[int, ...] | None:
        """The values of an input that holds whole numbers, where all are known."""
        return numbers(self.dims(index))

    def parameter(self, name: str, index: int) -> tuple[int, ...] | None:
        """Whole numbers that are an attribute in old operator sets and an input in new ones; None where they are unknown."""
        given = self.attributes.get(name)
        return self.ints(index) if given is None else tuple(given)

    def has(self, name: str, index: int) -> bool:
        """Whether such a parameter is given at all."""
        return self.attributes.get(name) is not None or self.input(index) is not None
