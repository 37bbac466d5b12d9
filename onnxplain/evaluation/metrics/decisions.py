"""Decisions: whether the features named by an explanation are enough for what the model decides, and necessary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._features import feature_problems, features_of
from onnxplain.evaluation.metrics._replacing import remover, replacement_problems
from onnxplain.runtime.scorer import Array

__all__: list[str] = []

SHARES = (0.01, 0.05, 0.1, 0.2, 0.5)
"""As in DeYoung et al. 2020."""


def _top_problems(
    context: MetricContext, *, features: Any, patch: Any, replace: Any, absolute: Any, **others: Any
) -> Iterator[str]:
    yield from feature_problems(context, features, patch)
    yield from replacement_problems(context, replace)
    if not isinstance(absolute, bool):
        yield f"absolute is true or false, found {absolute!r}"
    shares, k = others.get("shares", (1,)), others.get("k", 1)
    if not isinstance(shares, list | tuple) or not shares or not all(0 < s <= 1 for s in shares):
        yield f"shares are numbers between 0 and 1, found {shares!r}"
    if not (isinstance(k, int) and k >= 1):
        yield f"k is a whole number from 1 on, found {k!r}"


@metric(
    "top-k-flips",
    family="faithfulness",
    better="higher",
    summary="Share of decisions that change when the k features of largest attribution are replaced, for k = 1 … K",
    formula="mean over k of [decision(x without the k of largest R) ≠ decision(x)]",
    source="an index of how often decisions on forms and tables flip by their top 1 to 4 features",
    check=_top_problems,
)
def top_k_flips(
    batch: MetricBatch,
    *,
    k: int = 4,
    features: str = "auto",
    patch: Any = None,
    replace: str = "baseline",
    absolute: bool = False,
) -> MetricResult:
    parts, remove = features_of(batch, features, patch), remover(batch, replace)
    ranks = parts.spread(parts.ranks(absolute=absolute))
    counts = np.arange(1, min(k, parts.count) + 1)
    before = batch.decisions(batch.x)
    after = batch.sweep(len(counts), lambda i: remove(ranks < counts[i]), batch.decisions)
    flipped = (after != before).T
    first = np.where(flipped.any(axis=1), counts[flipped.argmax(axis=1)], np.nan)
    curve = flipped.astype(np.float64)
    return MetricResult(curve.mean(axis=1), {"flipped": curve}, counts, {"first": first})


def _eraser(batch: MetricBatch, shares: Any, features: str, patch: Any, replace: str, absolute: bool, keep: bool) -> MetricResult:
    parts, remove = features_of(batch, features, patch), remover(batch, replace)
    ranks = parts.spread(parts.ranks(absolute=absolute))
    counts = np.ceil(np.array(sorted(shares)) * parts.count - 1e-9)

    def version(i: int) -> Array:
        return remove(ranks >= counts[i] if keep else ranks < counts[i])

    curve = (batch.probabilities(batch.x) - batch.sweep(len(counts), version, batch.probabilities)).T
    return MetricResult(curve.mean(axis=1), {"fall": curve}, counts / parts.count)


@metric(
    "comprehensiveness",
    family="faithfulness",
    better="higher",
    summary="Fall of the target's probability when the most relevant features are removed: were they needed?",
    formula="mean over shares q of p(x) − p(x without the q of largest R)",
    source="DeYoung et al. 2020, ERASER: A Benchmark to Evaluate Rationalized NLP Models",
    check=_top_problems,
)
def comprehensiveness(
    batch: MetricBatch, *, shares: Any = SHARES, features: str = "auto", patch: Any = None, replace: str = "baseline",
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    return _eraser(batch, shares, features, patch, replace, absolute, keep=False)


@metric(
    "sufficiency-kept",
    family="faithfulness",
    better="lower",
    summary="Fall of the target's probability when only the most relevant features are kept: are they enough?",
    formula="mean over shares q of p(x) − p(only the q of largest R)",
    source="DeYoung et al. 2020, ERASER: A Benchmark to Evaluate Rationalized NLP Models (there called sufficiency)",
    check=_top_problems,
)
def sufficiency_kept(
    batch: MetricBatch, *, shares: Any = SHARES, features: str = "auto", patch: Any = None, replace: str = "baseline",
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    return _eraser(batch, shares, features, patch, replace, absolute, keep=True)


def _sufficiency_problems(context: MetricContext, *, threshold: Any, distance: Any) -> Iterator[str]:
    if context.data.count < 2:
        yield "compares samples with each other, and there is one only"
    elif len(set(context.data.decisions.tolist())) == 1:
        yield "compares decisions, and the model decides the same of all samples, so that every explanation would score 1"
    if not (isinstance(threshold, int | float) and 0 <= threshold <= 1):
        yield f"threshold lies between 0 and 1, found {threshold!r}"
    if distance not in ("euclidean", "cityblock", "cosine"):
        yield f"distance is euclidean, cityblock or cosine, found {distance!r}"


@metric(
    "sufficiency",
    family="faithfulness",
    better="higher",
    summary="Share of the samples with alike explanations for which the model decides alike",
    formula="share of x′ with d(R(x), R(x′)) ≤ threshold that have decision(x′) = decision(x)",
    source="Dasgupta, Frost, Moshkovitz 2022, Framework for Evaluating Faithfulness of Local Explanations",
    check=_sufficiency_problems,
)
def sufficiency(batch: MetricBatch, *, threshold: float = 0.6, distance: str = "euclidean") -> MetricResult:
    """Distances are scaled so that the greatest is 1. Undefined for a sample whose explanation is like no other's."""
    apart = batch.subject.once(("sufficiency", distance), lambda: _apart(batch.subject.everything(), distance))
    decided = batch.data.decisions
    near = apart[batch.samples] <= threshold
    near[np.arange(len(batch)), batch.samples] = False
    same = (near & (decided == decided[batch.samples][:, None])).sum(axis=1)
    alike = near.sum(axis=1)
    return MetricResult(np.where(alike, same / np.maximum(alike, 1), np.nan), facts={"alike": alike.astype(np.float64)})


def _apart(attribution: Array, kind: str) -> Array:
    """The distances between all attributions, the greatest 1: [n, n]."""
    rows = attribution.reshape(len(attribution), -1)
    if kind == "cityblock":
        apart = np.stack([np.abs(rows - row).sum(axis=1) for row in rows])
    elif kind == "euclidean":
        apart = np.stack([np.sqrt(((rows - row) ** 2).sum(axis=1)) for row in rows])
    else:
        sizes = np.sqrt((rows**2).sum(axis=1, keepdims=True))
        unit = rows / np.where(sizes > 0, sizes, 1)
        apart = 1 - unit @ unit.T
    return np.asarray(apart / (apart.max() or 1))
