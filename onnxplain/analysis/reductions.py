"""Reductions whose result meets their operand again: the axis they go over, whether it is kept, restored or stretched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from onnxplain.ir.ops import traits_of
from onnxplain.ir.tensor import Dim, Shape, same_dim
from onnxplain.ir.view import View

__all__ = ["reduced_axis"]

V = TypeVar("V")
N = TypeVar("N")


def reduced_axis(view: View[V, N], x: V, used: V, reduction: N) -> int | None:
    """The one axis that a reduction goes over, counted from the end; None for others.

    Args:
        view: of the graph.
        x: the tensor that is reduced, or one of its extents.
        used: what functions of each element and moves (Reshape, Unsqueeze, Expand, ...) make of the result, and what is
            broadcast against `x`. The axis is None where it does not lie there as the operand's own axes do.
        reduction: the node.
    """
    axes, shape = _axes(view, reduction), view.shape(x)
    if axes is None or len(axes) != 1:
        return None
    kept = view.attribute(reduction, "keepdims") != 0
    way = _way(view, used, reduction)
    if way is None:
        return None
    if shape is None:
        still = all(traits_of(view.operator(node)).elementwise for _, node in way)
        return axes[0] if kept and axes[0] < 0 and still else None
    axis = axes[0] % len(shape)
    wide = [i for i, d in enumerate(shape) if d != 1]  # axes of one element are as good as none
    labels = [None if i == axis or i not in wide else i for i in range(len(shape)) if kept or i != axis]
    for made, node in reversed(way):
        moved = _moved(view.operator(node), labels, shape, view.shape(made))
        if moved is None:
            return None
        labels = moved
    labels = [None] * (len(shape) - len(labels)) + labels
    expected = [None if i == axis or i not in wide else i for i in range(len(shape))]
    return axis - len(shape) if labels == expected else None


def _axes(view: View[V, N], reduction: N) -> list[int] | None:
    given = view.inputs(reduction)[1] if len(view.inputs(reduction)) > 1 else None
    if given is None:
        named = view.attribute(reduction, "axes")
        return None if named is None else [int(v) for v in named]
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
