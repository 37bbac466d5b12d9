"""Interactions between features: what sets of them do together beyond what they do apart, by coalitions of any model."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import comb
from typing import Any

import numpy as np

from onnxplain.analysis.forward_only_advice import EXACT_PLAYERS
from onnxplain.errors import MethodError
from onnxplain.method.blackbox.draws import draw_coalitions
from onnxplain.method.blackbox.estimate import Estimator
from onnxplain.method.blackbox.exact import all_coalitions
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.indices import INDICES
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["play_index"]

MOST_SETS = 500_000
"""Sets of players that an index is computed for, at most."""

AXIOMS = ("symmetry", "dummy", "linearity", "implementation-invariance")
COMPLETE = ("completeness with interactions", *AXIOMS)


def _by_index(name: str) -> Callable[..., PerturbationResult]:
    """The method that computes an index of all sets of up to `order` features or groups."""

    def run(
        context: PerturbationContext, *, order: int = 2, samples: int | None = None, groups: Any = None, parts: int = 50,
        axes: Any = None, background: Any = None, seed: int = 0, chunk: int | str | None = None,
    ) -> PerturbationResult:  # fmt: skip
        if order < 1:
            raise MethodError(f"order is how many features or groups a set may have, at least 1; got {order}")

        def solve(game: Game) -> PlayerValues:
            return play_index(game, name, order, samples, seed)

        return context.play(solve, context.base(background), groups=groups, parts=parts, axes=axes, chunk=chunk)

    return run


method(
    "sii",
    summary="Shapley interactions: how a set's joint effect differs from its parts', averaged like Shapley values",
    formula="Σ_T (p − |T| − |S|)! |T|! / (p − |S| + 1)! · Δ_S f(T)",
    source="Grabisch, Roubens 1999, An axiomatic approach to the concept of interaction among players in cooperative games",
    axioms=AXIOMS,
    needs_baseline=True,
    forward_only=True,
)(_by_index("sii"))

method(
    "k-sii",
    summary="Main effects and interactions that add up to the score: Shapley values, shared out; of pairs as SHAP's of trees",
    formula="Σ_{T ⊇ S, |T| ≤ k} B_{|T| − |S|} · SII(T), B the Bernoulli numbers",
    source="Bordt, von Luxburg 2023, From Shapley Values to Generalized Additive Models and back; pairs: Lundberg et al. 2020",
    axioms=COMPLETE,
    needs_baseline=True,
    forward_only=True,
)(_by_index("k-sii"))

method(
    "stii",
    summary="As a Taylor series: smaller sets keep what they do at the baseline, sets of k share what more features do together",
    formula="Δ_S f(∅) for |S| < k; k / p Σ_T Δ_S f(T) / C(p − 1, |T|) for |S| = k",
    source="Sundararajan, Dhamdhere, Agarwal 2020, The Shapley Taylor Interaction Index",
    axioms=COMPLETE,
    needs_baseline=True,
    forward_only=True,
)(_by_index("stii"))

method(
    "fsii",
    summary="The sum over sets of up to k features that imitates all coalitions best, weighed by the Shapley kernel: faithful",
    formula="E that minimises Σ_T π(|T|) (f(T) − Σ_{S ⊆ T, |S| ≤ k} E(S))², exact at ∅ and at all",
    source="Tsai, Yeh, Ravikumar 2023, Faith-Shap: The Faithful Shapley Interaction Index",
    axioms=COMPLETE,
    needs_baseline=True,
    forward_only=True,
)(_by_index("fsii"))

method(
    "bii",
    summary="Banzhaf interactions: how a set's joint effect differs from its parts', all coalitions of the others counting alike",
    formula="Σ_T Δ_S f(T) / 2^(p − |S|)",
    source="Grabisch, Roubens 1999, An axiomatic approach to the concept of interaction among players in cooperative games",
    axioms=AXIOMS,
    needs_baseline=True,
    forward_only=True,
)(_by_index("bii"))

method(
    "fbii",
    summary="The sum over sets of up to k features that imitates all coalitions best, all weighing alike, with an intercept",
    formula="E that minimises Σ_T (f(T) − Σ_{S ⊆ T, |S| ≤ k} E(S))²",
    source="Hammer, Holzman 1992, Approximations of pseudo-Boolean functions; Tsai, Yeh, Ravikumar 2023",
    axioms=AXIOMS,
    needs_baseline=True,
    forward_only=True,
)(_by_index("fbii"))

method(
    "moebius",
    summary="What each set adds, joined to the baseline, beyond all its parts: exact from coalitions of up to k features",
    formula="Σ_{T ⊆ S} (−1)^(|S| − |T|) f(T)",
    source="Harsanyi 1963, A Simplified Bargaining Model for the n-Person Cooperative Game; Grabisch 1997",
    axioms=AXIOMS,
    needs_baseline=True,
    forward_only=True,
)(_by_index("moebius"))


@method(
    "banzhaf",
    summary="What a feature adds to a random coalition of the others, all counting alike: steadier under noise than Shapley's",
    formula="Σ_S (f(S ∪ i) − f(S)) / 2^(p − 1)",
    source="Banzhaf 1965, Weighted Voting Doesn't Work; Wang, Jia 2023, Data Banzhaf",
    axioms=AXIOMS,
    needs_baseline=True,
    forward_only=True,
)
def banzhaf(
    context: PerturbationContext, *, samples: int | None = None, groups: Any = None, parts: int = 50, axes: Any = None,
    background: Any = None, seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    def solve(game: Game) -> PlayerValues:
        return play_index(game, "bii", 1, samples, seed)

    return context.play(solve, context.base(background), groups=groups, parts=parts, axes=axes, chunk=chunk)


# -- one game --------------------------------------------------------------------------------------------------------------


def play_index(game: Game, name: str, order: int, samples: int | None, seed: int) -> PlayerValues:
    """An index of a game: exact where all coalitions fit into `samples` (where nothing is said: of 12 players), else estimated.

    The values of single players, and as facts all together as a matrix [n, targets, players, players] (`interactions`): single
    players on the diagonal, pairs in equal parts on both sides of it. Beyond pairs there are lists: `sets` with the members, −1
    where there are fewer, and `set_values`.
    """
    count, index = game.players.count, INDICES[name]
    many = sum(comb(count, s) for s in range(1, min(order, count) + 1))
    if many > MOST_SETS:
        raise MethodError(
            f"{many:,} sets of up to {order} of {count} features or groups are too many, {MOST_SETS:,} at most: lower the order, "
            "or group the features (groups=, parts=)"
        )
    if samples is None:
        samples = 2**count if count <= EXACT_PLAYERS else 2048 + 4 * many
    estimator = Estimator.of(index, count, order)
    errors: dict[int, Array] | None = None
    if 2**count <= samples:
        masks = all_coalitions(count)
        scores = game.values(masks)
        ends = scores[[0, -1]]
        values = estimator.exact(masks, scores.reshape(len(scores), -1))
    else:
        draws = draw_coalitions(count, samples, estimator.importance, np.random.default_rng(seed))
        scores = game.values(draws.masks)
        ends = scores[[0, len(draws.complete) - 1]]
        values, errors = estimator.estimate(draws, scores.reshape(len(scores), -1))
    return _arranged(estimator, values, errors, ends)


def _arranged(estimator: Estimator, values: dict[int, Array], errors: dict[int, Array] | None, ends: Array) -> PlayerValues:
    """Values [sets, columns] by size as what a method gives each player, with matrices and lists as facts."""
    shape, facts = ends.shape[1:], {"base_value": ends[0]}
    tables = {"": values} if errors is None else {"": values, "error": errors}
    found = {key: {s: np.moveaxis(v.reshape(-1, *shape), 0, -1) for s, v in table.items()} for key, table in tables.items()}
    if estimator.index.intercept:
        facts["intercept"] = found[""][0][..., 0]
    for key, table in found.items():
        if estimator.order > 1:
            facts["interaction_error" if key else "interactions"] = _matrix(estimator, table)
        if estimator.order > 2:
            facts["set_error" if key else "set_values"] = np.concatenate([v for s, v in table.items() if s], axis=-1)
    if estimator.order > 2:
        most = max(estimator.sets)
        padded = [np.pad(m, ((0, 0), (0, most - s)), constant_values=-1) for s, m in estimator.sets.items() if s]
        facts["sets"] = np.broadcast_to(np.concatenate(padded), (shape[0], 1, sum(map(len, padded)), most))
    gap = sum(v.sum(axis=-1) for s, v in found[""].items() if s) - (ends[1] - ends[0]) if estimator.index.complete else None
    return PlayerValues(found[""][1], found["error"][1] if errors is not None else None, facts, gap)


def _matrix(estimator: Estimator, table: dict[int, Array]) -> Array:
    """Single players on the diagonal, half of every pair on either side of it: [n, targets, players, players]."""
    single = table[1]
    made = np.zeros((*single.shape, single.shape[-1]))
    made[..., np.arange(single.shape[-1]), np.arange(single.shape[-1])] = single
    for first, second in permutations(range(2)):
        if 2 in table:
            pairs = estimator.sets[2]
            made[..., pairs[:, first], pairs[:, second]] = table[2] / 2
    return made
