"""Surrogates: simple models trained to imitate the scores over rows of data, and how well they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.task import PerturbationContext
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["Lesson", "feature_rows", "fidelity", "lesson"]


@dataclass(frozen=True)
class Lesson:
    """Training data of a surrogate.

    Attributes:
        x: rows of numbers, [m, features].
        y: the model's scores for them, [m, elements].
        kept: which rows are held out to measure the fit.
    """

    x: Array
    y: Array
    kept: Array
    names: list[str]


def lesson(context: PerturbationContext, background: object, holdout: float, seed: int, *, missing: bool) -> Lesson:
    """Rows of data, the task's own samples where none are given, with the model's scores for them.

    `missing` says whether the surrogate can do with NaN.

    Raises:
        InputError: there are too few rows, or inputs that hold text.
        MethodError: the share held out is not between 0 and 1.
    """
    if not 0 < holdout < 1:
        raise MethodError(
            f"holdout is the share of rows kept apart to see how well the surrogate imitates, 0 to 1; got {holdout}"
        )
    for name, x in context.x.items():
        if x.dtype.kind not in "fiub":
            raise InputError(f"a tree of numbers cannot split '{name}' of {x.dtype}; choose other inputs, or lime or kernel-shap")
    if not missing and any(np.isnan(x).any() for x in context.x.values() if x.dtype.kind == "f"):
        raise InputError("some values are missing (NaN), which filters cannot weigh: use decision-tree, lime or kernel-shap")
    if any(n in context.scorer.sampled for n in context.fixed):
        raise MethodError(f"the surrogate must see all inputs of a sample, but not {', '.join(context.fixed)}; explain them too")
    rows = background_rows(background, context.x) if background is not None else context.x
    count = len(next(iter(rows.values())))
    if count < 8:
        raise InputError(f"a surrogate is trained on rows of data: give background=, at least 8 rows; got {count}")
    size = context.rows(None)
    scores = [
        context.scorer.scores({**{n: v[i : i + size] for n, v in rows.items()}, **context.fixed}) for i in range(0, count, size)
    ]
    order = np.random.default_rng(seed).permutation(count)
    kept = np.zeros(count, bool)
    kept[order[: max(1, round(holdout * count))]] = True
    return Lesson(feature_rows(rows), np.concatenate(scores), kept, _names(context.x))


def feature_rows(rows: Mapping[str, Array]) -> Array:
    """The numbers of every row, [m, features], in float64."""
    return np.concatenate([np.asarray(v.reshape(len(v), -1), np.float64) for v in rows.values()], axis=1)


def at_inputs(context: PerturbationContext, values: Array) -> Arrays:
    """Values [n, targets, features] in the shapes of the inputs."""
    made, start = {}, 0
    for name, x in context.x.items():
        size = int(np.prod(x.shape[1:]))
        made[name] = values[..., start : start + size].reshape(*values.shape[:2], *x.shape[1:])
        start += size
    return made


def fidelity(imitated: Array, y: Array) -> tuple[float, float]:
    """How well scores [m, elements] are imitated: the share of their variance, and how often the greatest is the same."""
    left = ((y - imitated) ** 2).sum()
    spread = ((y - y.mean(axis=0)) ** 2).sum()
    same = float((imitated.argmax(axis=1) == y.argmax(axis=1)).mean())
    return float(1 - left / spread) if spread > 0 else float(left == 0), same


def told(context: PerturbationContext, **numbers: float) -> Arrays:
    """Facts that hold for all samples and targets, in the form of facts per sample."""
    return {name: np.full((context.count, context.targets), value) for name, value in numbers.items()}


def _names(x: Arrays) -> list[str]:
    names = []
    for name, array in x.items():
        shape = array.shape[1:]
        names += [f"{name}[{','.join(map(str, i))}]" for i in np.ndindex(*shape)] if np.prod(shape) != 1 else [name]
    return names
