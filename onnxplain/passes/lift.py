"""Constants of subgraphs as initializers of the whole model, so that a branch or loop body consists of operators only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from onnxplain.passes.tidy import constant_tensor

__all__ = ["lift_constants", "rename_reads"]


def lift_constants(model: onnx.ModelProto) -> bool:
    """Move initializers and Constant nodes of subgraphs to the top, under names of their own."""
    taken = {t.name for t in model.graph.initializer} | {v.name for v in model.graph.input}
    taken |= {o for n in model.graph.node for o in n.output}
    lifted: list[onnx.TensorProto] = []
    for node in model.graph.node:
        for graph in _subgraphs(node):
            _lift(graph, node.name, taken, lifted)
    model.graph.initializer.extend(lifted)
    return bool(lifted)


def _subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def _lift(graph: onnx.GraphProto, prefix: str, taken: set[str], lifted: list[onnx.TensorProto]) -> None:
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
        unique, count = f"{prefix}/{name}", 1
        while unique in taken:
            count += 1
            unique = f"{prefix}/{name}_{count}"
        taken.add(unique)
        names[name] = unique
        lifted.append(onnx.TensorProto())
        lifted[-1].CopyFrom(tensor)
        lifted[-1].name = unique
    if names:
        del graph.initializer[:]
        rename_reads(kept, names)
        returned = [o.name for o in graph.output if o.name in names]  # what a subgraph returns it must make itself
        kept += [onnx.helper.make_node("Identity", [names[o]], [o], name=f"{o}/Identity") for o in returned]
        rebuilt = [onnx.NodeProto.FromString(n.SerializeToString()) for n in kept]
        del graph.node[:]
        graph.node.extend(rebuilt)
    for node in graph.node:
        for inner in _subgraphs(node):
            _lift(inner, f"{prefix}/{node.name}", taken, lifted)


def rename_reads(nodes: Iterable[onnx.NodeProto], names: Mapping[str, str]) -> None:
    """Let nodes, and subgraphs within them, read tensors by their new names."""
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = names.get(name, name)
        for graph in _subgraphs(node):
            own = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {o for n in graph.node for o in n.output}
            visible = {old: new for old, new in names.items() if old not in own}
            rename_reads(graph.node, visible)
            for output in graph.output:
                if output.name in visible:
                    graph.node.append(onnx.helper.make_node("Identity", [visible[output.name]], [output.name]))
