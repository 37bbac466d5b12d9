"""Operators of ONNX Runtime (com.microsoft) that the standard has too by now, and distances between rows."""

import onnx

from onnxplain import Builder, Call, RuleError, Tensor, expansion

MS = "com.microsoft"


@expansion("CDist", domain=MS, inputs=2, metric="sqeuclidean")
def cdist(b: Builder, call: Call) -> Tensor:
    """Σ (a − b)² for every row of A with every row of B, or its root"""
    if call["metric"] not in ("euclidean", "sqeuclidean"):
        raise RuleError(f"its distance {call['metric']} is not known")
    apart = b.Sub(b.Unsqueeze(call.x, [1]), b.Unsqueeze(call.input(1), [0]))
    squared = b.ReduceSum(b.Mul(apart, apart), [2], keepdims=0)
    return b.Sqrt(squared) if call["metric"] == "euclidean" else squared


@expansion("ExpandDims", domain=MS, inputs=2)
def expand_dims(b: Builder, call: Call) -> Tensor:
    """An axis of extent 1"""
    return b.Unsqueeze(call.x, b.Reshape(b.Cast(call.input(1), to=onnx.TensorProto.INT64), [1]))


@expansion("GatherND", domain=MS, inputs=2)
def gather_nd(b: Builder, call: Call) -> Tensor:
    """Slices at coordinates"""
    return b.GatherND(call.x, b.Cast(call.input(1), to=onnx.TensorProto.INT64))


@expansion("Pad", domain=MS, inputs=3, mode="constant")
def pad(b: Builder, call: Call) -> Tensor:
    """Padding; a value of rank 1 is a scalar"""
    _, pads, value = call.inputs
    return b.Pad(call.x, b.Reshape(pads, [-1]), None if value is None else b.Squeeze(value), mode=call["mode"])


@expansion("Trilu", domain=MS, inputs=2, upper=1)
def trilu(b: Builder, call: Call) -> Tensor:
    """A triangle of each matrix"""
    return b.Trilu(*call.inputs, upper=call["upper"])
