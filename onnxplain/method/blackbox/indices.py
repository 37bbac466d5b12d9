"""Interaction indices: which share of every dividend a set of players gets, and so how each coalition's score counts for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise
from math import comb, lcm

import numpy as np

from onnxplain.runtime.scorer import Array

__all__ = ["INDICES", "InteractionIndex", "coalition_weights", "player_sets"]

Share = Callable[[int, int, int], Fraction]


@dataclass(frozen=True)
class InteractionIndex:
    """A way to share out a game among all sets of up to so many players.

    A game is the sum of its dividends (Harsanyi 1963): m(T) is what the players of T earn together beyond what any fewer of them
    do. `share(s, t, order)` is what a set of s players gets of the dividend of each set of t players that contains it. With
    `complete`, the shares add up to the difference of the scores with all players and with none; with `intercept`, the set of no
    players has a share too.
    """

    share: Share
    complete: bool
    intercept: bool = False


def _equal(s: int, t: int, order: int) -> Fraction:
    """Shapley interaction index (Grabisch, Roubens 1999): a set counts as one player among those that are left."""
    return Fraction(1, t - s + 1)


def _halves(s: int, t: int, order: int) -> Fraction:
    """Banzhaf interaction index (Grabisch, Roubens 1999): every coalition of the others is equally likely."""
    return Fraction(1, 2 ** (t - s))


def _aggregated(s: int, t: int, order: int) -> Fraction:
    """k-SII (Bordt, von Luxburg 2023): Shapley interactions of larger sets are taken off smaller ones, by Bernoulli numbers."""
    rest = t - s
    return sum((_bernoulli(j) * comb(rest, j) * _equal(s + j, t, order) for j in range(min(order - s, rest) + 1)), Fraction(0))


def _taylor(s: int, t: int, order: int) -> Fraction:
    """Shapley-Taylor (Sundararajan, Dhamdhere, Agarwal 2020): dividends of more than `order` players go to sets of that size."""
    return Fraction(1, comb(t, order)) if s == order else _own(s, t, order)


def _faithful(s: int, t: int, order: int) -> Fraction:
    """FSII (Tsai, Yeh, Ravikumar 2023): the closest game without larger interactions, by the Shapley kernel."""
    if t <= order or s == 0:
        return _own(s, t, order)
    return (
        Fraction((-1) ** (order - s))
        * Fraction(s, order + s)
        * comb(order, s)
        * Fraction(comb(t - 1, order), comb(t + order - 1, order + s))
    )


def _faithful_halves(s: int, t: int, order: int) -> Fraction:
    """FBII (Hammer, Holzman 1992; Tsai, Yeh, Ravikumar 2023): the same, with every coalition weighing alike."""
    return _own(s, t, order) if t <= order else Fraction((-1) ** (order - s) * comb(t - s - 1, order - s), 2 ** (t - s))


def _own(s: int, t: int, order: int) -> Fraction:
    """Möbius transform: every set keeps its own dividend."""
    return Fraction(s == t)


INDICES = {
    "sii": InteractionIndex(_equal, False),
    "k-sii": InteractionIndex(_aggregated, True),
    "stii": InteractionIndex(_taylor, True),
    "fsii": InteractionIndex(_faithful, True),
    "bii": InteractionIndex(_halves, False),
    "fbii": InteractionIndex(_faithful_halves, False, intercept=True),
    "moebius": InteractionIndex(_own, False),
}
"""By the names that shapiq gives them, in lower case."""


@cache
def _bernoulli(n: int) -> Fraction:
    """Bernoulli numbers with B₁ = −1/2."""
    return Fraction(n == 0) - sum((comb(n, j) * _bernoulli(j) / (n - j + 1) for j in range(n)), Fraction(0))


def player_sets(players: int, order: int, smallest: int = 1) -> dict[int, Array]:
    """The sets of so many players by size, int [sets, size] each, in lexical order."""
    sizes = range(smallest, min(order, players) + 1)
    return {s: np.array(list(combinations(range(players), s)), np.int64).reshape(comb(players, s), s) for s in sizes}


def coalition_weights(index: InteractionIndex, players: int, order: int) -> dict[int, Array]:
    """How the coalitions of a size count, all of them together, by the size of a set: [coalition size, members of the set in it].

    An index is linear in the scores and treats players alike, so a coalition's weight for a set depends on the sizes of the
    coalition and of what the two have in common. Since m(T) is an alternating sum of scores, the weight is a difference of as
    high an order as players are in neither; it is taken in whole numbers, where nothing cancels.
    """
    smallest = 0 if index.intercept else 1
    return {s: _weights(index.share, players, order, s) for s in range(smallest, min(order, players) + 1)}


def _weights(share: Share, players: int, order: int, size: int) -> Array:
    shares = [share(size, t, order) for t in range(size, players + 1)]
    unit = lcm(*(f.denominator for f in shares))
    row, reached = [int(f * unit) for f in shares], dict[int, int]()
    while row:  # the last difference of order d starts at the union of players − d members
        reached[size + len(row) - 1] = row[-1]
        row = [a - b for a, b in pairwise(row)]
    made = np.zeros((players + 1, size + 1))
    for coalition in range(players + 1):
        for common in range(max(0, size + coalition - players), min(size, coalition) + 1):
            whole = reached[size + coalition - common] * comb(players, coalition)
            made[coalition, common] = (-1) ** (size - common) * whole / unit
    return made
