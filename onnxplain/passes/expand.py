"""Operators that the standard defines by a function body, expanded by it where the registry has no rule for them.

onnx.inliner is not used: it leaves out the defaults of attributes, fails on optional inputs that are left out, and skips
bodies newer than the model's operator set.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
import onnx.shape_inference

from onnxplain.ir.edit import Names, alive, defined, graphs_in, names_in, set_nodes, subgraphs
from onnxplain.ir.ops import traits_of
from onnxplain.ir.registry import Registry, load_registry
from onnxplain.ir.schema import signature
from onnxplain.passes.shapes import infer_shapes
from onnxplain.passes.tidy import tidy
from onnxplain.passes.weights import without_weights

__all__ = ["expand_functions", "fill_attributes", "rename"]

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)

Types = dict[str, onnx.TypeProto]
"""The type of every tensor by name; of those inference does not reach there is none."""


def expand_functions(model: onnx.ModelProto, registry: Registry | None = None) -> bool:
    """Replace every node that has a body and no rule by its body, bodies within bodies too.

    The nodes of a body carry the metadata of the node they replace, and its name with theirs behind a dot, so that they
    belong to the same module.
    """
    registry = registry or load_registry()
    changed = False
    while _expand_once(model, registry):
        changed = True
    if changed:
        _drop_imports(model)
        tidy(model)
    return changed


def _expand_once(model: onnx.ModelProto, registry: Registry) -> bool:
    versions = {o.domain: o.version for o in model.opset_import}

    def expandable(node: onnx.NodeProto) -> bool:
        """Whether the standard has a body for a node and the registry no rule. Random ones stay: they are drawn once."""
        known = signature(node.op_type, node.domain, versions.get(node.domain, 1))
        if known is None or not known.has_body or traits_of(node.op_type, node.domain).random:
            return False
        return registry.entry(node.op_type, node.domain, known.since) is None

    if not any(expandable(node) for graph in graphs_in(model.graph) for node in graph.node):
        return False
    types = _types(model)
    taken = names_in(model.graph)
    replaced: set[str] = set()
    for graph in reversed(graphs_in(model.graph)):  # inner graphs first: writing a graph's nodes copies those within
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            wanted = expandable(node) and _carries_messages(node, types)
            body = _body(node, versions.get(node.domain, 1), types) if wanted else None
            nodes += [node] if body is None else _instance(node, body, taken)
            if body is not None:
                replaced.update(node.output)
                missing = [o for o in body.opset_import if o.domain not in versions]
                model.opset_import.extend(missing)
                versions.update((o.domain, o.version) for o in missing)
        set_nodes(graph, nodes)
    _forget_zeros(model, replaced)
    return bool(replaced)


def _drop_imports(model: onnx.ModelProto) -> None:
    """Operator sets nothing uses any more: a runtime may not know them."""
    used = {node.domain for graph in graphs_in(model.graph) for node in graph.node} | {""}
    kept = [o for o in model.opset_import if o.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _types(model: onnx.ModelProto) -> Types:
    work = onnx.ModelProto()
    with without_weights(model) as skeleton:
        work.CopyFrom(skeleton)
    infer_shapes(work)
    inferred = onnx.shape_inference.infer_shapes(work, data_prop=True)  # once more, for the nested graphs
    types: Types = {}
    for graph in graphs_in(inferred.graph):
        types |= {v.name: v.type for v in (*graph.input, *graph.value_info, *graph.output)}
        types |= {t.name: onnx.helper.make_tensor_type_proto(t.data_type, list(t.dims)) for t in graph.initializer}
    return types


def _forget_zeros(model: onnx.ModelProto, names: set[str]) -> None:
    """Take back that results of nodes are empty: onnx's inference claims so of Attention where it cannot tell an extent."""
    for value in (*model.graph.value_info, *model.graph.output):
        if value.name in names and value.type.HasField("tensor_type"):
            for dim in value.type.tensor_type.shape.dim:
                if dim.HasField("dim_value") and dim.dim_value == 0:
                    dim.Clear()


def _carries_messages(node: onnx.NodeProto, types: Types) -> bool:
    """Whether an input is, or may be, a floating-point tensor."""
    kinds = [types.get(i, onnx.TypeProto()) for i in node.input if i]
    return any(not k.HasField("tensor_type") or k.tensor_type.elem_type in FLOATS for k in kinds)


# -- bodies ------------------------------------------------------------------------------------------------------------


def _body(node: onnx.NodeProto, version: int, types: Types) -> onnx.FunctionProto | None:
    """The body of a node in an operator set: the newest that is not newer, else the oldest."""
    schema: Any = onnx.defs.get_schema(node.op_type, version, node.domain)
    plain = bool(schema.has_function)
    versions = schema.function_opset_versions if plain else schema.context_dependent_function_opset_versions
    chosen = max((v for v in versions if v <= version), default=min(versions))
    filled = _with_defaults(node, schema)
    if plain:
        text = schema.get_function_with_opset_version(chosen)
    else:
        kinds = [types.get(i, onnx.TypeProto()).SerializeToString() for i in node.input]
        text = schema.get_context_dependent_function_with_opset_version(chosen, filled.SerializeToString(), kinds)
    if not text:  # it depends on types that are unknown
        return None
    body = onnx.FunctionProto()
    body.ParseFromString(text)
    fill_attributes(body.node, {a.name: a for a in filled.attribute})
    return body


def _with_defaults(node: onnx.NodeProto, schema: Any) -> onnx.NodeProto:
    filled = onnx.NodeProto()
    filled.CopyFrom(node)
    given = {a.name for a in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.type != onnx.AttributeProto.UNDEFINED:
            filled.attribute.append(attribute.default_value)
    return filled


def fill_attributes(nodes: Iterable[onnx.NodeProto], given: dict[str, onnx.AttributeProto]) -> None:
    """Write the node's attributes where the body refers to them; a reference to one left out goes."""
    for node in nodes:
        for attribute in list(node.attribute):
            if attribute.ref_attr_name:
                name, value = attribute.name, given.get(attribute.ref_attr_name)
                if value is None:
                    node.attribute.remove(attribute)
                else:
                    attribute.CopyFrom(value)
                    attribute.name = name
        for graph in subgraphs(node):
            fill_attributes(graph.node, given)


def _instance(call: onnx.NodeProto, body: onnx.FunctionProto, taken: Names) -> list[onnx.NodeProto]:
    """The nodes of a body in place of a call, without those that make only outputs the call leaves out."""
    renamed = dict(zip(body.input, [*call.input, *[""] * len(body.input)], strict=False))
    renamed |= {inner: outer for inner, outer in zip(body.output, call.output, strict=False) if outer}
    for inner in defined(body.node):
        if inner not in renamed:
            renamed[inner] = taken.fresh(f"{call.name}.{inner}")
    nodes = alive(list(body.node), [o for o in body.output if renamed.get(o) in set(call.output)])
    rename(nodes, renamed, call, taken)
    return nodes


def rename(nodes: Iterable[onnx.NodeProto], names: dict[str, str], call: onnx.NodeProto, taken: Names) -> None:
    """Give tensors other names, and nodes names of their own within the module of the node they stand for."""
    for node in nodes:
        node.name = taken.fresh(node.name if "/" in node.name else f"{call.name}.{node.name or node.op_type}")
        node.input[:] = [names.get(i, i) for i in node.input]
        node.output[:] = [names.get(o, o) for o in node.output]
        if not node.metadata_props:
            node.metadata_props.extend(call.metadata_props)
        for graph in subgraphs(node):
            rename(graph.node, names, call, taken)
            values: list[Any] = [*graph.input, *graph.output, *graph.initializer]
            for value in values:
                value.name = names.get(value.name, value.name)
            del graph.value_info[:]
