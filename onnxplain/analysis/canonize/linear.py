"""A linear map and the bias added behind it, as one linear map: MatMul with Add, a convolution with its Add."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Call
from onnxplain.ir.tensor import Tensor, same_dim

__all__ = ["group_biases"]

MAPS = {"MatMul": None, "Gemm": 2, "Conv": 2, "ConvTranspose": 2, "Einsum": None}
"""Linear operators, and where they have a bias of their own."""


def group_biases(flow: Dataflow) -> Sequence[Call]:
    """`Linear(x, w, bias)` for every product with one live operand whose result has a constant added to it."""
    found = [c for call in flow.calls if call.op == "Add" and not call.domain and (c := _with_bias(flow, call)) is not None]
    return flow.replaced(found)


def _with_bias(flow: Dataflow, add: Call) -> Call | None:
    live = [i for i in range(2) if add.wants(i)]
    if len(live) != 1:
        return None
    product, bias = flow.maker(add.input(live[0])), add.input(1 - live[0])
    if product is None or product.domain or product.op not in MAPS or len([t for t in product.inputs if t is not None]) != 2:
        return None
    operands = [i for i in range(2) if product.wants(i)]
    if len(operands) != 1 or not flow.fixed(bias) or _enlarges(bias, product.y):
        return None
    x, w = product.input(operands[0]), product.input(1 - operands[0])
    return flow.compound("Linear", [product, add], [x, w, bias])


def _enlarges(bias: Tensor, y: Tensor) -> bool:
    """Whether adding the bias could broadcast the product."""
    if bias.shape is None or y.shape is None or len(bias.shape) > len(y.shape):
        return True
    pairs = zip(bias.shape[::-1], y.shape[::-1], strict=False)
    return any(mine != 1 and not same_dim(mine, theirs) for mine, theirs in pairs)
