"""Which coalitions are run where not all of them fit: the sizes that matter and have few completely, others drawn in pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.blackbox.kernel import of_size
from onnxplain.runtime.scorer import Array

__all__ = ["FOLDS", "Draws", "draw_coalitions"]

FOLDS = 4
"""Parts of the drawn coalitions: what one part teaches is taken off the other."""
LEAST = 2 * FOLDS
"""Pairs of a size, at least: two in each part, for a standard error."""


@dataclass(frozen=True)
class Draws:
    """Coalitions to run.

    `complete` are all coalitions of some sizes, bool [k, players], those of none and of all players among them. `pairs` are drawn
    ones of each other size up to a half with their complements, bool [draws, 2, players].
    """

    complete: Array
    pairs: Mapping[int, Array]

    @property
    def masks(self) -> Array:
        """All of them in one array: the complete sizes, then the pairs."""
        players = self.complete.shape[1]
        return np.concatenate([self.complete, *(drawn.reshape(-1, players) for drawn in self.pairs.values())])


def draw_coalitions(count: int, samples: int, importance: Array, random: np.random.Generator) -> Draws:
    """At most `samples` coalitions, each size as often as it matters.

    Args:
        count: the number of players.
        samples: how many coalitions to run, at most.
        importance: how much all coalitions of a size matter together, [players + 1].

    Raises:
        MethodError: so few samples leave some size without the pairs that a standard error needs.
    """
    sizes = [h for h in range(1, count // 2 + 1) if importance[h] + importance[count - h] > 0]
    weight = {h: float(importance[h] + importance[count - h]) for h in sizes}
    total = {h: comb(count, h) * (1 if 2 * h == count else 2) for h in sizes}
    floor = {h: min(total[h], 2 * LEAST) for h in sizes}
    least = 2 + sum(floor.values())
    if samples < least:
        raise MethodError(
            f"{samples:,} coalitions are too few to estimate interactions of {count} features or groups with their errors: give "
            f"samples={least} or more, or group the features (groups=, parts=)"
        )
    left, complete = samples - 2, list[int]()
    while True:
        share = left / sum((weight[h] for h in sizes), 1e-300)
        spare = left - sum(floor[h] for h in sizes)
        whole = next((h for h in sizes if total[h] <= max(share * weight[h], floor[h]) and total[h] - floor[h] <= spare), None)
        if whole is None:
            break
        complete.append(whole)
        left -= total[whole]
        sizes.remove(whole)
    spare, pairs = left // 2 - LEAST * len(sizes), dict[int, Array]()
    for h in sizes:
        many = LEAST + int(spare * weight[h] / sum(weight[k] for k in sizes))
        drawn = random.random((many, count)).argsort(axis=1).argsort(axis=1) < h
        pairs[h] = np.stack([drawn, ~drawn], axis=1)
    every = {0, count, *complete, *(count - h for h in complete)}
    return Draws(np.concatenate([of_size(count, s) for s in sorted(every)]), pairs)
