"""Partial dependence and individual conditional expectation: the score along the values of one feature at a time, or of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.bins import FeatureColumn, feature_columns
from onnxplain.method.blackbox.moving import arranged_curves, filled, scores_where
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.pairs import chosen_pairs
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["surface_facts"]


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
    table, grids = _grids(context, points, grid, background, categorical)
    return PerturbationResult(*arranged_curves(context, _curves(context, table, grids, chunk), grids))


@method(
    "partial-dependence",
    summary="The mean score of all samples as one feature runs through its values: curves, and their standard deviation",
    formula="deviation over v of mean over samples x of f(x with x_i = v); the curves are in facts",
    source="Friedman 2001, Greedy Function Approximation, section 8.2; its deviation: Greenwell, Boehmke, McCarthy 2018",
    axioms=("dummy", "implementation-invariance"),
    signed=False,
    forward_only=True,
    overall=True,
)
def partial_dependence(
    context: PerturbationContext, *, points: int = 20, grid: str = "quantiles", pairs: Any = None, background: Any = None,
    categorical: Any = (), chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    table, grids = _grids(context, points, grid, background, categorical)
    chosen = chosen_pairs(pairs, len(table))
    curves = _curves(context, table, grids, chunk).mean(axis=0, keepdims=True)
    attributions, facts = arranged_curves(context, curves, grids)
    if chosen:
        surfaces = [_surface(context, table, grids, pair, chunk) for pair in chosen]
        facts |= surface_facts(surfaces, [(grids[a], grids[b]) for a, b in chosen], chosen)
    return PerturbationResult(attributions, facts, overall=True)


def surface_facts(surfaces: Sequence[Array], grids: Sequence[tuple[Array, Array]], pairs: Sequence[tuple[int, int]]) -> Arrays:
    """Surfaces [targets, values, values] of pairs of features as facts: `surfaces` [1, targets, pairs, points, points] over
    `surface_grid` [1, 1, pairs, 2, points], NaN beyond the last values, and the `pairs` [1, 1, pairs, 2]."""
    most = max(len(g) for both in grids for g in both)
    padded = [np.pad(s, ((0, 0), (0, most - s.shape[1]), (0, most - s.shape[2])), constant_values=np.nan) for s in surfaces]
    values = [np.stack([filled(g, most) for g in both]) for both in grids]
    return {
        "surfaces": np.stack(padded, axis=1)[None],
        "surface_grid": np.stack(values)[None, None],
        "pairs": np.array(pairs)[None, None],
    }


def _surface(
    context: PerturbationContext, table: Sequence[FeatureColumn], grids: Sequence[Array], pair: tuple[int, int], chunk: Any
) -> Array:
    """The mean score where two features take each pair of values, [targets, values, values]."""
    first, second = (grids[f] for f in pair)
    changes = [{pair[0]: a, pair[1]: b} for a in first for b in second]
    means = scores_where(context, table, changes, chunk).mean(axis=1)
    return np.asarray(means.T.reshape(-1, len(first), len(second)))


def _grids(
    context: PerturbationContext, points: int, grid: str, background: Any, categorical: Any
) -> tuple[list[FeatureColumn], list[Array]]:
    """The features, and the values that each runs through."""
    if points < 2:
        raise MethodError(f"points is how many values of a feature are tried, at least 2; got {points}")
    if grid not in ("quantiles", "even"):
        raise MethodError(f"grid='{grid}' is unknown; give quantiles (as often as in the data) or even (equal steps)")
    data = background_rows(background, context.x) if background is not None else context.x
    table = feature_columns(data, None, categorical)
    return table, [_values(c, data, points, grid) for c in table]


def _curves(context: PerturbationContext, table: Sequence[FeatureColumn], grids: Sequence[Array], chunk: Any) -> Array:
    """Scores [n, targets, features, points], NaN beyond the values of a feature that has fewer."""
    curves = np.full((context.count, context.scores.shape[1], len(table), max(map(len, grids))), np.nan)
    places = [(f, p) for f, values in enumerate(grids) for p in range(len(values))]
    found = scores_where(context, table, [{f: grids[f][p]} for f, p in places], chunk)
    for (feature, point), scores in zip(places, found, strict=True):
        curves[:, :, feature, point] = scores
    return curves


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
