"""Where an input that is no floating-point tensor enters the differentiable part of a model.

Tokens are looked up in a table of embeddings, or made one-hot and multiplied with one; bytes of a picture are cast to floats. The
attribution lands on the first floating-point tensor: the rows, the ones, or the floats. An index into something that depends on
inputs (the edges of a graph) chooses among activations and stands for no numbers of its own: it gets no attribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Call
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["Entrance", "entrances"]


@dataclass(frozen=True)
class Entrance:
    """A floating-point tensor that an input's values enter by. `kind` is "embedding" (rows it looks up), "one-hot" (ones where
    its values are), or "cast" (its values as floats)."""

    tensor: Tensor
    kind: str


@dataclass
class _Follower:
    """Follows an input's values through the graph. All sets hold names of tensors."""

    graph: Graph
    values: set[str]
    """The input's own numbers, moved about; positions counted from a mask are something else."""
    ones: set[str] = field(default_factory=set)
    """True where the values are: one-hot, once it is a float."""
    quantized: dict[str, str] = field(default_factory=dict)
    """Rows of a quantized table, or ones, that are real numbers once they are dequantized, and their kind."""
    varying: set[str] = field(default_factory=set)
    """What depends on the values of any input."""
    found: list[Entrance] = field(default_factory=list)
    indexed: set[str] = field(default_factory=set)
    """Tensors that depend on inputs, and in which the values are positions."""

    def follow(self, call: Call) -> None:
        """Note what a call makes of the values."""
        reads = [t.name for t in call.inputs if t is not None]
        if not standard_traits(call).shape_only and not self.varying.isdisjoint(
            [*reads, *(t.name for t in call.reads if t is not None)]
        ):
            self.varying.update(y.name for y in call.outputs if y is not None)
        self._dequantized(call, reads)
        if not self.values.isdisjoint(reads):
            self._values(call, reads)
        elif not self.ones.isdisjoint(reads):
            self._ones(call)

    def _dequantized(self, call: Call, reads: list[str]) -> None:
        kind = next((self.quantized[name] for name in reads if name in self.quantized), None)
        if kind is None:
            return
        if call.op == "DequantizeLinear":
            self.found.append(Entrance(call.y, kind))
        elif _hands_on(call):
            self.quantized.update((y.name, kind) for y in call.outputs if y is not None)

    def _values(self, call: Call, reads: list[str]) -> None:
        outputs = [y for y in call.outputs if y is not None]
        if _hands_on(call):
            floats = [y for y in outputs if y.is_float]
            self.found += [Entrance(y, "cast") for y in floats]
            self.values.update(y.name for y in outputs if not y.is_float)
        elif standard_traits(call).elementwise and self._shifts(call):
            self.values.add(call.y.name)
        elif call.op == "Gather" and call.x.name not in self.values:
            self._looked_up(call)
        elif call.op == "Equal" and any(self._is_range(t) for t in call.inputs):
            self.ones.add(call.y.name)
        elif call.op == "OneHot" and call.x.name in self.values and call.y.is_float:
            self.found.append(Entrance(call.y, "one-hot"))

    def _looked_up(self, call: Call) -> None:
        if call.x.name in self.varying:
            self.indexed.add(call.x.name)
        elif call.y.is_float:
            self.found.append(Entrance(call.y, "embedding"))
        else:
            self.quantized[call.y.name] = "embedding"

    def _ones(self, call: Call) -> None:
        if _hands_on(call) or (call.op == "Where" and call.x.name in self.ones):
            for y in call.outputs:
                if y is not None and y.is_float:
                    self.found.append(Entrance(y, "one-hot"))
                elif y is not None:
                    self.ones.add(y.name)

    def _shifts(self, call: Call) -> bool:
        """Whether integers stay the tokens they were, though as other numbers (an offset, ids counted from the end): whatever
        else an operator reads is constant or a condition."""
        data = call.inputs[1:] if call.op == "Where" else call.inputs
        if call.y.dtype is not None and any(t is not None and t.dtype not in (None, call.y.dtype) for t in data):
            return False  # a comparison
        others = [t for t in data if t is not None and t.name not in self.values]
        return not call.y.is_float and len(others) < len(data) and all(t.name not in self.varying for t in others)

    def _is_range(self, tensor: Tensor | None) -> bool:
        """Whether a constant holds several numbers to compare with: a class each."""
        if tensor is None or tensor.name in self.varying:
            return False
        value = self.graph.value(tensor)
        size = None if tensor.static_shape is None else prod(tensor.static_shape)
        return value.size > 1 if value is not None else size > 1 if size is not None else tensor.rank > 0


def _hands_on(call: Call) -> bool:
    """Whether an operator leaves integers as they are, in another place or type."""
    facts = standard_traits(call)
    return bool(facts.moves_elements) or facts.recodes


def entrances(graph: Graph, tensor: Tensor) -> tuple[list[Entrance], list[str]]:
    """Where an input's values enter the differentiable part of a model.

    Args:
        graph: the model.
        tensor: the input, of any type but floating-point.

    Returns:
        The floating-point tensors in the order of the graph, and the names of tensors in which the values are positions.
    """
    start = _Follower(graph, {tensor.name}, varying={t.name for t in graph.inputs})
    for call in graph.calls:
        start.follow(call)
    return start.found, sorted(start.indexed)
