"""The nodes that make contributions of leaves without tables: by quadrature over shares, or against every row of background.

With shares r of data, a player j of a leaf of value v gets v ∫ (o_j − r_j) Π_{i≠j} (o_i t + r_i (1 − t)) dt over t from 0 to 1,
where o says whether the sample satisfies its condition. Against rows of background it gets the terms that `fold` has, for each
row by itself. Few leaves are worked on at a time, so that memory does not grow with the forest.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any

import numpy as np

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Tensor
from onnxplain.method.trees.comparisons import compared
from onnxplain.method.trees.deep import Conditions, Deep, Leaves
from onnxplain.method.trees.fold import points

__all__ = ["summed_up"]

ELEMENTS = 1 << 15
"""Conditions, or leaves × rows of background, that are worked on at a time."""


def summed_up(b: Builder, x: Tensor, deep: Deep, used: Array, weights: Tensor, background: Array | None, paired: bool) -> Tensor:
    """The contributions of leaves without tables.

    Args:
        b: emits into the graph.
        x: the features [n, features], in the type in which trees compare.
        deep: the leaves.
        used: the slots that get something, in rising order.
        weights: how much each direction counts for each sample, [n, directions].
        background: rows [m, features]; None where leaves have shares.
        paired: whether pairs of players get something too.

    Returns:
        [n, slots used]
    """
    held = _held(b, x, deep.conditions)
    missed = None if background is None else b.Sub(1, b.cast(_held(b, b.const(background), deep.conditions), x))
    turned = b.Transpose(weights, perm=[1, 0])
    made = [_group(b, held, missed, turned, group, used, x, paired) for group in deep.groups]
    return b.Transpose(b.total(made), perm=[1, 0])


def _held(b: Builder, x: Tensor, conditions: Conditions) -> Tensor:
    """Whether samples [n, features] satisfy conditions: bool [conditions, n]."""
    each = conditions.factors.shape[1]
    holds = compared(b, x, *(a.ravel() for a in (conditions.kinds, conditions.features, conditions.thresholds)))
    terms = b.Mul(b.Reshape(holds, [len(conditions.offsets), each, -1]), conditions.factors[:, :, None])
    made: Tensor = b.Greater(b.ReduceSum(terms, [1], keepdims=0), 0.5 - conditions.offsets[:, None])
    return made


def _group(
    b: Builder, held: Tensor, missed: Tensor | None, weights: Tensor, group: Leaves, used: Array, x: Tensor, paired: bool
) -> Tensor:
    """The contributions of leaves with equally many players, [slots used, n]: some leaves after the other."""
    (leaves, k), each = group.conditions.shape, group.slots.shape[1]
    background = 0 if missed is None else missed.dim(1)
    assert isinstance(background, int)
    size = min(leaves, max(1, ELEMENTS // max(each, background)))
    runs = -(-leaves // size)

    def cut(array: Array, dtype: Any) -> Tensor:
        """An array over leaves in pieces of equal size, filled up with zeros."""
        filled = np.zeros((runs * size, *array.shape[1:]), dtype)
        filled[:leaves] = array
        return b.const(filled.reshape(runs, size, *array.shape[1:]))

    slots = np.where(group.slots < 0, -1, np.searchsorted(used, group.slots))
    pieces = [cut(group.conditions, np.int64), cut(slots, np.int32), cut(group.shares, x.dtype), cut(group.values, x.dtype)]

    def body(total: Tensor, conditions: Tensor, of: Tensor, shares: Tensor, values: Tensor) -> list[Tensor]:
        flat = b.Reshape(conditions, [-1])
        o = b.cast(b.Reshape(b.Gather(held, flat, axis=0), [size, k, -1]), x)
        if missed is None:
            made = _by_quadrature(b, o, b.Unsqueeze(shares, [2]), k, paired)
        else:
            lacks = b.Reshape(b.Gather(missed, flat, axis=0), [size, k, background])
            made = _against_rows(b, o, lacks, k, background, paired)
        made = b.Mul(made, b.Unsqueeze(b.MatMul(values, weights), [1]))
        sums = b.cast(b.Equal(b.Reshape(of, [1, -1]), np.arange(len(used), dtype=np.int32)[:, None]), x)
        return [b.Add(total, b.MatMul(sums, b.Reshape(made, [size * each, -1])))]

    start = b.Expand(b.const(0, x.dtype), b.Concat([len(used)], b.Shape(held, start=1, end=2), axis=0))
    if runs == 1:
        (only,) = body(start, *(b.Squeeze(p, [0]) for p in pieces))
        return only
    inputs = [Tensor("total", x.dtype, (len(used), None))]
    inputs += [Tensor("piece", p.dtype, p.shape[1:] if p.shape else None) for p in pieces]
    made = b.op("Scan", start, *pieces, body=b.body(inputs, body), num_scan_inputs=len(pieces))
    assert isinstance(made, Tensor)
    return made


def _by_quadrature(b: Builder, o: Tensor, r: Tensor, k: int, paired: bool) -> Tensor:
    """Contributions [leaves, k, n] of leaves of value 1, and behind them those of pairs, given what samples satisfy and shares
    [leaves, k, 1].

    A factor is zero only where neither the sample nor any data go on: then the leaf counts for nothing, whatever divides it.
    """
    parts, pairs, first, second = [], [], *_pairs(k)
    for t, w in zip(*points(k), strict=True):
        factor = b.Add(b.Mul(o, t), b.Mul(r, 1 - t))
        factor_or_1 = b.Where(b.Equal(factor, 0), 1, factor)
        product = b.Mul(b.ReduceProd(factor, [1], keepdims=1), w)
        parts.append(b.Div(product, factor_or_1))
        if paired:
            both = b.Mul(b.Gather(factor_or_1, first, axis=1), b.Gather(factor_or_1, second, axis=1))
            pairs.append(b.Div(b.Mul(product, 0.5), both))
    step = b.Sub(o, r)
    made: Tensor = b.Mul(b.total(parts), step)
    if not paired:
        return made
    steps = b.Mul(b.Gather(step, first, axis=1), b.Gather(step, second, axis=1))
    return b.Concat(made, b.Mul(b.total(pairs), steps), axis=1)


def _pairs(k: int) -> tuple[Array, Array]:
    """The places of the first and of the second of all pairs of k."""
    made = np.array(list(combinations(range(k), 2)), np.int64).reshape(-1, 2)
    return made[:, 0], made[:, 1]


def _against_rows(b: Builder, o: Tensor, lacks: Tensor, k: int, rows: int, paired: bool) -> Tensor:
    """Contributions [leaves, k, n] of leaves of value 1, and behind them those of pairs, given what samples satisfy and what rows
    lack [leaves, k, rows].

    A leaf counts between a sample and a row iff no condition is missed by both.
    """
    gains, losses = _weights(k)
    misses = b.Sub(1, o)
    both = b.MatMul(b.Transpose(lacks, perm=[0, 2, 1]), misses)
    lacking = b.Unsqueeze(b.ReduceSum(lacks, [1], keepdims=0), [2])
    missing = b.ReduceSum(misses, [1], keepdims=1)
    number = b.Add(b.Mul(missing, k + 1), lacking)
    number = b.Cast(b.Where(b.Less(both, 0.5), number, (k + 1) ** 2), to=6)
    gain = b.MatMul(lacks, b.Gather(b.const(gains / rows, o.dtype), number, axis=0))
    loss = b.ReduceSum(b.Gather(b.const(losses / rows, o.dtype), number, axis=0), [1], keepdims=1)
    made: Tensor = b.Sub(b.Mul(o, gain), b.Mul(misses, loss))
    if not paired:
        return made
    (first, second), (gained, apart, lost) = _pairs(k), _pair_weights(k)

    def weighed(weights: Array) -> Tensor:
        return b.Gather(b.const(weights / rows, o.dtype), number, axis=0)

    has_first, has_second = (b.Gather(o, at, axis=1) for at in (first, second))
    lacks_first, lacks_second = (b.Gather(lacks, at, axis=1) for at in (first, second))
    one = b.MatMul(lacks, weighed(apart))
    pairs = [
        b.Mul(b.Mul(has_first, has_second), b.MatMul(b.Mul(lacks_first, lacks_second), weighed(gained))),
        b.Neg(b.Mul(b.Mul(has_first, b.Sub(1, has_second)), b.Gather(one, first, axis=1))),
        b.Neg(b.Mul(b.Mul(b.Sub(1, has_first), has_second), b.Gather(one, second, axis=1))),
        b.Mul(b.Mul(b.Sub(1, has_first), b.Sub(1, has_second)), b.ReduceSum(weighed(lost), [1], keepdims=1)),
    ]
    return b.Concat(made, b.total(pairs), axis=1)


def _weights(k: int) -> tuple[Array, Array]:
    """(a − 1)! b! / (a + b)! and a! (b − 1)! / (a + b)! at b · (k + 1) + a, and zero for leaves that do not count."""
    gains, losses = (np.zeros((k + 1) ** 2 + 1) for _ in range(2))
    for missing in range(k + 1):
        for lacking in range(k + 1 - missing):
            at, whole = missing * (k + 1) + lacking, factorial(missing + lacking)
            if lacking:
                gains[at] = factorial(lacking - 1) * factorial(missing) / whole
            if missing:
                losses[at] = factorial(lacking) * factorial(missing - 1) / whole
    return gains, losses


def _pair_weights(k: int) -> tuple[Array, Array, Array]:
    """Half of (a − 2)! b! / (a + b − 1)!, (a − 1)! (b − 1)! / (a + b − 1)! and a! (b − 2)! / (a + b − 1)!, laid out as
    `_weights`: for pairs that the row lacks, for one that the row lacks and one that the sample misses, for pairs that the sample
    misses."""
    made = np.zeros((3, (k + 1) ** 2 + 1))
    for missing in range(k + 1):
        for lacking in range(max(0, 2 - missing), k + 1 - missing):
            at, whole = missing * (k + 1) + lacking, 2 * factorial(missing + lacking - 1)
            for i in range(3):
                if lacking >= 2 - i and missing >= i:
                    made[i, at] = factorial(lacking - 2 + i) * factorial(missing - i) / whole
    return made[0], made[1], made[2]
