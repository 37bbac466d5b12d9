"""Complexity: how few elements an explanation singles out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._parts import check_between, check_taken, check_whole, taken
from onnxplain.runtime.scorer import Array

__all__ = ["entropy", "gini"]


def gini(sizes: Array) -> Array:
    """The Gini index of rows of sizes ≥ 0, [n]: 0 where all are equal, (d − 1)/d where one has all; NaN where all are zero."""
    d, total = sizes.shape[1], sizes.sum(axis=1)
    weights = 2 * np.arange(1, d + 1) - d - 1
    found = (np.sort(sizes, axis=1) * weights).sum(axis=1)
    return np.asarray(np.divide(found, d * total, out=np.full(len(sizes), np.nan), where=total > 0))


def entropy(sizes: Array) -> Array:
    """The entropy in nats of rows of sizes ≥ 0 as shares, [n]: 0 where one has all, ln d where all are equal, NaN for zeros."""
    total = sizes.sum(axis=1, keepdims=True)
    shares = np.divide(sizes, total, out=np.zeros_like(sizes), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return np.where(total[:, 0] > 0, -(shares * logs).sum(axis=1), np.nan)


@metric(
    "sparseness",
    family="complexity",
    better="higher",
    summary="How unevenly attribution is spread: the Gini index of its sizes, 0 where all are equal, near 1 where few have all",
    formula="Σ_i (2i − d − 1) |R|₍ᵢ₎ / (d Σ |R|), |R|₍ᵢ₎ in rising order",
    source="Chalasani et al. 2020, Concise explanations of neural networks using adversarial training",
    check=check_taken,
)
def sparseness(batch: MetricBatch, *, channels: str = "sum") -> Array:
    """channels="sum" takes places, "apart" every element for itself."""
    return gini(taken(batch, channels, "absolute"))


@metric(
    "entropy",
    family="complexity",
    better="lower",
    summary="How widely attribution is spread: the entropy of its shares, 0 where one element has all",
    formula="−Σ_i p_i ln p_i, p_i = |R_i| / Σ |R|",
    source="Bhatt, Weller, Moura 2020, Evaluating and aggregating feature-based model explanations",
    check=check_taken,
)
def complexity(batch: MetricBatch, *, channels: str = "sum") -> Array:
    """channels="sum" takes places, "apart" every element for itself."""
    return entropy(taken(batch, channels, "absolute"))


def _check_active(context: MetricContext, *, eps: float, **options: str) -> Iterator[str]:
    yield from check_taken(context, **options)
    if eps != 0:
        yield from check_between("eps", eps, 0, 1)


@metric(
    "active-elements",
    family="complexity",
    better="lower",
    summary="How many elements have an attribution that counts: more than eps of the largest; `share` is their part of all",
    formula="#{i : |R_i| > ε max |R|}",
    source="Hedström et al. 2023, Quantus: an explainable AI toolkit (there called effective complexity)",
    check=_check_active,
)
def active_elements(batch: MetricBatch, *, eps: float = 0.01, channels: str = "sum") -> MetricResult:
    """`eps` is the share of the largest attribution above which one counts; `channels` as of `sparseness`."""
    sizes = taken(batch, channels, "absolute")
    most = sizes.max(axis=1, keepdims=True)
    count = np.where(most[:, 0] > 0, (sizes > eps * most).sum(axis=1), np.nan)
    return MetricResult(count, facts={"share": count / sizes.shape[1]})


def _check_effective(context: MetricContext, *, tolerance: float, steps: int) -> Iterator[str]:
    yield from check_between("tolerance", tolerance, 0, 1)
    yield from check_whole("steps", steps, 1)


@metric(
    "effective-complexity",
    family="complexity",
    better="lower",
    summary="How many of the top places must stay for the score to stay, the others being replaced; `share` is their part of all",
    formula="min k : (f(x with all but the top k of |R| replaced) − f(x))² ≤ ε (f(x) − f(x′))²",
    source="Nguyen, Martínez 2020, On quantitative aspects of model interpretability",
    check=_check_effective,
)
def effective_complexity(batch: MetricBatch, *, tolerance: float = 0.1, steps: int = 64) -> MetricResult:
    """The paper takes the expectation over the removed features' distribution; here they take the baseline's values. Undefined
    for an explanation that tells no place from another.

    Args:
        tolerance: ε, as a share of the squared change of the score from the baseline.
        steps: numbers of places tried, at most; they are spaced evenly on a logarithmic scale.
    """
    sizes = np.abs(batch.map).reshape(len(batch), -1)
    d = sizes.shape[1]
    place = np.empty_like(sizes)  # 0 is the top place
    np.put_along_axis(place, np.argsort(-sizes, axis=1, kind="stable"), np.arange(d, dtype=np.float64)[None], axis=1)
    place = np.expand_dims(place.reshape(batch.map.shape), batch.channels)
    counts = np.unique(np.geomspace(1, d, min(steps, d)).round().astype(int)) if d > steps else np.arange(1, d + 1)

    def kept(step: int) -> Array:
        return np.where(place < counts[step], batch.x, batch.baseline)

    whole = (batch.scores - batch.predict(batch.baseline)) ** 2
    enough = (batch.sweep(len(counts), kept) - batch.scores) ** 2 <= tolerance * whole
    enough[-1] = True  # with all places kept the score is the score
    told = (whole > 0) & (np.ptp(sizes, axis=1) > 0)
    found = np.where(told, counts[enough.argmax(axis=0)].astype(np.float64), np.nan)
    return MetricResult(found, facts={"share": found / d})
