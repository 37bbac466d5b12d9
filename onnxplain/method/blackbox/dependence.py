"""Partial dependence and individual conditional expectation: the score along the values of one feature at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.bins import FeatureColumn, feature_columns
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.registry import method
from onnxplain.runtime.progress import track
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__: list[str] = []


@method(
    "ice",
    summary="How each sample's score moves as one feature runs through its values: curves, and their standard deviation",
    formula="deviation over v of f(x with x_i = v); the curves are in facts",
    source="Goldstein, Kapelner, Bleich, Pitkin 2015, Peeking Inside the Black Box",
    axioms=("dummy", "implementation-invariance"),
    signed=False,
    forward_only=True,
)
def ice(
    context: PerturbationContext, *, points: int = 20, grid: str = "quantiles", background: Any = None, categorical: Any = (),
    chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    curves, grids = _curves(context, points, grid, background, categorical, chunk)
    return _found(context, curves, grids)


@method(
    "partial-dependence",
    summary="The mean score of all samples as one feature runs through its values: curves, and their standard deviation",
    formula="deviation over v of mean over samples x of f(x with x_i = v); the curves are in facts",
    source="Friedman 2001, Greedy Function Approximation, section 8.2; its deviation: Greenwell, Boehmke, McCarthy 2018",
    axioms=("dummy", "implementation-invariance"),
    signed=False,
    forward_only=True,
)
def partial_dependence(
    context: PerturbationContext, *, points: int = 20, grid: str = "quantiles", background: Any = None, categorical: Any = (),
    chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    curves, grids = _curves(context, points, grid, background, categorical, chunk)
    found = _found(context, curves.mean(axis=0, keepdims=True), grids)
    return PerturbationResult(found.attributions, found.facts, overall=True)


def _curves(
    context: PerturbationContext, points: int, grid: str, background: Any, categorical: Any, chunk: Any
) -> tuple[Array, list[Array]]:
    """Scores [n, targets, features, points] (NaN beyond the values of a feature that has fewer) and each feature's values."""
    if points < 2:
        raise MethodError(f"points is how many values of a feature are tried, at least 2; got {points}")
    if grid not in ("quantiles", "even"):
        raise MethodError(f"grid='{grid}' is unknown; give quantiles (as often as in the data) or even (equal steps)")
    data = background_rows(background, context.x) if background is not None else context.x
    table = feature_columns(data, None, categorical)
    grids = [_values(c, data, points, grid) for c in table]
    curves = np.full((context.count, context.scores.shape[1], len(table), max(map(len, grids))), np.nan)
    size = context.rows(chunk)
    places = [(f, p) for f, values in enumerate(grids) for p in range(len(values))]
    many = max(1, size // context.count)
    across = min(size, context.count)
    for start in track(range(0, len(places), many), context.title, context.progress):
        part = places[start : start + many]
        for first in range(0, context.count, across):
            samples = slice(first, min(first + across, context.count))
            scores = context.scorer.scores(_moved(context, table, grids, part, samples))
            read = context.read(scores.reshape(len(part), samples.stop - first, 1, -1), samples)[:, :, 0]
            for (feature, point), values in zip(part, read, strict=True):
                curves[samples, :, feature, point] = values
    return curves, grids


def _moved(
    context: PerturbationContext, table: list[FeatureColumn], grids: list[Array], places: list[tuple[int, int]], samples: slice
) -> Arrays:
    """Copies of samples, one block for each value of a feature."""
    feeds: Arrays = {}
    for name, x in {**context.x, **context.fixed}.items():
        if name not in context.scorer.sampled:
            feeds[name] = x
            continue
        blocks = np.repeat(x[samples][None], len(places), axis=0)
        flat = blocks.reshape(len(places), len(x[samples]), -1)
        for block, (feature, point) in zip(flat, places, strict=True):
            if table[feature].input == name:
                block[:, table[feature].index] = grids[feature][point]
        feeds[name] = flat.reshape(-1, *x.shape[1:])
    return feeds


def _values(column: FeatureColumn, data: Arrays, points: int, grid: str) -> Array:
    """The values a feature runs through: all of them where they are few or categories, else a grid."""
    values = column.of(data[column.input])
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)] if not np.isnan(values).all() else values[:1]
    if column.scale is None or len(np.unique(values)) <= points:
        return np.unique(values.astype(str) if values.dtype.kind == "O" else values)
    low, high = np.percentile(values, [5, 95])
    if grid == "even":
        return np.linspace(low, high, points).astype(values.dtype)
    return np.unique(np.percentile(values, np.linspace(5, 95, points)).astype(values.dtype))


def _found(context: PerturbationContext, curves: Array, grids: list[Array]) -> PerturbationResult:
    """Deviations as attributions; curves [n, targets, points, …] and the grid [1, 1, points, …] by input as facts."""
    attributions: Arrays = {}
    facts: Arrays = {}
    start, several, most = 0, len(context.x) > 1, curves.shape[-1]
    for name, x in context.x.items():
        shape, size = x.shape[1:], int(np.prod(x.shape[1:]))
        mine = curves[:, :, start : start + size]
        attributions[name] = np.nanstd(mine, axis=-1).reshape(*curves.shape[:2], *shape)
        end = f".{name}" if several else ""
        facts[f"curves{end}"] = np.moveaxis(mine, -1, 2).reshape(*curves.shape[:2], most, *shape)
        table = np.stack([_filled(g, most) for g in grids[start : start + size]], axis=-1)
        facts[f"grid{end}"] = np.repeat(table.reshape(1, 1, most, *shape), len(curves), axis=0)
        start += size
    return PerturbationResult(attributions, facts)


def _filled(values: Array, most: int) -> Array:
    """A feature's values, with NaN (text: nothing) up to the longest grid."""
    if values.dtype.kind in "OUSb":
        return np.concatenate([values.astype(str), np.full(most - len(values), "")])
    return np.concatenate([values.astype(np.float64), np.full(most - len(values), np.nan)])
