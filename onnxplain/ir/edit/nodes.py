"""Nodes written, kept and made to read other tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, MutableSequence, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxplain.ir.edit.names import Names
from onnxplain.ir.edit.subgraphs import reads, subgraphs

__all__ = ["NodeWriter", "alive", "replace_uses", "set_nodes", "without_dead"]

Operand: TypeAlias = "str | Sequence[int] | np.ndarray[Any, Any]"
"""The name of a tensor, "" for an optional one left out, or the values of a new constant; plain numbers are int64."""


class NodeWriter:
    """Writes nodes with one output each, which share a fresh name with it, and the constants that they read.

    Args:
        names: the names taken, and from now on those written too.
        prefix: what every new name begins with.
        nodes: where nodes are appended: a list, or the nodes of a graph; a new list by default.
        constants: where constants are appended, likewise.
    """

    def __init__(
        self,
        names: Names,
        prefix: str = "",
        nodes: MutableSequence[onnx.NodeProto] | None = None,
        constants: MutableSequence[onnx.TensorProto] | None = None,
    ) -> None:
        self.names, self.prefix = names, prefix
        self.nodes: MutableSequence[onnx.NodeProto] = [] if nodes is None else nodes
        self.constants: MutableSequence[onnx.TensorProto] = [] if constants is None else constants

    def op(self, op: str, *inputs: Operand, hint: str = "", **attributes: Any) -> str:
        """Append a node; the name of its output, which begins with the prefix and `hint`, by default the operator."""
        name = self.name(hint or op)
        given = [i if isinstance(i, str) else self.constant(_values(i)) for i in inputs]
        self.nodes.append(helper.make_node(op, given, [name], name, **attributes))
        return name

    def constant(self, values: np.ndarray[Any, Any], hint: str = "constant") -> str:
        """Append a constant; its name."""
        name = self.name(hint)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def name(self, hint: str) -> str:
        """A fresh name with the prefix."""
        return self.names.fresh(f"{self.prefix}{hint}")


def _values(given: Sequence[int] | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return given if isinstance(given, np.ndarray) else np.asarray(given, np.int64)


def set_nodes(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Let a graph consist of these nodes, its own among them or not. It holds copies of them afterwards."""
    kept = list(nodes)
    del graph.node[:]
    graph.node.extend(kept)


def alive(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """The nodes that some tensors depend on, in their order.

    Args:
        nodes: in topological order.
        outputs: the names of the tensors.
    """
    wanted = set(outputs) - {""}
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(reads(node))
    return kept[::-1]


def without_dead(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], among: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes without those of some that nothing reads any more.

    Args:
        nodes: in topological order.
        outputs: the names of tensors that are read from outside.
        among: the names of tensors whose nodes may go; all other nodes stay.
    """
    read = set(outputs)
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        made = {name for name in node.output if name}
        if made & read or not made <= set(among):
            kept.append(node)
            read.update(reads(node))
    return kept[::-1]


def replace_uses(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Let nodes, and the graphs within them, read other tensors.

    A subgraph's own names hide outer ones and stay. What a subgraph returns keeps its name, by way of an Identity: nothing
    outside may make a tensor of that name any more.

    Args:
        nodes: changed in place.
        names: for the names of tensors, the names of those to read instead.
    """
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
        for graph in subgraphs(node):
            own = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {o for n in graph.node for o in n.output}
            visible = {old: new for old, new in names.items() if old not in own}
            replace_uses(graph.node, visible)
            for name in dict.fromkeys(output.name for output in graph.output if output.name in visible):
                graph.node.append(helper.make_node("Identity", [visible[name]], [name]))
