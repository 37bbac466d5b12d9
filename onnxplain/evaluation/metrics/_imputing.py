"""The noisy linear imputer: removed places become a weighted mean of their neighbours (Rong et al. 2022)."""

from __future__ import annotations

from itertools import product

import numpy as np

from onnxplain._optional import optional
from onnxplain.evaluation.case import MetricBatch
from onnxplain.runtime.scorer import Array

__all__ = ["imputed"]

NOISE = 0.01
"""Standard deviation of what is added to imputed values, so that these cannot be told by their smoothness."""


def imputed(batch: MetricBatch, gone: Array, noise: float = NOISE) -> Array:
    """Samples whose removed places are imputed, channels apart.

    A place that is gone in any channel is gone in all. Each becomes the mean of its neighbours, direct ones with weight 1/6 and
    diagonal ones with 1/12 (in a series both with 1/2), all at once: a sparse linear system. Where everything is gone, it is
    the channel's mean.

    Args:
        batch: the batch.
        gone: bool [n, …].
        noise: standard deviation of what is added.

    Raises:
        MissingDependencyError: SciPy is not installed.
    """
    x, space = batch.x, batch.space
    wide = np.moveaxis(x, space, range(1, 1 + len(space))).astype(np.float64)
    inner = wide.shape[1 : 1 + len(space)]
    places: Array = np.asarray(gone.any(axis=batch.channels))
    made = wide.reshape(len(x), *inner, -1).copy()
    for row, missing in enumerate(places):
        if missing.all():
            made[row] = made[row].mean(axis=tuple(range(len(inner))))
        elif missing.any():
            made[row][missing] = _solved(made[row], missing)
        added = batch.random(row, "imputing").standard_normal((*inner, made.shape[-1]))
        made[row][missing] += noise * added[missing]
    return np.asarray(np.moveaxis(made.reshape(wide.shape), range(1, 1 + len(space)), space), x.dtype)


def _solved(picture: Array, missing: Array) -> Array:
    """The values of the missing places, [missing, channels]."""
    with optional("evaluation", "imputing"):
        from scipy.sparse import coo_array
        from scipy.sparse.linalg import spsolve
    shape = missing.shape
    number = np.full(shape, -1)
    at = np.argwhere(missing)
    number[missing] = np.arange(len(at))
    total = np.zeros(len(at))
    known = np.zeros((len(at), picture.shape[-1]))
    rows, columns, entries = [np.arange(len(at))], [np.arange(len(at))], [total]
    for offset in product((-1, 0, 1), repeat=len(shape)):
        steps = sum(map(abs, offset))
        if not steps:
            continue
        weight = 0.5 if len(shape) == 1 else 1 / 6 if steps == 1 else 1 / 12
        there = at + offset
        valid = np.flatnonzero(((there >= 0) & (there < shape)).all(axis=1))
        beside = tuple(there[valid].T)
        total[valid] += weight
        unknown = missing[beside]
        known[valid] += weight * np.where(unknown[:, None], 0, picture[beside])
        rows.append(valid[unknown])
        columns.append(number[beside][unknown])
        entries.append(np.full(int(unknown.sum()), -weight))
    entries[0] = total
    system = coo_array(
        (np.concatenate(entries), (np.concatenate(rows), np.concatenate(columns))), shape=(len(at), len(at))
    ).tocsc()
    return np.asarray(spsolve(system, known)).reshape(len(at), -1)
