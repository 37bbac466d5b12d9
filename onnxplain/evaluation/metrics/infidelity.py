"""Infidelity: how far attributions are from predicting what perturbations of the input do (Yeh et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._features import feature_problems, features_of
from onnxplain.evaluation.metrics._replacing import remover, replacement_problems
from onnxplain.method.registry import Method, find_method
from onnxplain.runtime.scorer import Array

__all__ = ["is_slope"]

UNITS = ("auto", "slope", "contribution")


def is_slope(method: Method | None, options: Mapping[str, Any]) -> bool:
    """Whether attributions are per unit of the input, so that a step times them is a change of the score."""
    if method is None:
        return False
    inner = next((o.default for o in method.options if o.name == "inner"), None)
    if inner is None or not method.signed:
        return method.per_unit
    multiplies = any(o.name == "multiply" for o in method.options)
    plain = options.get("multiply") is False or not multiplies
    return plain and find_method(options.get("inner", inner)).per_unit


def _problems(
    context: MetricContext, *, runs: Any, perturb: Any, spread: Any, units: Any, size: Any, features: Any, patch: Any,
    replace: Any, scaled: Any,
) -> Iterator[str]:  # fmt: skip
    yield from feature_problems(context, features, patch)
    yield from replacement_problems(context, replace)
    if perturb not in ("removal", "noise"):
        yield f"perturb is removal or noise, found {perturb!r}"
    if units not in UNITS:
        yield f"units is one of {', '.join(UNITS)}, found {units!r}"
    if not (isinstance(runs, int) and runs >= 1):
        yield f"runs is a whole number from 1 on, found {runs!r}"
    if not (isinstance(size, int | float) and 0 < size <= 1):
        yield f"size is the share of the features that a perturbation removes, between 0 and 1, found {size!r}"
    if not isinstance(scaled, bool):
        yield f"scaled is true or false, found {scaled!r}"
    if not (isinstance(spread, int | float) and spread > 0):
        yield f"spread is a number above 0, found {spread!r}"
    slope = units == "slope" or (units == "auto" and is_slope(context.method, context.options))
    if context.data.x.dtype.kind != "f" and (slope or perturb == "noise"):
        yield "needs an input of floating-point numbers, unless contributions are judged by removal"
    elif perturb == "noise" and not slope:
        yield (
            f"perturb=noise asks for attributions per unit of the input, and those of '{context.label}' are contributions: "
            "use perturb=removal"
        )


@metric(
    "infidelity",
    family="faithfulness",
    better="lower",
    summary="Mean squared error of attributions in predicting what random perturbations of the input do to the score",
    formula="E over I of (I · φ − (f(x) − f(x − I)))²; of contributions, I · φ is the sum of R over what I removes",
    source="Yeh, Hsieh, Suggala, Inouye, Ravikumar 2019, definition 2.1",
    check=_problems,
)
def infidelity(
    batch: MetricBatch, *, runs: int = 100, perturb: str = "removal", size: float = 0.2, spread: float = 0.2, units: str = "auto",
    scaled: bool = False, features: str = "auto", patch: Any = None, replace: str = "baseline",
) -> MetricResult:  # fmt: skip
    """perturb="removal" replaces random sets with the share `size` of the features; "noise" adds normal noise, `spread` standard
    deviations of the explained input wide. `scaled` first scales attributions by the factor that serves them best."""
    slope = units == "slope" or (units == "auto" and is_slope(batch.subject.method, batch.subject.options))
    parts, remove = features_of(batch, features, patch), remover(batch, replace)
    count = max(1, round(size * parts.count))
    width = spread * float(batch.data.x.std()) if perturb == "noise" else 0.0
    draws = [batch.random(row, "infidelity") for row in range(len(batch))]
    predicted = np.empty((runs, len(batch)))

    def version(k: int) -> Array:
        if perturb == "noise":
            step = np.stack([d.normal(0, width, batch.x.shape[1:]) for d in draws]).astype(batch.x.dtype)
            predicted[k] = _dot(batch.attribution, step)
            return np.asarray(batch.x - step)
        chosen = np.zeros((len(batch), parts.count), bool)
        for row, draw in zip(chosen, draws, strict=True):
            row[draw.permutation(parts.count)[:count]] = True
        there = remove(parts.spread(chosen))
        if slope:
            predicted[k] = _dot(batch.attribution, batch.x.astype(np.float64) - there)
        else:
            predicted[k] = (chosen * parts.values).sum(axis=1)
        return there

    falls = batch.scores - batch.sweep(runs, version)
    factor = np.ones(len(batch))
    if scaled:
        size2 = (predicted**2).sum(axis=0)
        factor = np.where(size2 > 0, (predicted * falls).sum(axis=0) / np.where(size2 > 0, size2, 1), 0.0)
    return MetricResult(((factor * predicted - falls) ** 2).mean(axis=0), facts={"factor": factor} if scaled else {})


def _dot(a: Array, b: Array) -> Array:
    return np.asarray((a * b).reshape(len(a), -1).sum(axis=1))
