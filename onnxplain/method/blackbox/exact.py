"""Exact Shapley values: every coalition of at most twelve players."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np

from onnxplain.analysis.forward_only_advice import EXACT_PLAYERS
from onnxplain.errors import MethodError
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["all_coalitions", "shapley_matrix"]


@method(
    "exact-shapley",
    summary="Shapley values from all coalitions of at most 12 features or groups: each one's mean contribution to the others",
    formula="Σ_S |S|! (p − |S| − 1)! / p! · (f(S ∪ i) − f(S))",
    source="Shapley 1953, A Value for n-Person Games; Štrumbelj, Kononenko 2014, Explaining Prediction Models",
    axioms=("completeness", "symmetry", "dummy", "linearity", "implementation-invariance"),
    needs_baseline=True,
    forward_only=True,
)
def exact_shapley(
    context: PerturbationContext,
    *,
    groups: Any = None,
    parts: int = 10,
    axes: Any = None,
    background: Any = None,
    chunk: int | str | None = None,
) -> PerturbationResult:
    return context.play(_solve, context.base(background), groups=groups, parts=parts, axes=axes, chunk=chunk)


def _solve(game: Game) -> PlayerValues:
    count = game.players.count
    if count > EXACT_PLAYERS:
        raise MethodError(
            f"exact-shapley runs all 2^p coalitions of at most {EXACT_PLAYERS} features or groups, found p = {count}: "
            "group the features (groups=, parts=), or use kernel-shap or shapley-sampling"
        )
    scores = game.values(all_coalitions(count))
    values = np.einsum("pk,knt->ntp", shapley_matrix(count), scores)
    return PlayerValues(values, facts={"base_value": scores[0]}, convergence_delta=values.sum(axis=-1) - (scores[-1] - scores[0]))


def all_coalitions(count: int) -> Array:
    """All 2^count coalitions, bool [2^count, count]; the empty one first, all players last."""
    return (np.arange(1 << count)[:, None] >> np.arange(count) & 1).astype(bool)


def shapley_matrix(count: int) -> Array:
    """Shapley values as a linear map of the scores of all coalitions, [players, 2^count]."""
    masks = all_coalitions(count)
    sizes = masks.sum(axis=1)
    joins = np.array([1 / (count * comb(count - 1, s - 1)) if s else 0 for s in range(count + 1)])
    stays = np.array([1 / (count * comb(count - 1, s)) if s < count else 0 for s in range(count + 1)])
    return np.asarray(np.where(masks, joins[sizes, None], -stays[sizes, None]).T)
