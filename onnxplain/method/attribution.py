"""Attributions of a job by a method: for one target, or for all of them in one loop over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain.ir.tensor import Shape, Tensor
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import Method, graph_method
from onnxplain.method.sampling.chunk_size import Chunk

__all__ = [
    "all_seeds", "attributions", "beside_targets", "change_since", "gap", "inner_method", "over_targets", "per_sample",
    "result_like", "score", "widened",
]  # fmt: skip


def attributions(job: AttributionContext, method: Method, options: Mapping[str, Any]) -> list[Tensor]:
    """One attribution per explained tensor, in its shape (a map in its own) and type; with all targets, an axis for them after
    the samples."""

    def at_seed(job: AttributionContext) -> list[Tensor]:
        with job.b.scope(f"onnxplain/{method.name}"):
            made = method.run(job, **options)
        return [job.b.cast(made[s], s) for s in explained(job)]

    def explained(job: AttributionContext) -> tuple[Tensor, ...]:
        return tuple(e.tensor for e in job.layers) if method.lands == "layer" else job.sources

    made = at_seed(job) if method.repeats or job.identity_seeds is None else over_targets(job, at_seed)
    if method.lands == "map":
        return [replace(m, dtype=s.dtype) for m, s in zip(made, job.sources, strict=True)]
    return [replace(m, dtype=s.dtype, shape=widened(job, s.shape)) for m, s in zip(made, explained(job), strict=True)]


def inner_method(name: str, options: Mapping[str, Any], chunk: Chunk) -> Callable[[AttributionContext], list[Tensor]]:
    """A method to be evaluated at other points, with its options: from a job there to one attribution per explained tensor."""
    found = graph_method(name)
    shared = {"chunk": chunk} if any(o.name == "chunk" for o in found.options) else {}
    return lambda job: attributions(job, found, {**options, **shared})


def over_targets(job: AttributionContext, make: Callable[[AttributionContext], Sequence[Tensor]]) -> list[Tensor]:
    """What `make` gives for the seed of every target, stacked after the samples; what no seed changes stays outside the loop.

    For a job of one target it is what `make` gives.
    """
    b, y = job.b, job.target
    if job.identity_seeds is None:
        return list(make(job))
    shape = b.shape(y)
    element = _element(job)

    def body(row: Tensor) -> list[Tensor]:
        seed = replace(b.Expand(b.Reshape(row, element), shape), dtype=y.dtype, shape=y.shape)
        calls = job.laid_out() if job.origin else job.calls
        alone = replace(job, outputs=job.outputs.without_reports())
        return list(make(alone.with_point(seed=seed, identity_seeds=None, calls=calls)))

    subgraph = b.body([Tensor("row", y.dtype, (None,))], body)
    count = len(subgraph.outputs)
    axes = [int(job.batched)] * count
    made = b.op("Scan", job.identity_seeds, outputs=count, body=subgraph, num_scan_inputs=1, scan_output_axes=axes)
    stacked = made if isinstance(made, tuple) else (made,)
    return [replace(s, dtype=t.dtype, shape=widened(job, t.shape)) for s, t in zip(stacked, subgraph.outputs, strict=True)]


def all_seeds(job: AttributionContext) -> Tensor:
    """The seeds of all elements of a sample as rows: the identity matrix."""
    b, y = job.b, job.target
    extents = y.shape[int(job.batched) :] if y.shape is not None else (None,)
    known = [d for d in extents if isinstance(d, int)]
    if len(known) == len(extents):
        return b.const(np.eye(int(np.prod(known)), dtype=y.dtype))
    count = b.ReduceProd(_element(job), keepdims=1)
    numbers = b.Range(0, b.Squeeze(count), 1)
    made = b.cast(b.Equal(b.Unsqueeze(numbers, [0]), b.Unsqueeze(numbers, [1])), y)
    return replace(made, dtype=y.dtype, shape=("targets", "targets"))


def _element(job: AttributionContext) -> Tensor:
    """The extents of one sample's scores, with 1 for the samples."""
    b, y = job.b, job.target
    shape = b.shape(y)
    return b.Concat([1], b.Slice(shape, [1], [y.rank]), axis=0) if job.batched else shape


def widened(job: AttributionContext, shape: Shape) -> Shape:
    """The extents of an attribution: those of what it explains, and after the samples the targets where there are many."""
    if job.identity_seeds is None or shape is None:
        return shape
    axis = int(job.batched)
    return (*shape[:axis], job.identity_seeds.dim(0), *shape[axis:])


def result_like(job: AttributionContext, source: Tensor) -> Tensor:
    """A tensor with the extents of a source's attribution."""
    if job.identity_seeds is None:
        return source
    b, axis = job.b, int(job.batched)
    ones: list[Any] = [[1]] * (source.rank + 1)
    ones[axis] = b.dim(job.identity_seeds, 0)
    return replace(
        b.Expand(b.Unsqueeze(source, [axis]), b.Concat(*ones, axis=0)), dtype=source.dtype, shape=widened(job, source.shape)
    )


def beside_targets(job: AttributionContext, x: Tensor, lead: int = 0) -> Tensor:
    """A tensor of an explained tensor's axes, after `lead` others, with an axis of 1 where attributions have their targets."""
    if job.identity_seeds is None:
        return x
    axis = lead + int(job.batched)
    made = job.b.Unsqueeze(x, [axis])
    return replace(made, dtype=x.dtype, shape=None if x.shape is None else (*x.shape[:axis], 1, *x.shape[axis:]))


def score(job: AttributionContext) -> Tensor:
    """The explained number of every sample, ⟨cotangent, output⟩: [samples]; with all targets [samples, targets]."""
    b, y = job.b, job.target
    samples = (y.shape or (None,))[: int(job.batched)]
    if job.identity_seeds is not None:
        made = b.Reshape(y, [0, -1] if job.batched else [-1])
        return replace(made, dtype=y.dtype, shape=(*samples, job.identity_seeds.dim(0)))
    chosen = b.Where(b.Equal(job.seed, 0), 0, b.Mul(job.seed, y))  # elements that nobody asked about may be infinite
    axes = list(range(int(job.batched), y.rank))
    return replace(b.ReduceSum(chosen, axes, keepdims=0) if axes else chosen, dtype=y.dtype, shape=samples)


def change_since(job: AttributionContext, there: AttributionContext) -> Tensor:
    """The explained score less the score at another point, in the shape of `score`."""
    b, y = job.b, job.target
    return score(job.with_point(target=replace(b.Sub(y, there.target), dtype=y.dtype, shape=y.shape)))


def gap(job: AttributionContext, made: Sequence[Tensor], change: Tensor) -> Tensor:
    """The convergence delta: by how much the attributions exceed a change of the score, in its shape."""
    b = job.b
    total = b.total([replace(per_sample(job, m, x), shape=change.shape) for m, x in zip(made, job.sources, strict=True)])
    return replace(b.Sub(b.cast(total, change), change), dtype=change.dtype, shape=change.shape)


def per_sample(job: AttributionContext, attribution: Tensor, source: Tensor) -> Tensor:
    """The attribution of an explained tensor, summed for every sample (and target)."""
    axis = job.sample_axis(source)
    kept = [] if axis is None else [axis + int(job.identity_seeds is not None and axis > 0)]
    kept += [int(job.batched)] if job.identity_seeds is not None else []
    axes = [i for i in range(attribution.rank) if i not in kept]
    summed = replace(job.b.ReduceSum(attribution, axes, keepdims=0) if axes else attribution, dtype=attribution.dtype)
    return job.b.transpose(summed, [1, 0]) if kept != sorted(kept) else summed
