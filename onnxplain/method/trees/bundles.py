"""Bundles: leaves of a tree whose contributions are looked up together, in one table, by what they ask of a sample.

The cells of a feature that are the same to all leaves of a bundle are one digit; the digits of its features are the number of a
row. Siblings share almost all of their way, so that a table for both has hardly more rows than one for each. Which leaves go
together is decided from below, by what a lookup costs and what a byte does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.analysis.trees.leaves import Leaf, Split, Tree
from onnxplain.method.trees.slots import Slots

__all__ = ["Bundle", "Prices", "bundled"]

Classes = dict[int, tuple[int, ...]]
"""By feature, the sets of cells that are one digit each."""

MOST_ROWS = 4096
"""Rows that no table exceeds: larger ones are not looked at."""


@dataclass(frozen=True)
class Prices:
    """What things cost, in nanoseconds for a sample: a lookup, each number that it gives, each comparison, a byte of a table; a
    leaf that has none, and each pair of its features."""

    lookup: float = 10.0
    number: float = 1.0
    comparison: float = 1.2
    byte: float = 1e-2
    alone: float = 2000.0
    pair: float = 10.0


@dataclass(frozen=True)
class Bundle:
    """Leaves with one table.

    Attributes:
        leaves: the leaves.
        classes: by feature, the sets of cells that are one digit each.
        players: what gets a contribution, in order.
        rows: of the table.
    """

    leaves: tuple[Leaf, ...]
    classes: Classes
    players: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class _Best:
    """The cheapest way to explain a part of a tree: its bundles, the leaves that have none, and the cost. `whole` are the classes
    of the part as one bundle, None where that would be too large."""

    bundles: tuple[Bundle, ...]
    alone: tuple[Leaf, ...]
    cost: float
    leaves: tuple[Leaf, ...]
    whole: Classes | None


def bundled(tree: Tree, player_of: Array, outputs: int, prices: Prices, slots: Slots) -> tuple[list[Bundle], list[Leaf]]:
    """The cheapest bundles of a tree, and the leaves that a table would be too large for.

    Args:
        tree: the tree.
        player_of: which player each feature belongs to.
        outputs: how many numbers a leaf gives each slot.
        prices: what things cost.
        slots: those of players.
    """
    best: list[_Best] = []
    for part in _from_below(tree.top):
        if isinstance(part, Leaf):
            best.append(_leaf(part, tree, player_of, outputs, prices, slots))
            continue
        parts = best[-len(part.parts) :]
        del best[-len(part.parts) :]
        best.append(_split(parts, tree, player_of, outputs, prices, slots))
    return list(best[0].bundles), list(best[0].alone)


def _from_below(top: Split | Leaf) -> Iterable[Split | Leaf]:
    """The parts of a tree, each after its own."""
    order, stack = [], [top]
    while stack:
        part = stack.pop()
        order.append(part)
        stack.extend(() if isinstance(part, Leaf) else part.parts)
    return reversed(order)


def _leaf(leaf: Leaf, tree: Tree, player_of: Array, outputs: int, prices: Prices, slots: Slots) -> _Best:
    classes: Classes = {f: (s, tree.cells[f].every & ~s) for f, s in leaf.asks.items() if s != tree.cells[f].every}
    width = len({int(player_of[f]) for f in classes})
    made, cost = _bundle((leaf,), classes, player_of, outputs, prices, slots)
    alone = prices.alone + prices.pair * width * width * outputs * (width if slots.paired else 1)
    if made is None or alone < cost:
        return _Best((), (leaf,), alone, (leaf,), classes if made else None)
    return _Best((made,), (), cost, (leaf,), classes)


def _split(parts: list[_Best], tree: Tree, player_of: Array, outputs: int, prices: Prices, slots: Slots) -> _Best:
    bundles = tuple(b for p in parts for b in p.bundles)
    alone = tuple(leaf for p in parts for leaf in p.alone)
    apart, leaves = sum(p.cost for p in parts), tuple(leaf for p in parts for leaf in p.leaves)
    wholes = [p.whole for p in parts if p.whole is not None]
    if len(wholes) < len(parts):
        return _Best(bundles, alone, apart, (), None)
    classes = _refined(wholes[0], wholes[1], tree)
    made, cost = _bundle(leaves, classes, player_of, outputs, prices, slots)
    if made is None:
        return _Best(bundles, alone, apart, (), None)
    if cost <= apart:
        return _Best((made,), (), cost, leaves, classes)
    return _Best(bundles, alone, apart, leaves, classes)


def _refined(one: Classes, other: Classes, tree: Tree) -> Classes:
    """The coarsest classes of which both consist."""
    made = {}
    for f in sorted({**one, **other}):
        whole = (tree.cells[f].every,)
        made[f] = tuple(c for a in one.get(f, whole) for b in other.get(f, whole) if (c := a & b))
    return made


def _bundle(
    leaves: tuple[Leaf, ...], classes: Classes, player_of: Array, outputs: int, prices: Prices, slots: Slots
) -> tuple[Bundle | None, float]:
    rows = prod(len(c) for c in classes.values())
    if rows > MOST_ROWS:
        return None, float("inf")
    players = tuple(sorted({int(player_of[f]) for f in classes}))
    numbers, steps = slots.count(players) * outputs, sum(len(c) for c in classes.values()) * 1.5 - len(classes)
    cost = prices.lookup + prices.number * numbers + prices.comparison * steps + prices.byte * rows * numbers * 4
    return Bundle(leaves, classes, players, rows), cost
