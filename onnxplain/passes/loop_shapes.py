"""Types and shapes inside subgraphs; of what a Loop carries the standard's inference leaves the shapes open, since a step may
change them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from onnxplain.ir.edit import subgraphs
from onnxplain.passes.weights import KEPT_ELEMENTS

__all__ = ["adopt_types", "assume_states", "correct_states", "declare_counters", "declare_results", "lend_constants"]


def declare_counters(graph: onnx.GraphProto) -> None:
    """Say that the counter and the condition of a Loop's body are scalars, by the standard, where the file says nothing."""
    for node in graph.node:
        for inner in subgraphs(node):
            if node.op_type == "Loop" and not node.domain:
                for info in (*inner.input[:2], inner.output[0]):
                    if not _has_shape(info) and info.type.tensor_type.elem_type:
                        info.type.tensor_type.shape.SetInParent()
            declare_counters(inner)


def assume_states(model: onnx.ModelProto, infos: dict[str, onnx.ValueInfoProto]) -> bool:
    """Let every Loop body assume that its states keep the shapes they start with; whether anything was assumed."""
    assumed = False
    for node in model.graph.node:
        for start, inner, _ in _states(node):
            known = infos.get(start)
            if known is None or not _has_shape(known) or _has_shape(inner):
                continue
            inner.type.CopyFrom(known.type)
            assumed = True
    return assumed


def correct_states(model: onnx.ModelProto, inferred: onnx.ModelProto) -> bool:
    """Take back what inference under the assumption contradicts; whether anything was wrong."""
    wrong = False
    for node, result in zip(model.graph.node, inferred.graph.node, strict=True):
        for (_, inner, _), (_, _, made) in zip(_states(node), _states(result), strict=True):
            if not _has_shape(inner):
                continue
            mine = inner.type.tensor_type.shape
            if not _has_shape(made) or len(made.type.tensor_type.shape.dim) != len(mine.dim):
                inner.type.tensor_type.ClearField("shape")
                wrong = True
                continue
            for assumed, found in zip(mine.dim, made.type.tensor_type.shape.dim, strict=True):
                if assumed.WhichOneof("value") is not None and assumed != found:
                    assumed.Clear()
                    wrong = True
    return wrong


def declare_results(model: onnx.ModelProto, inferred: onnx.ModelProto) -> bool:
    """Give what a Loop returns the shapes that its states keep, as far as inference found them to; whether any does."""
    outputs, declared = {o.name: o for o in model.graph.output}, False
    known = {v.name for v in (*inferred.graph.value_info, *inferred.graph.output) if _has_shape(v)}
    for node, result in zip(model.graph.node, inferred.graph.node, strict=True):
        for (_, inner, _), (_, _, made), name in zip(_states(node), _states(result), node.output, strict=False):
            if not name or name in known or not _has_shape(inner) or not _has_shape(made):
                continue
            before, after = inner.type.tensor_type.shape.dim, made.type.tensor_type.shape.dim
            if len(before) != len(after):
                continue
            info = outputs[name] if name in outputs else model.graph.value_info.add()
            info.type.CopyFrom(inner.type)
            info.name = name
            for mine, theirs in zip(info.type.tensor_type.shape.dim, after, strict=True):
                if mine != theirs:
                    mine.Clear()
            declared = True
    return declared


def _states(node: onnx.NodeProto) -> list[tuple[str, onnx.ValueInfoProto, onnx.ValueInfoProto]]:
    """For each value a Loop carries: the tensor it starts from, the body's input and the body's output."""
    if node.op_type != "Loop" or node.domain:
        return []
    body = next(a.g for a in node.attribute if a.name == "body")
    count = len(node.input) - 2
    return list(zip(node.input[2:], body.input[2:], body.output[1 : 1 + count], strict=False))


def _has_shape(info: onnx.ValueInfoProto) -> bool:
    return info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape")


def adopt_types(node: onnx.NodeProto, inferred: onnx.NodeProto) -> None:
    """Give the subgraphs of a node the types that inference found in its copy, in place of what the file claims there."""
    for mine, found in zip(subgraphs(node), subgraphs(inferred), strict=True):
        for name in ("value_info", "input", "output"):
            del getattr(mine, name)[:]
            getattr(mine, name).extend(getattr(found, name))
        for inner, done in zip(mine.node, found.node, strict=True):
            adopt_types(inner, done)


def lend_constants(graph: onnx.GraphProto, outer: Mapping[str, onnx.TensorProto] | None = None) -> None:
    """Give the subgraphs of a graph copies of the small constants they read from outside: inference knows their types there,
    not their values (axes, shapes).
    """
    small = {t.name: t for t in graph.initializer if int(np.prod(t.dims)) <= KEPT_ELEMENTS and not t.external_data}
    visible = {**(outer or {}), **small}
    for inner in (g for node in graph.node for g in subgraphs(node)):
        lend_constants(inner, visible)
        own = {v.name for v in inner.input} | {t.name for t in inner.initializer}
        read = {name for node in inner.node for name in node.input} - own
        inner.initializer.extend(visible[name] for name in sorted(read & set(visible)))
