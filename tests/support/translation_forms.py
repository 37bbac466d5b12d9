"""Forms of a model: within a branch or a loop, in another precision, behind local functions with defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxplain.ir.edit import subgraphs
from tests.support.translation import copied
from tests.support.translation_corpus import Case

__all__ = ["FORMS", "forms", "in_branch", "in_function", "in_loop", "in_precision"]


def forms(case: Case) -> Iterator[Case]:
    """A case in every other form it has."""
    for name, form in FORMS.items():
        made = form(case)
        if made is not None:
            yield replace(made, name=f"{case.name} {name}")


def _opset(model: onnx.ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain == ""), 0)


def _body(graph: onnx.GraphProto, suffix: str, *, inside: bool) -> onnx.GraphProto:
    """The nodes of a graph as a body whose own tensors have a suffix; weights `inside` or to be had from outside."""
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    weights = [onnx.TensorProto.FromString(t.SerializeToString()) for t in graph.initializer] if inside else []
    own = {o for n in nodes for o in n.output if o} | {t.name for t in weights}
    names = {name: f"{name}{suffix}" for name in own}
    _rename(nodes, names)
    for tensor in weights:
        tensor.name = names[tensor.name]
    outputs = [helper.make_empty_tensor_value_info(names.get(o.name, o.name)) for o in graph.output]
    for output, known in zip(outputs, graph.output, strict=True):
        output.type.CopyFrom(known.type)
    return helper.make_graph(nodes, f"body{suffix}", [], outputs, weights)


def _rename(nodes: Any, names: dict[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(i, i) for i in node.input]
        node.output[:] = [names.get(o, o) for o in node.output]
        for graph in subgraphs(node):
            hidden = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            hidden |= {o for n in graph.node for o in n.output}
            visible = {k: v for k, v in names.items() if k not in hidden}
            _rename(graph.node, visible)
            for output in graph.output:
                output.name = visible.get(output.name, output.name)


def _around(case: Case, node: Callable[[onnx.GraphProto], onnx.NodeProto], *, inside: bool, **feeds: Any) -> Case | None:
    """A case with all its nodes within one."""
    made = copied(case.model)
    graph, inputs = made.graph, {v.name for v in made.graph.input}
    if any(o.name in inputs for o in graph.output) or not graph.node:
        return None
    outer = node(graph)
    del graph.node[:]
    graph.node.append(outer)
    if inside:
        del graph.initializer[:]
    for name, value in feeds.items():
        graph.input.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
    del graph.value_info[:]
    made.ir_version = max(made.ir_version, 4)
    return replace(case, model=made, feeds={**case.feeds, **feeds})


def in_branch(case: Case) -> Case | None:
    """Within both branches of an If, with its weights in one and outside the other."""

    def node(graph: onnx.GraphProto) -> onnx.NodeProto:
        branches = {"then_branch": _body(graph, "_t", inside=True), "else_branch": _body(graph, "_e", inside=False)}
        return helper.make_node("If", ["taken"], [o.name for o in graph.output], "choice", **branches)

    return _around(case, node, inside=False, taken=np.array(True))


def in_loop(case: Case) -> Case | None:
    """Within a Loop of two steps that puts its results side by side."""
    if not all(o.type.HasField("tensor_type") for o in case.model.graph.output):
        return None

    def node(graph: onnx.GraphProto) -> onnx.NodeProto:
        body = _body(graph, "_s", inside=True)
        body.input.append(helper.make_tensor_value_info("step_s", TensorProto.INT64, []))
        body.input.append(helper.make_tensor_value_info("on_s", TensorProto.BOOL, []))
        body.node.append(helper.make_node("Identity", ["on_s"], ["go_s"]))
        results = [onnx.ValueInfoProto.FromString(o.SerializeToString()) for o in body.output]
        del body.output[:]
        body.output.extend([helper.make_tensor_value_info("go_s", TensorProto.BOOL, []), *results])
        for output in graph.output:
            output.type.tensor_type.ClearField("shape")
        return helper.make_node("Loop", ["steps", ""], [o.name for o in graph.output], "loop", body=body)

    return _around(case, node, inside=True, steps=np.array(2))


def in_function(case: Case) -> Case | None:
    """As a local function that a second one calls; the numbers that its first node is given become defaults."""
    model, opset = copied(case.model), _opset(case.model)
    graph = model.graph
    reads = [v.name for v in graph.input] + [t.name for t in graph.initializer]
    reads = list(dict.fromkeys(reads))
    makes = [o.name for o in graph.output]
    if set(reads) & set(makes) or opset < 7 or len(set(makes)) < len(makes):
        return None
    inner = [onnx.NodeProto.FromString(n.SerializeToString()) for n in graph.node]
    defaults = []
    for i, attribute in enumerate(list(inner[0].attribute)):
        if attribute.type in (onnx.AttributeProto.FLOAT, onnx.AttributeProto.INT, onnx.AttributeProto.INTS):
            default = onnx.AttributeProto.FromString(attribute.SerializeToString())
            default.name = f"a{i}"
            defaults.append(default)
            attribute.CopyFrom(onnx.AttributeProto(name=attribute.name, type=attribute.type, ref_attr_name=default.name))
    imports = [*model.opset_import, helper.make_opsetid("my", 1)]
    function = helper.make_function("my", "Inner", reads, makes, inner, imports, [], defaults)
    outer = helper.make_function("my", "Outer", reads, makes, [helper.make_node("Inner", reads, makes, domain="my")], imports)
    del graph.node[:]
    graph.node.append(helper.make_node("Outer", reads, makes, "call", domain="my"))
    model.functions.extend([function, outer])
    model.opset_import.append(helper.make_opsetid("my", 1))
    model.ir_version = max(model.ir_version, 8)
    return replace(case, model=model)


def in_precision(kind: type[np.floating[Any]]) -> Callable[[Case], Case | None]:
    """With all numbers of single precision in another one."""

    def form(case: Case) -> Case | None:
        model, number = copied(case.model), helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        found = False
        for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
            if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                value.type.tensor_type.elem_type, found = number, True
        for tensor in model.graph.initializer:
            if tensor.data_type == TensorProto.FLOAT:
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))
        with np.errstate(over="ignore"):
            feeds = {
                k: v.astype(kind) if isinstance(v, np.ndarray) and v.dtype == np.float32 else v for k, v in case.feeds.items()
            }
        return replace(case, model=model, feeds=feeds) if found else None

    return form


FORMS: dict[str, Callable[[Case], Case | None]] = {
    "in a branch": in_branch,
    "in a loop": in_loop,
    "in a function": in_function,
    "in half": in_precision(np.float16),
    "in double": in_precision(np.float64),
}
"""By name, what makes another form of a case, or None where there is none."""
