"""Ensembles read from the attributes of TreeEnsembleRegressor, TreeEnsembleClassifier and TreeEnsemble."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.analysis.trees.ensemble import LEAF, MEMBER, Array, Ensemble, averaged, check_trees
from onnxplain.errors import MethodError, ModelError
from onnxplain.ir.node import Node

__all__ = ["TREES", "is_ensemble", "read_ensemble", "tested_features", "transform_of", "tree_count"]

ML = "ai.onnx.ml"

# operators: those whose attributes are trees
TREES = ("TreeEnsemble", "TreeEnsembleRegressor", "TreeEnsembleClassifier")

# operators: names of comparisons, not of operators
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


def is_ensemble(node: Node) -> bool:
    """Whether a node is an ensemble of decision trees."""
    return node.domain == ML and node.op in TREES


def tree_count(node: Node) -> int:
    """How many trees an ensemble has."""
    return len(np.unique(_ints(node, "tree_roots" if node.op == "TreeEnsemble" else "nodes_treeids")))


def tested_features(node: Node) -> Array:
    """The numbers of the features that the trees of an ensemble look at, in rising order."""
    features = _ints(node, "nodes_featureids")
    return np.unique(features if node.op == "TreeEnsemble" else features[np.array(_words(node, "nodes_modes")) != "LEAF"])


def read_ensemble(node: Node, dtype: np.dtype[Any]) -> Ensemble:
    """The trees of an operator, which compares in the type of its input.

    Args:
        node: the operator.
        dtype: the type of its input: float32 or float64.

    Returns:
        The ensemble; of a classifier, before its transform.

    Raises:
        MethodError: the aggregate is no sum.
        ModelError: the attributes are no forest.
    """
    name = f"{node.op} '{node.name}'"
    made = _newer(node, dtype, name) if node.op == "TreeEnsemble" else _older(node, dtype, name)
    check_trees(made, name)
    return made


# -- ai.onnx.ml 1 to 4: nodes named by the numbers of tree and node --------------------------------------------------


def _older(node: Node, dtype: np.dtype[Any], name: str) -> Ensemble:
    tree, number = _ints(node, "nodes_treeids"), _ints(node, "nodes_nodeids")
    modes = _words(node, "nodes_modes")
    unknown = sorted(set(modes) - {*MODES, "LEAF"})
    if unknown or not len(modes) == len(tree) == len(number):
        what = f"unknown mode {unknown[0]}" if unknown else "attributes of different lengths"
        raise ModelError(f"{name}: {what}; export the model again")
    codes = {word: code for code, word in enumerate(MODES)} | {"LEAF": LEAF}
    mode = np.array([codes[word] for word in modes], np.int64)
    place = {key: i for i, key in enumerate(zip(tree.tolist(), number.tolist(), strict=True))}
    if len(place) != len(tree):
        raise ModelError(f"{name}: two nodes of a tree have the same number; export the model again")
    inner = mode != LEAF
    true, false = (_children(node, f"nodes_{way}nodeids", tree, inner, place) for way in ("true", "false"))
    reached = np.concatenate([true[inner], false[inner]])
    roots = np.setdiff1d(np.arange(len(mode)), reached)
    if len(np.unique(tree)) != len(roots) or len(np.unique(tree[roots])) != len(roots):
        raise ModelError(f"{name}: a tree has no root, or several; export the model again")
    feature = np.where(inner, _ints(node, "nodes_featureids"), LEAF)
    missing = _ints(node, "nodes_missing_value_tracks_true")
    weights, base = (_classes if node.op == "TreeEnsembleClassifier" else _targets)(node, place, mode, len(roots), name)
    _check_base(node, tree, mode, place, base, name)
    return Ensemble(
        roots,
        mode,
        feature,
        _numbers(node, "nodes_values").astype(dtype),
        missing.astype(bool) & inner if len(missing) else np.zeros(len(mode), bool),
        true,
        false,
        {},
        weights,
        base,
    )


def _children(node: Node, attribute: str, tree: Array, inner: Array, place: dict[tuple[int, int], int]) -> Array:
    """The places of the children, −1 where there is none."""
    numbers = _ints(node, attribute)
    found = [
        place.get((t, n), len(place)) if inside else LEAF
        for t, n, inside in zip(tree.tolist(), numbers.tolist(), inner.tolist(), strict=True)
    ]
    return np.array(found, np.int64)


def _leaf_weights(
    node: Node, prefix: str, kind: str, place: dict[tuple[int, int], int], mode: Array, count: int
) -> tuple[Array, Array]:
    """What leaves add to each of `count` outputs, and the numbers of the outputs that are named."""
    trees, nodes = _ints(node, f"{prefix}_treeids"), _ints(node, f"{prefix}_nodeids")
    outputs, values = _ints(node, f"{prefix}_ids"), _numbers(node, f"{prefix}_weights")
    made = np.zeros((len(mode), max(count, int(outputs.max(initial=-1)) + 1)))
    at = np.array([place[key] for key in zip(trees.tolist(), nodes.tolist(), strict=True)], np.int64)
    np.add.at(made, (at, outputs), values)
    made[mode != LEAF] = 0  # the runtime looks at leaves only
    return made, np.unique(outputs)


def _targets(node: Node, place: dict[tuple[int, int], int], mode: Array, trees: int, name: str) -> tuple[Array, Array]:
    weights, _ = _leaf_weights(node, "target", "target", place, mode, int(node.get("n_targets", 1)))
    base = _numbers(node, "base_values")
    weights = averaged(weights, trees, _word(node.get("aggregate_function", "SUM")), name)
    return weights, base if len(base) else np.zeros(weights.shape[1])


def _classes(node: Node, place: dict[tuple[int, int], int], mode: Array, trees: int, name: str) -> tuple[Array, Array]:
    """As ONNX Runtime makes scores: one number s of two classes is the second one's, the first has 1 − s where no weight is
    negative, else −s."""
    labels = max(len(node.get("classlabels_int64s") or ()), len(node.get("classlabels_strings") or ()), 1)
    weights, named = _leaf_weights(node, "class", "class", place, mode, labels)
    base = _numbers(node, "base_values")
    if labels != 2 or len(named) != 1:
        return weights, np.resize(base, labels) if len(base) else np.zeros(labels)
    single, start = weights[:, named[0]], float(base[-1]) if len(base) else 0.0
    positive = bool((_numbers(node, "class_weights") >= 0).all()) and len(base) < 2
    return np.stack([-single, single], axis=1), np.array([float(positive) - start, start])


def _check_base(node: Node, tree: Array, mode: Array, place: dict[tuple[int, int], int], base: Array, name: str) -> None:
    """ONNX Runtime adds the base value of an output to a row only where some leaf that the row reaches names the output.

    Raises:
        MethodError: there may be rows that reach no such leaf.
    """
    prefix = "class" if node.op == "TreeEnsembleClassifier" else "target"
    trees, nodes, outputs = (_ints(node, f"{prefix}_{part}") for part in ("treeids", "nodeids", "ids"))
    if len(base) == 1 or len(np.unique(outputs)) == 1:
        return
    for output in np.flatnonzero(base):
        named = np.zeros(len(mode), bool)
        mine = outputs == output
        named[[place[key] for key in zip(trees[mine].tolist(), nodes[mine].tolist(), strict=True)]] = True
        if len(np.setdiff1d(tree, tree[(mode == LEAF) & ~named])) == 0:
            raise MethodError(
                f"{name} has a base value for output {output}, which ONNX Runtime leaves out for rows that reach no leaf naming "
                "that output: no sum of trees; export the model with a weight for it in every leaf of some tree"
            )


# -- ai.onnx.ml 5: inner nodes and leaves apart ----------------------------------------------------------------------


def _newer(node: Node, dtype: np.dtype[Any], name: str) -> Ensemble:
    mode = _numbers(node, "nodes_modes").astype(np.int64)
    leaves, inner = len(_ints(node, "leaf_targetids")), len(mode)
    if len(mode) and not (mode.min() >= 0 and mode.max() <= MEMBER):
        raise ModelError(f"{name}: unknown mode {int(mode.max())}; export the model again")

    def children(way: str) -> Array:
        at_leaf = _ints(node, f"nodes_{way}leafs").astype(bool)
        return np.concatenate([_ints(node, f"nodes_{way}nodeids") + inner * at_leaf, np.full(leaves, LEAF)])

    weights = np.zeros((inner + leaves, int(node.get("n_targets") or 1)))
    weights[np.arange(inner, inner + leaves), _ints(node, "leaf_targetids")] = _numbers(node, "leaf_weights")
    roots, missing = _ints(node, "tree_roots"), _ints(node, "nodes_missing_value_tracks_true")
    none = np.zeros(leaves, bool)
    aggregate = AGGREGATES[int(node.get("aggregate_function", 1))]
    return Ensemble(
        roots,
        np.concatenate([mode, np.full(leaves, LEAF)]),
        np.concatenate([_ints(node, "nodes_featureids"), np.full(leaves, LEAF)]),
        np.concatenate([_numbers(node, "nodes_splits"), np.zeros(leaves)]).astype(dtype),
        np.concatenate([missing.astype(bool) if len(missing) else np.zeros(inner, bool), none]),
        children("true"),
        children("false"),
        _members(node, mode, name),
        averaged(weights, len(roots), aggregate, name),
        np.zeros(weights.shape[1]),
    )


def _members(node: Node, mode: Array, name: str) -> dict[int, Array]:
    """The sets of nodes, which the file holds one after the other with NaN after each."""
    values = _numbers(node, "membership_values")
    ends = np.flatnonzero(np.isnan(values))
    sets = [part[~np.isnan(part)] for part in np.split(values, ends)] if len(values) else []
    nodes = np.flatnonzero(mode == MEMBER)
    if len(nodes) > len(sets):
        raise ModelError(f"{name}: {len(nodes)} nodes ask for membership, and there are {len(sets)} sets; export the model again")
    return {int(n): s for n, s in zip(nodes, sets, strict=False)}


# -- attributes ------------------------------------------------------------------------------------------------------


def _ints(node: Node, attribute: str) -> Array:
    return np.asarray(node.get(attribute) if node.get(attribute) is not None else [], np.int64)


def _numbers(node: Node, attribute: str) -> Array:
    """The numbers of an attribute, float64 [m]: of its form with a tensor where there is one."""
    tensor = node.get(f"{attribute}_as_tensor")
    given = tensor if tensor is not None and np.size(tensor) else node.get(attribute)
    return np.asarray(given if given is not None else [], np.float64).ravel()


def _words(node: Node, attribute: str) -> list[str]:
    return [_word(w) for w in node.get(attribute) or ()]


def _word(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def transform_of(node: Node) -> str:
    """The transform that an operator applies to its sums, as classifiers name it."""
    given = node.get("post_transform", 0)
    return _word(given) if isinstance(given, str | bytes) else ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")[given]
