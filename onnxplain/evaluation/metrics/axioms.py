"""Axioms: what attributions should obey whatever the model is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial

import numpy as np
import onnx

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._parts import check_between, check_truth, check_whole, is_number
from onnxplain.evaluation.metrics._scoring import Scoring
from onnxplain.evaluation.metrics._shifting import shifted_model
from onnxplain.evaluation.metrics._weights import oversized, prepared_model
from onnxplain.evaluation.metrics.robustness import scale_of
from onnxplain.io.reader import Source
from onnxplain.runtime.scorer import Array

__all__ = ["influence", "parts_of"]

TOLERANCE = 1e-3
"""How far the scores of a shifted model may lie from the model's own, relative to the largest."""


def _total(batch: MetricBatch) -> Array:
    return np.asarray(batch.attribution.reshape(len(batch), -1).sum(axis=1))


def _check_relative(context: MetricContext, *, relative: bool) -> Iterator[str]:
    yield from check_truth("relative", relative)


def _gap(total: Array, wanted: Array, relative: bool) -> MetricResult:
    """How far sums of attributions miss what they should be."""
    gap = np.abs(total - wanted)
    size = np.abs(wanted)
    score = np.divide(gap, size, out=np.full(len(gap), np.nan), where=size > 0) if relative else gap
    return MetricResult(score, facts={"sum": total, "wanted": wanted})


@metric(
    "completeness",
    family="axiom",
    better="lower",
    summary="How far the attributions' sum misses the score's change from the baseline, as a share of it",
    formula="|Σ R − (f(x) − f(x′))| / |f(x) − f(x′)|",
    source="Sundararajan, Taly, Yan 2017, Axiomatic attribution for deep networks, section 3",
    check=_check_relative,
)
def completeness(batch: MetricBatch, *, relative: bool = True) -> MetricResult:
    """With `relative` the gap is divided by the score's change."""
    return _gap(_total(batch), batch.scores - batch.predict(batch.baseline), relative)


@metric(
    "conservation",
    family="axiom",
    better="lower",
    summary="How far the attributions' sum misses the score itself, as a share of it",
    formula="|Σ R − f(x)| / |f(x)|",
    source="Bach et al. 2015, On pixel-wise explanations for non-linear classifier decisions by LRP, eq. 2",
    check=_check_relative,
)
def conservation(batch: MetricBatch, *, relative: bool = True) -> MetricResult:
    """With `relative` the gap is divided by the score."""
    return _gap(_total(batch), batch.scores, relative)


# -- elements without influence ------------------------------------------------------------------------------------------


def parts_of(places: tuple[int, ...], most: int) -> Array:
    """Numbers of parts, int of the places' shape: each place for itself, or even tiles where there are more than `most`."""
    if not places:
        return np.zeros((), int)
    side = 1
    while np.prod([-(-e // side) for e in places]) > most:
        side += 1
    tiles = [-(-e // side) for e in places]
    return np.asarray(np.ravel_multi_index([i // side for i in np.indices(places)], tiles))


def influence(batch: MetricBatch, parts: Array, draws: int) -> Array:
    """The largest change of the score when a part takes the baseline's values, or those of other samples, [n, parts]."""
    count = int(parts.max()) + 1
    inside = np.expand_dims(parts, tuple(a - 1 for a in batch.channels))
    others = np.stack([batch.random(row, "other samples").integers(batch.data.count, size=draws) for row in range(len(batch))])
    values = [batch.baseline, *(batch.data.x[others[:, k]] for k in range(draws))]
    most = np.zeros((count, len(batch)))
    for value in values:
        scores = batch.sweep(count, lambda k, value=value: np.where(inside == k, value, batch.x))  # type: ignore[misc]
        most = np.maximum(most, np.abs(scores - batch.scores))
    return np.asarray(most.T)


def _sizes(batch: MetricBatch, parts: Array) -> Array:
    """The sum of the attributions' sizes over each part, [n, parts]."""
    sizes = np.abs(batch.attribution).sum(axis=batch.channels).reshape(len(batch), -1)
    return np.stack([np.bincount(parts.ravel(), weights=row) for row in sizes])


def _nothing(batch: MetricBatch, moved: Array, eps: float) -> Array:
    """What counts as no change of the score, [n, 1]: eps of the largest, or of the score itself where rounding is larger."""
    return np.asarray(eps * np.maximum(moved.max(axis=1), np.abs(batch.scores))[:, None])


def _check_parts(context: MetricContext, *, draws: int, eps: float, most: int, relative: bool = True) -> Iterator[str]:
    yield from check_whole("draws", draws, 0)
    yield from check_whole("most", most, 1)
    yield from check_truth("relative", relative)
    if eps != 0:
        yield from check_between("eps", eps, 0)


def _places(batch: MetricBatch) -> tuple[int, ...]:
    return tuple(batch.x.shape[a] for a in batch.space)


@metric(
    "dummy",
    family="axiom",
    better="lower",
    summary="The share of attribution on elements that do not move the score, whatever value they take; `dummies` counts them",
    formula="Σ_{i∈D} |R_i| / Σ |R|, D = {i : f(x with x_i replaced) = f(x)}",
    source="Sundararajan, Taly, Yan 2017, Axiomatic attribution for deep networks, section 4 (sensitivity b); Shapley 1953",
    check=_check_parts,
)
def dummy(batch: MetricBatch, *, draws: int = 2, eps: float = 1e-6, most: int = 256) -> MetricResult:
    """A sample without a dummy has the score 0; one without any attribution, NaN.

    Args:
        draws: values from other samples tried beside the baseline.
        eps: changes of the score up to this share of the largest, or of the score itself, count as none.
        most: places looked at one by one; more of them are looked at in tiles.
    """
    parts = parts_of(_places(batch), most)
    moved, sizes = influence(batch, parts, draws), _sizes(batch, parts)
    idle = moved <= _nothing(batch, moved, eps)
    total = sizes.sum(axis=1)
    score = np.divide((sizes * idle).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0)
    return MetricResult(score, facts={"dummies": idle.sum(axis=1).astype(np.float64)})


@metric(
    "non-sensitivity",
    family="axiom",
    better="lower",
    summary="How many elements have an attribution and no influence on the score, or influence and no attribution",
    formula="|{i : R_i = 0} △ {i : f(x with x_i replaced) = f(x)}|",
    source="Nguyen, Martínez 2020, On quantitative aspects of model interpretability",
    check=_check_parts,
)
def non_sensitivity(
    batch: MetricBatch, *, draws: int = 0, eps: float = 1e-5, relative: bool = True, most: int = 256
) -> MetricResult:
    """`draws` and `most` are those of `dummy`.

    Args:
        eps: what is below it counts as zero: attributions and changes of the score.
        relative: whether eps is a share (of the largest attribution, and as of `dummy`), or a number in their own units.
    """
    parts = parts_of(_places(batch), most)
    moved, sizes = influence(batch, parts, draws), _sizes(batch, parts)

    if relative:
        idle, absent = moved <= _nothing(batch, moved, eps), sizes <= eps * sizes.max(axis=1, keepdims=True)
    else:
        idle, absent = moved < eps, sizes < eps
    count = (idle ^ absent).sum(axis=1).astype(np.float64)
    return MetricResult(count, facts={"share": count / sizes.shape[1]})


# -- a shift of all inputs -----------------------------------------------------------------------------------------------


def _check_shift(context: MetricContext, *, shift: float | str) -> Iterator[str]:
    if shift != "data" and (not is_number(shift) or shift == 0):
        yield f"shift is 'data' or a number other than 0, got {shift!r}"
    elif shift == "data" and not (scale_of(context.data, "data") > 0).any():
        yield "the samples do not vary, so they give no scale for a shift; set shift to a number"
    elif (why := oversized(context.data)) is not None:
        yield why
    elif not _kept(context.data, shift):
        yield (
            f"the model shifted by {shift} does not say the same of shifted samples in {context.data.x.dtype}; choose a smaller "
            "shift=NUMBER"
        )


def _amount(data: Data, shift: float | str) -> Array:
    """The shift, a number () or one per column."""
    amount = scale_of(data, shift)
    return np.asarray(amount if amount.size > 1 else amount.reshape(()))


def _shifted(data: Data, shift: float | str) -> onnx.ModelProto:
    return shifted_model(prepared_model(data), data.name, _amount(data, shift))


@lru_cache(maxsize=1)
def _kept(data: Data, shift: float | str) -> bool:
    """Whether the shifted model says of the first shifted samples what the model says of them."""
    source = Source(_shifted(data, shift), None, data.source.digest, data.source.name)
    return not _missed(data, Scoring(data.forward(source), data.batch_size), np.arange(min(8, data.count)), shift).any()


def _missed(data: Data, scoring: Scoring, samples: Array, shift: float | str) -> Array:
    """Of which shifted samples a shifted model says something else than the model of the samples, bool [n]."""
    x = data.x[samples]
    moved = {**data.rows_of(samples), data.name: (x + _amount(data, shift)).astype(x.dtype)}
    own = data.scores[samples]
    return np.asarray(np.abs(scoring.scores(moved) - own).max(axis=1) > TOLERANCE * np.abs(own).max())


@metric(
    "input-invariance",
    family="axiom",
    better="lower",
    summary="How the attribution changes where all inputs are moved by a constant that the first bias takes back",
    formula="‖R(x) − R₂(x + s)‖₂ / ‖R(x)‖₂, f₂(x + s) = f(x)",
    source="Kindermans et al. 2019, The (un)reliability of saliency methods",
    needs=("weights", "numbers"),
    check=_check_shift,
)
def input_invariance(batch: MetricBatch, *, shift: float | str = "data") -> MetricResult:
    """Baselines stay where they were. `invariant` is 1 where no element changes by more than 1e-4 of the largest. Undefined for a
    sample of whose score rounding leaves too little.

    Args:
        shift: what is added to every element, or "data": the deviation of each column of a table, the range of all values of
            pictures and series.
    """
    changed = batch.changed(("shifted", shift), partial(_shifted, batch.data, shift))
    moved = (batch.x + _amount(batch.data, shift)).astype(batch.x.dtype)
    change = (batch.explain(moved, by=changed) - batch.attribution).reshape(len(batch), -1)
    size, own = np.linalg.norm(change, axis=1), batch.attribution.reshape(len(batch), -1)
    norm = np.linalg.norm(own, axis=1)
    same = np.abs(change).max(axis=1) <= 1e-4 * np.abs(own).max(axis=1)
    fair = (norm > 0) & ~_missed(batch.data, changed.scoring, batch.samples, shift)
    score = np.divide(size, norm, out=np.full(len(size), np.nan), where=fair)
    return MetricResult(score, facts={"invariant": np.where(fair, same, np.nan)})
