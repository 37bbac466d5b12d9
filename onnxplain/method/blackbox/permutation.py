"""Permutation: how much of the score is lost when a feature takes the values that it has in other rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.ablation import ablate
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__: list[str] = []

LOSSES = ("error", "cross-entropy", "squared")


@method(
    "permutation",
    summary="What the score loses when a feature takes values from other rows; over a data set, how much the model relies on it",
    formula="mean over rows r of f(x) − f(x with feature i of r); overall: mean change, or rise of the loss against the truth",
    source="Breiman 2001, Random Forests, section 10; Fisher, Rudin, Dominici 2019, All Models are Wrong, but Many are Useful",
    axioms=("dummy", "implementation-invariance"),
    forward_only=True,
)
def permutation(
    context: PerturbationContext, *, samples: int = 10, background: Any = None, groups: Any = None, parts: int = 50,
    axes: Any = None, overall: bool = False, truth: Any = None, loss: str | None = None, seed: int = 0,
    chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    if samples < 1:
        raise MethodError(f"samples is how often values are exchanged, at least 1; got {samples}")
    if (truth is not None or loss is not None) and not overall:
        raise MethodError("truth and loss are for the importance over a data set: give overall=True too")
    rows = background_rows(background, context.x) if background is not None else context.x
    base = _exchanged(rows, context.count, samples, seed, background is None)
    settings = {"groups": groups, "parts": parts, "axes": axes, "chunk": chunk}
    if not overall:
        return context.play(ablate, base, **settings)
    if truth is None:
        return _averaged(context.play(lambda game: _sizes(ablate(game)), base, **settings))
    read = Loss(_truth(truth, context), loss or "error")
    found = context.with_reader(read).play(lambda game: _negative(ablate(game)), base, **settings)
    flat = np.asarray(context.prediction.scores.reshape(context.count, -1), np.float64)
    found.facts["loss"] = read(flat[None, :, None], slice(0, context.count))[0, :, 0]
    return _averaged(found)


def _exchanged(rows: Arrays, count: int, samples: int, seed: int, own: bool) -> Arrays:
    """For each sample the rows its values are exchanged with, [n, samples, …]; any but its own where they are the batch."""
    random, many = np.random.default_rng(seed), len(next(iter(rows.values())))
    if own and many < 2:
        raise InputError("permutation exchanges values between rows: give at least 2 samples, or background=rows of data")
    if own:
        shifts = random.integers(1, many, size=(count, samples))
        chosen = (np.arange(count)[:, None] + shifts) % many
    else:
        chosen = random.integers(0, many, size=(count, samples))
    return {name: values[chosen] for name, values in rows.items()}


class Loss:
    """Reads the loss off the scores instead of a target: [k, n, m, elements] to [k, n, m, 1]."""

    targets = 1

    def __init__(self, labels: Array, kind: str) -> None:
        if kind not in LOSSES:
            raise MethodError(f"loss='{kind}' is unknown; give {', '.join(LOSSES)}")
        self.labels, self.kind = labels, kind

    def __call__(self, scores: Array, samples: slice) -> Array:
        labels = self.labels[samples]
        if self.kind == "squared":
            return np.asarray(((scores - labels.reshape(1, len(labels), 1, -1)) ** 2).mean(axis=-1, keepdims=True))
        if self.kind == "error":
            return np.asarray(scores.argmax(axis=-1) != labels[None, :, None], np.float64)[..., None]
        high = scores.max(axis=-1, keepdims=True)
        log = scores - high - np.log(np.exp(scores - high).sum(axis=-1, keepdims=True))
        return -np.take_along_axis(log, np.broadcast_to(labels[None, :, None, None], (*scores.shape[:3], 1)), axis=-1)


def _truth(truth: Any, context: PerturbationContext) -> Array:
    found = np.asarray(truth)
    if found.ndim < 1 or len(found) != context.count:
        raise InputError(f"truth needs one per sample, {context.count}; got {list(found.shape)}")
    return found


def _sizes(shares: PlayerValues) -> PlayerValues:
    return PlayerValues(np.abs(shares.values))


def _negative(shares: PlayerValues) -> PlayerValues:
    """A loss grows where a score shrinks."""
    return PlayerValues(-shares.values)


def _averaged(found: PerturbationResult) -> PerturbationResult:
    """The mean over all samples, with its standard error."""

    def mean(values: Array) -> Array:
        return np.asarray(values.mean(axis=0, keepdims=True))

    facts = {name: mean(v) for name, v in found.facts.items()}
    several = len(found.attributions) > 1
    for name, values in found.attributions.items():
        spread = (
            values.std(axis=0, ddof=1, keepdims=True) / np.sqrt(len(values)) if len(values) > 1 else np.full_like(values, np.nan)
        )
        facts[f"standard_error.{name}" if several else "standard_error"] = spread
    return PerturbationResult({name: mean(v) for name, v in found.attributions.items()}, facts, overall=True)
