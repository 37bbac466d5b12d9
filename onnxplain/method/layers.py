"""Layers and neurons: how the score depends on an inner tensor while the inputs vary, and on inputs by way of a neuron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.target import parse_target
from onnxplain.errors import MethodError, TargetError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import over_targets, result_like
from onnxplain.method.baselines import has_several, reference
from onnxplain.method.context import AttributionContext
from onnxplain.method.cotangent import emit_cotangent
from onnxplain.method.path import integrate, straight
from onnxplain.method.registry import method
from onnxplain.method.sampling.accumulate import Sum, accumulate, entries
from onnxplain.method.sampling.quadrature import nodes_and_weights

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
    multi_point=True,
    attributes_to="layer",
)
def conductance(
    context: AttributionContext, *, steps: int = 50, quadrature: str = "riemann-middle", chunk: int | str | None = None
) -> dict[Tensor, Tensor]:
    """The conductance of each layer: Σ over steps k of ∂f/∂y at step k · (y at its end − y at its start).

    The layer's own steps add up to its change, however few they are.
    """
    if quadrature not in EDGES:
        raise MethodError(f"conductance takes the quadratures {', '.join(EDGES)}; got '{quadrature}'")
    starts, weights = nodes_and_weights("riemann-left", steps)
    b = context.b

    def moved_on(start: AttributionContext, position: float) -> AttributionContext:
        """The context as far from the start of a step as `position` says, 1 being its end."""
        if position == 0:
            return start
        points = {}
        for e, x in zip(start.explained, start.sources, strict=True):
            here = start.at_points(e, lambda context, own: own.tensor)
            step = b.Mul(b.Sub(here, reference(start, e)), position / steps)
            points[x] = b.Add(x, step)
        return start.at(points)

    def attribute(start: AttributionContext) -> list[Tensor]:
        end = moved_on(start, 1.0)
        there = [moved_on(start, position) for position in EDGES[quadrature]]

        def share(one: AttributionContext) -> list[Tensor]:
            slopes = [_slopes(context.with_point(cotangent=one.cotangent, identity_cotangents=None)) for context in there]
            made = []
            for i, (y, z) in enumerate(zip(start.layers, end.layers, strict=True)):
                mean = b.Div(b.total([s[i] for s in slopes]), len(slopes))
                made.append(b.Mul(mean, b.Sub(z.tensor, y.tensor)))
            return made

        return over_targets(start, share, [e.axis for e in start.layers])

    return _at_layers(context, steps, starts, weights * steps, attribute, chunk)


@method(
    "internal-influence",
    summary="The gradient at a layer, averaged while the inputs go from a baseline to themselves",
    formula="∫ ∂f/∂y at x′ + α(x − x′) dα, y the layer",
    source="Leino, Sen, Datta, Fredrikson, Li 2018, Influence-Directed Explanations for Deep Convolutional Networks, section 2",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    multi_point=True,
    per_unit=True,
    attributes_to="layer",
)
def internal_influence(
    context: AttributionContext, *, steps: int = 50, quadrature: str = "gauss-legendre", chunk: int | str | None = None
) -> dict[Tensor, Tensor]:
    def attribute(moved: AttributionContext) -> list[Tensor]:
        return over_targets(moved, _slopes, [e.axis for e in moved.layers])

    return _at_layers(context, steps, *nodes_and_weights(quadrature, steps), attribute, chunk)


@method(
    "gradient-through",
    summary="The part of the gradient that goes through one neuron or through one layer",
    formula="∂f/∂y · ∂y/∂x, y the neuron",
    source=f"{CONDUCTANCE}, section 3",
    axioms=("implementation-invariance",),
    per_unit=True,
    attributes_to="input",
)
def gradient_through(context: AttributionContext, *, neuron: Neuron = None) -> dict[Tensor, Tensor]:
    (layer,) = context.layers
    y = layer.tensor
    slope = context.gradient(of=[y])[y]
    if neuron is not None:
        slope = context.b.Mul(slope, _chosen(context, layer, neuron))
    return context.with_point(target=y, cotangent=slope).gradient()


@method(
    "neuron-conductance",
    summary="How much of the score's change from a baseline flows from each input element through one neuron",
    formula="(x − x′) · ∫ ∂f/∂y · ∂y/∂x at x′ + α(x − x′) dα, y the neuron",
    source=f"{CONDUCTANCE}, section 3, eq. 2",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    multi_point=True,
    attributes_to="input",
)
def neuron_conductance(
    context: AttributionContext,
    *,
    neuron: Neuron = None,
    steps: int = 50,
    quadrature: str = "gauss-legendre",
    chunk: int | str | None = None,
) -> dict[Tensor, Tensor]:
    return integrate(
        context, straight(context), inner="gradient-through", options={"neuron": neuron}, steps=steps, quadrature=quadrature,
        multiply=True, delta=False, chunk=chunk,
    )  # fmt: skip


def _slopes(context: AttributionContext) -> list[Tensor]:
    """The gradient at each layer."""
    layers = [e.tensor for e in context.layers]
    found = context.gradient(of=layers)
    return [found[y] for y in layers]


def _at_layers(
    context: AttributionContext, steps: int, positions: np.ndarray[Any, Any], weights: np.ndarray[Any, Any],
    attribute: Callable[[AttributionContext], Sequence[Tensor]], chunk: int | str | None,
) -> dict[Tensor, Tensor]:  # fmt: skip
    """Σ weight · the attribution at the layers, for inputs at these positions on the line from the baseline."""
    b = context.b
    if any(has_several(context, e) for e in context.explained):
        raise MethodError("a layer's path starts at one baseline, shared by all samples or one per sample; got several of them")

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        made = {}
        for e, x in zip(context.explained, context.sources, strict=True):
            start = reference(context, e)
            step = b.Mul(entries(b, positions, numbers, x, x.rank + 1), b.Unsqueeze(b.Sub(x, start), [0]))
            made[x] = b.Add(b.Unsqueeze(start, [0]), step)
        return made

    layers = [e.tensor for e in context.layers]
    likes = [result_like(context, y) for y in layers]
    made = accumulate(context, b.const([steps]), points, attribute, Sum(partial(entries, b, weights)), chunk=chunk, likes=likes)
    return dict(zip(layers, made, strict=True))


def _chosen(context: AttributionContext, layer: Explained, neuron: Neuron) -> Tensor:
    """1 at the chosen neurons, 0 elsewhere, in the layer's shape."""
    target = parse_target(tuple(neuron) if isinstance(neuron, list) else neuron)
    if target.kind != "element":
        raise MethodError(f"a neuron is one choice for each axis of the layer after the samples, as 3 or 3,10,12; got {neuron!r}")
    try:
        return emit_cotangent(context.b, layer.tensor, target, ranked=layer.tensor, samples=layer.axis)
    except TargetError as error:
        raise MethodError(str(error).replace("target", "neuron", 1).replace("output", "layer")) from None
