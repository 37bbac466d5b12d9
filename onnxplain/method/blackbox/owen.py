"""Owen values: Shapley values where groups of features, and groups of groups, come in together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.hierarchy import Hierarchy, leaves, make_hierarchy
from onnxplain.method.blackbox.sampling import along_orders
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["consistent_orders", "owen_weights"]

MOST_COALITIONS = 32_768
"""Coalitions for exact values, at most; beyond, orders are drawn."""

AXIOMS = ("completeness", "dummy", "linearity", "symmetry within groups", "implementation-invariance")


@method(
    "owen",
    summary="Shapley values over a hierarchy: only orders count in which the features of a group stay together",
    formula="mean over orders π that keep groups together of f(before i in π, and i) − f(before i in π)",
    source="Owen 1977, Values of Games with a Priori Unions; of several levels: Winter 1989",
    axioms=AXIOMS,
    needs_baseline=True,
    forward_only=True,
)
def owen(
    context: PerturbationContext, *, hierarchy: Any = None, samples: int = 100, groups: Any = None, parts: int = 50,
    axes: Any = None, background: Any = None, seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    if hierarchy is None:
        raise MethodError(
            "owen needs hierarchy=, nested lists of the features or groups that belong together, such as [[0, 1], [2, [3, 4]]]; "
            "'correlation' and 'halves' find one"
        )
    settings = {"groups": groups, "parts": parts, "axes": axes, "chunk": chunk}
    return _over(context, hierarchy, samples, background, seed, settings)


@method(
    "partition-shap",
    summary="Owen values over a tree of features: of tables by correlation, of pictures and series by halves",
    formula="mean over orders π that keep clusters together of f(before i in π, and i) − f(before i in π)",
    source="Lundberg 2020, PartitionExplainer of SHAP; Owen 1977, Values of Games with a Priori Unions",
    axioms=AXIOMS,
    needs_baseline=True,
    forward_only=True,
)
def partition_shap(
    context: PerturbationContext, *, hierarchy: Any = None, samples: int = 100, groups: Any = None, parts: int = 50,
    axes: Any = None, background: Any = None, seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    if hierarchy is None:
        table = all(x.ndim == 2 for x in context.x.values()) and groups in (None, "elements")
        hierarchy = "correlation" if table else "halves"
    settings = {"groups": groups, "parts": parts, "axes": axes, "chunk": chunk}
    return _over(context, hierarchy, samples, background, seed, settings)


def _over(
    context: PerturbationContext, given: Any, samples: int, background: Any, seed: int, settings: dict[str, Any]
) -> PerturbationResult:
    """Exact values where the coalitions that the hierarchy allows are few enough, else from random orders that keep to it."""
    if samples < 1:
        raise MethodError(f"samples is how many orders are drawn, at least 1; got {samples}")
    rows = None if background is None else background_rows(background, context.x)

    def solve(game: Game) -> PlayerValues:
        tree = make_hierarchy(given, game.players, rows)
        weights = owen_weights(tree, game.players.count, MOST_COALITIONS)
        if weights is not None:
            return _exact(game, weights)
        random = np.random.default_rng(seed)
        return along_orders(game, consistent_orders(tree, samples, random), 2 if samples % 2 == 0 else 1)

    return context.play(solve, context.base(background), **settings)


@dataclass(frozen=True)
class OwenWeights:
    """Coalitions, bool [k, players] (none first, all last), and how each counts for each player, [players, k]."""

    masks: Array
    weights: Array


def owen_weights(tree: Hierarchy, count: int, most: int) -> OwenWeights | None:
    """How the coalitions that a hierarchy allows count for each player; None where there may be more than `most`.

    From the root down, the members of a group play the game of their group, each before, after or between the others as in a
    Shapley value, while what is outside the group stays as it is: each way it may be is a context, with a probability.
    """
    if sum(2 * contexts for contexts in _context_counts(tree)) > most:
        return None
    terms: list[tuple[int, int, float]] = []
    pending: list[tuple[Hierarchy, dict[int, float]]] = [(tree, {0: 1.0})]
    while pending:
        node, contexts = pending.pop()
        if isinstance(node, int):
            for context, chance in contexts.items():
                terms += [(node, context | 1 << node, chance), (node, context, -chance)]
            continue
        bits = [sum(1 << player for player in leaves(member)) for member in node]
        for i, member in enumerate(node):
            others, inner = [b for j, b in enumerate(bits) if j != i], dict[int, float]()
            for size in range(len(others) + 1):
                chance = 1 / (len(node) * comb(len(others), size))
                for present in combinations(others, size):
                    for context, outer in contexts.items():
                        inner[context | sum(present)] = inner.get(context | sum(present), 0.0) + outer * chance
            pending.append((member, inner))
    places = {coalition: place for place, coalition in enumerate(sorted({c for _, c, _ in terms}))}
    masks = np.array([[coalition >> i & 1 for i in range(count)] for coalition in places], bool)
    weights = np.zeros((count, len(masks)))
    for player, coalition, weight in terms:
        weights[player, places[coalition]] += weight
    return OwenWeights(masks, weights)


def _context_counts(tree: Hierarchy) -> Iterator[int]:
    """In how many contexts each player comes in, at most."""
    pending = [(tree, 1)]
    while pending:
        node, contexts = pending.pop()
        if isinstance(node, int):
            yield contexts
        else:
            pending.extend((member, contexts << (len(node) - 1)) for member in node)


def _exact(game: Game, found: OwenWeights) -> PlayerValues:
    total, start, ends = np.zeros(()), 0, []
    for masks, values in game.stream(len(found.masks), lambda a, b: found.masks[a:b]):
        part = found.weights[:, start : start + len(masks)]
        total = total + np.einsum("pk,knt->ntp", part, values)
        ends += [values[0]] if start == 0 else []
        start += len(masks)
    ends.append(values[-1])
    gap = total.sum(axis=-1) - (ends[1] - ends[0])
    return PlayerValues(total, facts={"base_value": ends[0]}, convergence_delta=gap)


def consistent_orders(tree: Hierarchy, samples: int, random: np.random.Generator) -> Array:
    """Random orders [samples, players] in which every group stays together; every second is the reverse of the last."""
    orders: list[list[int]] = []
    while len(orders) < samples:
        pending, order = [tree], list[int]()
        while pending:
            node = pending.pop()
            if isinstance(node, int):
                order.append(node)
            else:
                pending.extend(node[i] for i in random.permutation(len(node)))
        orders += [order, order[::-1]]
    return np.array(orders[:samples])
