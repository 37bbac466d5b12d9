"""Accumulated local effects: how the score moves along a feature among samples that have about that value anyway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.method.blackbox.bins import FeatureColumn, feature_columns
from onnxplain.method.blackbox.dependence import surface_facts
from onnxplain.method.blackbox.moving import arranged_curves, scores_where
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.pairs import chosen_pairs
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["accumulated_curve", "accumulated_surface", "quantile_edges"]


@method(
    "ale",
    summary="How the score moves along a feature among samples near each value, which holds where features depend on each other",
    formula="Σ over steps up to v of mean over samples in it of f(x at its end) − f(x at its start); the curves are in facts",
    source="Apley, Zhu 2020, Visualizing the effects of predictor variables in black box supervised learning models",
    axioms=("dummy", "implementation-invariance"),
    signed=False,
    forward_only=True,
    overall=True,
)
def ale(
    context: PerturbationContext, *, points: int = 20, pairs: Any = None, chunk: int | str | None = None
) -> PerturbationResult:
    if points < 2:
        raise MethodError(f"points is how many ends of steps a feature has, at least 2; got {points}")
    table = feature_columns(context.x, None, ())
    for column in table:
        if column.scale is None:
            raise MethodError(
                f"ale goes along values in order, and those of '{column.input}' have none: explain other inputs (inputs=), "
                "or use partial-dependence"
            )
    chosen = chosen_pairs(pairs, len(table))
    steps = [_Steps.of(c.of(context.x[c.input]), points, c) for c in table]
    curves = np.full((1, context.scores.shape[1], len(table), max(len(s.edges) for s in steps)), np.nan)
    for feature, step in enumerate(steps):
        low, high = scores_where(context, table, [{feature: step.low}, {feature: step.high}], chunk)
        for target in range(curves.shape[1]):
            effects = (high - low)[step.known, target]
            curves[0, target, feature, : len(step.edges)] = accumulated_curve(step.edges, step.codes[step.known], effects)
    attributions, facts = arranged_curves(context, curves, [s.edges for s in steps])
    if chosen:
        surfaces = [_surface(context, table, steps, pair, chunk) for pair in chosen]
        facts |= surface_facts(surfaces, [(steps[a].edges, steps[b].edges) for a, b in chosen], chosen)
    return PerturbationResult(attributions, facts, overall=True)


@dataclass(frozen=True)
class _Steps:
    """Ends of the steps along a feature, and for every sample the number of its step; `known` where its value is not missing."""

    edges: Array
    codes: Array
    known: Array

    @classmethod
    def of(cls, values: Array, points: int, column: FeatureColumn) -> _Steps:
        known = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
        if not known.any():
            raise InputError(f"column {column.index} of '{column.input}' has no values: all are missing")
        edges = quantile_edges(values[known], points)
        codes = np.clip(np.searchsorted(edges, np.where(known, values, edges[0]), side="left") - 1, 0, max(len(edges) - 2, 0))
        return cls(edges, codes, known)

    @property
    def low(self) -> Array:
        """Where each sample's step starts."""
        return np.asarray(self.edges[self.codes])

    @property
    def high(self) -> Array:
        """Where it ends."""
        return np.asarray(self.edges[np.minimum(self.codes + 1, len(self.edges) - 1)])


def quantile_edges(values: Array, points: int) -> Array:
    """Values of the data that part it into steps of about equally many samples, at most `points` of them."""
    return np.unique(np.quantile(values, np.linspace(0, 1, points), method="inverted_cdf"))


def accumulated_curve(edges: Array, codes: Array, effects: Array) -> Array:
    """The mean effects of steps summed up, with mean 0 over the samples (Apley, Zhu 2020, equation 16), [edges]."""
    if len(edges) < 2:
        return np.zeros(len(edges))
    counts = np.bincount(codes, minlength=len(edges) - 1)
    means = np.bincount(codes, weights=effects, minlength=len(edges) - 1) / np.maximum(counts, 1)
    curve = np.concatenate([[0.0], np.cumsum(means)])
    return np.asarray(curve - counts @ (curve[1:] + curve[:-1]) / 2 / counts.sum())


def accumulated_surface(edges: tuple[Array, Array], codes: tuple[Array, Array], effects: Array) -> Array:
    """What two features do together beyond what each does alone (equation 17 there), [edges, edges].

    Mean effects of cells, an empty one taking its nearest neighbour's, are summed up along both axes; then the curves of either
    feature alone and the mean over the samples are taken off.
    """
    shape = len(edges[0]) - 1, len(edges[1]) - 1
    if min(shape) < 1:
        return np.zeros((len(edges[0]), len(edges[1])))
    cells = np.ravel_multi_index(codes, shape)
    counts = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
    means = np.bincount(cells, weights=effects, minlength=counts.size).reshape(shape) / np.maximum(counts, 1)
    surface = np.pad(_without_gaps(means, counts, edges).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    alone = [_alone(surface, counts), _alone(surface.T, counts.T)]
    surface = surface - alone[0][:, None] - alone[1][None]
    corners = (surface[:-1, :-1] + surface[1:, :-1] + surface[:-1, 1:] + surface[1:, 1:]) / 4
    return np.asarray(surface - (counts * corners).sum() / counts.sum())


def _alone(surface: Array, counts: Array) -> Array:
    """How the surface moves along its first axis, on average over the samples in each step, [edges]."""
    steps = np.diff(surface, axis=0)
    means = (counts * (steps[:, 1:] + steps[:, :-1]) / 2).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    return np.concatenate([[0.0], np.cumsum(means)])


def _without_gaps(means: Array, counts: Array, edges: tuple[Array, Array]) -> Array:
    """Empty cells with the value of the nearest one, distances measured in ranges of the features."""
    middles = [(e[1:] + e[:-1]) / 2 / (e[-1] - e[0]) for e in edges]
    places = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1).reshape(-1, 2)
    full = np.flatnonzero(counts.ravel())
    made = means.ravel().copy()
    for cell in np.flatnonzero(counts.ravel() == 0):
        made[cell] = made[full[((places[full] - places[cell]) ** 2).sum(axis=1).argmin()]]
    return np.asarray(made.reshape(means.shape))


def _surface(
    context: PerturbationContext, table: Sequence[FeatureColumn], steps: Sequence[_Steps], pair: tuple[int, int], chunk: Any
) -> Array:
    """The surface of a pair, [targets, edges, edges]."""
    first, second = (steps[f] for f in pair)
    corners = [{pair[0]: a, pair[1]: b} for a in (first.low, first.high) for b in (second.low, second.high)]
    both_low, high_second, high_first, both_high = scores_where(context, table, corners, chunk)
    known = first.known & second.known
    if not known.any():
        raise InputError(f"no sample has values of both features {pair[0]} and {pair[1]}")
    effects = (both_high - high_first - high_second + both_low)[known]
    codes = first.codes[known], second.codes[known]
    return np.stack([accumulated_surface((first.edges, second.edges), codes, column) for column in effects.T])
