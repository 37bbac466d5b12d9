"""Games with interactions of low order, fitted to the scores of coalitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TypeAlias

import numpy as np

from onnxplain.method.blackbox.indices import player_sets
from onnxplain.runtime.scorer import Array

__all__ = ["LowOrderGame"]

Scored: TypeAlias = "tuple[Array, Array]"

ROWS_PER_COEFFICIENT = 2
"""Coalitions for each coefficient, at least."""


@dataclass(frozen=True)
class LowOrderGame:
    """A dividend for each small set of players, [sets, columns] by size."""

    sets: Mapping[int, Array]
    dividends: Mapping[int, Array]

    @property
    def columns(self) -> int:
        """How many games at once."""
        return int(self.dividends[0].shape[1])

    @classmethod
    def without_each(cls, shared: Scored, parts: Sequence[Scored], order: int) -> list[LowOrderGame]:
        """The closest games by least squares to what is shared and all parts but one, each left out in turn.

        Args:
            shared: coalitions, bool [k, players], with their scores [k, columns].
            parts: more of them.
            order: how many players may interact; as many as so many coalitions determine.
        """
        players, counts = shared[0].shape[1], [len(masks) for masks, _ in parts]
        fewest = len(shared[0]) + sum(counts) - max(counts)
        while order and fewest < ROWS_PER_COEFFICIENT * sum(comb(players, k) for k in range(min(order, players) + 1)):
            order -= 1
        sets = player_sets(players, order, 0)
        ends = np.cumsum([len(members) for members in sets.values()])[:-1]
        products = []
        for masks, scores in (shared, *parts):
            table = np.concatenate([_contained(masks, members) for members in sets.values()], axis=1)
            products.append((table.T @ table, table.T @ scores))
        normal, moment = (sum(p[i] for p in products) for i in range(2))
        normal[np.diag_indices_from(normal)] += 1e-9 * fewest
        found = [np.linalg.solve(normal - own, moment - mine) for own, mine in products[1:]]
        return [cls(sets, dict(zip(sets, np.split(solution, ends), strict=True))) for solution in found]

    def __call__(self, masks: Array) -> Array:
        """The scores it gives coalitions, [coalitions, columns]."""
        total = np.zeros((len(masks), self.columns))
        for size, members in self.sets.items():
            total += _contained(masks, members) @ self.dividends[size]
        return total


def _contained(masks: Array, members: Array) -> Array:
    """Whether each set is in each coalition, float64 [coalitions, sets]."""
    return np.asarray(masks[:, members].all(axis=-1), np.float64)
