"""Reductions whose result meets their operand again: the axes they go over, whether these are kept, restored or stretched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from onnxplain.ir.ops import traits_of
from onnxplain.ir.tensor import Dim, Shape, same_dim
from onnxplain.ir.view import View

__all__ = ["reduced_axes"]

V = TypeVar("V")
N = TypeVar("N")


def reduced_axes(view: View[V, N], x: V, used: V, reduction: N) -> frozenset[int] | None:
    """The axes that a reduction goes over, counted from the end; None where they are unknown.

    Args:
        view: of the graph.
        x: the tensor that is reduced, or one of its extents.
        used: what functions of each element and moves (Reshape, Unsqueeze, Expand, ...) make of the result, and what is
            broadcast against `x`. The axes are None where it does not lie there as the operand's own axes do.
        reduction: the node.
    """
    axes, shape, way = _axes(view, reduction), view.shape(x), _way(view, used, reduction)
    kept = view.attribute(reduction, "keepdims") != 0
    if axes is None or way is None:
        return None
    if shape is None:
        still = all(traits_of(view.operator(node)).elementwise for _, node in way)
        return frozenset(axes) if axes and kept and still and all(a < 0 for a in axes) else None
    rank = len(shape)
    gone = {a % rank for a in axes} or set(range(rank))
    wide = [i for i, d in enumerate(shape) if d != 1 and i not in gone]  # axes of one element are as good as reduced
    expected = [i if i in wide else None for i in range(rank)]
    labels = [label for i, label in enumerate(expected) if kept or i not in gone]
    for made, node in reversed(way):
        moved = _moved(view.operator(node), labels, shape, view.shape(made))
        if moved is None:
            return None
        labels = moved
    return frozenset(a - rank for a in gone) if [None] * (rank - len(labels)) + labels == expected else None


def _axes(view: View[V, N], reduction: N) -> list[int] | None:
    """The axes as the node gives them; none stand for all."""
    given = view.inputs(reduction)[1] if len(view.inputs(reduction)) > 1 else None
    if given is None:
        named = view.attribute(reduction, "axes")
        return [int(v) for v in named or ()]
    values = view.constant(given)
    return None if values is None else [int(v) for v in values.ravel()]


def _way(view: View[V, N], tensor: V, reduction: N) -> list[tuple[V, N]] | None:
    """The tensors with their makers from one back to the reduction that it is made of."""
    way: list[tuple[V, N]] = []
    while (node := view.maker(tensor)) is not None:
        if node is reduction:
            return way
        way.append((tensor, node))
        operands = [t for t in view.inputs(node) if t is not None and not view.is_constant(t)]
        if not operands:
            return None
        tensor = operands[0]
    return None


def _moved(operator: str, labels: Sequence[int | None], shape: Sequence[Dim], made: Shape) -> list[int | None] | None:
    """Which axis of the operand each axis of a result is, None for those of one element, or of many that are equal."""
    facts = traits_of(operator)
    if facts.elementwise:
        return list(labels)
    if made is None:
        return None
    if operator == "Expand":
        return [None] * (len(made) - len(labels)) + list(labels)
    if not facts.keeps_order:
        return None
    left = [i for i in labels if i is not None]
    found: list[int | None] = []
    unsure = 0
    for d in made:
        if d == 1 or not left:
            found.append(None)
            continue
        i = left.pop(0)
        unsure += not same_dim(d, shape[i])
        if isinstance(d, int) and isinstance(shape[i], int) and d != shape[i]:
            return None
        found.append(i)
    return found if not left and unsure <= 1 else None
