"""What onnx's version converter leaves wrong when it raises the operator set, set right."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnx.shape_inference
from onnx import helper, numpy_helper

from onnxplain.errors import ModelError
from onnxplain.ir.edit import graphs_in, set_nodes

__all__ = ["correct_conversion", "element_types", "hide_old_scans", "spell_out_hardmax"]

RESIZE_AS_TODAY = 11
"""From this operator set on Resize says itself how it maps coordinates."""

SCAN_WITHOUT_BATCH = 9
"""From this operator set on Scan goes over one sequence, not over one of each sample."""

SCAN_INPUTS = "num_scan_inputs"
"""An attribute that every Scan has, and no Loop."""


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element types of tensors, of inner ones too as far as inference reaches, by name."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:
        inferred = model
    found: dict[str, int] = {}
    for graph in graphs_in(inferred.graph):
        found |= {t.name: t.data_type for t in graph.initializer}
        infos = (*graph.input, *graph.output, *graph.value_info)
        found |= {v.name: v.type.tensor_type.elem_type for v in infos if v.type.tensor_type.elem_type}
    return found


def correct_conversion(model: onnx.ModelProto, version: int, types: Mapping[str, int]) -> None:
    """Correct a model that was raised from an operator set.

    Args:
        model: the converter's result, changed in place.
        version: the operator set it was raised from.
        types: the element types of the tensors before.
    """
    empty = _empty(model)
    for graph in reversed(graphs_in(model.graph)):  # inner graphs first: writing a graph's nodes copies those within
        _bind_types(graph, types, {o.domain: o.version for o in model.opset_import}[""])
        if version < SCAN_WITHOUT_BATCH:
            set_nodes(graph, [_sample_by_sample(node) if _is_hidden_scan(node) else node for node in graph.node])
        _choose_sizes(graph, empty)
        if version < RESIZE_AS_TODAY:
            _map_coordinates(graph, {t.name: t for t in model.graph.initializer})


def spell_out_hardmax(graph: onnx.GraphProto) -> None:
    """Write Hardmax before operator set 13, which takes all axes from `axis` on as one, in operators that did not change.

    The converter forgets to. Softmax and LogSoftmax changed in the same way, and these it converts.
    """
    for inner in reversed(graphs_in(graph)):
        if not any(n.op_type == "Hardmax" and not n.domain for n in inner.node):
            continue
        nodes = [made for node in inner.node for made in (_flattened(node) if node.op_type == "Hardmax" else [node])]
        set_nodes(inner, nodes)


def _flattened(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    x, y = node.input[0], node.output[0]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    flat, chosen, shape = (f"{y}/{part}" for part in ("flat", "hardmax", "shape"))
    return [
        helper.make_node("Flatten", [x], [flat], name=flat, axis=axis),
        helper.make_node("Hardmax", [flat], [chosen], name=chosen, axis=1),
        helper.make_node("Shape", [x], [shape], name=shape),
        helper.make_node("Reshape", [chosen, shape], [y], name=node.name),
    ]


def hide_old_scans(graph: onnx.GraphProto, version: int) -> None:
    """Call every Scan before operator set 9 a Loop, which the converter leaves as it is, and whose body it converts.

    The converter only takes the axis of the samples off the shapes of what such a Scan reads, those of the model's inputs too.
    """
    for node in (n for g in graphs_in(graph) for n in g.node if version < SCAN_WITHOUT_BATCH):
        if node.op_type == "Scan" and not node.domain:
            if node.input[0]:
                raise ModelError(
                    f"Scan '{node.name}' of operator set 8 takes sequences of unequal lengths, which no later one does; export "
                    "the model with a newer operator set"
                )
            node.op_type = "Loop"


def _is_hidden_scan(node: onnx.NodeProto) -> bool:
    return node.op_type == "Loop" and not node.domain and any(a.name == SCAN_INPUTS for a in node.attribute)


def _sample_by_sample(node: onnx.NodeProto) -> onnx.NodeProto:
    """A Scan of operator set 8 as a Scan over the samples, each step of which scans the sequences of one."""
    name, reads = node.name or node.output[0], node.input[1:]
    settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    given, made = ([f"{name}/{part}/{i}" for i in range(len(n))] for part, n in (("given", reads), ("made", node.output)))
    directions = {"scan_input_directions": settings["directions"]} if "directions" in settings else {}
    inner = helper.make_node(
        "Scan", given, made, f"{name}/sequence", body=settings["body"], num_scan_inputs=settings[SCAN_INPUTS], **directions
    )
    starts, ends = ([helper.make_empty_tensor_value_info(n) for n in names] for names in (given, made))
    step = helper.make_graph([inner], f"{name}/sample", starts, ends)
    over = helper.make_node("Scan", reads, node.output, node.name, body=step, num_scan_inputs=len(reads))
    over.metadata_props.extend(node.metadata_props)
    return over


def _bind_types(graph: onnx.GraphProto, types: Mapping[str, int], version: int) -> None:
    """Give constants that the converter made (bounds of Clip, the value of Pad) the type of the operands they go with: it makes
    them float32 always."""
    made = {n.output[0]: n for n in graph.node if n.op_type == "Constant" and n.output[0] not in types}
    for node in graph.node:
        if node.domain or not any(name in made for name in node.input):
            continue
        schema = onnx.defs.get_schema(node.op_type, version)
        variables = {c.type_param_str for c in schema.type_constraints}
        kinds = [p.type_str for p in schema.inputs][: len(node.input)]
        bound = {kind: types[name] for kind, name in zip(kinds, node.input, strict=False) if kind in variables and name in types}
        for kind, name in zip(kinds, node.input, strict=False):
            if name in made and kind in bound:
                _retype(made[name], bound[kind])


def _retype(constant: onnx.NodeProto, kind: int) -> None:
    (attribute,) = constant.attribute
    if attribute.t.data_type != kind:
        with np.errstate(over="ignore"):  # no bound at all is the greatest float32: infinite in float16
            values = numpy_helper.to_array(attribute.t).astype(helper.tensor_dtype_to_np_dtype(kind))
        attribute.t.CopyFrom(numpy_helper.from_array(values))


def _empty(model: onnx.ModelProto) -> set[str]:
    """The names of tensors that are known to have no elements."""
    found = {t.name for graph in graphs_in(model.graph) for t in graph.initializer if 0 in t.dims}
    nodes = (n for graph in graphs_in(model.graph) for n in graph.node if n.op_type == "Constant")
    found |= {n.output[0] for n in nodes if n.attribute[0].type == onnx.AttributeProto.TENSOR and 0 in n.attribute[0].t.dims}
    inputs = ((v.name, v.type.tensor_type.shape.dim) for v in model.graph.input)
    return found | {name for name, dims in inputs if any(d.HasField("dim_value") and not d.dim_value for d in dims)}


def _choose_sizes(graph: onnx.GraphProto, empty: Collection[str]) -> None:
    """Leave out the scales of a Resize that takes sizes: before operator set 13 they had to be there, without elements."""
    for node in graph.node:
        if node.op_type == "Resize" and not node.domain and len(node.input) > 3 and node.input[3] not in ("", *empty):
            node.input[2] = "" if node.input[2] in empty else node.input[2]


def _map_coordinates(graph: onnx.GraphProto, outside: Mapping[str, onnx.TensorProto]) -> None:
    """Let every Resize map coordinates as before operator set 11: from 0, and to the neighbour below where it enlarges, above
    where it shrinks. One that may do both, along different axes or as told at run time, becomes two."""
    known = {
        **outside,
        **{n.output[0]: n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.attribute[0].t.dims},
    }
    known |= {t.name: t for t in graph.initializer if t.data_location != onnx.TensorProto.EXTERNAL}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes += _asymmetric(node, known) if node.op_type == "Resize" and not node.domain else [node]
    set_nodes(graph, nodes)


def _asymmetric(node: onnx.NodeProto, known: Mapping[str, onnx.TensorProto]) -> list[onnx.NodeProto]:
    settings = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    settings["coordinate_transformation_mode"] = "asymmetric"
    scales = numpy_helper.to_array(known[node.input[2]]) if node.input[2] in known else None
    x, y, name = node.input[0], node.output[0], node.name or node.output[0]

    def resize(x: str, scales: str, y: str, name: str, rounding: str) -> onnx.NodeProto:
        return helper.make_node("Resize", [x, "", scales], [y], name=name, **{**settings, "nearest_mode": rounding})

    if settings.get("mode", b"nearest") != b"nearest" or (scales is not None and (scales >= 1).all()):
        return [resize(x, node.input[2], y, node.name, "floor")]
    if scales is not None and (scales <= 1).all():
        return [resize(x, node.input[2], y, node.name, "ceil")]
    number, one, up, down, larger = (f"{name}/{part}" for part in ("number", "one", "up", "down", "enlarged"))
    return [
        _constant(number, 1.0),
        helper.make_node("CastLike", [number, node.input[2]], [one], name=one),
        helper.make_node("Max", [node.input[2], one], [up], name=up),
        helper.make_node("Min", [node.input[2], one], [down], name=down),
        resize(x, up, larger, larger, "floor"),
        resize(larger, down, y, node.name, "ceil"),
    ]


def _constant(name: str, value: float) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name=name, value=helper.make_tensor("", onnx.TensorProto.FLOAT, [], [value]))
