"""What a file says of its tensors, where that cannot be so: such claims go, so that inference may find what is true."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

__all__ = ["drop_false_claims"]


def drop_false_claims(model: onnx.ModelProto) -> bool:
    """Drop claims about tensors whose type is given elsewhere, and make extents below zero free.

    A claim about an initializer or an input is redundant where it is true, and some tools leave it behind when they change the
    tensor. Paddle's exporter writes −1 for an extent that may be anything. An output that is an input has the input's type.
    """
    changed = False
    for graph in _graphs(model.graph):
        given = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
        given |= {v.name for v in graph.input}
        kept = [v for v in graph.value_info if v.name not in given]
        if len(kept) < len(graph.value_info):
            del graph.value_info[:]
            graph.value_info.extend(kept)
            changed = True
        changed |= _free(graph.input) | _free(graph.output) | _free(graph.value_info)
        changed |= _as_the_input(graph)
    return changed


def _graphs(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    """A graph and all graphs within it."""
    found = [graph]
    for outer in found:
        found += [a.g for n in outer.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH]
    return found


def _free(values: Iterable[onnx.ValueInfoProto]) -> bool:
    changed = False
    for value in values:
        for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
            if dim.HasField("dim_value") and dim.dim_value < 0:
                dim.ClearField("dim_value")
                changed = True
    return changed


def _as_the_input(graph: onnx.GraphProto) -> bool:
    inputs = {v.name: v.type for v in graph.input}
    changed = False
    for output in graph.output:
        if output.name in inputs and output.type != inputs[output.name]:
            output.type.CopyFrom(inputs[output.name])
            changed = True
    return changed
