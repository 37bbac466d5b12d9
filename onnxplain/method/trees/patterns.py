"""How often the sets of conditions of a leaf are satisfied: by rows of background, or by shares of data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Protocol, TypeAlias

import numpy as np

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.analysis.trees.leaves import Leaf, Tree
from onnxplain.method.trees.bundles import Prices
from onnxplain.method.trees.fold import independent

__all__ = ["Asked", "Patterns", "Rows", "Shares", "asked_of"]

BLOCK = 1 << 22
"""Conditions × rows looked at in one go."""


Asked: TypeAlias = "dict[int, list[int]]"
"""By player in order, the features that a leaf asks something of."""


def asked_of(leaf: Leaf, tree: Tree, player_of: Array) -> Asked:
    """What a leaf asks something of."""
    made: Asked = {}
    for player, f in sorted((int(player_of[f]), f) for f, cells in leaf.asks.items() if cells != tree.cells[f].every):
        made.setdefault(player, []).append(f)
    return made


class Patterns(Protocol):
    """What takes the place of absent features."""

    @property
    def prices(self) -> Prices:
        """What tables and leaves without them cost."""

    def of(self, tree: Tree, leaves: Sequence[Leaf], asked: Sequence[Asked]) -> Iterator[tuple[list[int], Array]]:
        """The leaves of a tree in groups with equally many players: their numbers in `leaves`, and how often each set of their
        players is satisfied, [leaves of the group, 2^k]. `asked` is what each asks something of."""


def _by_players(asked: Sequence[Asked]) -> list[tuple[int, list[int]]]:
    """The numbers of leaves by how many players they ask something of."""
    groups: dict[int, list[int]] = {}
    for i, mine in enumerate(asked):
        groups.setdefault(len(mine), []).append(i)
    return sorted(groups.items())


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of background, [m, features], in the type in which trees compare: interventional values."""

    rows: Array

    @property
    def prices(self) -> Prices:
        """A leaf without a table is compared with every row."""
        return Prices(alone=2000.0 + 35.0 * len(self.rows))

    def of(self, tree: Tree, leaves: Sequence[Leaf], asked: Sequence[Asked]) -> Iterator[tuple[list[int], Array]]:
        satisfied = self._satisfied(tree, leaves)
        for k, numbers in _by_players(asked):
            bits = [[[satisfied[f][leaves[i].asks[f]] for f in features] for features in asked[i].values()] for i in numbers]
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

    def of(self, tree: Tree, leaves: Sequence[Leaf], asked: Sequence[Asked]) -> Iterator[tuple[list[int], Array]]:
        for k, numbers in _by_players(asked):
            shares = [[prod(leaves[i].shares[f] for f in features) for features in asked[i].values()] for i in numbers]
            yield numbers, independent(list(np.array(shares).reshape(len(numbers), k).T)) if k else np.ones((len(numbers), 1))
