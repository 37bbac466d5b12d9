"""ROAD: remove and debias - whether the decision survives when relevant places are imputed from their neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._features import features_of
from onnxplain.evaluation.metrics._imputing import imputed
from onnxplain.evaluation.metrics._replacing import replacement_problems

__all__: list[str] = []

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def _problems(context: MetricContext, *, shares: Any, noise: Any, absolute: Any) -> Iterator[str]:
    yield from replacement_problems(context, "inpainting")
    if not isinstance(shares, list | tuple) or not shares or not all(0 < s <= 1 for s in shares):
        yield f"shares are numbers between 0 and 1, found {shares!r}"
    if not (isinstance(noise, int | float) and noise >= 0):
        yield f"noise is a number not below 0, found {noise!r}"
    if not isinstance(absolute, bool):
        yield f"absolute is true or false, found {absolute!r}"


def _kept(batch: MetricBatch, shares: Any, noise: float, absolute: bool, least_first: bool) -> MetricResult:
    """Whether the decision is what it was, with growing shares of the places imputed."""
    parts = features_of(batch, "pixels")
    gone = np.round(np.array(sorted(shares)) * parts.count)
    ranks = parts.spread(parts.ranks(absolute=absolute, least_first=least_first))
    before = batch.decisions(batch.x)
    after = batch.sweep(len(gone), lambda k: imputed(batch, ranks < gone[k], noise), batch.decisions)
    kept = (after == before).T.astype(np.float64)
    return MetricResult(kept.mean(axis=1), {"kept": kept}, gone / parts.count)


@metric(
    "road",
    family="faithfulness",
    better="lower",
    summary="Share of decisions that survive when the most relevant places are imputed from their neighbours",
    formula="mean over shares q of [decision(x with the q most relevant imputed) = decision(x)]",
    source="Rong et al. 2022, A Consistent and Efficient Evaluation Strategy for Attribution Methods (most relevant first)",
    needs=("numbers",),
    check=_problems,
)
def road(batch: MetricBatch, *, shares: Any = SHARES, noise: float = 0.01, absolute: bool = False) -> MetricResult:
    return _kept(batch, shares, noise, absolute, least_first=False)


@metric(
    "road-lerf",
    family="faithfulness",
    better="higher",
    summary="Share of decisions that survive when the least relevant places are imputed from their neighbours",
    formula="mean over shares q of [decision(x with the q least relevant imputed) = decision(x)]",
    source="Rong et al. 2022, A Consistent and Efficient Evaluation Strategy for Attribution Methods (least relevant first)",
    needs=("numbers",),
    check=_problems,
)
def road_lerf(batch: MetricBatch, *, shares: Any = SHARES, noise: float = 0.01, absolute: bool = False) -> MetricResult:
    return _kept(batch, shares, noise, absolute, least_first=True)
