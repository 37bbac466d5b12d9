"""Slots: what gets a number of its own for each sample - every player, and every pair of players that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from onnxplain.analysis.trees.ensemble import Array

__all__ = ["Slots"]

NONE = -1
"""In place of the number of a slot: nothing is kept."""


@dataclass(frozen=True)
class Slots:
    """Slots by number: those of players are their own numbers, that of the pair of i and j > i is (1 + i) · players + j.

    Attributes:
        players: how many there are.
        pairs: those that are asked for, the lower number first; None for all.
    """

    players: int
    pairs: frozenset[tuple[int, int]] | None = frozenset()

    @property
    def paired(self) -> bool:
        """Whether there are pairs."""
        return self.pairs is None or bool(self.pairs)

    def count(self, players: Sequence[int]) -> int:
        """How many slots some players have."""
        if self.pairs is None:
            return len(players) * (len(players) + 1) // 2
        return len(self.of(players)) if self.pairs else len(players)

    def of(self, players: Sequence[int]) -> tuple[int, ...]:
        """The slots of some players, whose numbers rise: their own, then those of their pairs."""
        return (*players, *(slot for slot in self.of_pairs(players) if slot != NONE))

    def of_pairs(self, players: Sequence[int]) -> list[int]:
        """The slots of all pairs of some players, as `combinations` orders them; −1 for pairs that nobody asks for."""
        if not self.paired:
            return []
        asked = self.pairs
        return [
            (1 + i) * self.players + j if i < j and (asked is None or (i, j) in asked) else NONE
            for i, j in combinations(players, 2)
        ]

    def matrix(self, used: Array) -> Array:
        """Where each pair stands among the slots that are used, int64 [players, players]; their number for pairs that are not,
        and on the diagonal."""
        made = np.full((self.players, self.players), len(used), np.int64)
        pairs = np.flatnonzero(used >= self.players)
        first, second = used[pairs] // self.players - 1, used[pairs] % self.players
        made[first, second] = made[second, first] = pairs
        return made

    def used(self, numbers: Iterable[Array]) -> Array:
        """The slots that get something, int64 in rising order; players always are among them."""
        found = [np.arange(self.players), *(np.unique(n) for n in numbers)]
        every = np.unique(np.concatenate(found))
        return every[every >= 0]
