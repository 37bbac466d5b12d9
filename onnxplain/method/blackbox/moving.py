"""The scores of samples whose features take other values: one feature, or several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxplain.method.blackbox.bins import FeatureColumn
from onnxplain.method.blackbox.task import PerturbationContext
from onnxplain.runtime.progress import track
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["Change", "arranged_curves", "filled", "scores_where"]

Change: TypeAlias = "Mapping[int, Any]"
"""By the number of a feature, the value it takes in all samples, or in each, [n]."""


def scores_where(context: PerturbationContext, table: Sequence[FeatureColumn], changes: Sequence[Change], chunk: Any) -> Array:
    """The explained scores of all samples under each change, [changes, n, targets]."""
    size = context.rows(chunk)
    many, across = max(1, size // context.count), min(size, context.count)
    made = np.empty((len(changes), context.count, context.scores.shape[1]))
    for start in track(range(0, len(changes), many), context.title, context.progress):
        part = changes[start : start + many]
        for first in range(0, context.count, across):
            samples = slice(first, min(first + across, context.count))
            scores = context.scorer.scores(_changed(context, table, part, samples))
            read = context.read(scores.reshape(len(part), samples.stop - first, 1, -1), samples)
            made[start : start + many, samples] = read[:, :, 0]
    return made


def _changed(context: PerturbationContext, table: Sequence[FeatureColumn], changes: Sequence[Change], samples: slice) -> Arrays:
    """Copies of samples, one block for each change."""
    feeds: Arrays = {}
    for name, x in {**context.x, **context.fixed}.items():
        if name not in context.scorer.sampled:
            feeds[name] = x
            continue
        flat = np.repeat(x[samples][None], len(changes), axis=0).reshape(len(changes), len(x[samples]), -1)
        for block, change in zip(flat, changes, strict=True):
            for feature, values in change.items():
                if table[feature].input == name:
                    block[:, table[feature].index] = values[samples] if isinstance(values, np.ndarray) else values
        feeds[name] = flat.reshape(-1, *x.shape[1:])
    return feeds


def arranged_curves(context: PerturbationContext, curves: Array, grids: Sequence[Array]) -> tuple[Arrays, Arrays]:
    """Deviations as attributions; curves [n, targets, points, …] and the grid [n, 1, points, …] by input as facts.

    Args:
        context: what is explained.
        curves: [n, targets, features, points], NaN beyond a feature's last value.
        grids: each feature's values.
    """
    attributions: Arrays = {}
    facts: Arrays = {}
    start, several, most = 0, len(context.x) > 1, curves.shape[-1]
    for name, x in context.x.items():
        shape, size = x.shape[1:], int(np.prod(x.shape[1:]))
        mine = curves[:, :, start : start + size]
        attributions[name] = np.nanstd(mine, axis=-1).reshape(*curves.shape[:2], *shape)
        end = f".{name}" if several else ""
        facts[f"curves{end}"] = np.moveaxis(mine, -1, 2).reshape(*curves.shape[:2], most, *shape)
        table = np.stack([filled(g, most) for g in grids[start : start + size]], axis=-1)
        facts[f"grid{end}"] = np.repeat(table.reshape(1, 1, most, *shape), len(curves), axis=0)
        start += size
    return attributions, facts


def filled(values: Array, most: int) -> Array:
    """A feature's values, with NaN (text: nothing) up to the longest grid."""
    if values.dtype.kind in "OUSb":
        return np.concatenate([values.astype(str), np.full(most - len(values), "")])
    return np.concatenate([values.astype(np.float64), np.full(most - len(values), np.nan)])
