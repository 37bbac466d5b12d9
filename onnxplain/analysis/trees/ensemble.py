"""Ensemble: the trees of one operator of ai.onnx.ml, as arrays, whichever of its forms the file has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import MethodError, ModelError

__all__ = ["EQ", "GT", "GTE", "LEAF", "LEQ", "LT", "MEMBER", "NEQ", "Ensemble", "check_trees"]

Array = np.ndarray[Any, Any]

LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = range(7)
"""How a node compares the feature with its value, numbered as in TreeEnsemble."""

LEAF = -1
"""In place of a mode, a feature or a child: there is none."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Decision trees whose leaves are added up: [n, features] to [n, outputs].

    Attributes:
        roots: the node that each tree begins with, int64 [trees].
        mode: how nodes compare, int64 [nodes]; `LEAF` for leaves.
        feature: the column that each node looks at, int64 [nodes].
        value: what it is compared with, [nodes], in the type in which the runtime compares.
        missing: whether NaN goes the way of what is true, bool [nodes].
        true: the node that follows where the comparison holds, int64 [nodes].
        false: the node that follows where it does not, int64 [nodes].
        members: the values of nodes that compare with a set, by node.
        weights: what each node adds to each output, float64 [nodes, outputs]; zero but for leaves.
        base: what is added to every sample, float64 [outputs].
    """

    roots: Array
    mode: Array
    feature: Array
    value: Array
    missing: Array
    true: Array
    false: Array
    members: dict[int, Array]
    weights: Array
    base: Array

    @property
    def features(self) -> int:
        """The number of columns that the trees need at least."""
        return int(self.feature.max(initial=-1)) + 1

    @property
    def tracks_missing(self) -> bool:
        """Whether any node says where a missing value goes."""
        return bool(self.missing.any())

    def decide(self, rows: Array, nodes: Array) -> Array:
        """Whether comparisons hold, as the runtime decides: rows [n, features], one node for each row, to bool [n]."""
        x, t, mode = rows[np.arange(len(rows)), self.feature[nodes]], self.value[nodes], self.mode[nodes]
        known = np.isin(mode, (MEMBER,))
        made = np.select([mode == m for m in range(6)], [x <= t, x < t, x >= t, x > t, x == t, x != t], False)
        for at in np.flatnonzero(known):
            made[at] = x[at] in self.members[int(nodes[at])]
        return np.asarray(made | (np.isnan(x) & self.missing[nodes]))

    def leaves(self, rows: Array) -> Array:
        """The leaf that each row reaches in each tree: [n, features] to int64 [n, trees]."""
        rows = rows.astype(self.value.dtype)
        at = np.tile(self.roots, (len(rows), 1))
        while True:
            row, tree = np.nonzero(self.mode[at] != LEAF)
            if not len(row):
                return at
            nodes = at[row, tree]
            at[row, tree] = np.where(self.decide(rows[row], nodes), self.true[nodes], self.false[nodes])

    def covers(self, rows: Array) -> Array:
        """How many of the rows [n, features] pass each node, float64 [nodes]; of trees that share no nodes."""
        made, block = np.zeros(len(self.mode)), max(1, (1 << 22) // max(1, len(self.roots)))
        for start in range(0, len(rows), block):
            made += np.bincount(self.leaves(rows[start : start + block]).ravel(), minlength=len(made))
        for level in reversed(self.levels()):
            made[level] += made[self.true[level]] + made[self.false[level]]
        return made

    def levels(self) -> list[Array]:
        """The inner nodes by how far they are from a root, int64 [nodes] each."""
        made, level = [], self.roots
        while len(level := np.unique(level[self.mode[level] != LEAF])):
            made.append(level)
            level = np.concatenate([self.true[level], self.false[level]])
        return made

    def margins(self, rows: Array) -> Array:
        """What the ensemble says of rows before any transform: [n, features] to float64 [n, outputs]."""
        made = np.tile(self.base, (len(rows), 1))
        for start in range(0, len(rows), 256):
            made[start : start + 256] += self.weights[self.leaves(rows[start : start + 256])].sum(axis=1)
        return made


def check_trees(ensemble: Ensemble, name: str) -> None:
    """Refuse what is no forest, before anything walks it.

    Raises:
        ModelError: a child or root is missing, or a node is reached twice in one tree.
    """
    nodes, inner = len(ensemble.mode), ensemble.mode != LEAF
    for children in (ensemble.roots, ensemble.true[inner], ensemble.false[inner]):
        if len(children) and not (children.min() >= 0 and children.max() < nodes):
            raise ModelError(f"{name}: a node names a child that the ensemble does not have; export the model again")
    level, seen = ensemble.roots, 0
    while len(level):
        seen += len(level)
        if seen > 2 * nodes + len(ensemble.roots):
            raise ModelError(f"{name}: nodes of a tree lead back to themselves; export the model again")
        level = level[inner[level]]
        level = np.concatenate([ensemble.true[level], ensemble.false[level]])


def averaged(ensemble_weights: Array, trees: int, aggregate: str, name: str) -> Array:
    """The weights of leaves such that an ensemble adds them up.

    Raises:
        MethodError: the aggregate is no sum.
    """
    if aggregate == "SUM":
        return ensemble_weights
    if aggregate == "AVERAGE":
        return ensemble_weights / trees
    raise MethodError(
        f"{name} takes the {aggregate} of its trees, which no sum of contributions of trees gives; tree-shap takes SUM and "
        "AVERAGE, and exact-shapley or kernel-shap explain any model"
    )
