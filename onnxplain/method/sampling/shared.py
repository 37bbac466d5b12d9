"""One point that all samples share: a batch of one, which ONNX Runtime computes when it loads the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Dim, Tensor
from onnxplain.method.context import AttributionContext

__all__ = ["at_shared", "differing", "stretched"]


def at_shared(context: AttributionContext, rows: Mapping[Tensor, Tensor]) -> AttributionContext | None:
    """The context at a constant that all samples share, as a batch of one.

    Args:
        context: where samples have an axis that all of the model follows.
        rows: by explained tensor, the constant, of its rank, with extents of 1 where it is the same.

    Returns:
        The context; None where samples have no axis of their own in one of its tensors, or it reads something else in which they
        may differ.
    """
    b = context.b
    nodes = context.reached(context.sources)
    if any(node.bodies or standard_traits(node).random for node in nodes):
        return None
    moved, live = {*context.sources, *(t for node in nodes for t in node.outputs)}, _live(context)
    if any(t not in moved and t in live for node in nodes for t in node.reads if t is not None):
        return None
    ones = _counting(context, differing(context))
    if ones is None:
        return None
    at = {}
    for x, row in rows.items():
        extents = [1 if d in ones else d if isinstance(d, int) else 0 for d in x.shape or ()]
        fits = all(d in (1, e) for d, e in zip(row.shape or (), extents, strict=True))
        if not b.is_constant(row) or not fits or 0 in extents:
            return None
        at[x] = b.Expand(row, extents)
    with b.extents(dict.fromkeys(ones, 1)):
        return context.at(at)


def _counting(context: AttributionContext, tensors: Iterable[Tensor]) -> set[Dim] | None:
    """The symbols of the extents that count samples; None where one counts something else too, or is not known."""
    axes = {t: context.sample_axis(t) for t in tensors}
    if any(axis is None or not isinstance(t.dim(axis), str) for t, axis in axes.items()):
        return None
    found = {t.dim(axis) for t, axis in axes.items() if axis is not None}
    own = all(d not in found or i == axis for t, axis in axes.items() for i, d in enumerate(t.shape or ()))
    return found if own else None


def _live(context: AttributionContext) -> set[Tensor]:
    """The tensors that depend on the model's inputs, whatever of them is explained."""
    live = {*context.inputs, *context.sources}
    for node in context.nodes:
        if any(t in live for t in node.reads if t is not None):
            live.update(t for t in node.outputs if t is not None)
    return live


def stretched(there: AttributionContext, tensors: Iterable[Tensor]) -> AttributionContext | None:
    """A context at a shared point with its results stretched to all samples.

    Args:
        there: from `at_shared`.
        tensors: of the context it was reached from, whose values there are asked for.

    Returns:
        The context; None where numbers have half precision.
    """
    assert there.origin is not None
    (before, _), b = there.origin, there.b
    became = dict(there.became)
    for t in tensors:
        if t.dtype == np.float16:
            return None
        became[t] = b.shaped(b.Expand(there.became[t], b.shape(t)), t.shape)
    point = replace(
        there.point,
        became=became,
        explained=tuple(replace(e, tensor=became[e.tensor]) for e in before.explained),
        target=became.get(before.target, before.target),
    )
    return replace(there, point=point)


def differing(context: AttributionContext) -> set[Tensor]:
    """The tensors whose values, not only extents, depend on the explained ones.

    Which of these are missing (NaN) does not: the same ones are at the baseline.
    """
    changed = set(context.sources)
    moved = set(context.sources)
    for node in context.nodes:
        facts, outputs = standard_traits(node), [t for t in node.outputs if t is not None]
        of_source = bool(node.inputs) and node.inputs[0] in moved
        if of_source and (facts.moves_elements == "first" or facts.recodes):
            moved.update(outputs)
        if of_source and node.operator == "IsNaN":
            continue
        if not facts.shape_only and any(t is not None and t in changed for t in node.reads):
            changed.update(outputs)
    return changed
