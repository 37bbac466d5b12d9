"""repeated: an attribution at many points, reduced. Points ride on the batch axis, and a loop runs through them in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from onnxplain.analysis.sample_axis import only_axis
from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Tensor, same_dim
from onnxplain.method.attribution import result_like
from onnxplain.method.context import AttributionContext
from onnxplain.method.sampling.chunk_size import Chunk, bytes_per_row, rows
from onnxplain.method.sampling.shared import at_shared
from onnxplain.method.sampling.tiling import Copies

__all__ = [
    "Points",
    "Reduction",
    "RunningMean",
    "Sum",
    "Variance",
    "accumulate",
    "along_points",
    "at_one_point",
    "at_shared_point",
    "entries",
]

Points = Callable[[Tensor], Mapping[Tensor, Tensor]]
"""From point numbers (int64 [c]) to the points of each explained tensor: [c, …] with its axes, samples or 1."""

Attribute = Callable[["AttributionContext"], Sequence[Tensor]]
"""The attributions of a context, one per explained tensor, in its shape (with an axis for the targets, if there are many)."""

PointTransform = Callable[[Tensor, int, Tensor], Tensor]
"""From point numbers [c], the index of an explained tensor and its attributions [c, …] to what is reduced, [c, …]."""


SMALL_ROW = 10**6
"""Bytes that one sample takes in a network small enough to be computed while its file is loaded."""


class Reduction(Protocol):
    """How attributions at many points become one. State tensors have the shape of what is reduced, in at least float32."""

    states: int

    def merge(self, b: Builder, state: Sequence[Tensor], values: Tensor, numbers: Tensor) -> Sequence[Tensor]:
        """The state after `values` [c, …] at the points of these numbers [c]."""

    def finish(self, b: Builder, state: Sequence[Tensor], count: Tensor) -> Tensor:
        """The result after all `count` (int64 [1]) points."""


def accumulate(
    context: AttributionContext,
    count: Tensor,
    points: Points,
    attribute: Attribute,
    reduction: Reduction,
    *,
    chunk: Chunk = None,
    place: PointTransform | None = None,
    likes: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Attributions at `count` (int64 [1]) points of every sample, reduced: one result per explained tensor.

    Where the sample axis is symbolic, as many points ride on it as `chunk` allows; else they take turns. Memory is bounded by
    the chunk, whatever the count.

    Args:
        context: where it is explained.
        count: how many points.
        points: makes the points of given numbers.
        attribute: what is evaluated at the points.
        reduction: how the results become one.
        chunk: rows (samples × points) in one run of the model, or memory, as "500MB"; None: see `chunks.rows`.
        place: applied to the results before they are reduced.
        likes: tensors with the extents and types of what `attribute` returns, where that is no attributions.
    """
    b, symbol = context.b, context.symbol
    size, total = None, b.Squeeze(count)
    steps = total
    if symbol is not None:
        axis = only_axis(context.sources[0], symbol)
        assert axis is not None
        samples = b.Max(b.Gather(b.shape(context.sources[0]), axis), 1)  # none at all are one run of none
        size = b.Max(b.Div(b.Squeeze(rows(context, chunk)), samples), 1)
        steps = b.Div(b.Add(b.Sub(total, 1), size), size)
    likes = [result_like(context, s) for s in context.sources] if likes is None else likes
    sums = [_wide(like) for like in likes for _ in range(reduction.states)]
    starts = [_zeros(b, t, count) for t in sums]

    def body(step: Tensor, go_on: Tensor, *state: Tensor) -> list[Tensor]:
        numbers, copies = step, None
        if size is not None:
            begin = b.Mul(step, size)
            numbers = b.Range(begin, b.Min(b.Add(begin, size), total), 1)
            copies = Copies(b, b.Shape(numbers), symbol)
        else:
            numbers = b.Unsqueeze(step, [0])
        # The last chunk may be shorter: what the points of one chunk have in common is the symbol.
        numbers = numbers if size is None else b.shaped(numbers, ("points",))
        made = attribute(context.at(_stacked(context, points(numbers), copies), copies))
        after: list[Tensor] = []
        for i, (value, like) in enumerate(zip(made, likes, strict=True)):
            split = copies.split(value, like) if copies is not None else _first(b, value, like)
            split = split if place is None else place(numbers, i, split)
            mine = state[i * reduction.states : (i + 1) * reduction.states]
            merged = reduction.merge(b, mine, b.cast(split, mine[0]), numbers)
            after += [b.shaped(new, like.shape) for new in merged]
        return [go_on, *after]

    scalars = Tensor("step", np.dtype(np.int64), ()), Tensor("go_on", np.dtype(np.bool_), ())
    subgraph = b.body([*scalars, *(replace(t, name="state", shape=None) for t in sums)], body)
    made = b.op("Loop", steps, True, *starts, outputs=len(starts), body=subgraph)
    results = made if isinstance(made, tuple) else (made,)
    ends = [replace(t, name=m.name) for m, t in zip(results, sums, strict=True)]
    finished = [reduction.finish(b, ends[i : i + reduction.states], count) for i in range(0, len(ends), reduction.states)]
    return [b.cast(t, like) for t, like in zip(finished, likes, strict=True)]


def at_one_point(context: AttributionContext, points: Points) -> AttributionContext:
    """The context at the first point of every sample."""
    return context.at(_stacked(context, points(context.b.const([0])), None))


def at_shared_point(context: AttributionContext, points: Points) -> AttributionContext | None:
    """The context at the first point where that is a constant which all samples share: a batch of one, computed when the file is
    loaded. None where it is none, or more than a small network would have to be computed."""
    b, symbol = context.b, context.symbol
    size = bytes_per_row(context)
    if symbol is None or size is None or (b.ints(size) or [SMALL_ROW + 1])[0] > SMALL_ROW:
        return None
    found = points(b.const([0]))
    return at_shared(context, {x: b.Squeeze(found[x], [0]) for x in context.sources})


def _stacked(context: AttributionContext, points: Mapping[Tensor, Tensor], copies: Copies | None) -> dict[Tensor, Tensor]:
    """Points [c, …] in the shape of the explained tensors, samples stretched from 1 and copies merged into one batch."""
    b = context.b
    made = {}
    for source in context.sources:
        point, extents = points[source], source.shape or ()
        wide = b.cast(point, source)
        if copies is None:
            made[source] = b.reshape(b.Expand(wide, b.shape(source)), source)
            continue
        if not all(same_dim(d, e) for d, e in zip((point.shape or (1,))[1:], extents, strict=True)):
            wide = b.Expand(wide, b.Concat(b.Shape(point, start=0, end=1), b.Shape(source), axis=0))
        made[source] = copies.merge(wide, source)
    return made


def _first(b: Builder, value: Tensor, like: Tensor) -> Tensor:
    return b.Unsqueeze(value, [0])


def _wide(like: Tensor) -> Tensor:
    """A tensor in whose type sums are kept: never less than float32."""
    return like if like.dtype is None or like.dtype.itemsize >= 4 else replace(like, dtype=np.dtype(np.float32))


def _zeros(b: Builder, like: Tensor, count: Tensor) -> Tensor:
    """Where sums begin: one number, which the first chunk stretches, but zeros everywhere where there may be no chunk."""
    if b.ints(count) is None or like.shape is None:
        return b.Expand(b.const(0, like.dtype), b.shape(like))
    return b.const(np.zeros([1] * like.rank), like.dtype)


# -- reductions --------------------------------------------------------------------------------------------------------


class Sum:
    """The sum of all points, weighted: `weight` from point numbers [c] and what is weighted [c, …] to factors [c] of its type."""

    states = 1

    def __init__(self, weight: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        self.weight = weight

    def merge(self, b: Builder, state: Sequence[Tensor], values: Tensor, numbers: Tensor) -> Sequence[Tensor]:
        if self.weight is None:
            return [b.Add(state[0], b.ReduceSum(values, [0], keepdims=0))]
        weighted = b.MatMul(self.weight(numbers, values), b.Reshape(values, [0, -1]))
        rest = (values.shape or ())[1:]
        extents = [d if isinstance(d, int) else -1 for d in rest]
        if extents.count(-1) == 1 and 0 not in extents:
            return [b.Add(state[0], b.Reshape(weighted, extents))]
        return [b.Add(state[0], b.Reshape(weighted, b.Slice(b.Shape(values), [1], [values.rank]), allowzero=1))]

    def finish(self, b: Builder, state: Sequence[Tensor], count: Tensor) -> Tensor:
        return state[0]


class RunningMean(Sum):
    """The mean over all points."""

    def finish(self, b: Builder, state: Sequence[Tensor], count: Tensor) -> Tensor:
        return divided(b, state[0], count)


class Variance:
    """The variance over all points (divided by their number), by merging means and squared deviations of chunks.

    Chan, Golub, LeVeque 1983: no difference of large numbers, unlike E[g²] − E[g]².
    """

    states = 2

    def merge(self, b: Builder, state: Sequence[Tensor], values: Tensor, numbers: Tensor) -> Sequence[Tensor]:
        mean, squares = state
        here = b.ReduceMean(values, [0], keepdims=1)
        gap = b.Sub(b.Squeeze(here, [0]), mean)
        before, new = (b.Squeeze(b.cast(t, mean)) for t in (b.Slice(numbers, [0], [1]), b.Shape(numbers)))
        share = b.Div(new, b.Add(before, new))
        spread = b.Sub(values, here)
        squares = b.Add(b.Add(squares, b.ReduceSum(b.Mul(spread, spread), [0], keepdims=0)),
                        b.Mul(b.Mul(gap, gap), b.Mul(before, share)))  # fmt: skip
        return [b.Add(mean, b.Mul(gap, share)), squares]

    def finish(self, b: Builder, state: Sequence[Tensor], count: Tensor) -> Tensor:
        return divided(b, state[1], count)


def divided(b: Builder, total: Tensor, count: Tensor) -> Tensor:
    """A sum over `count` (int64 [1]) points as a mean."""
    return b.Div(total, b.Squeeze(b.cast(count, total)))


def entries(b: Builder, table: np.ndarray[Any, Any], numbers: Tensor, like: Tensor, rank: int = 1) -> Tensor:
    """The entries of a table with these numbers, in the type of `like`: [c], or with further axes of 1 [c, 1, …]."""
    laid = b.const(table.reshape(-1, *[1] * (rank - 1)), like.dtype)
    return b.Gather(laid, numbers)


def along_points(b: Builder, values: Tensor, rank: int) -> Tensor:
    """[c] → [c, 1, …], to multiply something of that rank."""
    return b.Unsqueeze(values, list(range(1, rank)))
