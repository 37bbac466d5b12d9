"""The operands of linear maps, and the parts of a tensor above and below zero: what rules of every family take apart."""

from __future__ import annotations

from dataclasses import dataclass

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["LinearOperands", "is_root", "negative", "operands", "positive", "whole_power"]


def positive(b: Builder, t: Tensor) -> Tensor:
    """max(t, 0)"""
    return t if b.nonnegative(t) else b.Relu(t)


def negative(b: Builder, t: Tensor) -> Tensor | None:
    """min(t, 0); None where that is zero"""
    return None if b.nonnegative(t) else b.Min(t, 0)


@dataclass(frozen=True)
class LinearOperands:
    """The positions of a linear map's input, weights and bias among the node's inputs; whether the weights are constant."""

    x: int
    w: int | None
    bias: int | None
    fixed: bool


def operands(b: Builder, node: Node, needs_weights: bool) -> LinearOperands:
    """Where a linear map of one live operand has it, its weights and its bias."""
    live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
    if len(live) != 1:
        names = ", ".join(f"'{node.input(i).name}'" for i in live)
        raise RuleError(f"a relevance rule for linear maps needs one live operand, found {len(live)}: {names}")
    (x,) = live
    present = [i for i, t in enumerate(node.inputs) if t is not None]
    spec = b.spec(node)
    weight, bias = spec.weight, spec.bias
    if spec.role == "bilinear":  # a product: the other operand is the weight
        others = [i for i in present if i != x]
        weight = others[0] if len(others) == 1 else None
    elif x == weight:
        weight = 0
    elif x not in (0, weight):  # the bias alone is live: what else the map adds is no bias of it
        weight = None
    if needs_weights and weight is None:
        raise RuleError("the relevance rule takes weights apart, and the operator has none to take apart; choose epsilon for it")
    fixed = weight is not None and b.is_constant(node.input(weight))
    return LinearOperands(x, weight, bias if bias in present and bias != x else None, fixed)


def is_root(b: Builder, node: Node) -> bool:
    """Whether a function of its first input is finite at zero where its slope is not: √x, or x to a constant power below 1."""
    if node.op == "Pow" and not node.domain:
        known = b.value(node.input(1))
        return known is not None and bool(((known > 0) & (known < 1)).all())
    return node.op == "Sqrt" and not node.domain


def whole_power(b: Builder, exponent: Tensor) -> bool:
    """Whether x to this power has a finite slope wherever x is finite: a constant whole number of at least 1."""
    known = b.value(exponent)
    return known is not None and bool(((known >= 1) & (known % 1 == 0)).all())
