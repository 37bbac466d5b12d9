"""Leaves that a table would be too large for: what each asks, condition by condition, for sums made when the file runs.

A condition is what a leaf asks of one player; leaves of a tree share most of theirs. It holds where the sum of its comparisons,
each with a factor, and an offset exceeds one half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.analysis.trees.leaves import Leaf, Tree
from onnxplain.method.trees.comparisons import RAW, Threshold, steps
from onnxplain.method.trees.forest import Rooted
from onnxplain.method.trees.patterns import asked_of
from onnxplain.method.trees.slots import NONE, Slots

__all__ = ["Conditions", "Deep", "Leaves", "deep_leaves"]

WIDEN = 2
"""Leaves are grouped by their players, whose number is rounded up to a multiple of this."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """What leaves ask, each once.

    Attributes:
        kinds: what each comparison looks at, int64 [conditions, comparisons].
        features: which feature it looks at, int64 [conditions, comparisons].
        thresholds: what it exceeds, [conditions, comparisons].
        factors: how it counts, float32 [conditions, comparisons].
        offsets: what is added to the sum, float32 [conditions].
    """

    kinds: Array
    features: Array
    thresholds: Array
    factors: Array
    offsets: Array


@dataclass(frozen=True, eq=False)
class Leaves:
    """Leaves with equally many conditions; those with fewer ask one that always holds, of a player 0.

    Attributes:
        conditions: int64 [leaves, k].
        slots: what gets something, int64 [leaves, k], or [leaves, k + pairs], −1 for pairs that nobody asks for.
        shares: how much of the data satisfies each, float64 [leaves, k]; 1 where shares play no part.
        values: what leaves count in each direction, float64 [leaves, directions].
    """

    conditions: Array
    slots: Array
    shares: Array
    values: Array


@dataclass(frozen=True, eq=False)
class Deep:
    """Leaves without tables, in groups."""

    conditions: Conditions
    groups: tuple[Leaves, ...]


Key = tuple[int, tuple[tuple[int, int], ...]]


def deep_leaves(
    alone: Sequence[tuple[Rooted, Leaf]], player_of: Array, directions: int, dtype: np.dtype[Any], slots: Slots
) -> Deep | None:
    """What leaves without tables ask; None where there are none."""
    if not alone:
        return None
    trees = {id(rooted): rooted.tree for rooted, _ in alone}
    numbers: dict[Key, int] = {}
    groups: dict[int, list[tuple[Rooted, Leaf, list[int], list[int]]]] = {}
    for rooted, leaf in alone:
        asked = asked_of(leaf, rooted.tree, player_of)
        mine = [
            numbers.setdefault((id(rooted), tuple((f, leaf.asks[f]) for f in features)), len(numbers) + 1)
            for features in asked.values()
        ]
        groups.setdefault(-(-len(mine) // WIDEN) * WIDEN, []).append((rooted, leaf, mine, list(asked)))
    made = _conditions([(trees[tree], asks) for tree, asks in numbers], dtype)
    return Deep(made, tuple(_group(k, group, player_of, directions, slots) for k, group in sorted(groups.items()) if k))


def _group(
    k: int, group: Sequence[tuple[Rooted, Leaf, list[int], list[int]]], player_of: Array, directions: int, slots: Slots
) -> Leaves:
    conditions = np.zeros((len(group), k), np.int64)
    of = np.full((len(group), k + (comb(k, 2) if slots.paired else 0)), NONE)
    shares, values = np.ones((len(group), k)), np.zeros((len(group), directions))
    for i, (rooted, leaf, numbers, asked) in enumerate(group):
        conditions[i, : len(numbers)] = numbers
        players = [*asked, *[0] * (k - len(asked))]
        of[i] = [*players, *slots.of_pairs(players)]
        np.add.at(values[i], list(rooted.directions), rooted.values[leaf.node])
        if leaf.shares:
            features = asked_of(leaf, rooted.tree, player_of)
            shares[i, : len(asked)] = [np.prod([leaf.shares[f] for f in fs]) for fs in features.values()]
    return Leaves(conditions, of, shares, values)


def _conditions(asked: Sequence[tuple[Tree, tuple[tuple[int, int], ...]]], dtype: np.dtype[Any]) -> Conditions:
    """Conditions with their comparisons; the first always holds."""
    rows = [(1.0, []), *(_sum(tree, asks) for tree, asks in asked)]
    most = max(1, *(len(comparisons) for _, comparisons in rows))
    kinds, features = np.full((len(rows), most), RAW), np.zeros((len(rows), most), np.int64)
    thresholds, factors = np.full((len(rows), most), np.inf, dtype), np.zeros((len(rows), most), np.float32)
    for i, (_, comparisons) in enumerate(rows):
        for j, (comparison, factor) in enumerate(comparisons):
            kinds[i, j], features[i, j] = comparison.kind, comparison.feature
            thresholds[i, j], factors[i, j] = comparison.threshold, factor
    return Conditions(kinds, features, thresholds, factors, np.array([offset for offset, _ in rows], np.float32))


def _sum(tree: Tree, asks: tuple[tuple[int, int], ...]) -> tuple[float, list[tuple[Threshold, float]]]:
    """The offset and comparisons of a condition: 1 where all features satisfy it, else 0 or less."""
    offset, made = 1.0 - len(asks), []
    for f, cells in asks:
        first, changes = steps(f, tree.cells[f], (tree.cells[f].every & ~cells, cells))
        offset += first
        made += changes
    return offset, made


def chunks(group: Leaves, size: int) -> Iterator[slice]:
    """The leaves of a group, so many at a time."""
    for start in range(0, len(group.values), size):
        yield slice(start, start + size)
