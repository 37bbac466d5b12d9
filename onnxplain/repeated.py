"""repeated: an attribution at many points, reduced. Points ride on the batch axis, and a loop runs through them in chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onnxplain.attributing import result_like
from onnxplain.chunks import Chunk, rows
from onnxplain.copies import Copies, sample_axis
from onnxplain.tensor import Tensor

if TYPE_CHECKING:
    from onnxplain.builder import Builder
    from onnxplain.job import Job

__all__ = ["Mean", "Points", "Reduction", "Sum", "Variance", "along_points", "repeated"]

Points = Callable[[Tensor], Mapping[Tensor, Tensor]]
"""From point numbers (int64 [c]) to the points of each explained tensor: [c, …] with its axes, samples or 1."""

Attribute = Callable[["Job"], Sequence[Tensor]]
"""The attributions of a job, one per explained tensor, in its shape (with an axis for the targets, if there are many)."""

Place = Callable[[Tensor, int, Tensor], Tensor]
"""From point numbers [c], the index of an explained tensor and its attributions [c, …] to what is reduced, [c, …]."""


class Reduction(Protocol):
    """How attributions at many points become one. State tensors have the shape of what is reduced, in at least float32."""

    states: int

    def merge(self, b: Builder, state: Sequence[Tensor], values: Tensor, numbers: Tensor) -> Sequence[Tensor]:
        """The state after `values` [c, …] at the points of these numbers [c]."""

    def finish(self, b: Builder, state: Sequence[Tensor], count: Tensor) -> Tensor:
        """The result after all `count` (int64 [1]) points."""


def repeated(
    job: Job,
    count: Tensor,
    points: Points,
    attribute: Attribute,
    reduction: Reduction,
    *,
    chunk: Chunk = None,
    place: Place | None = None,
    likes: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Attributions at `count` (int64 [1]) points of every sample, reduced: one result per explained tensor.

    Where the sample axis is symbolic, as many points ride on it as `chunk` allows; else they take turns. Memory is bounded by
    the chunk, whatever the count.

    Args:
        job: where it is explained.
        count: how many points.
        points: makes the points of given numbers.
        attribute: what is evaluated at the points.
        reduction: how the results become one.
        chunk: rows (samples × points) in one run of the model, or memory, as "500MB"; None: see `chunks.rows`.
        place: applied to the results before they are reduced.
        likes: tensors with the extents and types of what `attribute` returns, where that is no attributions.
    """
    b, symbol = job.b, job.symbol
    size = None
    if symbol is not None:
        axis = sample_axis(job.sources[0], symbol)
        assert axis is not None
        size = b.Max(b.Div(rows(job, chunk), b.dim(job.sources[0], axis)), [1])
        steps = b.Squeeze(b.Div(b.Sub(b.Add(count, size), 1), size))
    else:
        steps = b.Squeeze(count)
    likes = [result_like(job, s) for s in job.sources] if likes is None else likes
    starts = [t for like in likes for t in [b.zeros_like(_wide(b, like))] * reduction.states]

    def body(step: Tensor, go_on: Tensor, *state: Tensor) -> list[Tensor]:
        numbers, copies = b.Unsqueeze(step, [0]), None
        if size is not None:
            begin = b.Mul(numbers, size)
            end = b.Min(b.Add(begin, size), count)
            numbers = b.Range(b.Squeeze(begin), b.Squeeze(end), 1)
            copies = Copies(b, b.Shape(numbers), symbol)
        numbers = replace(numbers, dtype=np.dtype(np.int64), shape=("points",) if size is not None else (1,))
        made = attribute(job.at(_stacked(job, points(numbers), copies), copies))
        after: list[Tensor] = []
        for i, (value, like) in enumerate(zip(made, likes, strict=True)):
            split = copies.split(value, like) if copies is not None else _first(b, value, like)
            split = split if place is None else place(numbers, i, split)
            mine = state[i * reduction.states : (i + 1) * reduction.states]
            merged = reduction.merge(b, mine, b.cast(split, mine[0]), numbers)
            after += [replace(new, dtype=old.dtype, shape=old.shape) for new, old in zip(merged, mine, strict=True)]
        return [go_on, *after]

    scalars = Tensor("step", np.dtype(np.int64), ()), Tensor("go_on", np.dtype(np.bool_), ())
    subgraph = b.body([*scalars, *(replace(t, name="state") for t in starts)], body)
    made = b.op("Loop", steps, True, *starts, outputs=len(starts), body=subgraph)
    results = made if isinstance(made, tuple) else (made,)
    ends = [replace(m, dtype=t.dtype, shape=t.shape) for m, t in zip(results, starts, strict=True)]
    finished = [reduction.finish(b, ends[i : i + reduction.states], count) for i in range(0, len(ends), reduction.states)]
    return [replace(b.cast(t, like), dtype=like.dtype, shape=like.shape) for t, like in zip(finished, likes, strict=True)]


def _stacked(job: Job, points: Mapping[Tensor, Tensor], copies: Copies | None) -> dict[Tensor, Tensor]:
    """Points [c, …] in the shape of the explained tensors, samples stretched from 1 and copies merged into one batch."""
    b = job.b
    made = {}
    for source in job.sources:
        full = b.Concat(b.Shape(points[source], start=0, end=1), b.Shape(source), axis=0) if copies is not None else None
        if copies is None or full is None:
            made[source] = b.reshape(b.cast(b.Expand(points[source], b.shape(source)), source), source)
        else:
            wide = replace(b.Expand(points[source], full), shape=("points", *(source.shape or ())), dtype=points[source].dtype)
            made[source] = copies.merge(b.cast(wide, source), source)
    return made


def _first(b: Builder, value: Tensor, like: Tensor) -> Tensor:
    made = b.Unsqueeze(value, [0])
    return replace(made, dtype=value.dtype, shape=None if like.shape is None else (1, *like.shape))


def _wide(b: Builder, like: Tensor) -> Tensor:
    """A tensor in whose type sums are kept: never less than float32."""
    if like.dtype is None or like.dtype.itemsize >= 4:
        return like
    return b.cast(like, Tensor("", np.dtype(np.float32)))


# -- reductions --------------------------------------------------------------------------------------------------------


class Sum:
    """The sum of all points, weighted: `weight` from point numbers [c] to factors [c]."""

    states = 1

    def __init__(self, weight: Callable[[Tensor], Tensor] | None = None) -> None:
        self.weight = weight

    def merge(self, b: Builder, state: Sequence[Tensor], values: Tensor, numbers: Tensor) -> Sequence[Tensor]:
        if self.weight is not None:
            values = b.Mul(values, along_points(b, b.cast(self.weight(numbers), values), values.rank))
        return [b.Add(state[0], b.ReduceSum(values, [0], keepdims=0))]

    def finish(self, b: Builder, state: Sequence[Tensor], count: Tensor) -> Tensor:
        return state[0]


class Mean(Sum):
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
    made = b.Div(total, b.Squeeze(b.cast(count, total)))
    return replace(made, dtype=total.dtype, shape=total.shape)


def along_points(b: Builder, values: Tensor, rank: int) -> Tensor:
    """[c] → [c, 1, …], to multiply something of that rank."""
    made = b.Unsqueeze(values, list(range(1, rank)))
    return replace(made, dtype=values.dtype, shape=("points", *[1] * (rank - 1)))
