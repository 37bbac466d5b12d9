"""Localisation: how far attribution lies on the object that a mask outlines.

Everything counts places: attributions are summed over channels first. Ties are resolved by their mean, so that the score does not
hang on the order in which equal places are looked at. `sign` says which attributions count: "positive" (others are 0), "absolute"
(their size) or "signed".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._parts import check_between, check_extent, check_taken, extent, taken
from onnxplain.evaluation.metrics.correlation import ranked
from onnxplain.runtime.scorer import Array

__all__ = ["hits", "roc_auc"]


def _inside(batch: MetricBatch) -> Array:
    """The masks as rows of places, bool [n, places]."""
    assert batch.mask_map is not None
    return batch.mask_map.reshape(len(batch), -1)


def hits(values: Array, inside: Array, count: Array) -> Array:
    """How many of the top `count` places of each row are inside, [n]; of equal places at the border those expected by chance."""
    place = np.minimum(count, values.shape[1]) - 1
    border = np.take_along_axis(-np.sort(-values, axis=1), place[:, None], axis=1)
    above, equal = values > border, values == border
    left = count - above.sum(axis=1)
    return np.asarray((above & inside).sum(axis=1) + left * (equal & inside).sum(axis=1) / equal.sum(axis=1))


def roc_auc(values: Array, inside: Array) -> Array:
    """The area under the ROC curve of values [n, places] for places inside: how often one inside ranks above one outside; NaN
    where there is none of either."""
    own = inside.sum(axis=1)
    pairs = own * (inside.shape[1] - own)
    return _share((ranked(values) * inside).sum(axis=1) - own * (own + 1) / 2, pairs)


def _share(part: Array, whole: Array) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0))


@metric(
    "pointing-game",
    family="localisation",
    better="higher",
    summary="Whether the place with the largest attribution lies inside the mask; of several largest the share that does",
    formula="1 where argmax R ∈ M, else 0",
    source="Zhang et al. 2016, Top-down neural attention by excitation backprop",
    needs=("masks",),
    check=check_taken,
)
def pointing_game(batch: MetricBatch, *, sign: str = "signed") -> Array:
    values = taken(batch, "sum", sign)
    found = hits(values, _inside(batch), np.ones(len(batch), int))
    return np.where(np.ptp(values, axis=1) > 0, found, np.nan)


@metric(
    "relevance-mass",
    family="localisation",
    better="higher",
    summary="The share of attribution that lies inside the mask",
    formula="Σ_{i∈M} R⁺_i / Σ R⁺",
    source="Arras, Osman, Samek 2022, CLEVR-XAI: a benchmark dataset",
    needs=("masks",),
    check=check_taken,
)
def relevance_mass(batch: MetricBatch, *, sign: str = "positive") -> MetricResult:
    """`gain` is the share beside that of a map without any knowledge, |M|/d: Kohlbrenner et al. 2020's weighted localisation."""
    values, inside = taken(batch, "sum", sign), _inside(batch)
    found = _share((values * inside).sum(axis=1), values.sum(axis=1))
    return MetricResult(found, facts={"gain": found / inside.mean(axis=1)})


@metric(
    "relevance-rank",
    family="localisation",
    better="higher",
    summary="Of as many top places as the mask has, the share that lies inside",
    formula="|top |M| places of R ∩ M| / |M|",
    source="Arras, Osman, Samek 2022, CLEVR-XAI: a benchmark dataset",
    needs=("masks",),
    check=check_taken,
)
def relevance_rank(batch: MetricBatch, *, sign: str = "signed") -> Array:
    inside = _inside(batch)
    size = inside.sum(axis=1)
    return np.asarray(hits(taken(batch, "sum", sign), inside, size) / size)


def _check_top(context: MetricContext, *, k: int | float, sign: str) -> Iterator[str]:
    yield from check_taken(context, sign=sign)
    yield from check_extent("k", k, int(np.prod([context.data.x.shape[a] for a in context.data.space])))


@metric(
    "top-k-intersection",
    family="localisation",
    better="higher",
    summary="Of the top k places the share that lies inside the mask",
    formula="|top k places of R ∩ M| / k",
    source="Theiner, Müller-Budack, Ewerth 2022, Interpretable semantic photo geolocation",
    needs=("masks",),
    check=_check_top,
)
def top_k_intersection(batch: MetricBatch, *, k: int | float = 0.1, sign: str = "signed") -> MetricResult:
    """`influence` is the share beside that of a map without any knowledge, |M|/d. `k` is a number of places, or with a decimal
    point a share of them."""
    values, inside = taken(batch, "sum", sign), _inside(batch)
    count = extent(k, values.shape[1])
    found = hits(values, inside, np.full(len(batch), count)) / count
    return MetricResult(found, facts={"influence": found / inside.mean(axis=1)})


def _check_iou(context: MetricContext, *, threshold: float | str, sign: str) -> Iterator[str]:
    yield from check_taken(context, sign=sign)
    if threshold != "area":
        yield from check_between("threshold (unless it is 'area')", threshold, 0, 1)


@metric(
    "iou",
    family="localisation",
    better="higher",
    summary="The overlap of the mask with the places whose attribution is a good part of the largest",
    formula="|A ∩ M| / |A ∪ M|, A = {i : R_i ≥ θ max R}",
    source="Selvaraju et al. 2017, Grad-CAM (θ = 0.15, here of masks rather than boxes)",
    needs=("masks",),
    check=_check_iou,
)
def iou(batch: MetricBatch, *, threshold: float | str = 0.15, sign: str = "positive") -> Array:
    """`threshold` is θ; "area" takes as many places as the mask has."""
    values, inside = taken(batch, "sum", sign), _inside(batch)
    size = inside.sum(axis=1)
    if threshold == "area":
        both = hits(values, inside, size)
        return np.asarray(both / (2 * size - both))
    most = values.max(axis=1, keepdims=True)
    chosen = (values >= float(threshold) * most) & (most > 0)
    found = (chosen & inside).sum(axis=1) / (chosen | inside).sum(axis=1)
    return np.where(most[:, 0] > 0, found, np.nan)


@metric(
    "localisation-auc",
    family="localisation",
    better="higher",
    summary="How often a place inside the mask ranks above one outside: the area under the ROC curve, 0.5 by chance",
    formula="P(R_i > R_j) + P(R_i = R_j) / 2, i ∈ M, j ∉ M",
    source="Fawcett 2006, An introduction to ROC analysis",
    needs=("masks",),
    check=check_taken,
)
def localisation_auc(batch: MetricBatch, *, sign: str = "signed") -> Array:
    return roc_auc(taken(batch, "sum", sign), _inside(batch))
