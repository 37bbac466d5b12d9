"""Methods that integrate along a path of inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxplain.attributing import beside_targets, per_sample, score
from onnxplain.baselines import has_several
from onnxplain.builder import Builder
from onnxplain.chunks import Chunk
from onnxplain.errors import InputError
from onnxplain.job import Job
from onnxplain.method import find_method, inner_method, method
from onnxplain.quadrature import nodes_and_weights
from onnxplain.repeated import Mean, Sum, along_points, repeated
from onnxplain.tensor import Tensor

__all__ = ["Path", "integrate"]


Ends = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""From segment numbers (int64 [c]) and the index of an explained tensor: where the segments start and end, [c or 1, …]."""


@dataclass(frozen=True)
class Path:
    """Straight segments, one after the other; several `lines` of equally many segments are averaged.

    `start` and `end` are the points where each line begins and ends: from line numbers (int64 [c]) and the index of an
    explained tensor.
    """

    segments: int
    lines: int
    ends: Ends
    start: Callable[[Tensor, int], Tensor]


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
    share = path.lines if times else path.segments

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

    reduction = Sum(lambda numbers: pick(weights / share, numbers))
    evaluate = inner_method(inner, options, chunk)
    count = b.const([path.segments * steps])
    made = repeated(job, count, points, evaluate, reduction, chunk=chunk, place=place if times else None)
    if delta and job.origin is None:
        job.reports["delta"] = _gap(job, path, made, chunk)
    return dict(zip(job.sources, made, strict=True))


def _gap(job: Job, path: Path, made: list[Tensor], chunk: Chunk) -> Tensor:
    """What attributions sum to beyond the difference of the scores at both ends of the path: 0 if the integral is exact."""
    b = job.b

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        return {x: path.start(numbers, i) for i, x in enumerate(job.sources)}

    here = score(job)
    (there,) = repeated(job, b.const([path.lines]), points, lambda moved: [score(moved)], Mean(), chunk=chunk, likes=[here])
    total = b.total([replace(per_sample(job, m), shape=here.shape) for m in made])
    gap = b.Sub(b.cast(total, here), b.Sub(here, there))
    return replace(gap, dtype=here.dtype, shape=here.shape)


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
    delta: bool = True, chunk: Chunk = None, **options: Any,
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

    return Path(lines, lines, ends, start)
