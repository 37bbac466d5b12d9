"""What a range of columns was put together from: the way back through Concat, Transpose and Cast."""

from __future__ import annotations

from dataclasses import dataclass

from onnxplain.analysis.detection.layout import Columns
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["ColumnPart", "column_parts", "made_by", "source_of"]


@dataclass(frozen=True)
class ColumnPart:
    """A range of columns that one tensor was put in for."""

    start: int
    stop: int
    tensor: Tensor
    axis: int


def column_parts(graph: Graph, tensor: Tensor, axis: int) -> list[ColumnPart]:
    """The tensors that lie beside each other along an axis, each with the columns that it takes."""
    maker = graph.producer(tensor)
    width = tensor.dim(axis)
    if maker is None or maker.domain or not isinstance(width, int):
        return [ColumnPart(0, width, tensor, axis)] if isinstance(width, int) else []
    if maker.op == "Transpose":
        perm = maker.get("perm") or list(reversed(range(tensor.rank)))
        return column_parts(graph, maker.x, int(perm[axis]))
    # operators: those that leave every element where it is
    if maker.op in ("Identity", "Cast") and maker.x.is_float:
        return column_parts(graph, maker.x, axis)
    if maker.op != "Concat":
        return [ColumnPart(0, width, tensor, axis)]
    joined = [t for t in maker.inputs if t is not None]
    if int(maker["axis"]) % tensor.rank != axis:  # levels below each other: all of them are put together alike
        alike = [[(p.start, p.stop) for p in column_parts(graph, t, axis)] for t in joined]
        first = column_parts(graph, _reshaped(graph, joined[0], axis), axis)
        return first if all(spans == alike[0] for spans in alike) else [ColumnPart(0, width, tensor, axis)]
    found, start = list[ColumnPart](), 0
    for t in joined:
        inner = column_parts(graph, t, axis)
        if not inner:
            return []
        found += [ColumnPart(start + p.start, start + p.stop, p.tensor, p.axis) for p in inner]
        start = found[-1].stop
    return found


def _reshaped(graph: Graph, tensor: Tensor, axis: int) -> Tensor:
    """What a tensor was before places were brought into one axis, where its last axis stayed as it was."""
    maker = graph.producer(tensor)
    if maker is not None and maker.op == "Reshape" and axis == tensor.rank - 1 and maker.x.rank == tensor.rank:
        return maker.x if maker.x.dim(-1) == tensor.dim(-1) else tensor
    return tensor


def source_of(graph: Graph, columns: Columns) -> Columns:
    """The same columns in the tensor that was put in for them, where one was: what is made of them alone is seen there."""
    tensor = graph.tensor(columns.tensor)
    width = tensor.dim(columns.axis)
    if not isinstance(width, int):
        return columns
    axis = columns.axis % tensor.rank
    start, stop, _ = slice(columns.start, columns.stop).indices(width)
    for part in column_parts(graph, tensor, axis):
        whole = part.tensor.shape is not None and part.tensor.rank == tensor.rank
        if part.start <= start and stop <= part.stop and part.tensor != tensor and whole and _as_many(part, tensor, axis):
            return Columns(part.tensor.name, start - part.start, stop - part.start, part.axis)
    return columns


def _as_many(part: ColumnPart, tensor: Tensor, axis: int) -> bool:
    """Whether a part has as many candidates as the whole: levels below each other have fewer."""
    mine = [d for i, d in enumerate(part.tensor.shape or ()) if i != part.axis]
    return sorted(map(str, mine)) == sorted(str(d) for i, d in enumerate(tensor.shape or ()) if i != axis)


def made_by(graph: Graph, tensor: Tensor) -> Node | None:
    """The node that computes a tensor's elements, behind those that only move them; None of an input."""
    maker = graph.producer(tensor)
    while maker is not None and not maker.domain and standard_traits(maker).moves_elements == "first":
        maker = graph.producer(maker.x)
    return maker
