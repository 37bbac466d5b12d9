"""Constants of subgraphs as initializers of the whole model, so that a branch or loop body consists of operators only."""

from __future__ import annotations

import onnx

from onnxplain.ir.edit import Names, names_in, replace_uses, set_nodes, subgraphs
from onnxplain.passes.tidy import constant_tensor

__all__ = ["lift_constants"]


def lift_constants(model: onnx.ModelProto) -> bool:
    """Move initializers and Constant nodes of subgraphs to the top, under names of their own."""
    taken = names_in(model.graph)
    lifted: list[onnx.TensorProto] = []
    for node in model.graph.node:
        for graph in subgraphs(node):
            _lift(graph, node.name, taken, lifted)
    model.graph.initializer.extend(lifted)
    if lifted:  # before IR 4 weights had to be listed as inputs
        model.ir_version = max(model.ir_version, 4)
    return bool(lifted)


def _lift(graph: onnx.GraphProto, prefix: str, taken: Names, lifted: list[onnx.TensorProto]) -> None:
    names: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    constants = [(t.name, t) for t in graph.initializer]
    for node in graph.node:
        tensor = constant_tensor(node)
        if tensor is None:
            kept.append(node)
        else:
            constants.append((node.output[0], tensor))
    for name, tensor in constants:
        unique = taken.fresh(f"{prefix}/{name}")
        names[name] = unique
        lifted.append(onnx.TensorProto())
        lifted[-1].CopyFrom(tensor)
        lifted[-1].name = unique
    if names:
        del graph.initializer[:]
        replace_uses(kept, names)
        returned = [o.name for o in graph.output if o.name in names]  # what a subgraph returns it must make itself
        kept += [onnx.helper.make_node("Identity", [names[o]], [o], name=f"{o}/Identity") for o in returned]
        set_nodes(graph, kept)
    for node in graph.node:
        for inner in subgraphs(node):
            _lift(inner, f"{prefix}/{node.name}", taken, lifted)
