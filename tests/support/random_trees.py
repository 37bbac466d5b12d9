"""Random tree ensembles in both forms that files have, with rows that fall on their thresholds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ML = "ai.onnx.ml"

ORDERED = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT")
ALL = (*ORDERED, "BRANCH_EQ", "BRANCH_NEQ")


@dataclass
class Plan:
    """What random trees are like."""

    features: int = 4
    trees: int = 3
    depth: int = 3
    outputs: int = 1
    modes: tuple[str, ...] = ("BRANCH_LEQ",)
    missing: bool = False
    double: bool = False
    values: tuple[float, ...] = (-1.0, 0.0, 0.3, 1.0, 2.0)
    grow: float = 0.85
    aggregate: str = "SUM"
    base: bool = True


@dataclass
class Draft:
    """Nodes of an ensemble while they are drawn: (tree, node, mode, feature, value, missing, true, false), and leaves
    (tree, node, output, weight)."""

    nodes: list[tuple[Any, ...]] = field(default_factory=list)
    leaves: list[tuple[int, int, int, float]] = field(default_factory=list)


def draw(rng: np.random.Generator, plan: Plan) -> Draft:
    """Random trees."""
    draft = Draft()
    for tree in range(plan.trees):
        count = 0

        def grow(depth: int, tree: int = tree) -> int:
            nonlocal count
            mine, count = count, count + 1
            place = len(draft.nodes)
            draft.nodes.append(())
            if depth == 0 or rng.random() > plan.grow:
                draft.nodes[place] = (tree, mine, "LEAF", 0, 0.0, 0, 0, 0)
                for output in range(plan.outputs):
                    if output == 0 or plan.base or rng.random() < 0.8:
                        draft.leaves.append((tree, mine, output, float(rng.normal())))
                return mine
            mode, feature = str(rng.choice(plan.modes)), int(rng.integers(plan.features))
            value, missing = float(rng.choice(plan.values)), int(plan.missing and rng.random() < 0.5)
            true, false = grow(depth - 1), grow(depth - 1)
            draft.nodes[place] = (tree, mine, mode, feature, value, missing, true, false)
            return mine

        grow(plan.depth)
    return draft


def older(draft: Draft, plan: Plan, rng: np.random.Generator) -> onnx.ModelProto:
    """The trees as TreeEnsembleRegressor."""
    columns = list(zip(*draft.nodes, strict=True))
    trees, nodes, outputs, weights = zip(*draft.leaves, strict=True)
    base = rng.normal(size=plan.outputs) if plan.base else np.zeros(0)
    attributes: dict[str, Any] = {
        "nodes_treeids": columns[0], "nodes_nodeids": columns[1], "nodes_modes": columns[2], "nodes_featureids": columns[3],
        "nodes_missing_value_tracks_true": columns[5], "nodes_truenodeids": columns[6], "nodes_falsenodeids": columns[7],
        "nodes_hitrates": [1.0] * len(nodes), "target_treeids": trees, "target_nodeids": nodes, "target_ids": outputs,
        "n_targets": plan.outputs, "aggregate_function": plan.aggregate,
    }  # fmt: skip
    numbers = {"nodes_values": columns[4], "target_weights": weights, **({"base_values": base} if plan.base else {})}
    del attributes["nodes_hitrates"]
    for name, values in numbers.items():
        if plan.double:
            attributes[f"{name}_as_tensor"] = numpy_helper.from_array(np.asarray(values, np.float64), name)
        else:
            attributes[name] = [float(v) for v in values]
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain=ML, name="trees", **attributes)
    return _model(node, plan, TensorProto.FLOAT, 3)


MODES = {"BRANCH_LEQ": 0, "BRANCH_LT": 1, "BRANCH_GTE": 2, "BRANCH_GT": 3, "BRANCH_EQ": 4, "BRANCH_NEQ": 5, "BRANCH_MEMBER": 6}


def newer(draft: Draft, plan: Plan, rng: np.random.Generator) -> onnx.ModelProto:
    """The trees as TreeEnsemble; a tree of one leaf has a node that leads there either way, and a leaf one output."""
    dtype = np.float64 if plan.double else np.float32
    kinds = {(t, n): mode == "LEAF" for t, n, mode, *_ in draft.nodes}
    first: dict[tuple[int, int], tuple[int, float]] = {}
    for tree, node, output, weight in draft.leaves:
        first.setdefault((tree, node), (output, weight))
    targets = {key: (int(rng.integers(plan.outputs)), weight) for key, (_, weight) in first.items()}
    inner = [key for key, leaf in kinds.items() if not leaf]
    leaves = [key for key, leaf in kinds.items() if leaf]
    rows: list[tuple[Any, ...]] = []
    members: list[float] = []
    place = {key: i for i, key in enumerate(inner)}
    at_leaf = {key: i for i, key in enumerate(leaves)}
    by_key = {(n[0], n[1]): n for n in draft.nodes}
    for key in inner:
        tree, _, mode, feature, value, missing, true, false = by_key[key]
        ways = [(at_leaf[tree, c], 1) if kinds[tree, c] else (place[tree, c], 0) for c in (true, false)]
        rows.append((MODES[mode], feature, value, missing, *ways[0], *ways[1]))
        if mode == "BRANCH_MEMBER":
            members += [float(v) for v in rng.choice(plan.values, 2, replace=False)] + [float("nan")]
    roots = []
    for tree in range(plan.trees):
        if kinds[tree, 0]:
            rows.append((0, 0, 0.0, 0, at_leaf[tree, 0], 1, at_leaf[tree, 0], 1))
            roots.append(len(rows) - 1)
        else:
            roots.append(place[tree, 0])
    mode, feature, value, missing, true, true_leaf, false, false_leaf = zip(*rows, strict=True)
    attributes: dict[str, Any] = {
        "tree_roots": roots, "n_targets": plan.outputs, "nodes_featureids": feature, "nodes_truenodeids": true,
        "nodes_trueleafs": true_leaf, "nodes_falsenodeids": false, "nodes_falseleafs": false_leaf,
        "nodes_missing_value_tracks_true": missing, "leaf_targetids": [targets[k][0] for k in leaves],
        "aggregate_function": ("AVERAGE", "SUM", "MIN", "MAX").index(plan.aggregate), "post_transform": 0,
        "nodes_modes": numpy_helper.from_array(np.array(mode, np.uint8), "modes"),
        "nodes_splits": numpy_helper.from_array(np.array(value, dtype), "splits"),
        "leaf_weights": numpy_helper.from_array(np.array([targets[k][1] for k in leaves], dtype), "weights"),
    }  # fmt: skip
    if members:
        attributes["membership_values"] = numpy_helper.from_array(np.array(members, dtype), "members")
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], domain=ML, name="trees", **attributes)
    return _model(node, plan, TensorProto.DOUBLE if plan.double else TensorProto.FLOAT, 5)


def _model(node: onnx.NodeProto, plan: Plan, result: int, version: int) -> onnx.ModelProto:
    kind = TensorProto.DOUBLE if plan.double else TensorProto.FLOAT
    graph = helper.make_graph(
        [node], "trees",
        [helper.make_tensor_value_info("x", kind, ["n", plan.features])],
        [helper.make_tensor_value_info("y", result, ["n", plan.outputs])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(ML, version)], ir_version=9)


def rows(rng: np.random.Generator, plan: Plan, count: int, *, nan: bool = False) -> np.ndarray:
    """Rows of values that are thresholds, or the numbers next to them, or between them; with `nan`, some are missing."""
    dtype = np.float64 if plan.double else np.float32
    at = np.array(plan.values).astype(dtype)
    pool = np.concatenate([at, np.nextafter(at, dtype(-np.inf)), np.nextafter(at, dtype(np.inf)), at + dtype(0.17)])
    made = rng.choice(pool, (count, plan.features))
    if nan:
        made[rng.random(made.shape) < 0.25] = np.nan
    return made.astype(dtype)
