"""Small repairs: unique node names, Constant nodes as initializers, weights no longer listed as inputs."""

from __future__ import annotations

import onnx

from onnxplain.ir.edit import Names, set_nodes

__all__ = ["tidy"]


def tidy(model: onnx.ModelProto) -> bool:
    """Make node names unique, Constant nodes initializers, and drop initializers from the graph's inputs."""
    changed = _drop_initializer_inputs(model)
    changed |= _constants_to_initializers(model)
    changed |= _standard_domain(model)
    return unique_names(model) or changed


def unique_names(model: onnx.ModelProto) -> bool:
    """Give unnamed nodes a name and all but the first of equal names a suffix."""
    taken = Names(n.name for n in model.graph.node)
    seen: set[str] = set()
    changed = False
    for i, node in enumerate(model.graph.node):
        if node.name and node.name not in seen:
            seen.add(node.name)
            continue
        node.name = taken.fresh(node.name or f"{node.op_type}_{i}")
        seen.add(node.name)
        changed = True
    return changed


def _drop_initializer_inputs(model: onnx.ModelProto) -> bool:
    """Before IR 4 weights had to be listed as inputs; listed, ONNX Runtime neither folds nor fuses them."""
    graph = model.graph
    weights = {t.name for t in graph.initializer}
    kept = [v for v in graph.input if v.name not in weights]
    if len(kept) == len(graph.input):
        return False
    del graph.input[:]
    graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)
    return True


def _constants_to_initializers(model: onnx.ModelProto) -> bool:
    graph = model.graph
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        tensor = constant_tensor(node)
        if tensor is None:
            kept.append(node)
        else:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = node.output[0]
    if len(kept) == len(graph.node):
        return False
    set_nodes(graph, kept)
    model.ir_version = max(model.ir_version, 4)
    return True


def constant_tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    """The tensor a Constant node holds, None for other nodes and for strings and sparse values."""
    if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
        return None
    attribute = node.attribute[0]
    types = {"value_float": onnx.TensorProto.FLOAT, "value_floats": onnx.TensorProto.FLOAT}
    types |= {"value_int": onnx.TensorProto.INT64, "value_ints": onnx.TensorProto.INT64}
    if attribute.name == "value":
        return attribute.t
    if attribute.name not in types or attribute.ref_attr_name:
        return None
    value = onnx.helper.get_attribute_value(attribute)
    several = attribute.name.endswith("s")
    return onnx.helper.make_tensor("", types[attribute.name], [len(value)] if several else [], value if several else [value])


def _standard_domain(model: onnx.ModelProto) -> bool:
    """Write the standard domain as "" everywhere; "ai.onnx" is an alias."""
    nodes = [n for n in model.graph.node if n.domain == "ai.onnx"]
    imports = [o for o in model.opset_import if o.domain == "ai.onnx"]
    for node in nodes:
        node.domain = ""
    for opset in imports:
        opset.domain = ""
    return bool(nodes or imports)
