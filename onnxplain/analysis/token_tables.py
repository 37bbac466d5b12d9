"""The tables that tokens and their positions are looked up in: how many tokens there are, and how many positions."""

from __future__ import annotations

from onnxplain.analysis.lookups import entrances
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["most_positions", "rows_of_table"]


def rows_of_table(graph: Graph, tensor: Tensor) -> int | None:
    """How many rows the table has that an input of integers is looked up in; of several the fewest.

    Args:
        graph: the model.
        tensor: the input.

    Returns:
        The number of rows; None where it is looked up in none, their number is not known, or the numbers change on the way.
    """
    found, _ = entrances(graph, tensor)
    rows = [_rows(graph, e.tensor, tensor) for e in found if e.kind == "embedding"]
    known = [r for r in rows if r is not None]
    return min(known) if known else None


def _rows(graph: Graph, looked_up: Tensor, index: Tensor | None = None) -> int | None:
    """The rows of the table that a tensor was looked up in, by an index as it is where one is named."""
    node = graph.producer(looked_up)
    while node is not None and node.op != "Gather":  # a quantized row is made a real number first
        node = graph.producer(node.x)
    if node is None or node["axis"] != 0 or (index is not None and not _is_moved(graph, node.input(1), index)):
        return None
    extent = node.x.dim(0) if node.x.shape else None
    return extent if isinstance(extent, int) else None


def _is_moved(graph: Graph, tensor: Tensor, origin: Tensor) -> bool:
    """Whether a tensor holds the numbers of another, in other places or of another type at most."""
    while tensor.name != origin.name:
        node = graph.producer(tensor)
        if node is None or not _hands_on(node):
            return False
        tensor = node.x
    return True


def _hands_on(node: Node) -> bool:
    facts = standard_traits(node)
    return bool(facts.moves_elements) or facts.recodes


def most_positions(graph: Graph, tokens: Tensor, positions: Tensor | None = None) -> int | None:
    """The most tokens that a model has positions for, where it looks positions up in a table.

    Positions counted by Range or by CumSum, or taken from the front of a list of constants, are found; so is an input of
    positions. Angles (rotary positions) and distances have no such limit.

    Args:
        graph: the model.
        tokens: the input of tokens, whose own table is another.
        positions: the input of positions, if there is one.

    Returns:
        The number of tokens; None where no such table is found.
    """
    limits = [] if positions is None else [rows_of_table(graph, positions)]
    own, _ = entrances(graph, tokens)
    names = {e.tensor.name for e in own}
    others = (n for n in graph.nodes if n.op == "Gather" and n.y.is_float and n.y.name not in names and graph.is_constant(n.x))
    limits += [_limit(graph, node) for node in others]
    known = [n for n in limits if n is not None]
    return min(known) if known else None


def _limit(graph: Graph, look_up: Node) -> int | None:
    """How many positions can be looked up, if that is what a node does."""
    rows = _rows(graph, look_up.y)
    if rows is None:
        return None
    tensor, offset = look_up.input(1), 0
    while True:
        node = graph.producer(tensor)
        if node is None:
            return None
        if node.op == "Range":
            start = graph.value(node.x)
            return None if start is None or node.y.is_static else rows - offset - int(start.ravel()[0])
        if node.op == "CumSum":
            return rows - offset - 1  # the first token has position 1
        if node.op == "Slice" and graph.is_constant(node.x):
            return _counted(graph, node.x)
        shift = _shift(graph, node)
        if shift is None and not _hands_on(node) and node.op != "Mul":
            return None
        following = next((t for t in node.inputs if t is not None and not graph.is_constant(t)), None)
        if following is None:
            return None
        offset, tensor = offset + (shift or 0), following


def _shift(graph: Graph, node: Node) -> int | None:
    """By how much an addition moves positions; None for anything else."""
    if node.op != "Add":
        return None
    values = [v for t in node.inputs if t is not None and (v := graph.value(t)) is not None and v.size == 1]
    return int(values[0].ravel()[0]) if values else None


def _counted(graph: Graph, constant: Tensor) -> int | None:
    """The length of a list 0, 1, 2, …"""
    values = graph.value(constant)
    if values is None:
        return None
    row = values.ravel()
    return int(row.size) if row.size > 1 and all(int(v) == i for i, v in enumerate(row)) else None
