"""Sparse initializers and constants, written out."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from onnxplain.ir.edit import graphs_in

__all__ = ["write_out_sparse"]


def write_out_sparse(model: onnx.ModelProto) -> bool:
    """Make every sparse initializer, and every Constant with a sparse value, a tensor with its zeros, as ONNX Runtime does."""
    changed = [_in_graph(graph) for graph in graphs_in(model.graph)]
    return any(changed)


def _in_graph(graph: onnx.GraphProto) -> bool:
    changed = bool(graph.sparse_initializer)
    graph.initializer.extend(_dense(t) for t in graph.sparse_initializer)
    del graph.sparse_initializer[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.SPARSE_TENSOR and node.op_type == "Constant":
                value = _dense(attribute.sparse_tensor)
                attribute.CopyFrom(onnx.helper.make_attribute("value", value))
                changed = True
    return changed


def _dense(sparse: onnx.SparseTensorProto) -> onnx.TensorProto:
    """The tensor with its zeros. Indices count elements, or name one per axis."""
    values, shape = numpy_helper.to_array(sparse.values), tuple(sparse.dims)
    places = numpy_helper.to_array(sparse.indices)
    flat = np.zeros(int(np.prod(shape)), values.dtype)
    flat[places if places.ndim == 1 else np.ravel_multi_index(tuple(places.T), shape)] = values
    return numpy_helper.from_array(flat.reshape(shape), sparse.values.name)
