"""A soft decision tree distilled from the model's predictions: every inner node is a learned filter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.blackbox.adam import Adam
from onnxplain.method.blackbox.surrogate import at_inputs, feature_rows, fidelity, lesson, told
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["SoftTree", "distil", "loss_and_slopes"]


@dataclass
class SoftTree:
    """A complete binary tree: `filters` [inner, features] and `biases` [inner] decide, `leaves` [leaves, classes] are logits.

    Node i has the children 2i + 1 (left) and 2i + 2 (right); a row goes right with probability sigmoid(beta · (w·x + b)).
    """

    filters: Array
    biases: Array
    leaves: Array
    beta: float

    def right(self, x: Array) -> Array:
        """The probability to go right at each inner node, [rows, inner]."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.beta * (x @ self.filters.T + self.biases), -40, 40))))

    def arrival(self, right: Array) -> Array:
        """The probability to arrive at each node, inner ones and leaves, [rows, nodes]."""
        count = right.shape[1]
        arrive = np.ones((len(right), 2 * count + 1))
        for node in range(count):
            arrive[:, 2 * node + 1] = arrive[:, node] * (1 - right[:, node])
            arrive[:, 2 * node + 2] = arrive[:, node] * right[:, node]
        return arrive

    def classes(self) -> Array:
        """The distribution of every leaf, [leaves, classes]."""
        power = np.exp(self.leaves - self.leaves.max(axis=1, keepdims=True))
        return np.asarray(power / power.sum(axis=1, keepdims=True))

    def predict(self, x: Array) -> Array:
        """The distribution of the leaf where a row most probably arrives, [rows, classes]."""
        return self.classes()[self.leaf(x)]

    def leaf(self, x: Array) -> Array:
        """The leaf where each row most probably arrives, [rows]."""
        return np.asarray(self.arrival(self.right(x))[:, len(self.biases) :].argmax(axis=1))


@method(
    "soft-decision-tree",
    summary="The path through a soft decision tree distilled from the model: what features say at its filters, with fidelity",
    formula="Σ over nodes of the path of ± β w_i x_i, + where it goes right",
    source="Frosst, Hinton 2017, Distilling a Neural Network Into a Soft Decision Tree",
    forward_only=True,
)
def soft_decision_tree(
    context: PerturbationContext, *, depth: int = 4, epochs: int = 200, beta: float = 1.0, penalty: float = 0.1,
    background: Any = None, holdout: float = 0.25, seed: int = 0,
) -> PerturbationResult:  # fmt: skip
    if not 1 <= depth <= 10 or epochs < 1 or beta <= 0 or penalty < 0:
        raise MethodError(
            "soft-decision-tree needs a depth from 1 to 10, epochs from 1 on, beta above 0 and a penalty from 0 on; "
            f"got {depth}, {epochs}, {beta}, {penalty}"
        )
    taught = lesson(context, background, holdout, seed, missing=False)
    if taught.y.shape[1] < 2:
        raise MethodError("soft-decision-tree imitates classes, and the output has one number; use decision-tree")
    mean, scale = taught.x.mean(axis=0), taught.x.std(axis=0)
    constant = taught.x.max(axis=0) == taught.x.min(axis=0)
    scale = np.where(constant, 1, scale)
    x, said = (taught.x - mean) / scale, _distribution(context, taught.y)
    tree = distil(x[~taught.kept], said[~taught.kept], depth, epochs, beta, penalty, seed)
    tree.filters[:, constant] = 0  # nothing was learned of them, and what they began with is noise
    variance, same = fidelity(tree.predict(x[taught.kept]), said[taught.kept])
    own = (feature_rows(context.x) - mean) / scale
    leaves = tree.leaf(own)
    inner = len(tree.biases)
    values, paths = np.zeros((context.count, 1, own.shape[1])), np.zeros((context.count, 1, depth), np.int64)
    for i, leaf in enumerate(leaves):
        node = int(leaf) + inner
        for step in reversed(range(depth)):
            above = (node - 1) // 2
            paths[i, 0, step] = above
            values[i, 0] += (1 if node == 2 * above + 2 else -1) * beta * tree.filters[above] * own[i]
            node = above
    facts = told(context, fidelity=variance, agreement=same)
    facts |= {"path": paths, "leaf": leaves[:, None], "leaf_classes": tree.classes()[leaves][:, None]}
    facts["leaves"] = tree.classes()[None, None]
    for name, filters in at_inputs(context, tree.filters[None]).items():
        facts["filters" if len(context.x) == 1 else f"filters.{name}"] = filters[:, None]
    notes = {"tree": drawn(tree, taught.names)}
    return PerturbationResult(at_inputs(context, np.repeat(values, context.targets, axis=1)), facts, notes=notes)


def drawn(tree: SoftTree, names: list[str], node: int = 0, before: str = "") -> str:
    """The tree in words: at each inner node the features that decide most, at each leaf its most probable class."""
    inner = len(tree.biases)
    if node >= inner:
        chances = tree.classes()[node - inner]
        return f"{before}class {chances.argmax()} ({chances.max():.0%})\n"
    most = np.argsort(-np.abs(tree.filters[node]))[:3]
    says = " ".join(f"{tree.filters[node, i]:+.2g}·{names[i]}" for i in most)
    more = " …" if len(names) > len(most) else ""
    below = before + "|   "
    return (
        f"{before}right if {says}{more} {tree.biases[node]:+.2g} > 0, left else (standardised features)\n"
        f"{before}left:\n{drawn(tree, names, 2 * node + 1, below)}{before}right:\n{drawn(tree, names, 2 * node + 2, below)}"
    )


def _distribution(context: PerturbationContext, scores: Array) -> Array:
    """The model's probabilities [m, classes] from its scores."""
    if context.scorer.score.activation == "Sigmoid":
        chances = 1 / (1 + np.exp(-scores))
        return np.asarray(chances / chances.sum(axis=1, keepdims=True))
    if scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        return scores
    power = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(power / power.sum(axis=1, keepdims=True))


def distil(x: Array, said: Array, depth: int, epochs: int, beta: float, penalty: float, seed: int) -> SoftTree:
    """A tree that imitates distributions [m, classes] of rows [m, features], by Adam on batches of 64."""
    random, inner = np.random.default_rng(seed), 2**depth - 1
    tree = SoftTree(
        random.normal(0, 0.1, (inner, x.shape[1])), np.zeros(inner), random.normal(0, 0.1, (inner + 1, said.shape[1])), beta
    )
    adam = Adam([tree.filters, tree.biases, tree.leaves])
    for _ in range(epochs):
        order = random.permutation(len(x))
        for start in range(0, len(x), 64):
            rows = order[start : start + 64]
            _, slopes = loss_and_slopes(tree, x[rows], said[rows], penalty)
            adam.step(slopes, 0.02)
    return tree


def loss_and_slopes(tree: SoftTree, x: Array, said: Array, penalty: float) -> tuple[float, list[Array]]:
    """The loss and its derivatives by filters, biases and leaves.

    The loss is the cross-entropy of the leaves with what the model said, weighed by the probability to arrive (eq. 3), and a
    penalty, halved from level to level, on nodes that send everything to one side (eqs. 4 and 5).
    """
    right, count, inner = tree.right(x), len(x), len(tree.biases)
    arrive, chances = tree.arrival(right), tree.classes()
    entropy = -said @ np.log(np.maximum(chances, 1e-300)).T / count
    loss = float((arrive[:, inner:] * entropy).sum())
    worth = np.concatenate([np.zeros((count, inner)), entropy], axis=1)  # the derivative by the probability to arrive
    slope = np.zeros_like(right)
    for node in reversed(range(inner)):
        weight = penalty * 0.5 ** int(np.log2(node + 1))
        total, pull, share = arrive[:, node].sum(), 0.0, 0.5
        if total > 1e-12 * count:  # of samples that never arrive there is nothing to send to either side
            share = float(np.clip((arrive[:, node] @ right[:, node]) / total, 1e-7, 1 - 1e-7))
            loss -= weight * 0.5 * float(np.log(share) + np.log(1 - share))
            pull = -weight * 0.5 * (1 / share - 1 / (1 - share)) / total
        left_worth, right_worth = worth[:, 2 * node + 1], worth[:, 2 * node + 2]
        slope[:, node] = arrive[:, node] * (right_worth - left_worth + pull)
        worth[:, node] = (1 - right[:, node]) * left_worth + right[:, node] * right_worth + pull * (right[:, node] - share)
    through = slope * right * (1 - right) * tree.beta
    ends = arrive[:, inner:]
    leaves = (chances * ends.sum(axis=0)[:, None] - ends.T @ said) / count
    return loss, [through.T @ x, through.sum(axis=0), leaves]
