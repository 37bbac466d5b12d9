"""Stretching as late as possible: what is the same for all samples is computed once and not for each.

An `Expand` along the first axes makes copies of rows. Operators that work element by element broadcast: they read the one row
where another operand has them all, and where no operand has, they work on one row, and their result is stretched in its place.
What depends on constants alone is then computed when the file is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from onnxplain.builder.emitter import Emitter
from onnxplain.ir.emitted import Emitted
from onnxplain.ir.ops import traits_of
from onnxplain.ir.tensor import Dim, Shape, Tensor, same_dim

__all__ = ["stretched_late"]


def stretched_late(b: Emitter, nodes: Iterable[Emitted]) -> list[Emitted]:
    """The nodes with rows stretched as late as possible.

    Args:
        b: emitted them.
        nodes: of the top level, in order.
    """
    late = _Late(b)
    return [made for node in nodes for made in late.moved(node)]


class _Late:
    def __init__(self, b: Emitter) -> None:
        self.b = b
        self.rows: dict[str, tuple[Tensor, Tensor]] = {}
        """By stretched tensor: the rows, and the extents they are stretched to."""

    def moved(self, node: Emitted) -> list[Emitted]:
        """A node that reads rows where it can."""
        made = self.b.known(node.outputs[0])
        if node.domain or node.replaces or len(node.outputs) > 1 or made.shape is None:
            return [node]
        if node.op == "Expand":
            source, extents = node.inputs
            if source is not None and extents is not None and _repeats_rows(self._shape(source), made.shape):
                self.rows[made.name] = source, extents
            return [node]
        # operators: its slopes broadcast to the first operand, which then must not be the smaller one
        if not traits_of(node.op).elementwise or node.op == "PRelu":
            return [node]
        given = [t for t in node.inputs if t is not None]
        wide = [t for t in given if t.name in self.rows and self._is_like(t, made)]
        if not wide:
            return [node]
        inputs = tuple(self.rows[t.name][0] if t in wide else t for t in node.inputs)
        if any(t not in wide and self._is_like(t, made) for t in given):
            return [replace(node, inputs=inputs)]
        return self._on_rows(node, inputs, self.rows[wide[0].name][1])

    def _on_rows(self, node: Emitted, inputs: tuple[Tensor | None, ...], extents: Tensor) -> list[Emitted]:
        """The node on rows, its result stretched; as it was where its operands have no shape of rows in common."""
        made = self.b.known(node.outputs[0])
        shapes = [self._shape(t) for t in inputs if t is not None]
        row = _joined(shapes)
        if row is None or not _repeats_rows(row, made.shape):
            return [node]
        name = self.b.graph.fresh(f"{node.outputs[0].name}/row")
        result = replace(made, name=name, shape=row)
        self.rows[made.name] = result, extents
        wide = Emitted("Expand", "", f"{name}/stretched", (result, extents), node.outputs, {})
        return [replace(node, name=name, inputs=inputs, outputs=(result,)), wide]

    def _shape(self, t: Tensor) -> Shape:
        return self.b.known(t).shape

    def _is_like(self, t: Tensor, made: Tensor) -> bool:
        """Whether a tensor provably has the extents of the result."""
        shape = self._shape(t)
        return shape is not None and len(shape) == len(made.shape or ()) and all(map(same_dim, shape, made.shape or ()))


def _repeats_rows(source: Shape, made: Shape) -> bool:
    """Whether stretching repeats rows as they are: extents differ along the first axes only, or one number is repeated."""
    if source is None or made is None or len(source) > len(made):
        return False
    if all(d == 1 for d in source):
        return True
    whole: tuple[Dim, ...] = (*[1] * (len(made) - len(source)), *source)
    kept = [same_dim(d, e) for d, e in zip(whole, made, strict=True)]
    repeated = kept.index(True) if True in kept else len(kept)
    return all(kept[repeated:]) and all(d == 1 for d in whole[:repeated])


def _joined(shapes: Sequence[Shape]) -> tuple[Dim, ...] | None:
    """The shape that operands broadcast to; None where it is not known."""
    row: list[Dim] = [1] * max(len(shape or ()) for shape in shapes)
    for shape in shapes:
        if shape is None:
            return None
        for i, d in enumerate(shape, len(row) - len(shape)):
            if d == 1 or same_dim(d, row[i]):
                continue
            if row[i] != 1 or d is None:
                return None
            row[i] = d
    return tuple(row)
