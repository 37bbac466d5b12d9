"""The dataflow as groupings see it: which node makes a tensor, which nodes read it, and what is the same for every input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np

from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.pattern import Match
from onnxplain.ir.tensor import Shape, Tensor

__all__ = ["COMPOUND", "Dataflow"]

COMPOUND = "onnxplain"
"""The domain of compound nodes."""


class Dataflow:
    """Live nodes with their links, and the nodes beside the way whose results they read (comparisons). A view for patterns.

    Args:
        nodes: the live nodes of one backward pass, in topological order.
        every: all nodes of its graph, in topological order.
        kept: names of tensors that must stay visible.
        value: the values of small constants.
        fixed: whether a tensor is the same for every input.
        traits: the facts about a node's operator.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        every: Sequence[Node],
        kept: frozenset[str],
        value: Callable[[Tensor | None], np.ndarray[Any, Any] | None],
        fixed: Callable[[Tensor], bool],
        traits: Traits,
    ) -> None:
        self.nodes = nodes
        self.every = every
        self.kept = kept
        self.value = value
        self.fixed = cache(fixed)
        self.traits = traits
        self.makers = {t.name: node for node in nodes for t in node.outputs if t is not None}
        self.readers: dict[str, list[Node]] = {}
        for node in nodes:
            for name in {t.name for t in node.reads if t is not None}:
                self.readers.setdefault(name, []).append(node)

    @cached_property
    def aside(self) -> Mapping[str, Node]:
        """The nodes beside the way, by what they make."""
        return {t.name: node for node in self.every for t in node.outputs if t is not None and t.name not in self.makers}

    @cached_property
    def order(self) -> Mapping[str, int]:
        """The place of each node, by what it makes."""
        return {t.name: i for i, node in enumerate(self.every) for t in node.outputs if t is not None}

    def live_maker(self, tensor: Tensor | None) -> Node | None:
        """The live node that makes a tensor."""
        return None if tensor is None else self.makers.get(tensor.name)

    def place(self, node: Node) -> int:
        """Where a node stands in the topological order."""
        return self.order[node.y.name]

    # -- as patterns see it --------------------------------------------------------------------------------------------

    def name(self, tensor: Tensor) -> str:
        """A tensor's name."""
        return tensor.name

    def maker(self, tensor: Tensor) -> Node | None:
        """The node that makes a tensor, on the way or beside it."""
        return self.makers.get(tensor.name) or self.aside.get(tensor.name)

    def operator(self, node: Node) -> str:
        """The operator of a node."""
        return node.operator

    def inputs(self, node: Node) -> Sequence[Tensor | None]:
        """What a node reads."""
        return node.inputs

    def constant(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """The values of a small constant."""
        return self.value(tensor)

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor is the same for every input."""
        return self.fixed(tensor)

    def shape(self, tensor: Tensor) -> Shape:
        """The extents of a tensor."""
        return tensor.shape

    def attribute(self, node: Node, name: str) -> Any:
        """The value of an attribute."""
        return node.get(name)

    def is_shared(self, tensor: Tensor) -> bool:
        """Whether more than one node reads a tensor, or somebody asks for it."""
        return tensor.name in self.kept or len(self.readers.get(tensor.name, ())) > 1

    # -- what is grouped -----------------------------------------------------------------------------------------------

    def group(self, op: str, found: Match[Tensor, Node], inputs: Sequence[Tensor | None], **attributes: Any) -> Node | None:
        """The nodes of a match as one, as `compound`."""
        parts = sorted(found.nodes, key=self.place)
        return self.compound(op, parts, inputs, **attributes)

    def scalar(self, tensor: Tensor | None) -> bool:
        """Whether this is a constant of one element."""
        values = None if tensor is None else self.value(tensor)
        return values is not None and values.size == 1

    def is_private(self, tensor: Tensor, within: Mapping[str, Node]) -> bool:
        """Whether only the named nodes read a tensor, and nobody asks for it."""
        return tensor.name not in self.kept and all(c.name in within for c in self.readers.get(tensor.name, ()))

    def compound(self, op: str, parts: Sequence[Node], inputs: Sequence[Tensor | None], **attributes: Any) -> Node | None:
        """Several nodes as one.

        Args:
            op: the operator of the compound, in the domain `onnxplain`.
            parts: the nodes, in topological order; those beside the way are free to be read elsewhere.
            inputs: what the compound reads.

        Returns:
            A node with the output of the last part; None where another node reads an inner tensor, or the user asks for it.
        """
        members = {part.name: part for part in parts}
        last = parts[-1]
        inner = [t for part in parts[:-1] for t in part.outputs if t is not None and t.name in self.makers]
        if not all(self.is_private(t, members) for t in inner):
            return None
        live = {t.name for part in parts for i, t in enumerate(part.inputs) if t is not None and part.needs_input_grad(i)}
        return Node(
            op=op,
            domain=COMPOUND,
            version=1,
            name=last.name,
            scope=last.scope,
            inputs=tuple(inputs),
            outputs=(last.y,),
            attributes=attributes,
            needs_grad=tuple(t is not None and t.name in live for t in inputs),
            parts=tuple(parts),
        )

    def replaced(self, compounds: Sequence[Node]) -> Sequence[Node]:
        """The nodes with compounds in place of their parts, each where its last part was."""
        gone = {part.name for c in compounds for part in c.parts}
        by_last = {c.parts[-1].name: c for c in compounds}
        return [by_last.get(c.name, c) for c in self.nodes if c.name not in gone or c.name in by_last]
