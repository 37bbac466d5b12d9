"""Randomisation: whether an explanation depends on what the model has learned, and on the class it is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from onnxplain.errors import ModelError
from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._parts import check_choice, check_whole, signed
from onnxplain.evaluation.metrics._similarity import SIMILARITIES, similarity
from onnxplain.evaluation.metrics._weights import DRAWS, layers_of, oversized, randomised
from onnxplain.io.reader import read
from onnxplain.runtime.scorer import Array

__all__ = ["ORDERS", "other_targets", "stages_of"]

ORDERS = {
    "top-down": "cascading from the output: after each step all layers above are random too",
    "bottom-up": "cascading from the input",
    "independent": "each step alone, all other layers as learned",
}

SIGNS = ("absolute", "signed")


def _alike(batch: MetricBatch, other: Array, measure: str, sign: str) -> Array:
    """How alike another attribution of the samples is, places compared, [n]."""
    theirs = other.sum(axis=batch.channels)
    return similarity(measure, signed(batch.map, sign), signed(theirs, sign))


def _check_alike(context: MetricContext, *, measure: str, sign: str, **_: object) -> Iterator[str]:
    yield from check_choice("measure", measure, SIMILARITIES)
    yield from check_choice("sign", sign, SIGNS)
    extents = [context.data.x.shape[a] for a in context.data.space]
    if measure == "ssim" and (len(extents) != 2 or min(extents) < 3):
        yield "measure 'ssim' compares pictures of at least 3×3 places"
    elif int(np.prod(extents)) < 2:
        yield "compares places, and the explained input has only one"


# -- parameters ----------------------------------------------------------------------------------------------------------


def stages_of(parameters: list[tuple[str, ...]], order: str, steps: int) -> list[frozenset[str]]:
    """The parameters that are random at each step, of layers given from the input to the output."""
    rising = parameters if order == "bottom-up" else parameters[::-1]
    cuts = np.linspace(0, len(rising), min(steps, len(rising)) + 1).round().astype(int)
    parts = [frozenset(name for layer in rising[a:b] for name in layer) for a, b in pairwise(cuts)]
    if order == "independent":
        return parts
    return [frozenset().union(*parts[: i + 1]) for i in range(len(parts))]


def _check_parameters(context: MetricContext, *, order: str, steps: int, draw: str, measure: str, sign: str) -> Iterator[str]:
    yield from _check_alike(context, measure=measure, sign=sign)
    yield from check_choice("order", order, ORDERS)
    yield from check_choice("draw", draw, DRAWS)
    yield from check_whole("steps", steps, 1)
    if (why := oversized(context.data)) is not None:
        yield why
    if not layers_of(context.data):
        yield "randomises layers of weights (convolutions, dense and recurrent layers, embeddings), and the model has none"


@metric(
    "parameter-randomisation",
    family="randomisation",
    better="lower",
    summary="How alike the explanation stays while the model's layers are given random weights, averaged over the steps",
    formula="mean over steps s of corr(|R|, |R of the model with the weights of step s random|)",
    source="Adebayo et al. 2018, Sanity checks for saliency maps",
    needs=("weights",),
    check=_check_parameters,
)
def parameter_randomisation(
    batch: MetricBatch, *, order: str = "top-down", steps: int = 8, draw: str = "normal", measure: str = "spearman",
    sign: str = "absolute",
) -> MetricResult:  # fmt: skip
    """`similarity` is the curve over the share of layers that have had their turn; `last` is its end.

    Args:
        order: "top-down" or "bottom-up" cascade, or "independent".
        steps: at most; layers are put together evenly where there are more.
        draw: "normal" (with the tensor's own mean and deviation) or "shuffle" (its own values).
        measure: how attributions are compared: spearman, pearson, cosine or ssim.
        sign: "absolute" or "signed".
    """
    stages = stages_of([layer.parameters for layer in layers_of(batch.data)], order, steps)
    curve = []
    for stage in stages:
        by = batch.changed(("randomised", draw, stage), partial(randomised, batch.data, stage, draw))
        curve.append(_alike(batch, batch.explain(batch.x, by=by), measure, sign))
    found = np.stack(curve, axis=1)
    known = np.isfinite(found)
    total = np.where(known, found, 0).sum(axis=1)
    mean = np.divide(total, known.sum(axis=1), out=np.full(len(found), np.nan), where=known.any(axis=1))
    at = np.arange(1, len(stages) + 1) / len(stages)
    return MetricResult(mean, {"similarity": found}, at, {"last": found[:, -1]})


# -- classes and labels --------------------------------------------------------------------------------------------------


def other_targets(batch: MetricBatch) -> Array:
    """For each sample one of the other elements of the output, at random, int64 [n]."""
    elements = batch.data.ranked.shape[1]
    drawn = np.array([batch.random(row, "other class").integers(elements - 1) for row in range(len(batch))])
    return drawn + (drawn >= batch.target)


def _check_logit(context: MetricContext, *, measure: str, sign: str) -> Iterator[str]:
    yield from _check_alike(context, measure=measure, sign=sign)
    if context.elements < 2:
        yield "compares with another class, and the explained output has only one element"


@metric(
    "random-logit",
    family="randomisation",
    better="lower",
    summary="How alike the explanation of another class, drawn at random, is",
    formula="corr(R of class c, R of a class c′ ≠ c)",
    source="Sixt, Granz, Landgraf 2020, When explanations lie: why many modified BP attributions fail",
    needs=("method",),
    check=_check_logit,
)
def random_logit(batch: MetricBatch, *, measure: str = "spearman", sign: str = "signed") -> Array:
    """`measure` and `sign` are those of `parameter-randomisation`."""
    return _alike(batch, batch.explain(batch.x, target=other_targets(batch)), measure, sign)


def _check_labels(context: MetricContext, *, model: str, measure: str, sign: str) -> Iterator[str]:
    yield from _check_alike(context, measure=measure, sign=sign)
    if not isinstance(model, str) or not model:
        yield "compares with a model trained on shuffled labels, which only you can train; give it as model=FILE"
        return
    try:
        other = read(Path(model))
    except ModelError as error:
        yield str(error)
        return
    own, theirs = ({v.name for v in m.graph.input} for m in (context.data.source.model, other.model))
    if context.data.name not in theirs:
        yield f"the model trained on shuffled labels has no input '{context.data.name}', only {', '.join(sorted(theirs - own))}"


@metric(
    "random-labels",
    family="randomisation",
    better="lower",
    summary="How alike the explanation of a model trained on shuffled labels is",
    formula="corr(|R|, |R of the model trained on shuffled labels|)",
    source="Adebayo et al. 2018, Sanity checks for saliency maps",
    needs=("weights",),
    check=_check_labels,
)
def random_labels(batch: MetricBatch, *, model: str = "", measure: str = "spearman", sign: str = "absolute") -> Array:
    """`model` is the file of the other model, of the same inputs and outputs; the rest as of `parameter-randomisation`."""
    by = batch.changed(("labels", model), lambda: read(Path(model)).model)
    return _alike(batch, batch.explain(batch.x, by=by), measure, sign)
