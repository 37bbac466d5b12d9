"""Replacing: what takes the place of features that are removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any, TypeAlias

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metrics._imputing import imputed
from onnxplain.runtime.scorer import Array

__all__ = ["REPLACEMENTS", "Remove", "remover", "replacement_problems", "usual_replacement"]

Remove: TypeAlias = "Callable[[Array], Array]"
"""From which elements are gone, bool [n, …], to the samples without them, [n, …]."""

REPLACEMENTS = {
    "baseline": "the baseline (0 where none is given)",
    "mean": "the mean: of an image or a series over its places, channel by channel; of a table over the data, column by column",
    "blur": "the input blurred by a Gaussian (σ: a tenth of the longer side)",
    "noise": "normal noise with the mean and the spread that `mean` is taken over, drawn once per sample",
    "inpainting": "what neighbours say: the noisy linear imputer of ROAD (Rong et al. 2022)",
    "opposite": "the value on the other side of the data: least plus greatest value of the feature, minus its own",
}
"""The words of the option `replace`."""


def remover(batch: MetricBatch, replace: str) -> Remove:
    """How elements are removed from the samples of a batch."""
    if replace == "inpainting":
        return lambda gone: imputed(batch, gone)
    x, there = batch.x, _filling(batch, replace)
    return lambda gone: np.where(gone, there, x)


def usual_replacement(batch: MetricBatch) -> str:
    """What an "auto" replacement stands for: blur where there is space, else the baseline."""
    return "blur" if len(batch.x.shape) > 2 and batch.x.dtype.kind == "f" else "baseline"


def replacement_problems(context: MetricContext, replace: Any) -> Iterator[str]:
    """What is wrong with a replacement for these data."""
    x = context.data.x
    if replace not in REPLACEMENTS:
        yield f"replace='{replace}' is unknown; give {', '.join(REPLACEMENTS)}"
    elif replace in ("blur", "inpainting") and x.ndim < 3:
        yield f"replace='{replace}' needs neighbours in space or time, which the rows of a table have not"
    elif replace == "inpainting" and find_spec("scipy") is None:
        yield "replace='inpainting' needs SciPy, which is not installed: pip install 'onnxplain[evaluation]'"
    elif replace == "inpainting" and len(context.data.space) > 2:
        yield f"replace='inpainting' works on images and series, not on {len(context.data.space)} axes of space"
    elif replace != "baseline" and x.dtype.kind != "f":
        yield f"replace='{replace}' needs an input of floating-point numbers, found {x.dtype}: use replace=baseline"
    elif x.ndim < 3 and replace in ("mean", "noise", "opposite"):
        yield from _constant_columns(x, replace)
    elif replace in ("baseline", "mean", "blur", "noise"):
        still = np.flatnonzero((x.reshape(len(x), -1) == x.reshape(len(x), -1)[:, :1]).all(axis=1))
        if len(still) and replace != "baseline":
            yield f"replace='{replace}' changes nothing in sample {still[0]}, which holds one value throughout"


def _constant_columns(x: Array, replace: str) -> Iterator[str]:
    constant = np.flatnonzero((x == x[:1]).all(axis=0).ravel())
    if len(constant):
        some = ", ".join(map(str, constant[:5])) + (" …" if len(constant) > 5 else "")
        why = "there is one sample only" if len(x) == 1 else f"features {some} are constant over the data"
        yield f"replace='{replace}' is taken from the data, where it changes nothing: {why}; use replace=baseline"


def _filling(batch: MetricBatch, replace: str) -> Array:
    """What takes the place of every element, [n, …]."""
    x = batch.x
    if replace == "baseline":
        return batch.baseline
    if replace == "blur":
        return blurred(x, batch.space)
    if replace == "opposite":
        low, high = batch.data.x.min(axis=0), batch.data.x.max(axis=0)
        return np.asarray(low + high - x, x.dtype)
    whole, axes = (batch.data.x, (0,)) if x.ndim < 3 else (x, batch.space)
    mean = np.broadcast_to(whole.mean(axis=axes, keepdims=True), x.shape)
    if replace == "mean":
        return np.asarray(mean, x.dtype)
    spread = np.broadcast_to(whole.std(axis=axes, keepdims=True), x.shape)
    noise = np.stack([batch.random(row, "replacement").standard_normal(x.shape[1:]) for row in range(len(x))])
    return np.asarray(mean + spread * noise, x.dtype)


def blurred(x: Array, space: tuple[int, ...]) -> Array:
    """Samples blurred by a Gaussian along their axes of space, edges weighed by what lies within."""
    sigma = max(x.shape[a] for a in space) / 10
    made = np.asarray(x, np.float64)
    for axis in space:
        places = np.arange(x.shape[axis])
        weights = np.exp(-0.5 * ((places[:, None] - places) / sigma) ** 2)
        weights /= weights.sum(axis=1, keepdims=True)
        made = np.moveaxis(np.tensordot(made, weights, axes=(axis, 1)), -1, axis)
    return np.asarray(made, x.dtype)
