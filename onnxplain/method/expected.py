"""Expected gradients: integrated gradients averaged over a distribution of baselines, by random draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.errors import MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import beside_targets, between, contribution, difference
from onnxplain.method.baselines import references
from onnxplain.method.context import AttributionContext
from onnxplain.method.noise import SEEDED, check_draws, noisy
from onnxplain.method.path import completeness_gap
from onnxplain.method.registry import find_method, method
from onnxplain.method.sampling.accumulate import RunningMean
from onnxplain.method.sampling.counter_rng import uniform_table
from onnxplain.method.sampling.linear_ends import reduced

__all__: list[str] = []

POSITION, REFERENCE = 1 << 16, (1 << 16) + 1
"""Streams of random numbers beside those of the noise, which count the explained tensors."""


@dataclass(frozen=True)
class Draws:
    """Random lines: `position` in [0, 1] and the number of the baseline, `reference`, [draws, samples or 1] each."""

    position: Tensor
    reference: Tensor


@method(
    "expected-gradients",
    summary="Integrated gradients averaged over many baselines, such as training samples, by random draws",
    formula="E[(x − x′) · ∂f/∂x at x′ + α(x − x′)], x′ from the baselines, α from [0, 1]",
    source="Erion, Janizek, Sturmfels, Lundberg, Lee 2021, Improving performance of deep learning models with axiomatic "
    "attribution priors and expected gradients",
    axioms=("completeness in expectation", "implementation-invariance"),
    needs_baseline=True,
    multi_point=True,
)
def expected_gradients(
    context: AttributionContext, *, inner: str = "gradient", samples: int = 50, noise_level: float = 0.0,
    noise_unit: str = "range", noise: str = SEEDED, seed: int = 0, multiply: bool | None = None, delta: bool = False,
    chunk: int | str | None = None, **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    b = context.b
    check_draws(samples, noise_level, noise_unit, noise)
    baselines = [references(context, e) for e in context.explained]
    draws = _draws_given(context) if noise == "input" else _draws_made(context, samples, seed, baselines[0])
    count = b.const([samples]) if noise == SEEDED else b.Shape(draws.position, start=0, end=1)
    times = find_method(inner).per_unit if multiply is None else multiply

    def reference(numbers: Tensor, index: int) -> Tensor:
        """The drawn baselines, [c, samples or 1, …]."""
        every, chosen = baselines[index], b.Gather(draws.reference, numbers, axis=0)
        axis = context.explained[index].axis
        if axis is not None and every.dim(axis + 1) == 1:  # shared by all samples: [m, …, 1, …]
            made = b.Gather(b.Squeeze(every, [axis + 1]), chosen, axis=0)
            return b.transpose(made, [0, *range(2, axis + 2), 1, *range(axis + 2, made.rank)])
        if draws.reference.dim(1) != 1:
            raise MethodError("with draws given at run time the baselines are shared by all samples: [references, …]")
        return b.Gather(every, b.Squeeze(chosen, [1]), axis=0)

    def start(numbers: Tensor, index: int) -> Tensor:
        x = context.sources[index]
        if noise_level == 0:
            return b.Unsqueeze(x, [0])
        return noisy(context, numbers, index, level=noise_level, unit=noise_unit, seed=seed, noise=noise, draws=samples)

    def step(numbers: Tensor, index: int) -> Tensor:
        return difference(context, start(numbers, index), reference(numbers, index))

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        made = {}
        for i, x in enumerate(context.sources):
            position = b.cast(b.Gather(draws.position, numbers, axis=0), x)
            samples_at = (context.explained[i].axis or 0) + 1
            beside = [axis for axis in range(1, x.rank + 1) if axis != samples_at]
            position = b.Unsqueeze(position, beside) if beside else position
            made[x] = between(context, reference(numbers, i), start(numbers, i), step(numbers, i), position)
        return made

    def place(numbers: Tensor, index: int, value: Tensor) -> Tensor:
        return contribution(context, value, beside_targets(context, step(numbers, index), context.sources[index], lead=1))

    def all_baselines(numbers: Tensor) -> dict[Tensor, Tensor]:
        return {x: b.Gather(r, numbers, axis=0) for x, r in zip(context.sources, baselines, strict=True)}

    made = reduced(context, count, points, inner, options, RunningMean(), chunk=chunk, place=place if times else None)
    if delta and context.origin is None:
        context.report("delta", completeness_gap(context, made, b.Shape(baselines[0], start=0, end=1), all_baselines, chunk))
    return dict(zip(context.sources, made, strict=True))


@method(
    "gradient-shap",
    summary="Expected gradients at noisy inputs: SHAP values if the model were linear between input and baselines",
    formula="E[(x + σε − x′) · ∂f/∂x at x′ + α(x + σε − x′)]",
    source="Lundberg, Lee 2017, A Unified Approach to Interpreting Model Predictions; GradientExplainer of the shap package",
    axioms=("completeness in expectation", "implementation-invariance"),
    needs_baseline=True,
    multi_point=True,
)
def gradient_shap(
    context: AttributionContext, *, inner: str = "gradient", samples: int = 50, noise_level: float = 0.1,
    noise_unit: str = "range", noise: str = SEEDED, seed: int = 0, multiply: bool | None = None, delta: bool = False,
    chunk: int | str | None = None, **options: Any,
) -> dict[Tensor, Tensor]:  # fmt: skip
    return expected_gradients(
        context, inner=inner, samples=samples, noise_level=noise_level, noise_unit=noise_unit, noise=noise, seed=seed,
        multiply=multiply, delta=delta, chunk=chunk, **options,
    )  # fmt: skip


def _draws_made(context: AttributionContext, samples: int, seed: int, baselines: Tensor) -> Draws:
    """Draws fixed when the model is rewritten: they are the same in every host and for every sample of a batch."""
    b = context.b
    position = b.const(uniform_table(samples, seed, POSITION)[:, None], np.float64)
    chosen = uniform_table(samples, seed, REFERENCE)[:, None]
    known = baselines.dim(0)
    if isinstance(known, int):
        return Draws(position, b.const((chosen * known).astype(np.int64)))
    count = b.Cast(b.Shape(baselines, start=0, end=1), to=11)
    number = b.Cast(b.Floor(b.Mul(b.const(chosen, np.float64), count)), to=7)
    return Draws(position, number)


def _draws_given(context: AttributionContext) -> Draws:
    """The run-time inputs `position` and `reference`, [draws, samples or 1]."""
    first = context.explained[0]

    def carried(name: str, dtype: Any) -> Tensor:
        def emit(context: AttributionContext, explained: Explained) -> Tensor:
            def make() -> Tensor:
                own = 1 if explained.axis is None else explained.tensor.dim(explained.axis)
                samples = own if context.symbol is None else context.symbol
                return Tensor(context.graph.fresh(name), np.dtype(dtype), ("draws", samples))

            return context.outputs.run_time_input(name, explained.name, make)

        return context.at_points(first, emit, along=1)

    return Draws(carried("position", np.float32), carried("reference", np.int64))
