"""Methods that integrate along a path of inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.builder.builder import Builder
from onnxplain.errors import InputError, MethodError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import beside_targets, between, change_since, contribution, difference, gap, score
from onnxplain.method.baselines import fits, has_several, reference, references, shared_baseline, still_missing
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import find_method, method
from onnxplain.method.sampling.accumulate import (
    Points,
    RunningMean,
    Sum,
    accumulate,
    along_points,
    at_one_point,
    at_shared_point,
    entries,
)
from onnxplain.method.sampling.chunk_size import Chunk
from onnxplain.method.sampling.linear_ends import reduced
from onnxplain.method.sampling.quadrature import nodes_and_weights

__all__ = ["Path", "integrate"]


Vertex = Callable[[Tensor, int], Tensor]
"""From vertex numbers (int64 [c]) and the index of an explained tensor: the vertices, [c or 1, samples or 1, …]."""


@dataclass(frozen=True)
class Path:
    """Straight segments. `ends` says where the segments of given numbers start and end; there are `segments` (int64 [1]).

    Several `lines` (int64 [1]) of equally many segments are averaged; `start` says where each begins. All end at the input.
    Where there is one segment, its ends have an extent of 1 for the numbers.
    """

    segments: Tensor
    lines: Tensor
    ends: Callable[[Tensor, int], tuple[Tensor, Tensor]]
    start: Vertex


def chain(context: AttributionContext, count: Tensor, vertex: Vertex) -> Path:
    """The path through `count` (int64 [1]) vertices to the input."""
    b = context.b

    def ends(numbers: Tensor, index: int) -> tuple[Tensor, Tensor]:
        x = context.sources[index]
        following = b.Add(numbers, 1)
        last = along_points(b, b.Equal(following, count), x.rank + 1)
        there = vertex(b.Min(following, b.Sub(count, 1)), index)
        end = b.Where(last, x, there)
        return vertex(numbers, index), end

    return Path(count, b.const([1]), ends, vertex)


def integrate(
    context: AttributionContext,
    path: Path,
    *,
    inner: str,
    options: Mapping[str, Any],
    steps: int,
    quadrature: str,
    multiply: bool | None,
    delta: bool,
    chunk: Chunk,
) -> dict[Tensor, Tensor]:
    """Σ over segments and nodes of weight · M(point) · (end − start), for M the inner method, averaged over lines.

    An inner method whose attributions are not per unit of the input is averaged along the path instead: no factor.
    """
    b = context.b
    positions, weights = nodes_and_weights(quadrature, steps)
    times = find_method(inner).per_unit if multiply is None else multiply
    share = path.lines if times else path.segments  # of a line's own steps, or an average over all
    single = b.ints(path.segments) == [1]

    def pick(table: np.ndarray[Any, Any], numbers: Tensor, like: Tensor, rank: int = 1) -> Tensor:
        return entries(b, table, numbers if single else b.Mod(numbers, steps), like, rank)

    def ends(numbers: Tensor, index: int) -> tuple[Tensor, Tensor]:
        segments = b.const([0]) if single else b.Div(numbers, steps)
        return path.ends(segments, index)

    def step(numbers: Tensor, index: int) -> Tensor:
        start, end = ends(numbers, index)
        return difference(context, end, start)

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        made = {}
        for i, x in enumerate(context.sources):
            start, end = ends(numbers, i)
            position = pick(positions, numbers, x, x.rank + 1)
            made[x] = between(context, start, end, step(numbers, i), position)
        return made

    def place(numbers: Tensor, index: int, value: Tensor) -> Tensor:
        factor = beside_targets(context, step(numbers, index), context.sources[index], lead=1)
        return contribution(context, value, factor)

    def placed(index: int, value: Tensor) -> Tensor:
        only = b.Squeeze(step(path.segments, index), [0])
        return contribution(context, value, beside_targets(context, only, context.sources[index]))

    def starts(numbers: Tensor) -> dict[Tensor, Tensor]:
        return {x: path.start(numbers, i) for i, x in enumerate(context.sources)}

    known = b.ints(share)
    scaled = weights / known[0] if known else weights

    def weight(numbers: Tensor, values: Tensor) -> Tensor:
        chosen = pick(scaled, numbers, values)
        return chosen if known else b.Div(chosen, b.Squeeze(b.cast(share, chosen)))

    each = place if times and not single else None
    made = reduced(context, b.Mul(path.segments, steps), points, inner, options, Sum(weight), chunk=chunk, place=each)
    if times and single:  # the same factor at all points
        made = [placed(i, value) for i, value in enumerate(made)]
    if delta and context.origin is None:
        context.report("delta", completeness_gap(context, made, path.lines, starts, chunk))
    return dict(zip(context.sources, made, strict=True))


def completeness_gap(
    context: AttributionContext, made: Sequence[Tensor], count: Tensor, baselines: Points, chunk: Chunk
) -> Tensor:
    """What attributions sum to beyond the score's difference from its mean over `count` (int64 [1]) baselines: [samples].

    It is 0 where the integral is exact; with all targets [samples, targets].
    """
    b = context.b
    if b.ints(count) == [1]:
        return gap(context, made, change_since(context, at_shared_point(context, baselines) or at_one_point(context, baselines)))
    here = score(context)
    (there,) = accumulate(context, count, baselines, lambda moved: [score(moved)], RunningMean(), chunk=chunk, likes=[here])
    return gap(context, made, b.Sub(here, there))


@method(
    "integrated-gradients",
    summary="The score's difference from a baseline, shared among the elements by the gradients on the straight line between",
    formula="(x − x′) · ∫₀¹ ∂f/∂x at x′ + α(x − x′) dα",
    source="Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks",
    axioms=("completeness", "sensitivity", "implementation-invariance"),
    needs_baseline=True,
    multi_point=True,
)
def integrated_gradients(
    context: AttributionContext,
    *,
    inner: str = "gradient",
    steps: int = 50,
    quadrature: str = "gauss-legendre",
    multiply: bool | None = None,
    delta: bool = True,
    chunk: int | str | None = None,
    **options: Any,
) -> dict[Tensor, Tensor]:
    path = straight(context)
    return integrate(
        context,
        path,
        inner=inner,
        options=options,
        steps=steps,
        quadrature=quadrature,
        multiply=multiply,
        delta=delta,
        chunk=chunk,
    )


def alone(b: Builder, x: Tensor) -> Tensor:
    """A tensor with an axis of extent 1 in front: [1, …]."""
    return b.Unsqueeze(x, [0])


def straight(context: AttributionContext) -> Path:
    """From each baseline straight to the input."""
    b = context.b
    several = [has_several(context, e) for e in context.explained]
    starts = [
        references(context, e) if many else alone(b, shared_baseline(context, e) or reference(context, e))
        for e, many in zip(context.explained, several, strict=True)
    ]
    counts = {n for n in (s.dim(0) for s in starts) if isinstance(n, int)}
    if len(counts - {1}) > 1:
        raise InputError(f"the explained inputs have different numbers of baselines: {', '.join(map(str, sorted(counts)))}")
    lines = max(counts)

    def start(numbers: Tensor, index: int) -> Tensor:
        all_of_them = starts[index]
        if all_of_them.dim(0) == 1:
            return all_of_them
        return b.Gather(all_of_them, numbers, axis=0)

    def ends(numbers: Tensor, index: int) -> tuple[Tensor, Tensor]:
        return start(numbers, index), context.sources[index]

    return Path(b.const([lines]), b.const([lines]), ends, start)


@method(
    "path-integrated-gradients",
    summary="The score's change along a path of your own through several points to the input, shared by the gradients on the way",
    formula="∫ ∂f/∂x · dγ along γ, straight from point to point",
    source="Sundararajan, Taly, Yan 2017, Axiomatic Attribution for Deep Networks, section 4",
    axioms=("completeness", "implementation-invariance"),
    multi_point=True,
)
def path_integrated_gradients(
    context: AttributionContext, *, path: Any = "input", inner: str = "gradient", steps: int = 10,
    quadrature: str = "gauss-legendre", multiply: bool | None = None, delta: bool = True, chunk: int | str | None = None,
    **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    b = context.b
    given = [context.at_points(e, partial(_vertices, path=path), lead=1) for e in context.explained]
    vertices = [still_missing(context, alone(b, x), v) for x, v in zip(context.sources, given, strict=True)]

    def vertex(numbers: Tensor, index: int) -> Tensor:
        every = vertices[index]
        return b.Gather(every, numbers, axis=0)

    made = chain(context, b.Shape(vertices[0], start=0, end=1), vertex)
    return integrate(
        context,
        made,
        inner=inner,
        options=options,
        steps=steps,
        quadrature=quadrature,
        multiply=multiply,
        delta=delta,
        chunk=chunk,
    )


def _vertices(context: AttributionContext, explained: Explained, *, path: Any) -> Tensor:
    """The points of a path before the input: [points, samples or 1, …], baked in or given at run time."""
    x = explained.tensor
    value = path.get(explained.name) if isinstance(path, Mapping) else path
    if isinstance(value, str) and value == "input":

        def make() -> Tensor:
            name = "path" if len(context.explained) == 1 else f"{explained.name}_path"
            return replace(x, name=context.graph.fresh(name), shape=("vertices", *(x.shape or ())))

        return context.outputs.run_time_input("path", explained.name, make)
    if value is None or isinstance(value, str):
        raise MethodError(f"the path of '{explained.name}' is an array [points, samples or 1, …], or 'input' for run time")
    array = np.asarray(value)
    if array.ndim != x.rank + 1 or array.dtype.kind not in "fiu" or not fits(array[0], x):
        raise InputError(
            f"the path of '{explained.name}' {named_dims(x)} is an array [points, samples or 1, …]; got {list(array.shape)} "
            f"of {array.dtype}"
        )
    return context.bake_in(f"the path of '{explained.name}'", array, x)
