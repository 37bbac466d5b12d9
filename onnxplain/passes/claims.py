"""What a file says of its tensors, where that cannot be so: such claims go, so that inference may find what is true."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx.helper import make_tensor_type_proto

from onnxplain.ir.edit import graphs_in
from onnxplain.passes.tidy import constant_tensor

__all__ = ["drop_false_claims"]


def drop_false_claims(model: onnx.ModelProto) -> bool:
    """Drop claims about weights and inputs that these do not bear out, and make extents below zero free.

    Some tools change a tensor and leave the claim. Paddle's exporter writes −1 for an extent that may be anything. An output that
    is an input or a constant has its type.
    """
    changed = False
    for graph in graphs_in(model.graph):
        kept = _without_false(graph)
        if len(kept) < len(graph.value_info):
            del graph.value_info[:]
            graph.value_info.extend(kept)
            changed = True
        changed |= _free(graph.input) | _free(graph.output) | _free(graph.value_info)
        changed |= _as_given(graph)
    return changed


def _without_false(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The claims, but for those about tensors of the graph's own that have another type or shape."""
    given = _given(graph)
    return [v for v in graph.value_info if v.name not in given or v.type == given[v.name]]


def _free(values: Iterable[onnx.ValueInfoProto]) -> bool:
    changed = False
    for value in values:
        for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
            if dim.HasField("dim_value") and dim.dim_value < 0:
                dim.ClearField("dim_value")
                changed = True
    return changed


def _given(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    """The types of weights, constants and inputs."""
    given = {t.name: make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
    given |= {t.values.name: make_tensor_type_proto(t.values.data_type, t.dims) for t in graph.sparse_initializer}
    constants = ((n.output[0], t) for n in graph.node if (t := constant_tensor(n)) is not None)
    return given | {n: make_tensor_type_proto(t.data_type, t.dims) for n, t in constants} | {v.name: v.type for v in graph.input}


def _as_given(graph: onnx.GraphProto) -> bool:
    given = _given(graph)
    changed = False
    for output in graph.output:
        if output.name in given and output.type != given[output.name]:
            output.type.CopyFrom(given[output.name])
            changed = True
    return changed
