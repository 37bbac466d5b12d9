"""Contributions of leaves by what a sample satisfies, averaged over a background or over shares of data.

A leaf with the value v asks something of each of k features. A sample satisfies a set p of them, a row of background a set q; the
leaf counts in the game between both iff p ∪ q is everything. With a = |p − q| and b = |q − p|, a feature of p − q gets
(a − 1)! b! / (a + b)! · v and one of q − p gets −a! (b − 1)! / (a + b)! · v: the integrals over t from 0 to 1 of
t^(a−1) (1 − t)^b and t^a (1 − t)^(b−1), which Gauss-Legendre quadrature with ⌈k/2⌉ points gives exactly. Summed over all q that
hold what p lacks, by one pass over supersets, this is a table over p. A pair has the second derivatives in place of the first:
each of its two features brings its factor 1/t or −1/(1 − t). Path-dependent values are the same with q drawn feature by
feature: each is satisfied with the share of data that goes the leaf's way.

Source: Lundberg et al. 2020, From local explanations to global understanding with explainable AI for trees, algorithms 2 and 3;
the integrals as in Yu et al. 2022, Linear TreeShap.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from onnxplain.analysis.trees.ensemble import Array

__all__ = ["contributions", "independent", "interactions", "points"]


def points(features: int) -> tuple[Array, Array]:
    """The points in [0, 1] and weights that integrate polynomials of degree below `features` exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(max(1, (features + 1) // 2))
    return (nodes + 1) / 2, weights / 2


def contributions(patterns: Array) -> Array:
    """What a leaf of value 1 gives its features, by the set that a sample satisfies.

    Args:
        patterns: how often each set is satisfied in the background, [leaves, 2^k], 1 in all; bit j of its number is feature j.

    Returns:
        Contributions [leaves, 2^k, k].
    """
    leaves, sets = patterns.shape
    k = sets.bit_length() - 1
    t, w = points(k)
    held, lacking = _held(patterns, t)
    missed = -(held * (w * (1 - t) ** np.maximum(lacking - 1, 0))).sum(axis=2)
    weight = w / t * (1 - t) ** lacking
    made = np.empty((leaves, sets, k))
    numbers = np.arange(sets)
    for j in range(k):
        inside = numbers[(numbers >> j & 1).astype(bool)]
        made[:, :, j] = missed
        made[:, inside, j] = ((held[:, inside] - held[:, inside ^ (1 << j)]) * weight[inside]).sum(axis=2)
    return made


def interactions(patterns: Array) -> Array:
    """What every pair of its features does together beyond what both do apart, in a leaf of value 1: half of the Shapley
    interaction index, for either of the two.

    Args:
        patterns: as for `contributions`.

    Returns:
        Interactions [leaves, 2^k, pairs], in the order of `itertools.combinations`.

    Source: Lundberg et al. 2020, From local explanations to global understanding with explainable AI for trees, equation 6.
    """
    leaves, sets = patterns.shape
    k = sets.bit_length() - 1
    t, w = points(k)
    held, lacking = _held(patterns, t)
    weight = w / 2 * (1 - t) ** lacking
    slopes = [_slope(held, j, t) for j in range(k)]
    made = [(_slope(slopes[i], j, t) * weight).sum(axis=2) for i, j in combinations(range(k), 2)]
    return np.stack(made, axis=2) if made else np.zeros((leaves, sets, 0))


def _held(patterns: Array, t: Array) -> tuple[Array, Array]:
    """At every set p and point t: the sum over all q that hold what p lacks of t^|p − q|, [leaves, 2^k, points], and how many
    features p lacks, [2^k, 1]."""
    leaves, sets = patterns.shape
    k = sets.bit_length() - 1
    size = np.array([bin(s).count("1") for s in range(sets)])
    sums = patterns[:, :, None] * t ** (k - size)[:, None]
    for j in range(k):
        halves = sums.reshape(leaves, -1, 2, 1 << j, len(t))
        halves[:, :, 0] += halves[:, :, 1]
    return sums[:, ::-1], (k - size)[:, None]


def _slope(held: Array, j: int, t: Array) -> Array:
    """What feature j makes of sums over sets, [leaves, 2^k, points]: where p holds it, those q that lack it count, by 1/t; where
    p lacks it, all do, by −1/(1 − t)."""
    halves = held.reshape(len(held), -1, 2, 1 << j, len(t))
    without, within = halves[:, :, 0], halves[:, :, 1]
    made: Array = np.stack([-without / (1 - t), (within - without) / t], axis=2).reshape(held.shape)
    return made


def independent(shares: Sequence[Array]) -> Array:
    """How often each set is satisfied where features are so independently: [leaves] for each feature to [leaves, 2^k]."""
    made = np.ones((len(shares[0]) if shares else 1, 1))
    for share in shares:
        made = np.concatenate([made * (1 - share)[:, None], made * share[:, None]], axis=1)
    return made
