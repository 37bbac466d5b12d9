"""Monotonicity: whether features of greater attribution matter more to the model, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._features import features_of, steps_of
from onnxplain.evaluation.metrics.correlation import correlation, ranked
from onnxplain.evaluation.metrics.selectivity import removal_curve, removal_problems
from onnxplain.runtime.scorer import Array

__all__: list[str] = []


@metric(
    "monotonicity",
    family="faithfulness",
    better="higher",
    summary="Share of the steps at which the score rises while features are put back, those of least attribution first",
    formula="share of k with f(x with the k least) ≤ f(x with the k+1 least)",
    source="Luss et al. 2021, Leveraging Latent Features for Local Explanations; Arya et al. 2019 (AI Explainability 360)",
    check=removal_problems,
)
def monotonicity(
    batch: MetricBatch, *, features: str = "auto", patch: Any = None, replace: str = "baseline", steps: int | None = None,
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    # Most relevant removed first, read backward: the least relevant come back first.
    curve, at = removal_curve(batch, features=features, patch=patch, replace=replace, steps=steps, absolute=absolute)
    curve = curve[:, ::-1]
    rises: Array = np.asarray(np.diff(curve, axis=1) >= 0, np.float64)
    return MetricResult(rises.mean(axis=1), {"put back": curve}, 1 - at[::-1], {"monotone": rises.min(axis=1)})


def _problems(context: MetricContext, *, samples: Any, spread: Any, **others: Any) -> Iterator[str]:
    yield from removal_problems(context, replace="baseline", **others)
    if not (isinstance(samples, int) and samples >= 1):
        yield f"samples is a whole number from 1 on, found {samples!r}"
    if not (isinstance(spread, int | float) and spread > 0):
        yield f"spread is a number above 0, found {spread!r}"


@metric(
    "monotonicity-correlation",
    family="faithfulness",
    better="higher",
    summary="Rank correlation between the size of attributions and how much the score varies when features take random values",
    formula="Spearman over i of |R_i| and E over v of (f(x) − f(x with x_i = v))²",
    source="Nguyen, Martínez 2020, On Quantitative Aspects of Model Interpretability",
    needs=("numbers",),
    check=_problems,
)
def monotonicity_correlation(
    batch: MetricBatch,
    *,
    samples: int = 10,
    spread: float = 1.0,
    features: str = "auto",
    patch: Any = None,
    steps: int | None = None,
) -> Array:
    """Features take normal values around their own, `spread` standard deviations of the explained input wide; those of similar
    attribution take them together where there are more than `steps` (50)."""
    parts = features_of(batch, features, patch)
    edges = steps_of(parts.count, steps, 50)
    ranks = parts.ranks(absolute=True, least_first=True)
    group = np.searchsorted(edges, ranks, side="right") - 1  # which step each feature belongs to
    width = spread * float(batch.data.x.std())
    noise = np.stack(
        [batch.random(row, "monotonicity").normal(0, width, (samples, *batch.x.shape[1:])) for row in range(len(batch))]
    )
    at = parts.spread(group)
    groups = range(len(edges) - 1)
    varied = np.stack([_varied(batch, at == g, noise) for g in groups], axis=1)
    sizes = np.stack([np.where(group == g, np.abs(parts.values), 0).sum(axis=1) for g in groups], axis=1)
    return correlation(ranked(sizes), ranked(varied))


def _varied(batch: MetricBatch, free: Array, noise: Array) -> Array:
    """How much the score varies when the elements that are free take random values: the mean square of its changes, [n]."""
    scores = batch.sweep(noise.shape[1], lambda s: np.where(free, batch.x + noise[:, s], batch.x))
    return np.asarray(((scores - batch.scores) ** 2).mean(axis=0))
