"""How often the sets of conditions of a leaf are satisfied: by rows of background, or by shares of data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.analysis.trees.leaves import Leaf, Tree
from onnxplain.method.trees.bundles import Prices
from onnxplain.method.trees.fold import independent

__all__ = ["Patterns", "Rows", "Shares", "asked_of"]

BLOCK = 1 << 22
"""Conditions × rows looked at in one go."""


def asked_of(leaf: Leaf, tree: Tree, player_of: Array) -> dict[int, list[int]]:
    """By player in order, the features that a leaf asks something of."""
    made: dict[int, list[int]] = {}
    for f, cells in sorted(leaf.asks.items(), key=lambda item: (player_of[item[0]], item[0])):
        if cells != tree.cells[f].every:
            made.setdefault(int(player_of[f]), []).append(f)
    return made


class Patterns(Protocol):
    """What takes the place of absent features."""

    @property
    def prices(self) -> Prices:
        """What tables and leaves without them cost."""

    def of(self, tree: Tree, leaves: Sequence[Leaf], player_of: Array) -> Iterator[tuple[list[int], Array]]:
        """The leaves of a tree in groups with equally many players: their numbers in `leaves`, and how often each set of their
        players is satisfied, [leaves of the group, 2^k]."""


def _by_players(leaves: Sequence[Leaf], tree: Tree, player_of: Array) -> dict[int, list[tuple[int, dict[int, list[int]]]]]:
    groups: dict[int, list[tuple[int, dict[int, list[int]]]]] = {}
    for i, leaf in enumerate(leaves):
        asked = asked_of(leaf, tree, player_of)
        groups.setdefault(len(asked), []).append((i, asked))
    return groups


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of background, [m, features], in the type in which trees compare: interventional values."""

    rows: Array

    @property
    def prices(self) -> Prices:
        """A leaf without a table is compared with every row."""
        return Prices(alone=100.0 + 6.0 * len(self.rows))

    def of(self, tree: Tree, leaves: Sequence[Leaf], player_of: Array) -> Iterator[tuple[list[int], Array]]:
        satisfied = self._satisfied(tree, leaves)
        for k, group in sorted(_by_players(leaves, tree, player_of).items()):
            numbers = [i for i, _ in group]
            bits = [[[satisfied[f][leaves[i].asks[f]] for f in features] for features in asked.values()] for i, asked in group]
            yield numbers, self._counted(bits, k)

    def _satisfied(self, tree: Tree, leaves: Sequence[Leaf]) -> dict[int, dict[int, Array]]:
        """By feature and set of cells, which rows are in it: bool [m]."""
        wanted: dict[int, dict[int, None]] = {}
        for leaf in leaves:
            for f, cells in leaf.asks.items():
                wanted.setdefault(f, {})[cells] = None
        made = {}
        for f, sets in wanted.items():
            found = tree.cells[f].table(list(sets))[:, tree.cells[f].of(self.rows[:, f])]
            made[f] = dict(zip(sets, found, strict=True))
        return made

    def _counted(self, bits: Sequence[Sequence[Sequence[Array]]], k: int) -> Array:
        """The share of rows that satisfy each set: of the conditions of features, by leaf and player."""
        m, step = len(self.rows), max(1, BLOCK // max(1, len(self.rows) * max(k, 1)))
        made = np.empty((len(bits), 1 << k))
        for start in range(0, len(bits), step):
            part = bits[start : start + step]
            codes = np.repeat(np.arange(len(part), dtype=np.int64) << k, m).reshape(len(part), m)
            for j in range(k):
                held = np.stack([p[j][0] if len(p[j]) == 1 else np.logical_and.reduce(p[j]) for p in part])
                codes += held.astype(np.int64) << j
            made[start : start + step] = np.bincount(codes.ravel(), minlength=len(part) << k).reshape(len(part), 1 << k) / m
        return made


@dataclass(frozen=True)
class Shares:
    """Shares of data that leaves know: path-dependent values."""

    @property
    def prices(self) -> Prices:
        """A leaf without a table takes products of all its conditions at every point of the quadrature."""
        return Prices()

    def of(self, tree: Tree, leaves: Sequence[Leaf], player_of: Array) -> Iterator[tuple[list[int], Array]]:
        for k, group in sorted(_by_players(leaves, tree, player_of).items()):
            shares = np.array(
                [[np.prod([leaves[i].shares[f] for f in fs]) for fs in asked.values()] for i, asked in group]
            ).reshape(len(group), k)
            yield [i for i, _ in group], independent(list(shares.T)) if k else np.ones((len(group), 1))
