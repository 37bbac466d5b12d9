"""Tables: what a forest becomes in a file. Comparisons give digits, digits give rows, rows hold contributions.

A block is a few bundles with the comparisons that they need. A matrix product of comparisons (0 or 1) with the block's `steps`
gives each of its bundles the number of a row of its table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.analysis.trees.leaves import Leaf
from onnxplain.method.trees.bundles import Bundle, bundled
from onnxplain.method.trees.comparisons import RAW, Threshold
from onnxplain.method.trees.comparisons import steps as steps_of
from onnxplain.method.trees.deep import Deep, deep_leaves
from onnxplain.method.trees.fold import contributions, interactions
from onnxplain.method.trees.forest import Forest, Rooted
from onnxplain.method.trees.patterns import Asked, Patterns, asked_of
from onnxplain.method.trees.slots import Slots

__all__ = ["Lookup", "Tables", "Width", "fitted"]

PER_BLOCK = 16
"""Bundles in a block."""

COMPARISONS = 64
"""Comparisons in a block, but for a bundle that needs more."""

TREES = 32
"""Trees that are folded together; with interactions, whose tables are larger, an eighth of that."""


@dataclass(frozen=True, eq=False)
class Width:
    """Bundles with equally many numbers in a row.

    Attributes:
        table: rows of all bundles, one after the other, [rows, outputs · slots].
        starts: where the rows of each bundle begin, its own number of the row for digits of 0 included, int64 [bundles].
        slots: int64 [bundles, slots].
        directions: int64 [bundles, outputs].
    """

    table: Array
    starts: Array
    slots: Array
    directions: Array


@dataclass(frozen=True, eq=False)
class Tables:
    """All lookups of a forest.

    Attributes:
        kinds: what each comparison looks at, int64 [blocks, comparisons].
        features: which feature it looks at, int64 [blocks, comparisons].
        thresholds: what it exceeds, [blocks, comparisons].
        steps: what a comparison adds to the number of a row, float32 [blocks, bundles, comparisons].
        widths: the bundles in the order of blocks.
        deep: the leaves that no table holds, None where all are held.
    """

    kinds: Array
    features: Array
    thresholds: Array
    steps: Array
    widths: tuple[Width, ...]
    deep: Deep | None

    @property
    def slots(self) -> list[Array]:
        """The slots that get something, in several arrays."""
        return [w.slots for w in self.widths] + ([g.slots for g in self.deep.groups] if self.deep else [])


@dataclass
class Lookup:
    """A bundle with its table."""

    table: Array
    start: int
    slots: tuple[int, ...]
    directions: tuple[int, ...]
    steps: dict[Threshold, float] = field(default_factory=dict)


def fitted(forest: Forest, player_of: Array, patterns: Patterns, most: int, slots: Slots) -> Tables:
    """The tables of a forest, in at most so many bytes; leaves that do not fit go without."""
    prices = patterns.prices
    while True:
        chosen = [bundled(r.tree, player_of, len(r.directions), prices, slots) for r in forest.trees]
        sizes = [
            b.rows * slots.count(b.players) * len(r.directions)
            for r, (mine, _) in zip(forest.trees, chosen, strict=True)
            for b in mine
        ]
        if sum(sizes) * forest.dtype.itemsize <= most:
            return tabulated(forest, player_of, patterns, chosen, slots)
        prices = replace(prices, byte=prices.byte * 2)


def tabulated(
    forest: Forest, player_of: Array, patterns: Patterns, chosen: Sequence[tuple[list[Bundle], list[Leaf]]], slots: Slots
) -> Tables:
    """The tables of a forest, given the bundles of its trees, and the leaves that go without."""
    lookups: list[Lookup] = []
    alone: list[tuple[Rooted, Leaf]] = []
    together = TREES // 8 if slots.paired else TREES
    for start in range(0, len(forest.trees), together):
        some, mine = forest.trees[start : start + together], chosen[start : start + together]
        alone += [(r, leaf) for r, (_, leaves) in zip(some, mine, strict=True) for leaf in leaves]
        leaves = [[leaf for b in bundles for leaf in b.leaves] for bundles, _ in mine]
        asked = [[asked_of(leaf, r.tree, player_of) for leaf in held] for r, held in zip(some, leaves, strict=True)]
        folded = _folded(some, leaves, asked, patterns, slots)
        for rooted, (bundles, _), asks, values in zip(some, mine, asked, folded, strict=True):
            lookups += _lookups(rooted, bundles, asks, values, player_of, slots)
    return _laid_out(lookups, deep_leaves(alone, player_of, len(forest.directions), forest.dtype, slots), forest.dtype)


def _folded(
    some: Sequence[Rooted],
    leaves: Sequence[Sequence[Leaf]],
    asked: Sequence[Sequence[Asked]],
    patterns: Patterns,
    slots: Slots,
) -> list[list[Array]]:
    """What every leaf of every tree gives its players for each set that a sample satisfies, [2^k, k]; behind these, where slots
    have any, their pairs."""
    waiting: dict[int, list[tuple[int, list[int], Array]]] = {}
    for i, (rooted, mine, asks) in enumerate(zip(some, leaves, asked, strict=True)):
        for numbers, found in patterns.of(rooted.tree, mine, asks):
            waiting.setdefault(found.shape[1], []).append((i, numbers, found))
    made: list[list[Array]] = [[np.zeros(0)] * len(mine) for mine in leaves]
    for parts in waiting.values():
        every = np.concatenate([found for _, _, found in parts])
        values = contributions(every)
        if slots.paired:
            values = np.concatenate([values, interactions(every)], axis=2)
        places = [(i, n) for i, numbers, _ in parts for n in numbers]
        for (i, n), value in zip(places, values, strict=True):
            made[i][n] = value
    return made


def _lookups(
    rooted: Rooted,
    bundles: Sequence[Bundle],
    asked: Sequence[Asked],
    values: Sequence[Array],
    player_of: Array,
    slots: Slots,
) -> Iterator[Lookup]:
    """The bundles of a tree with their tables; of their leaves, in order, what they ask and their values."""
    tree, at = rooted.tree, 0
    for bundle in bundles:
        features = sorted(bundle.classes, key=lambda f: (player_of[f], f))
        radix = [len(bundle.classes[f]) for f in features]
        strides = [prod(radix[i + 1 :]) for i in range(len(radix))]
        outputs = len(rooted.directions)
        mine = slots.of(bundle.players)
        place = {slot: i for i, slot in enumerate(mine)}
        table = np.zeros((bundle.rows, outputs, len(mine)))
        for leaf in bundle.leaves:
            held = _satisfied(bundle, leaf, features, asked[at], player_of)
            theirs = [place.get(slot, -1) for slot in (*asked[at], *slots.of_pairs(list(asked[at])))]
            kept = [i for i, column in enumerate(theirs) if column >= 0]
            found = values[at] if len(kept) == len(theirs) else values[at][:, kept]
            table[:, :, [theirs[i] for i in kept]] += found[held][:, None, :] * rooted.values[leaf.node][:, None]
            at += 1
        start, steps = 0, {}
        for f, stride in zip(features, strides, strict=True):
            first, changes = steps_of(f, tree.cells[f], bundle.classes[f])
            start += first * stride
            for comparison, change in changes:
                steps[comparison] = change * stride
        yield Lookup(table.reshape(bundle.rows, -1), start, mine, rooted.directions, steps)


def _satisfied(bundle: Bundle, leaf: Leaf, features: Sequence[int], asked: Asked, player_of: Array) -> Array:
    """The number of the set of players that each row of a bundle's table satisfies for a leaf, [rows]."""
    place = {p: j for j, p in enumerate(asked)}
    made = np.zeros(1, np.int64)
    for player, group in groupby(features, lambda f: int(player_of[f])):
        held = np.ones(1, np.int64)
        for f in group:
            asks = leaf.asks.get(f, -1)
            digits = np.array([c & asks == c for c in bundle.classes[f]], np.int64)
            held = digits if len(held) == 1 else np.multiply.outer(held, digits).ravel()
        bits = held << place[player] if player in place else np.zeros_like(held)
        made = np.add.outer(made, bits).ravel()
    return made


def _laid_out(lookups: Sequence[Lookup], deep: Deep | None, dtype: np.dtype[Any]) -> Tables:
    groups: dict[tuple[int, int], list[Lookup]] = {}
    for lookup in lookups:
        groups.setdefault((len(lookup.directions), len(lookup.slots)), []).append(lookup)
    blocks, widths = [], []
    for _, group in sorted(groups.items()):
        cut = list(_blocks(group))
        blocks += cut
        widths.append(_width([made for block in cut for made in block], dtype))
    size = max((len({c for m in block if m for c in m.steps}) for block in blocks), default=0)
    kinds, features = np.full((len(blocks), size), RAW), np.zeros((len(blocks), size), np.int64)
    thresholds = np.full((len(blocks), size), np.inf, dtype)
    steps = np.zeros((len(blocks), PER_BLOCK, size), np.float32)
    for i, block in enumerate(blocks):
        numbers: dict[Threshold, int] = {}
        for j, made in enumerate(block):
            for comparison, step in made.steps.items() if made else ():
                at = numbers.setdefault(comparison, len(numbers))
                steps[i, j, at] = step
        for comparison, at in numbers.items():
            kinds[i, at], features[i, at], thresholds[i, at] = comparison.kind, comparison.feature, comparison.threshold
    return Tables(kinds, features, thresholds, steps, tuple(widths), deep)


def _blocks(group: Sequence[Lookup]) -> Iterator[list[Lookup | None]]:
    """Lookups of one width in blocks, filled up with None."""
    block: list[Lookup | None] = []
    asked: set[Threshold] = set()
    for made in group:
        if len(block) == PER_BLOCK or (block and len(asked | made.steps.keys()) > COMPARISONS):
            yield block + [None] * (PER_BLOCK - len(block))
            block, asked = [], set()
        block.append(made)
        asked |= made.steps.keys()
    yield block + [None] * (PER_BLOCK - len(block))


def _width(slots: Sequence[Lookup | None], dtype: np.dtype[Any]) -> Width:
    """The tables of lookups one after the other, and a row of zeros for empty places."""
    first = next(m for m in slots if m is not None)
    tables = [m.table for m in slots if m is not None]
    ends = np.cumsum([len(t) for t in tables])
    begin = iter([0, *ends.tolist()])
    starts = [int(ends[-1]) if m is None else next(begin) + m.start for m in slots]
    none = ((0,) * len(first.slots), (0,) * len(first.directions))
    return Width(
        np.concatenate([*tables, np.zeros_like(tables[0][:1])]).astype(dtype),
        np.array(starts, np.int64),
        np.array([none[0] if m is None else m.slots for m in slots], np.int64),
        np.array([none[1] if m is None else m.directions for m in slots], np.int64),
    )
