"""Reading: a node with where the samples lie in what it reads, as the rules see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from onnxplain.analysis.sample_flow.place import Gone, Place, State
from onnxplain.ir.inference.dims import numbers
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Dim, Tensor

__all__ = ["KnownValues", "Reading", "SampleRule", "SampleStates"]

SampleStates: TypeAlias = "State | Sequence[State]"
"""The state of all outputs, or of each."""

SampleRule: TypeAlias = "Callable[[Reading], SampleStates]"


class KnownValues(Protocol):
    """What is known of the values of small tensors."""

    def array(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """The values of a constant."""

    def dims(self, tensor: Tensor) -> tuple[Dim, ...] | None:
        """What a tensor of extents holds: numbers, symbols, or None for what is unknown."""


@dataclass(frozen=True)
class Reading:
    """A node that reads samples, none of them lost before.

    Attributes:
        node: the node.
        states: by tensor, where the samples lie; tensors that do not depend on them are left out.
        extent: how many samples there are.
        facts: what is known of the values of small tensors.
    """

    node: Node
    states: Mapping[str, State]
    extent: Dim
    facts: KnownValues

    def tensor(self, index: int) -> Tensor | None:
        """An input; None where it is left out."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def state(self, index: int) -> State:
        """The state of an input."""
        found = self.tensor(index)
        return None if found is None else self.states.get(found.name)

    def place(self, index: int) -> Place | None:
        """Where the samples lie in an input; None where it does not depend on them."""
        found = self.state(index)
        return found if isinstance(found, Place) else None

    def tagged(self) -> list[int]:
        """The inputs that depend on the samples."""
        return [i for i in range(len(self.node.inputs)) if self.state(i) is not None]

    def only(self, *allowed: int) -> bool:
        """Whether no other input depends on the samples."""
        return set(self.tagged()) <= set(allowed) and not any(self.states.get(t.name) for t in self.node.captures)

    def rank(self, index: int) -> int | None:
        """The rank of an input."""
        found = self.tensor(index)
        return None if found is None or found.shape is None else len(found.shape)

    def dim(self, index: int, axis: int) -> Dim:
        """An extent of an input."""
        found = self.tensor(index)
        return None if found is None or found.shape is None or axis >= len(found.shape) else found.shape[axis]

    def out(self, index: int = 0) -> tuple[Dim, ...] | None:
        """The shape of an output."""
        found = self.node.outputs[index] if index < len(self.node.outputs) else None
        return None if found is None else found.shape

    def dims(self, index: int) -> tuple[Dim, ...] | None:
        """What is known of the values of an input that holds extents or axes."""
        found = self.tensor(index)
        return None if found is None else self.facts.dims(found)

    def ints(self, index: int) -> tuple[int, ...] | None:
        """The values of an input that holds whole numbers, where all are known."""
        return numbers(self.dims(index))

    def array(self, index: int) -> np.ndarray[Any, Any] | None:
        """The values of a constant input."""
        found = self.tensor(index)
        return None if found is None else self.facts.array(found)

    def parameter(self, name: str, index: int) -> Sequence[int] | None:
        """Whole numbers that are an attribute in old operator sets and an input in new ones; None where they are unknown."""
        given = self.node.get(name)
        return self.ints(index) if given is None else [int(v) for v in _listed(given)]

    def mixed(self) -> Gone:
        """The node mixes samples or drops their axis."""
        floats = any(t is not None and t.is_float for t in self.node.outputs)
        return Gone(str(self.node), floats)

    def unknown(self) -> Gone:
        """Nothing is known of the node."""
        return Gone(str(self.node), False)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) or hasattr(value, "__len__") else [value]
