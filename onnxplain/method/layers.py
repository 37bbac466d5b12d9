"""Layers and neurons: how the score depends on an inner tensor while the inputs vary, and on inputs by way of a neuron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from onnxplain.analysis.target import parse_target
from onnxplain.errors import MethodError, TargetError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import over_targets, result_like
from onnxplain.method.baselines import has_several, reference
from onnxplain.method.context import AttributionContext
from onnxplain.method.path import integrate, straight
from onnxplain.method.registry import method
from onnxplain.method.sampling.accumulate import Sum, entries, repeated
from onnxplain.method.sampling.quadrature import nodes_and_weights
from onnxplain.method.seed import emit_seed

__all__: list[str] = []

Neuron = int | str | Sequence[Any] | None
"""An element of a layer, one choice for each axis after the samples as for a target; None for all of them."""

CONDUCTANCE = "Dhamdhere, Sundararajan, Yan 2018, How Important Is a Neuron?"

EDGES = {"riemann-left": (0.0,), "riemann-right": (1.0,), "riemann-middle": (0.5,), "riemann-trapezoid": (0.0, 1.0)}
"""Where within a step gradients are taken."""


@method(
    "conductance",
    summary="How much of the score's change from a baseline flows through each neuron of a layer",
    formula="∫ ∂f/∂y · dy/dα dα, y the layer at x′ + α(x − x′)",
    source=f"{CONDUCTANCE}, section 3",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    repeats=True,
    lands="layer",
)
def conductance(
    job: AttributionContext, *, steps: int = 50, quadrature: str = "riemann-middle", chunk: int | str | None = None
) -> dict[Tensor, Tensor]:
    """The conductance of each layer: Σ over steps k of ∂f/∂y at step k · (y at its end − y at its start).

    The layer's own steps add up to its change, however few they are.
    """
    if quadrature not in EDGES:
        raise MethodError(f"conductance takes the quadratures {', '.join(EDGES)}; got '{quadrature}'")
    starts, weights = nodes_and_weights("riemann-left", steps)
    b = job.b

    def moved_on(start: AttributionContext, position: float) -> AttributionContext:
        """The job as far from the start of a step as `position` says, 1 being its end."""
        if position == 0:
            return start
        points = {}
        for e, x in zip(start.explained, start.sources, strict=True):
            here = start.carried(e, lambda job, own: own.tensor)
            step = b.Mul(b.Sub(here, reference(start, e)), position / steps)
            points[x] = replace(b.Add(x, step), dtype=x.dtype, shape=x.shape)
        return start.at(points)

    def attribute(start: AttributionContext) -> list[Tensor]:
        end = moved_on(start, 1.0)
        there = [moved_on(start, position) for position in EDGES[quadrature]]

        def share(one: AttributionContext) -> list[Tensor]:
            slopes = [_slopes(job.with_point(seed=one.seed, identity_seeds=None)) for job in there]
            made = []
            for i, (y, z) in enumerate(zip(start.layers, end.layers, strict=True)):
                mean = b.Div(b.total([s[i] for s in slopes]), len(slopes))
                made.append(replace(b.Mul(mean, b.Sub(z.tensor, y.tensor)), shape=y.tensor.shape))
            return made

        return over_targets(start, share)

    return _at_layers(job, steps, starts, weights * steps, attribute, chunk)


@method(
    "internal-influence",
    summary="The gradient at a layer, averaged while the inputs go from a baseline to themselves",
    formula="∫ ∂f/∂y at x′ + α(x − x′) dα, y the layer",
    source="Leino, Sen, Datta, Fredrikson, Li 2018, Influence-Directed Explanations for Deep Convolutional Networks, section 2",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    repeats=True,
    per_unit=True,
    lands="layer",
)
def internal_influence(
    job: AttributionContext, *, steps: int = 50, quadrature: str = "gauss-legendre", chunk: int | str | None = None
) -> dict[Tensor, Tensor]:
    def attribute(moved: AttributionContext) -> list[Tensor]:
        return over_targets(moved, _slopes)

    return _at_layers(job, steps, *nodes_and_weights(quadrature, steps), attribute, chunk)


@method(
    "gradient-through",
    summary="The part of the gradient that goes through one neuron or through one layer",
    formula="∂f/∂y · ∂y/∂x, y the neuron",
    source=f"{CONDUCTANCE}, section 3",
    axioms=("implementation-invariance",),
    per_unit=True,
    lands="input",
)
def gradient_through(job: AttributionContext, *, neuron: Neuron = None) -> dict[Tensor, Tensor]:
    (layer,) = job.layers
    y = layer.tensor
    slope = job.gradient(of=[y])[y]
    if neuron is not None:
        slope = replace(job.b.Mul(slope, _chosen(job, y, neuron)), dtype=y.dtype, shape=y.shape)
    return job.with_point(target=y, seed=slope).gradient()


@method(
    "neuron-conductance",
    summary="How much of the score's change from a baseline flows from each input element through one neuron",
    formula="(x − x′) · ∫ ∂f/∂y · ∂y/∂x at x′ + α(x − x′) dα, y the neuron",
    source=f"{CONDUCTANCE}, section 3, eq. 2",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    repeats=True,
    lands="input",
)
def neuron_conductance(
    job: AttributionContext,
    *,
    neuron: Neuron = None,
    steps: int = 50,
    quadrature: str = "gauss-legendre",
    chunk: int | str | None = None,
) -> dict[Tensor, Tensor]:
    return integrate(
        job, straight(job), inner="gradient-through", options={"neuron": neuron}, steps=steps, quadrature=quadrature,
        multiply=True, delta=False, chunk=chunk,
    )  # fmt: skip


def _slopes(job: AttributionContext) -> list[Tensor]:
    """The gradient at each layer."""
    layers = [e.tensor for e in job.layers]
    found = job.gradient(of=layers)
    return [found[y] for y in layers]


def _at_layers(
    job: AttributionContext, steps: int, positions: np.ndarray[Any, Any], weights: np.ndarray[Any, Any],
    attribute: Callable[[AttributionContext], Sequence[Tensor]], chunk: int | str | None,
) -> dict[Tensor, Tensor]:  # fmt: skip
    """Σ weight · the attribution at the layers, for inputs at these positions on the line from the baseline."""
    b = job.b
    if any(has_several(job, e) for e in job.explained):
        raise MethodError("a layer's path starts at one baseline, shared by all samples or one per sample; got several of them")

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        made = {}
        for e, x in zip(job.explained, job.sources, strict=True):
            start = reference(job, e)
            step = b.Mul(entries(b, positions, numbers, x, x.rank + 1), b.Unsqueeze(b.Sub(x, start), [0]))
            made[x] = replace(b.Add(b.Unsqueeze(start, [0]), step), dtype=x.dtype, shape=("points", *(x.shape or ())))
        return made

    layers = [e.tensor for e in job.layers]
    likes = [result_like(job, y) for y in layers]
    made = repeated(job, b.const([steps]), points, attribute, Sum(partial(entries, b, weights)), chunk=chunk, likes=likes)
    return dict(zip(layers, made, strict=True))


def _chosen(job: AttributionContext, y: Tensor, neuron: Neuron) -> Tensor:
    """1 at the chosen neurons, 0 elsewhere, in the layer's shape."""
    target = parse_target(tuple(neuron) if isinstance(neuron, list) else neuron)
    if target.kind != "element":
        raise MethodError(f"a neuron is one choice for each axis of the layer after the samples, as 3 or 3,10,12; got {neuron!r}")
    try:
        return emit_seed(job.b, y, target, ranked=y, batched=job.batched)
    except TargetError as error:
        raise MethodError(str(error).replace("target", "neuron", 1).replace("output", "layer")) from None
