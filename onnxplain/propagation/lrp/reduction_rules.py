"""Relevance rules for reductions that are no sums: products, and logarithms of sums."""

from __future__ import annotations

from onnxplain.builder.builder import STABILIZER, Builder
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.rule import NamedRule, named

__all__ = ["equal_shares", "share_of_log", "share_of_squares", "soft_winner"]


@named("equal-shares", "R_x = R_y / n", "Achtibat et al. 2024, AttnLRP: the uniform rule, for n factors")
def equal_shares(b: Builder, node: Node, relevance: Tensor) -> Messages:
    """Products of all elements along axes: each factor gets as much as any other."""
    n = b.count(node.x, b.ints(node.inputs[1]), node.y)
    return b.expand(b.keepdims(b.Div(relevance, n), node), node.x), None


@named(
    "soft-winner", "R_x = softmax(x) · R_y",
    "Kauffmann et al. 2022, From Clustering to Cluster Explanations via Neural Networks: take-most pooling",
)  # fmt: skip
def soft_winner(b: Builder, node: Node, relevance: Tensor) -> Messages:
    """log Σ eˣ, a soft maximum: its gradient adds up to one, and is that of a maximum where one x is far above the others."""
    return tuple(b.gradient(node, relevance))


@named("share-of-log", "R_x = x / Σ x · R_y", "Bach et al. 2015, eq. 56, for the sum; the logarithm passes", factors_input=True)
def share_of_log(b: Builder, node: Node, relevance: Tensor) -> Messages:
    """log Σ x: its slope is 1 / Σ x, so that contributions x · ∂y/∂x add up to one."""
    sent = b.gradient(node, relevance)[0]
    return None if sent is None else b.product(node.x, sent), None


def share_of_squares(value: float = STABILIZER) -> NamedRule:
    """Σ x²: shares by contribution, of the sum; the squares pass."""

    @named("share-of-squares", "R_x = x² / (Σ x² + ε) · R_y", "Bach et al. 2015, eq. 56, for the sum", factors_input=True)
    def rule(b: Builder, node: Node, relevance: Tensor) -> Messages:
        sent = b.gradient(node, b.quotient(relevance, node.y, value, "positive", times=2))[0]
        return None if sent is None else b.product(node.x, sent), None

    return rule
