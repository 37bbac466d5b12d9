"""Integrated gradients along a path of ever less blurred inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.errors import MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext
from onnxplain.method.path import chain, integrate
from onnxplain.method.registry import method

__all__ = ["blurred_axes"]


@method(
    "blur-integrated-gradients",
    summary="Integrated gradients from a blurred input to the input itself: no baseline to choose, and scales told apart",
    formula="∫ ∂f/∂x · dx̃, x̃ = x blurred by σ, σ from its start to 0",
    source="Xu, Venugopalan, Sundararajan 2020, Attribution in Scale and Space",
    axioms=("completeness", "implementation-invariance"),
    multi_point=True,
)
def blur_integrated_gradients(
    context: AttributionContext,
    *,
    sigma: float | None = None,
    axes: Sequence[int] | None = None,
    inner: str = "gradient",
    steps: int = 50,
    multiply: bool | None = None,
    delta: bool = True,
    chunk: int | str | None = None,
    **options: Any,
) -> dict[Tensor, Tensor]:
    _refuse_infinite(context)
    b = context.b
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise MethodError(f"steps must be at least 1, got {steps!r}")
    falling = 1 - np.arange(steps) / steps

    def vertex(numbers: Tensor, index: int) -> Tensor:
        e = context.explained[index]
        over = blurred_axes(context, e, axes)
        widths = b.const((falling * _first_sigma(e, sigma, over)).astype(np.float32))
        chosen = b.Gather(widths, numbers)
        return blurred(context, e.tensor, chosen, over)

    path = chain(context, b.const([steps]), vertex)
    return integrate(
        context,
        path,
        inner=inner,
        options=options,
        steps=1,
        quadrature="riemann-middle",
        multiply=multiply,
        delta=delta,
        chunk=chunk,
    )


def blurred(context: AttributionContext, x: Tensor, sigmas: Tensor, axes: Sequence[int]) -> Tensor:
    """Gaussian blurs of these widths [c], one after the other: [c, …]. At the border weights are those of what is inside, scaled
    to sum to 1, so that a constant stays what it is."""
    b = context.b
    made = b.cast(b.Unsqueeze(x, [0]), sigmas)
    rank = x.rank + 1
    for axis in axes:
        places = b.cast(b.Range(0, b.Squeeze(b.dim(x, axis)), 1), sigmas)
        apart = b.Sub(b.Unsqueeze(places, [0]), b.Unsqueeze(places, [1]))
        scaled = b.Div(b.Unsqueeze(apart, [0]), b.Unsqueeze(sigmas, [1, 2]))
        weights = b.Exp(b.Mul(b.Mul(scaled, scaled), -0.5))  # [c, from, to]
        weights = b.Div(weights, b.ReduceSum(weights, [1], keepdims=1))
        swapped = list(range(rank))
        swapped[axis + 1], swapped[-1] = swapped[-1], swapped[axis + 1]
        moved = b.transpose(made, swapped)
        product = b.MatMul(moved, b.Unsqueeze(weights, list(range(1, rank - 2))) if rank > 3 else weights)
        made = b.transpose(product, swapped)
    return b.cast(made, x)


def _refuse_infinite(context: AttributionContext) -> None:
    if context.has_infinite:
        names = ", ".join(f"'{e.name}'" for e in context.explained)
        raise MethodError(
            f"what is explained ({names}) holds infinite numbers of the model's own, of which there is no blur: "
            "choose what to explain by its name (inputs)"
        )


def blurred_axes(context: AttributionContext, explained: Explained, axes: Sequence[int] | None) -> list[int]:
    """The axes along which an explained tensor is blurred: those given, else all after the channels."""
    x = explained.tensor
    own = [axis for axis in range(x.rank) if axis != explained.axis]
    chosen = own[1:] if axes is None else [a % x.rank for a in axes if -x.rank <= a < x.rank]
    wrong = axes is not None and len(chosen) != len(axes)
    if not chosen or wrong or explained.axis in chosen:
        raise MethodError(
            f"'{explained.name}' has {x.rank} axes; name those of space or time, e.g. axes=[2, 3] for [samples, channels, "
            "height, width] or axes=[1, 2] for channels last"
        )
    return list(chosen)


def _first_sigma(explained: Explained, sigma: float | None, axes: Sequence[int]) -> float:
    """The width of the blur at the start of the path, in elements: a quarter of the largest extent where none is given."""
    if sigma is not None:
        if not sigma > 0:
            raise MethodError(f"sigma is the width of the blur at the start, in elements, and positive; got {sigma!r}")
        return float(sigma)
    extents = [explained.tensor.dim(axis) for axis in axes]
    known = [d for d in extents if isinstance(d, int)]
    if len(known) < len(extents):
        raise MethodError(f"the extents of '{explained.name}' are not known before a run: give sigma, in elements")
    return max(known) / 4
