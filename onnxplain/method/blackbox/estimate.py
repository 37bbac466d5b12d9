"""Interaction indices of a game from the scores of its coalitions: exact from all, estimated from some with standard errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from onnxplain.method.blackbox.draws import FOLDS, Draws
from onnxplain.method.blackbox.indices import InteractionIndex, coalition_weights, player_sets
from onnxplain.method.blackbox.low_order import LowOrderGame
from onnxplain.runtime.scorer import Array

__all__ = ["Estimator"]

BLOCK = 4_000_000
"""Numbers in one table of sets × coalitions, at most."""


@dataclass(frozen=True)
class Estimator:
    """One index of games of so many players, for all sets of up to `order` of them.

    Scores are columns throughout: [coalitions, columns] for any number of samples and targets. Results have a row per set, by
    size.
    """

    index: InteractionIndex
    players: int
    order: int
    sets: Mapping[int, Array]
    weights: Mapping[int, Array]

    @classmethod
    def of(cls, index: InteractionIndex, players: int, order: int) -> Estimator:
        """The estimator of an index."""
        sets = player_sets(players, order, 0 if index.intercept else 1)
        return cls(index, players, order, sets, coalition_weights(index, players, order))

    @property
    def importance(self) -> Array:
        """How much the coalitions of each size matter, [players + 1]: the root mean square of their weights, each order alike."""
        found = np.zeros(self.players + 1)
        for size, table in self.weights.items():
            if size:
                roots = np.sqrt([_mean_square(table[k], self.players, size, k) for k in range(self.players + 1)])
                found += roots / roots.sum()
        return found

    def exact(self, masks: Array, scores: Array) -> dict[int, Array]:
        """The index from all coalitions of every size that matters, [sets, columns] by size."""
        return self._sum(masks, scores / self._many(masks)[:, None])

    def estimate(self, draws: Draws, scores: Array) -> tuple[dict[int, Array], dict[int, Array]]:
        """The index from some coalitions, and its standard errors: [sets, columns] each, by size.

        A game with interactions of low order is fitted to all draws but one part. Its index is known; that of what it leaves is
        estimated without bias from that part, where it varies little. Every part has its turn, and the results are averaged
        (regression adjustment: Witter, Liu, Musco 2025).

        Args:
            draws: the coalitions.
            scores: their scores in the order of `draws.masks`.
        """
        known = scores[: len(draws.complete)]
        drawn, start = dict[int, Array](), len(known)
        for size, pairs in draws.pairs.items():
            drawn[size] = scores[start : start + 2 * len(pairs)].reshape(len(pairs), 2, -1)
            start += 2 * len(pairs)
        if not drawn:
            return self.exact(draws.complete, known), {size: np.zeros((len(m), scores.shape[1])) for size, m in self.sets.items()}
        means: dict[int, Array] = dict.fromkeys(self.sets, np.zeros(()))
        variances: dict[int, Array] = dict.fromkeys(self.sets, np.zeros(()))
        for fold, model in enumerate(self._taught_by_others(draws, known, drawn)):
            parts = [self._of_model(model), self.exact(draws.complete, known - model(draws.complete))]
            for half, pairs in draws.pairs.items():
                mine = pairs[fold::FOLDS]
                left = drawn[half][fold::FOLDS] - model(mine.reshape(-1, self.players)).reshape(len(mine), 2, -1)
                mean, variance = self._of_pairs(mine, left)
                parts.append(mean)
                variances = {size: v + variance[size] / FOLDS**2 for size, v in variances.items()}
            means = {size: m + sum(part[size] for part in parts) / FOLDS for size, m in means.items()}
        return means, {size: np.sqrt(v) for size, v in variances.items()}

    def _taught_by_others(self, draws: Draws, known: Array, drawn: Mapping[int, Array]) -> list[LowOrderGame]:
        """For each part of the draws the game fitted to all coalitions but those of this part."""
        parts = []
        for fold in range(FOLDS):
            masks = [pairs[fold::FOLDS].reshape(-1, self.players) for pairs in draws.pairs.values()]
            scores = [mine[fold::FOLDS].reshape(-1, known.shape[1]) for mine in drawn.values()]
            parts.append((np.concatenate(masks), np.concatenate(scores)))
        return LowOrderGame.without_each((draws.complete, known), parts, max(self.order, 2))

    # -- sums over coalitions ------------------------------------------------------------------------------------

    def _many(self, masks: Array) -> Array:
        """How many coalitions there are of each mask's size."""
        return np.asarray(np.array([float(comb(self.players, k)) for k in range(self.players + 1)])[masks.sum(axis=1)])

    def _sum(self, masks: Array, scores: Array) -> dict[int, Array]:
        made = {}
        for size, members in self.sets.items():
            blocks = [table @ scores for table in self._tables(size, members, masks)]
            made[size] = np.concatenate(blocks)
        return made

    def _tables(self, size: int, members: Array, masks: Array) -> Iterator[Array]:
        """The weights of coalitions for sets, [some sets, coalitions] at a time."""
        sizes, step = masks.sum(axis=1), max(1, BLOCK // max(1, len(masks) * max(size, 1)))
        for start in range(0, len(members), step):
            common = masks[:, members[start : start + step]].sum(axis=-1)
            yield self.weights[size][sizes[:, None], common].T

    def _of_pairs(self, pairs: Array, scores: Array) -> tuple[dict[int, Array], dict[int, Array]]:
        """The share of one size and its complements in the index, by drawn pairs: its mean and the variance of that."""
        count, means, variances = len(pairs), dict[int, Array](), dict[int, Array]()
        half = 0.5 if 2 * int(pairs[0, 0].sum()) == self.players else 1.0  # both of a pair are of one size
        for size, members in self.sets.items():
            sums, squares = [], []
            sides = (self._tables(size, members, pairs[:, side]) for side in range(2))
            for first, second in zip(*sides, strict=True):
                one, other = half * scores[:, 0], half * scores[:, 1]
                sums.append(first @ one + second @ other)
                squares.append(first**2 @ one**2 + second**2 @ other**2 + 2 * (first * second) @ (one * other))
            means[size] = np.concatenate(sums) / count
            variances[size] = np.maximum(np.concatenate(squares) / count - means[size] ** 2, 0) / (count - 1)
        return means, variances

    # -- the fitted game -----------------------------------------------------------------------------------------

    def _of_model(self, model: LowOrderGame) -> dict[int, Array]:
        """The index of a game whose dividends are known."""
        made = {size: np.zeros((len(members), model.columns)) for size, members in self.sets.items()}
        for size, total in made.items():
            for larger, coefficients in model.dividends.items():
                share = float(self.index.share(size, larger, self.order)) if larger >= size else 0.0
                for places in combinations(range(larger), size) if share else ():
                    rows = _rank(model.sets[larger][:, places], self.players, self.sets[size])
                    np.add.at(total, rows, share * coefficients)
        return made


def _rank(subsets: Array, players: int, members: Array) -> Array:
    """The places of sets among all of their size, which are in lexical order."""
    if members.shape[1] == 0:
        return np.zeros(len(subsets), np.int64)
    digits = players ** np.arange(members.shape[1])[::-1]
    return np.asarray(np.searchsorted(members @ digits, subsets @ digits))


def _mean_square(row: Array, players: int, size: int, coalition: int) -> float:
    """The mean square of weights over all coalitions of a size."""
    ways = [comb(size, r) * comb(players - size, coalition - r) if coalition >= r else 0 for r in range(size + 1)]
    total = comb(players, coalition)
    return float(sum(w / total * v**2 for w, v in zip(ways, row, strict=True)))
