"""Where an input whose numbers have no derivative enters the differentiable part of a model.

Tokens are looked up in a table of embeddings, or made one-hot and multiplied with one; bytes of a picture are cast to floats. The
attribution lands on the first floating-point tensor: the rows, the ones, or the floats. Tokens may come as floats too, as Keras
takes them, which are rounded before they are looked up. An index into something that depends on inputs (the edges of a graph)
chooses among activations and stands for no numbers of its own: it gets no attribution.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
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
    floats: bool = False
    """Whether the input itself holds floats, so that floats are its numbers too, and none of them is an entrance."""
    copies: set[str] = field(default_factory=set)
    """Its numbers as floats, or what was made of them by comparing: truth values, and ones and zeros."""
    ones: set[str] = field(default_factory=set)
    """True where the values are: one-hot, once it is a float."""
    quantized: dict[str, str] = field(default_factory=dict)
    """Rows of a quantized table, or ones, that are real numbers once they are dequantized, and their kind."""
    varying: set[str] = field(default_factory=set)
    """What depends on the values of any input."""
    found: list[Entrance] = field(default_factory=list)
    indexed: set[str] = field(default_factory=set)
    """Tensors that depend on inputs, and in which the values are positions."""

    def follow(self, node: Node) -> None:
        """Note what a node makes of the values."""
        reads = [t.name for t in node.inputs if t is not None]
        if not standard_traits(node).shape_only and not self.varying.isdisjoint(
            [*reads, *(t.name for t in node.reads if t is not None)]
        ):
            self.varying.update(y.name for y in node.outputs if y is not None)
        self._dequantized(node, reads)
        self._compared(node, reads)
        if not self.values.isdisjoint(reads):
            self._values(node, reads)
        elif not self.ones.isdisjoint(reads):
            self._ones(node)

    def _compared(self, node: Node, reads: list[str]) -> None:
        """Note conditions on the values, which choose among them: a negative token counts from the end of the table."""
        own = self.values | self.copies
        if own.isdisjoint(reads) or not self.varying.isdisjoint(set(reads) - own):
            return
        outputs = [y for y in node.outputs if y is not None]
        if standard_traits(node).elementwise and all(y.dtype is not None and y.dtype.kind == "b" for y in outputs):
            self.copies.update(y.name for y in outputs)
        elif _hands_on(node):
            self.copies.update(y.name for y in outputs if y.is_float or not self.copies.isdisjoint(reads))

    def _dequantized(self, node: Node, reads: list[str]) -> None:
        kind = next((self.quantized[name] for name in reads if name in self.quantized), None)
        if kind is None:
            return
        if node.op == "DequantizeLinear":
            self.found.append(Entrance(node.y, kind))
        elif _hands_on(node):
            self.quantized.update((y.name, kind) for y in node.outputs if y is not None)

    def _values(self, node: Node, reads: list[str]) -> None:
        outputs = [y for y in node.outputs if y is not None]
        if _hands_on(node) or self._chosen(node):
            floats = [] if self.floats else [y for y in outputs if y.is_float]
            self.found += [Entrance(y, "cast") for y in floats]
            self.values.update(y.name for y in outputs if y not in floats)
        elif self._shifts(node):
            self.values.add(node.y.name)
        elif node.op == "Gather" and node.x.name not in self.values:
            self._looked_up(node)
        elif node.op == "Equal" and any(self._is_range(t) for t in node.inputs):
            self.ones.add(node.y.name)
        elif node.op == "OneHot" and node.x.name in self.values and node.y.is_float:
            self.found.append(Entrance(node.y, "one-hot"))

    def _looked_up(self, node: Node) -> None:
        if node.x.name in self.varying:
            self.indexed.add(node.x.name)
        elif node.y.is_float:
            self.found.append(Entrance(node.y, "embedding"))
        else:
            self.quantized[node.y.name] = "embedding"

    def _ones(self, node: Node) -> None:
        if _hands_on(node) or (node.op == "Where" and node.x.name in self.ones):
            for y in node.outputs:
                if y is not None and y.is_float:
                    self.found.append(Entrance(y, "one-hot"))
                elif y is not None:
                    self.ones.add(y.name)

    def _shifts(self, node: Node) -> bool:
        """Whether integers stay the tokens they were, though as other numbers (an offset, ids counted from the end): whatever
        else an operator reads is constant or a condition."""
        facts = standard_traits(node)
        shifts = facts.linear_in or facts.piecewise_linear or facts.selects_elements or node.op == "Mod"
        if not (facts.elementwise and shifts):
            return False
        data = node.inputs[1:] if node.op == "Where" else node.inputs
        others = [t for t in data if t is not None and t.name not in self.values]
        fixed = all(t.name not in self.varying or (t.name in self.copies and not t.is_float) for t in others)
        return (self.floats or not node.y.is_float) and len(others) < len(data) and fixed

    def _chosen(self, node: Node) -> bool:
        """Whether constants choose among the values, such as a row of them."""
        facts = standard_traits(node)
        if facts.selects_elements != "first" or facts.pools or facts.reduces or node.x.name not in self.values:
            return False
        return all(t is None or t.name not in self.varying for t in node.inputs[1:])

    def _is_range(self, tensor: Tensor | None) -> bool:
        """Whether a constant holds several numbers to compare with: a class each."""
        if tensor is None or tensor.name in self.varying:
            return False
        value = self.graph.value(tensor)
        size = None if tensor.static_shape is None else prod(tensor.static_shape)
        return value.size > 1 if value is not None else size > 1 if size is not None else tensor.rank > 0


def _hands_on(node: Node) -> bool:
    """Whether an operator leaves integers as they are, in another place or type."""
    facts = standard_traits(node)
    return bool(facts.moves_elements) or facts.recodes


def entrances(graph: Graph, tensor: Tensor) -> tuple[list[Entrance], list[str]]:
    """Where an input's values enter the differentiable part of a model.

    Args:
        graph: the model.
        tensor: the input. Of one that holds floats only look-ups are found: where it has a derivative, it is explained itself.

    Returns:
        The floating-point tensors in the order of the graph, and the names of tensors in which the values are positions.
    """
    start = _Follower(graph, {tensor.name}, varying={t.name for t in graph.inputs}, floats=tensor.is_float)
    for node in graph.nodes:
        start.follow(node)
    return start.found, sorted(start.indexed)
