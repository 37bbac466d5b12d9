"""What leaves ask of features: sets of cells into which the thresholds of a tree cut the values of a feature."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from onnxplain.analysis.trees.ensemble import GT, GTE, LEAF, LEQ, LT, NEQ, Array, Ensemble

__all__ = ["Cells", "Leaf", "Split", "Tree", "trees_of"]


@dataclass(frozen=True, eq=False)
class Cells:
    """How a tree cuts the values of a feature: cell i holds what is greater than i of the `breaks`, [cells − 1] in rising order.
    One more cell, the last, holds NaN."""

    breaks: Array

    @cached_property
    def count(self) -> int:
        """The number of cells, that of NaN included."""
        return len(self.breaks) + 2

    @cached_property
    def every(self) -> int:
        """The set of all cells, a bit each."""
        return (1 << self.count) - 1

    def of(self, values: Array) -> Array:
        """The cell of each value, int64 of the values' shape."""
        return np.where(np.isnan(values), self.count - 1, np.searchsorted(self.breaks, values, side="left"))

    def table(self, sets: list[int]) -> Array:
        """Which cells are in sets of them, bool [sets, cells]."""
        return np.array([[s >> c & 1 for c in range(self.count)] for s in sets], bool).reshape(len(sets), self.count)


@dataclass(frozen=True)
class Leaf:
    """A leaf that some input reaches.

    Attributes:
        node: its node.
        asks: by feature on the way to it, the set of cells that let an input pass, a bit each.
        shares: by feature, the share of rows of data that go this way at the nodes that look at it, NaN where no row comes
            to one of them; empty without covers.
    """

    node: int
    asks: dict[int, int]
    shares: dict[int, float]


@dataclass(frozen=True)
class Split:
    """A part of a tree with several leaves."""

    parts: tuple[Split | Leaf, ...]


@dataclass(frozen=True)
class Tree:
    """A tree as its leaves see it.

    Attributes:
        cells: by feature, how the tree cuts its values.
        top: its parts; without those that no input reaches.
    """

    cells: dict[int, Cells]
    top: Split | Leaf

    def leaves(self) -> Iterator[Leaf]:
        """Its leaves, from left to right."""
        stack = [self.top]
        while stack:
            part = stack.pop()
            if isinstance(part, Leaf):
                yield part
            else:
                stack.extend(reversed(part.parts))


def trees_of(ensemble: Ensemble, cover: Array | None = None) -> Iterator[Tree]:
    """The trees of an ensemble, one after the other.

    Args:
        ensemble: the trees.
        cover: how many rows of data reach each node, [nodes]; leaves then know their shares.
    """
    for root in ensemble.roots.tolist():
        yield _tree(ensemble, root, cover)


def _tree(ensemble: Ensemble, root: int, cover: Array | None) -> Tree:
    level, found = np.array([root]), []
    while len(level := np.unique(level[ensemble.mode[level] != LEAF])):
        found.append(level)
        level = np.concatenate([ensemble.true[level], ensemble.false[level]])
    nodes = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    cells = _cells(ensemble, nodes)
    holds = {int(n): _holds(ensemble, int(n), cells[int(ensemble.feature[n])]) for n in nodes}
    return Tree(cells, _walk(ensemble, root, cells, holds, cover))


def _cells(ensemble: Ensemble, nodes: Array) -> dict[int, Cells]:
    """The cells of each feature that the nodes look at."""
    found: dict[int, list[float]] = defaultdict(list)
    for node in nodes.tolist():
        found[int(ensemble.feature[node])] += _breaks(ensemble, node)
    return {f: Cells(np.unique(np.array(values, ensemble.value.dtype))) for f, values in sorted(found.items())}


def _breaks(ensemble: Ensemble, node: int) -> list[float]:
    """Where the comparison of a node changes: between a break and the next greater number."""
    mode, value = int(ensemble.mode[node]), ensemble.value[node]
    if mode in (LEQ, GT):
        return [] if np.isnan(value) else [value]
    if mode in (LT, GTE):
        return _below(value)
    sets = ensemble.members.get(node, np.array([value])).astype(ensemble.value.dtype)
    return [b for v in sets if not np.isnan(v) for b in (*_below(v), v)]


def _below(value: Any) -> list[float]:
    """The greatest number below a value, in its type."""
    lowest = np.isnan(value) or value == -np.inf
    return [] if lowest else [np.nextafter(value, value.dtype.type(-np.inf))]


def _holds(ensemble: Ensemble, node: int, cells: Cells) -> int:
    """The cells in which the comparison of a node holds."""
    mode, value, breaks = int(ensemble.mode[node]), ensemble.value[node], cells.breaks
    numbers = (1 << len(breaks) + 1) - 1
    if mode in (LEQ, LT, GTE, GT):
        edge = [value] if mode in (LEQ, GT) and not np.isnan(value) else _below(value) if mode in (LT, GTE) else []
        low = (
            (1 << int(np.searchsorted(breaks, edge[0])) + 1) - 1 if edge else 0
        )  # nothing is less than −∞, nothing compares with NaN
        made = low if mode in (LEQ, LT) else 0 if np.isnan(value) else numbers & ~low
    else:
        sets = ensemble.members.get(node, np.array([value])).astype(breaks.dtype)
        made = sum(1 << int(np.searchsorted(breaks, v)) for v in np.unique(sets) if not np.isnan(v))
        made = numbers & ~made if mode == NEQ else made
    nan = 1 << cells.count - 1
    return made | (nan if ensemble.missing[node] or mode == NEQ else 0)


def _walk(ensemble: Ensemble, root: int, cells: dict[int, Cells], holds: dict[int, int], cover: Array | None) -> Split | Leaf:
    """The part of a tree below a node: all nodes from above first, then put together from below."""
    mode, feature = ensemble.mode, ensemble.feature
    visits: list[tuple[int, dict[int, int], dict[int, float], int]] = [(root, {}, {}, -1)]
    at = 0
    while at < len(visits):
        node, asks, shares, _ = visits[at]
        if mode[node] != LEAF:
            f, true, false = int(feature[node]), int(ensemble.true[node]), int(ensemble.false[node])
            before, every, true_set = asks.get(f, cells[f].every), cells[f].every, holds[node]
            for child, cellset in ((true, true_set), (false, every & ~true_set)):
                if before & cellset:
                    share = shares if cover is None else {**shares, f: shares.get(f, 1.0) * _share(cover, node, child)}
                    visits.append((child, {**asks, f: before & cellset}, share, at))
        at += 1
    parts: list[list[Split | Leaf]] = [[] for _ in visits]
    made: Split | Leaf = Leaf(root, {}, {})
    for at in range(len(visits) - 1, -1, -1):
        node, asks, shares, above = visits[at]
        mine = parts[at]
        made = Leaf(node, asks, shares) if mode[node] == LEAF else Split(tuple(reversed(mine))) if len(mine) > 1 else mine[0]
        if above >= 0:
            parts[above].append(made)
    return made


def _share(cover: Array, node: int, child: int) -> float:
    """The share of the rows at a node that go on to a child; NaN where there are none."""
    return float(cover[child] / cover[node]) if cover[node] else float("nan")
