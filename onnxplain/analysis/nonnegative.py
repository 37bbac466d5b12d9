"""Which tensors are provably not below zero, whatever the input: results of activations and of sums of such results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ml_dtypes
import numpy as np

from onnxplain.ir.node import Call
from onnxplain.ir.tensor import Tensor

__all__ = ["nonnegative_tensors"]

MAKES = frozenset(
    {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Hardmax", "Exp", "Abs", "Softplus", "Sqrt", "ReduceL1", "ReduceL2"}
    | {"ReduceSumSquare", "GlobalLpPool", "LpPool"}
)
"""Operators whose results are never below zero."""

KEEPS = frozenset(
    {"Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "DepthToSpace", "SpaceToDepth", "Slice"}
    | {"Split", "Expand", "Tile", "Gather", "MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool", "ReduceMax"}
    | {"ReduceMin", "ReduceSum", "ReduceMean", "Dropout", "LeakyRelu", "Elu", "Selu", "Celu", "HardSwish", "Gelu", "Swish"}
)
"""Operators of one input whose results are not below zero where it is not."""

JOINS = frozenset({"Add", "Mul", "Div", "Concat", "Sum", "Mean", "Min"})
"""Operators whose results are not below zero where none of their inputs is."""


def nonnegative_tensors(
    calls: Iterable[Call], value: Callable[[Tensor], np.ndarray[Any, Any] | None], given: Iterable[Tensor] = ()
) -> frozenset[str]:
    """The names of tensors not below zero, made by calls in topological order.

    `value` gives the values of small constants; `given` are tensors that count as not below zero.
    """
    found = {t.name for t in given}

    def known(tensor: Tensor | None) -> bool:
        if tensor is None:
            return False
        if tensor.name in found:
            return True
        values = value(tensor)
        return values is not None and values.dtype.kind in "fiub" and bool((values >= 0).all())

    def proven(call: Call) -> bool:
        if call.domain:
            return False
        inputs = [t for t in call.inputs if t is not None]
        if call.op in MAKES:
            return True
        if call.op in KEEPS:
            return known(call.inputs[0])
        if call.op in JOINS:
            return all(known(t) for t in inputs)
        if call.op == "DequantizeLinear":
            return _is_unsigned(call, value)
        if call.op == "Max":
            return any(known(t) for t in inputs)
        if call.op == "Clip":
            x, low, high = call.inputs
            return (known(x) or known(low)) and (high is None or known(high))
        if call.op == "Pad":  # with zeros or edges
            filled = call.inputs[2] if len(call.inputs) > 2 else None
            return known(call.inputs[0]) and (filled is None or known(filled))
        return False

    for call in calls:
        if proven(call):
            found.update(t.name for t in call.outputs if t is not None)
    return frozenset(found)


def _is_unsigned(call: Call, value: Callable[[Tensor], np.ndarray[Any, Any] | None]) -> bool:
    """Whether a DequantizeLinear takes the least integer for zero."""
    dtype, zero = call.x.dtype, call.inputs[2]
    if dtype is None or call.x.is_float:
        return False
    least = int(ml_dtypes.iinfo(dtype).min)  # type: ignore[no-untyped-call]
    points = np.zeros(1) if zero is None else value(zero)
    return points is not None and bool((points == least).all())
