"""Methods that average over noisy copies of the input, around any other method."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.errors import MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method
from onnxplain.method.sampling.accumulate import Reduction, RunningMean, Variance
from onnxplain.method.sampling.chunk_size import Chunk
from onnxplain.method.sampling.counter_rng import normal_like
from onnxplain.method.sampling.linear_ends import reduced

__all__ = ["SEEDED", "noisy"]

SEEDED = "seeded"
"""Noise that the graph makes itself."""


def noisy(
    context: AttributionContext, numbers: Tensor, index: int, *, level: float, unit: str, seed: int, noise: str, draws: int
) -> Tensor:  # fmt: skip
    """An explained tensor with noise: [c, samples, …], one row per draw number."""
    b, e = context.b, context.explained[index]
    x = e.tensor
    if x.shape is None:
        raise MethodError(f"the rank of '{e.name}' is unknown; re-export the model with shape information")
    axis = context.sample_axis(x)
    if unit == "range":
        others = [i for i in range(x.rank) if i != axis]
        low, high = x, x
        if context.takes_missing:
            low, high = (b.Where(b.IsNaN(x), beyond, x) for beyond in (np.inf, -np.inf))
        elif context.has_infinite:  # the range of the others, which noise leaves infinite
            low, high = (b.Where(b.Equal(b.Abs(x), np.inf), beyond, x) for beyond in (np.inf, -np.inf))
        scale = b.Mul(b.Sub(b.ReduceMax(high, others, keepdims=1), b.ReduceMin(low, others, keepdims=1)), level)
    else:
        scale = b.const(level, x.dtype)
    if noise == SEEDED:
        drawn = normal_like(b, numbers, x, axis, seed, index, draws)
    else:
        drawn = b.Gather(context.at_points(e, _given_noise, lead=1), numbers, axis=0)
    return b.Add(x, b.Mul(b.cast(drawn, x), scale))


def _given_noise(context: AttributionContext, explained: Explained) -> Tensor:
    """The run-time input of the noise, [samples, …], made once."""
    x = explained.tensor

    def make() -> Tensor:
        name = "noise" if len(context.explained) == 1 else f"{explained.name}_noise"
        return replace(x, name=context.graph.fresh(name), shape=("draws", *(x.shape or ())))

    return context.outputs.run_time_input("noise", explained.name, make)


def _smoothed(
    context: AttributionContext,
    reduction: Reduction,
    *,
    inner: str,
    options: Mapping[str, Any],
    samples: int,
    noise_level: float,
    noise_unit: str,
    noise: str,
    seed: int,
    chunk: Chunk,
    squared: bool = False,
) -> dict[Tensor, Tensor]:
    """The reduction of an inner method's attributions at noisy copies of the input."""
    b = context.b
    check_draws(samples, noise_level, noise_unit, noise)
    count = b.const([samples])
    if noise != SEEDED:
        count = b.Shape(context.at_points(context.explained[0], _given_noise, lead=1), start=0, end=1)

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        return {
            x: noisy(context, numbers, i, level=noise_level, unit=noise_unit, seed=seed, noise=noise, draws=samples)
            for i, x in enumerate(context.sources)
        }

    def place(numbers: Tensor, index: int, value: Tensor) -> Tensor:
        return b.Mul(value, value)

    made = reduced(context, count, points, inner, options, reduction, chunk=chunk, place=place if squared else None)
    return dict(zip(context.sources, made, strict=True))


def check_draws(samples: int, noise_level: float, noise_unit: str, noise: str) -> None:
    """Check the options of random draws."""
    if not isinstance(samples, int) or samples < 1:
        raise MethodError(f"samples must be at least 1, got {samples!r}")
    if not noise_level >= 0:
        raise MethodError(f"noise_level must not be negative, got {noise_level!r}")
    if noise_unit not in ("range", "absolute"):
        raise MethodError(f"noise_unit is 'range' (of each sample's values) or 'absolute', got '{noise_unit}'")
    if noise not in (SEEDED, "input"):
        raise MethodError(f"noise is '{SEEDED}' or 'input' for run time, got '{noise}'")


@method(
    "smoothgrad",
    summary="The gradient (or another method) averaged over noisy copies of the input: without its small-scale fluctuations",
    formula="1/m Σ M(x + σ·εₖ), εₖ normal",
    source="Smilkov, Thorat, Kim, Viégas, Wattenberg 2017, SmoothGrad: removing noise by adding noise",
    axioms=("implementation-invariance",),
    multi_point=True,
)
def smoothgrad(
    context: AttributionContext, *, inner: str = "gradient", samples: int = 50, noise_level: float = 0.15,
    noise_unit: str = "range", noise: str = SEEDED, seed: int = 0, chunk: int | str | None = None, **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    return _smoothed(
        context, RunningMean(), inner=inner, options=options, samples=samples, noise_level=noise_level, noise_unit=noise_unit,
        noise=noise, seed=seed, chunk=chunk,
    )  # fmt: skip


@method(
    "smoothgrad-squared",
    summary="The mean square of the gradient (or another method) over noisy copies of the input",
    formula="1/m Σ M(x + σ·εₖ)²",
    source="Hooker, Erhan, Kindermans, Kim 2019, A Benchmark for Interpretability Methods in Deep Neural Networks",
    axioms=("implementation-invariance",),
    signed=False,
    multi_point=True,
)
def smoothgrad_squared(
    context: AttributionContext, *, inner: str = "gradient", samples: int = 50, noise_level: float = 0.15,
    noise_unit: str = "range", noise: str = SEEDED, seed: int = 0, chunk: int | str | None = None, **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    return _smoothed(
        context, RunningMean(), inner=inner, options=options, samples=samples, noise_level=noise_level, noise_unit=noise_unit,
        noise=noise, seed=seed, chunk=chunk, squared=True,
    )  # fmt: skip


@method(
    "vargrad",
    summary="The variance of the gradient (or another method) over noisy copies of the input",
    formula="1/m Σ (M(x + σ·εₖ) − mean)²",
    source="Adebayo, Gilmer, Goodfellow, Kim 2018, Local Explanation Methods for Deep Neural Networks Lack Sensitivity",
    axioms=("implementation-invariance",),
    signed=False,
    multi_point=True,
)
def vargrad(
    context: AttributionContext, *, inner: str = "gradient", samples: int = 50, noise_level: float = 0.15,
    noise_unit: str = "range", noise: str = SEEDED, seed: int = 0, chunk: int | str | None = None, **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    return _smoothed(
        context, Variance(), inner=inner, options=options, samples=samples, noise_level=noise_level, noise_unit=noise_unit,
        noise=noise, seed=seed, chunk=chunk,
    )  # fmt: skip
