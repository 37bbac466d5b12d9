"""Forest: the trees that look at one tensor, with what their leaves add to the outputs of their operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.trees.ensemble import Array, Ensemble
from onnxplain.analysis.trees.leaves import Tree, trees_of

__all__ = ["Forest", "Rooted", "forest_of"]


@dataclass(frozen=True, eq=False)
class Rooted:
    """A tree with its values.

    Attributes:
        tree: the tree.
        values: of its nodes, float64 [nodes, r]; the mean over its leaves is taken off, which no contribution depends on.
        directions: for each of the r, the number of the direction in the space of outputs that it counts in.
    """

    tree: Tree
    values: Array
    directions: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees with what they do to all outputs.

    Attributes:
        trees: those that depend on their input.
        directions: float64 [directions, outputs].
        dtype: in which trees compare and contributions are added up.
    """

    trees: tuple[Rooted, ...]
    directions: Array
    dtype: np.dtype[Any]


def forest_of(ensembles: list[Ensemble], covers: list[Array | None], dtype: np.dtype[Any]) -> Forest:
    """The trees of several operators, whose outputs follow one after the other.

    Args:
        ensembles: the operators' trees.
        covers: for each, how many rows of data reach each node; None where no shares are needed.
        dtype: in which trees compare.
    """
    total = sum(len(e.base) for e in ensembles)
    known: dict[bytes, int] = {}
    rows: list[Array] = []
    trees, start = [], 0
    for ensemble, cover in zip(ensembles, covers, strict=True):
        columns = slice(start, start + len(ensemble.base))
        start = columns.stop
        for tree in trees_of(ensemble, cover):
            nodes = sorted({leaf.node for leaf in tree.leaves()})
            basis, values = _directions(ensemble.weights[nodes], float(np.finfo(dtype).eps))
            if not len(basis):
                continue
            numbers = []
            for row in basis:
                wide = np.zeros(total)
                wide[columns] = row
                numbers.append(known.setdefault(wide.tobytes(), len(known)))
                if len(known) > len(rows):
                    rows.append(wide)
            placed = np.zeros((len(ensemble.weights), len(basis)))
            placed[nodes] = values
            trees.append(Rooted(tree, placed, tuple(numbers)))
    return Forest(tuple(trees), np.array(rows).reshape(len(rows), total), dtype)


def _directions(weights: Array, eps: float) -> tuple[Array, Array]:
    """Directions [r, outputs] and values [leaves, r] whose product is the weights [leaves, outputs] but for a constant.

    Where the outputs of every leaf have the same sum, as probabilities have, one of them follows from the others.
    """
    centred = weights - weights.mean(axis=0)
    varying = np.flatnonzero(np.ptp(weights, axis=0) > 0)
    unit = np.eye(weights.shape[1])
    if len(varying) > 1 and np.abs(centred.sum(axis=1)).max() <= eps * np.abs(weights).max():
        return unit[varying[1:]] - unit[varying[0]], centred[:, varying[1:]]
    return unit[varying], centred[:, varying]
