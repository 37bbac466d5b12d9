"""Operators of ONNX Runtime (com.microsoft) that the standard has too by now, and distances between rows."""

import onnx

from onnxplain import Builder, Node, RuleError, Tensor, expansion

MS = "com.microsoft"


@expansion("CDist", domain=MS, inputs=2, metric="sqeuclidean")
def cdist(b: Builder, node: Node) -> Tensor:
    """Σ (a − b)² for every row of A with every row of B, or its root"""
    if node["metric"] not in ("euclidean", "sqeuclidean"):
        raise RuleError(f"its distance {node['metric']} is not known")
    apart = b.Sub(b.Unsqueeze(node.x, [1]), b.Unsqueeze(node.input(1), [0]))
    squared = b.ReduceSum(b.Mul(apart, apart), [2], keepdims=0)
    return b.Sqrt(squared) if node["metric"] == "euclidean" else squared


@expansion("ExpandDims", domain=MS, inputs=2)
def expand_dims(b: Builder, node: Node) -> Tensor:
    """An axis of extent 1"""
    return b.Unsqueeze(node.x, b.Reshape(b.Cast(node.input(1), to=onnx.TensorProto.INT64), [1]))


@expansion("GatherND", domain=MS, inputs=2)
def gather_nd(b: Builder, node: Node) -> Tensor:
    """Slices at coordinates"""
    return b.GatherND(node.x, b.Cast(node.input(1), to=onnx.TensorProto.INT64))


@expansion("Pad", domain=MS, inputs=3, mode="constant")
def pad(b: Builder, node: Node) -> Tensor:
    """Padding; a value of rank 1 is a scalar"""
    _, pads, value = node.inputs
    return b.Pad(node.x, b.Reshape(pads, [-1]), None if value is None else b.Squeeze(value), mode=node["mode"])


@expansion("Trilu", domain=MS, inputs=2, upper=1)
def trilu(b: Builder, node: Node) -> Tensor:
    """A triangle of each matrix"""
    return b.Trilu(*node.inputs, upper=node["upper"])
