"""Correlation: whether attributions of sets of features go with what removing these sets costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._features import Features, features_of
from onnxplain.evaluation.metrics._replacing import remover
from onnxplain.evaluation.metrics.selectivity import removal_problems
from onnxplain.runtime.scorer import Array

__all__ = ["correlation", "ranked"]


def correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation of rows [n, m] with rows [n, m]: [n]; NaN where either is constant."""
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    size = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return np.where(size > 0, (a * b).sum(axis=1) / np.where(size > 0, size, 1), np.nan)


def ranked(values: Array) -> Array:
    """The ranks of each row of [n, m], ties sharing their mean rank: Pearson's correlation of them is Spearman's."""
    made: Array = np.empty(values.shape)
    for row, ranks in zip(values, made, strict=True):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        ranks[...] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return made


def _subsets(batch: MetricBatch, count: int, size: int, runs: int, what: str) -> Array:
    """Random sets of `size` features, bool [runs, n, count]."""
    chosen = np.zeros((runs, len(batch), count), bool)
    for row in range(len(batch)):
        draw = batch.random(row, what)
        for run in range(runs):
            chosen[run, row, draw.permutation(count)[:size]] = True
    return chosen


def _agreement(batch: MetricBatch, parts: Features, size: int, runs: int, replace: str, what: str) -> Array:
    """The correlation over random sets of features between their attributions and what removing them costs, [n]."""
    chosen, remove = _subsets(batch, parts.count, size, runs, what), remover(batch, replace)
    falls = batch.scores - batch.sweep(runs, lambda k: remove(parts.spread(chosen[k])))
    sums = (chosen * parts.values).sum(axis=-1)
    return correlation(sums.T, falls.T)


def _problems(context: MetricContext, *, runs: Any = 2, size: Any = None, sizes: Any = None, **others: Any) -> Iterator[str]:
    yield from removal_problems(context, steps=None, **others)
    if not (isinstance(runs, int) and runs >= 2):
        yield f"runs is a whole number from 2 on, found {runs!r}"
    for wanted in [size] if size is not None else sizes if isinstance(sizes, list | tuple) else []:
        if not (isinstance(wanted, int | float) and wanted > 0):
            yield f"the size of a set is a number of features, or a share below 1, found {wanted!r}"


def _size(wanted: float | None, count: int) -> int:
    """How many features a set has."""
    share = 0.2 if wanted is None else wanted
    return min(count - 1, max(1, round(share * count) if share < 1 else int(share))) if count > 1 else 1


@metric(
    "faithfulness-correlation",
    family="faithfulness",
    better="higher",
    summary="Correlation over random sets of features of one size between their attributions and what removing them costs",
    formula="corr over S of Σ_{i in S} R_i and f(x) − f(x without S)",
    source="Bhatt, Weller, Moura 2020, Evaluating and Aggregating Feature-based Model Explanations",
    check=_problems,
)
def faithfulness_correlation(
    batch: MetricBatch,
    *,
    size: float | None = None,
    runs: int = 100,
    features: str = "auto",
    patch: Any = None,
    replace: str = "baseline",
) -> Array:
    parts = features_of(batch, features, patch)
    return _agreement(batch, parts, _size(size, parts.count), runs, replace, "faithfulness-correlation")


@metric(
    "faithfulness-estimate",
    family="faithfulness",
    better="higher",
    summary="Correlation over features between their attributions and what removing each alone costs",
    formula="corr over i of R_i and f(x) − f(x without i)",
    source="Alvarez-Melis, Jaakkola 2018, Towards Robust Interpretability with Self-Explaining Neural Networks",
    check=_problems,
)
def faithfulness_estimate(batch: MetricBatch, *, features: str = "auto", patch: Any = None, replace: str = "baseline") -> Array:
    parts, remove = features_of(batch, features, patch), remover(batch, replace)
    falls = batch.scores - batch.sweep(
        parts.count, lambda k: remove(np.broadcast_to(parts.numbers == k, (len(batch), *parts.numbers.shape)))
    )
    return correlation(parts.values, falls.T)


@metric(
    "sensitivity-n",
    family="faithfulness",
    better="higher",
    summary="The same correlation for sets of many sizes n, and its mean",
    formula="mean over n of corr over S with |S| = n of Σ_{i in S} R_i and f(x) − f(x without S)",
    source="Ancona, Ceolini, Öztireli, Gross 2018, Towards Better Understanding of Gradient-based Attribution Methods",
    check=_problems,
)
def sensitivity_n(
    batch: MetricBatch, *, sizes: Any = None, runs: int = 50, features: str = "auto", patch: Any = None, replace: str = "baseline"
) -> MetricResult:
    parts = features_of(batch, features, patch)
    wanted = sizes if sizes is not None else np.geomspace(1, max(1, 0.8 * parts.count), 8).round().tolist()
    counts = sorted({_size(w, parts.count) for w in wanted})
    curve = np.stack([_agreement(batch, parts, n, runs, replace, f"sensitivity-n {n}") for n in counts], axis=1)
    known = np.isfinite(curve)
    mean = np.where(known, curve, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    return MetricResult(mean, {"correlation": curve}, np.array(counts) / parts.count)
