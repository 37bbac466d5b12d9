"""A linear map and the bias added behind it, as one linear map: MatMul with Add, a convolution with its Add."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Node
from onnxplain.ir.pattern import match, op, var
from onnxplain.ir.tensor import Dim, Tensor, same_dim

__all__ = ["group_biases"]

# operators: products whose bias is added behind them
PRODUCT = op["MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum"](var("a"), var("b")).named("product")
BIASED = PRODUCT + var("bias")
"""A linear operator without a bias of its own, and what is added behind it."""


def group_biases(flow: Dataflow) -> Sequence[Node]:
    """`Linear(x, w, bias)` for every product with one live operand whose result has a constant added to it."""
    found = [c for node in flow.nodes if node.op == "Add" and (c := _with_bias(flow, node)) is not None]
    return flow.replaced(found)


def _with_bias(flow: Dataflow, add: Node) -> Node | None:
    found = match(flow, BIASED, add.y)
    if not found or not flow.fixed(found["bias"]) or _enlarges(found["bias"], found.named["product"].y):
        return None
    product = found.named["product"]
    if flow.scalar(found["bias"]) and _channels(flow, product) != 1:  # a number for all units belongs to the function behind
        return None
    live = [i for i in range(2) if product.needs_input_grad(i)]
    if len(live) != 1:
        return None
    return flow.group("Linear", found, [product.input(live[0]), product.input(1 - live[0]), found["bias"]])


def _channels(flow: Dataflow, product: Node) -> Dim:
    """How many units a product has; 1 where that is unknown, so that what is added is their bias."""
    y = product.y
    if y.shape is None or not y.shape:
        return 1
    found = y.dim(1) if flow.traits(product).channels_first and len(y.shape) > 1 else y.dim(-1)
    return 1 if found is None else found


def _enlarges(bias: Tensor, y: Tensor) -> bool:
    """Whether adding the bias could broadcast the product."""
    if bias.shape is None or y.shape is None or len(bias.shape) > len(y.shape):
        return True
    pairs = zip(bias.shape[::-1], y.shape[::-1], strict=False)
    return any(mine != 1 and not same_dim(mine, theirs) for mine, theirs in pairs)
