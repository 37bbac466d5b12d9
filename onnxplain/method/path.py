"""Methods that integrate along a path of inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import onnx

from onnxplain.attributing import beside_targets, gap, score
from onnxplain.baselines import fits, has_several
from onnxplain.builder import Builder
from onnxplain.chunks import Chunk
from onnxplain.errors import InputError, MethodError
from onnxplain.graph import named_dims
from onnxplain.job import Job
from onnxplain.method import find_method, inner_method, method
from onnxplain.quadrature import nodes_and_weights
from onnxplain.repeated import Mean, Points, Sum, along_points, repeated
from onnxplain.sources import Explained
from onnxplain.tensor import Tensor

__all__ = ["Path", "integrate"]


Vertex = Callable[[Tensor, int], Tensor]
"""From vertex numbers (int64 [c]) and the index of an explained tensor: the vertices, [c or 1, samples or 1, …]."""


@dataclass(frozen=True)
class Path:
    """Straight segments. `ends` says where the segments of given numbers start and end; there are `segments` (int64 [1]).

    Several `lines` (int64 [1]) of equally many segments are averaged; `start` says where each begins. All end at the input.
    """

    segments: Tensor
    lines: Tensor
    ends: Callable[[Tensor, int], tuple[Tensor, Tensor]]
    start: Vertex


def chain(job: Job, count: Tensor, vertex: Vertex) -> Path:
    """The path through `count` (int64 [1]) vertices to the input."""
    b = job.b

    def ends(numbers: Tensor, index: int) -> tuple[Tensor, Tensor]:
        x = job.sources[index]
        following = replace(b.Add(numbers, 1), dtype=numbers.dtype, shape=numbers.shape)
        last = along_points(b, b.Equal(following, count), x.rank + 1)
        there = vertex(replace(b.Min(following, b.Sub(count, 1)), dtype=numbers.dtype, shape=numbers.shape), index)
        end = replace(b.Where(last, x, there), dtype=x.dtype, shape=("points", *(x.shape or ())))
        return vertex(numbers, index), end

    return Path(count, b.const([1]), ends, vertex)


def integrate(
    job: Job, path: Path, *, inner: str, options: Mapping[str, Any], steps: int, quadrature: str, multiply: bool | None,
    delta: bool, chunk: Chunk,
) -> dict[Tensor, Tensor]:  # fmt: skip
    """Σ over segments and nodes of weight · M(point) · (end − start), for M the inner method, averaged over lines.

    An inner method whose attributions are not per unit of the input is averaged along the path instead: no factor.
    """
    b = job.b
    positions, weights = nodes_and_weights(quadrature, steps)
    times = find_method(inner).per_unit if multiply is None else multiply
    share = path.lines if times else path.segments  # of a line's own steps, or an average over all

    def pick(table: np.ndarray[Any, Any], numbers: Tensor) -> Tensor:
        made = b.Gather(b.const(table, np.float64), b.Mod(numbers, steps))
        return replace(made, dtype=np.dtype(np.float64), shape=numbers.shape)

    def ends(numbers: Tensor, index: int) -> tuple[Tensor, Tensor]:
        return path.ends(replace(b.Div(numbers, steps), dtype=numbers.dtype, shape=numbers.shape), index)

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        made = {}
        for i, x in enumerate(job.sources):
            start, end = ends(numbers, i)
            position = along_points(b, b.cast(pick(positions, numbers), x), x.rank + 1)
            made[x] = replace(b.Add(start, b.Mul(position, b.Sub(end, start))), dtype=x.dtype, shape=("points", *(x.shape or ())))
        return made

    def place(numbers: Tensor, index: int, value: Tensor) -> Tensor:
        start, end = ends(numbers, index)
        step = beside_targets(job, b.Sub(end, start), lead=1)
        return replace(b.Mul(value, b.cast(step, value)), dtype=value.dtype, shape=value.shape)

    def starts(numbers: Tensor) -> dict[Tensor, Tensor]:
        return {x: path.start(numbers, i) for i, x in enumerate(job.sources)}

    known = b.ints(share)
    scaled = weights / known[0] if known else weights

    def weight(numbers: Tensor) -> Tensor:
        chosen = pick(scaled, numbers)
        return chosen if known else b.Div(chosen, b.Cast(share, to=onnx.TensorProto.DOUBLE))

    reduction = Sum(weight)
    evaluate = inner_method(inner, options, chunk)
    made = repeated(job, b.Mul(path.segments, steps), points, evaluate, reduction, chunk=chunk, place=place if times else None)
    if delta and job.origin is None:
        job.reports["delta"] = completeness_gap(job, made, path.lines, starts, chunk)
    return dict(zip(job.sources, made, strict=True))


def completeness_gap(job: Job, made: Sequence[Tensor], count: Tensor, baselines: Points, chunk: Chunk) -> Tensor:
    """What attributions sum to beyond the score's difference from its mean over `count` (int64 [1]) baselines: [samples].

    It is 0 where the integral is exact; with all targets [samples, targets].
    """
    (there,) = repeated(job, count, baselines, lambda moved: [score(moved)], Mean(), chunk=chunk, likes=[score(job)])
    return gap(job, made, there)


@method(
    "integrated-gradients",
    summary="The score's difference from a baseline, shared among the elements by the gradients on the straight line between",
    formula="(x − x′) · ∫₀¹ ∂f/∂x at x′ + α(x − x′) dα",
    source="Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks",
    axioms=("completeness", "sensitivity", "implementation-invariance"),
    needs_baseline=True,
    repeats=True,
)
def integrated_gradients(
    job: Job, *, inner: str = "gradient", steps: int = 50, quadrature: str = "gauss-legendre", multiply: bool | None = None,
    delta: bool = True, chunk: int | str | None = None, **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    path = straight(job)
    return integrate(
        job, path, inner=inner, options=options, steps=steps, quadrature=quadrature, multiply=multiply, delta=delta, chunk=chunk
    )


def alone(b: Builder, x: Tensor) -> Tensor:
    """One tensor as a row of them: [1, …]."""
    return replace(b.Unsqueeze(x, [0]), dtype=x.dtype, shape=None if x.shape is None else (1, *x.shape))


def straight(job: Job) -> Path:
    """From each baseline straight to the input."""
    b = job.b
    several = [has_several(job, e) for e in job.explained]
    starts = [job.references(e) if many else alone(b, job.reference(e)) for e, many in zip(job.explained, several, strict=True)]
    counts = {n for n in (s.dim(0) for s in starts) if isinstance(n, int)}
    if len(counts - {1}) > 1:
        raise InputError(f"the explained inputs have different numbers of baselines: {', '.join(map(str, sorted(counts)))}")
    lines = max(counts)

    def start(numbers: Tensor, index: int) -> Tensor:
        all_of_them = starts[index]
        if all_of_them.dim(0) == 1:
            return all_of_them
        return replace(b.Gather(all_of_them, numbers, axis=0), shape=("points", *(all_of_them.shape or ())[1:]))

    def ends(numbers: Tensor, index: int) -> tuple[Tensor, Tensor]:
        return start(numbers, index), job.sources[index]

    return Path(b.const([lines]), b.const([lines]), ends, start)


@method(
    "path-integrated-gradients",
    summary="The score's change along a path of your own through several points to the input, shared by the gradients on the way",
    formula="∫ ∂f/∂x · dγ along γ, straight from point to point",
    source="Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks, section 4",
    axioms=("completeness", "implementation-invariance"),
    repeats=True,
)
def path_integrated_gradients(
    job: Job, *, path: Any = "input", inner: str = "gradient", steps: int = 10, quadrature: str = "gauss-legendre",
    multiply: bool | None = None, delta: bool = True, chunk: int | str | None = None, **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    b = job.b
    vertices = [job.carried(e, partial(_vertices, path=path), lead=1) for e in job.explained]

    def vertex(numbers: Tensor, index: int) -> Tensor:
        every = vertices[index]
        return replace(b.Gather(every, numbers, axis=0), dtype=every.dtype, shape=("points", *(every.shape or ())[1:]))

    made = chain(job, b.Shape(vertices[0], start=0, end=1), vertex)
    return integrate(
        job, made, inner=inner, options=options, steps=steps, quadrature=quadrature, multiply=multiply, delta=delta, chunk=chunk
    )


def _vertices(job: Job, explained: Explained, *, path: Any) -> Tensor:
    """The points of a path before the input: [points, samples or 1, …], baked in or given at run time."""
    x = explained.tensor
    value = path.get(explained.name) if isinstance(path, Mapping) else path
    if isinstance(value, str) and value == "input":
        key = ("path", explained.name)
        if key not in job.extra_inputs:
            name = "path" if len(job.explained) == 1 else f"{explained.name}_path"
            job.extra_inputs[key] = replace(x, name=job.graph.fresh(name), shape=("vertices", *(x.shape or ())))
        return job.extra_inputs[key]
    if value is None or isinstance(value, str):
        raise MethodError(f"the path of '{explained.name}' is an array [points, samples or 1, …], or 'input' for run time")
    array = np.asarray(value)
    if array.ndim != x.rank + 1 or array.dtype.kind not in "fiu" or not fits(array[0], x):
        raise InputError(
            f"the path of '{explained.name}' {named_dims(x)} is an array [points, samples or 1, …]; got {list(array.shape)} "
            f"of {array.dtype}"
        )
    extents = [1 if n == 1 else d for n, d in zip(array.shape[1:], x.shape or (), strict=True)]
    return replace(job.b.const(array, x.dtype), shape=(array.shape[0], *extents))
