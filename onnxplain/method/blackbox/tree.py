"""A decision tree trained on the model's own scores; its path explains a sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import MethodError
from onnxplain.method.blackbox.surrogate import at_inputs, feature_rows, fidelity, lesson, told
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__: list[str] = []


@method(
    "decision-tree",
    summary="The path through a decision tree that imitates the model: how each split moves the score, with fidelity",
    formula="Σ over nodes of the path that split on i of (mean score of the child − of the node)",
    source="Craven, Shavlik 1996, Extracting Tree-Structured Representations of Trained Networks; Saabas 2014 (contributions)",
    axioms=("dummy",),
    forward_only=True,
)
def decision_tree(
    context: PerturbationContext, *, depth: int = 4, background: Any = None, holdout: float = 0.25, seed: int = 0
) -> PerturbationResult:
    if depth < 1:
        raise MethodError(f"depth is how many splits a path may have, at least 1; got {depth}")
    with optional("blackbox", "decision trees"):
        from sklearn.tree import DecisionTreeRegressor, export_text
    taught = lesson(context, background, holdout, seed, missing=True)
    tree = DecisionTreeRegressor(max_depth=depth, random_state=seed).fit(taught.x[~taught.kept], taught.y[~taught.kept])
    imitated = tree.predict(taught.x[taught.kept]).reshape(taught.kept.sum(), -1)
    variance, same = fidelity(imitated, taught.y[taught.kept])
    x = feature_rows(context.x)
    paths = tree.decision_path(x.astype(np.float32))
    means = tree.tree_.value[:, :, 0]
    values, rules = [], []
    for i in range(context.count):
        nodes = paths.indices[paths.indptr[i] : paths.indptr[i + 1]]
        moved = np.zeros((x.shape[1], means.shape[1]))
        np.add.at(moved, tree.tree_.feature[nodes[:-1]], np.diff(means[nodes], axis=0))
        values.append(context.read(moved[:, None, None], slice(i, i + 1))[:, 0, 0].T)
        rules.append(_rule(tree.tree_, nodes, taught.names))
    root = context.read(np.broadcast_to(means[0], (1, context.count, 1, means.shape[1])), slice(0, context.count))[0, :, 0]
    facts = told(context, fidelity=variance, agreement=same) | {"base_value": root}
    facts["rule"] = np.array(rules)[:, None]
    return PerturbationResult(
        at_inputs(context, np.stack(values)), facts, notes={"tree": export_text(tree, feature_names=taught.names)}
    )


def _rule(tree: Any, nodes: Array, names: list[str]) -> str:
    """The path of one sample in words."""
    parts = []
    for node, child in pairwise(nodes.tolist()):
        sign = "≤" if tree.children_left[node] == child else ">"
        parts.append(f"{names[tree.feature[node]]} {sign} {tree.threshold[node]:.6g}")
    return " and ".join(parts) or "the tree has no split"
