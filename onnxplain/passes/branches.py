"""If with a condition that is known: the branch that is taken, in its place."""

from __future__ import annotations

import numpy as np
import onnx

from onnxplain.ir.edit import Names, defined, names_in, set_nodes
from onnxplain.ir.own_kernels import kernel_results
from onnxplain.passes.expand import rename

__all__ = ["settle_branches"]


def settle_branches(model: onnx.ModelProto) -> bool:
    """Replace every If of the top level whose condition is a constant by its branch, branches within it too.

    One that keeps making the prediction beside what is written for it stays as it is.
    """
    changed = False
    while _settle_once(model):
        changed = True
    return changed


def _settle_once(model: onnx.ModelProto) -> bool:
    graph = model.graph
    flags = (t for t in graph.initializer if t.data_type == onnx.TensorProto.BOOL and int(np.prod(t.dims)) == 1)
    scalars = {t.name: t for t in flags if t.data_location != onnx.TensorProto.EXTERNAL}
    kept = kernel_results(graph.node)
    known = (n for n in graph.node if n.op_type == "If" and not n.domain and n.input[0] in scalars)
    settled = {n.output[0] for n in known if not kept.intersection(n.output)}
    if not settled:
        return False
    taken = names_in(model.graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output and node.output[0] in settled:
            chosen = "then_branch" if onnx.numpy_helper.to_array(scalars[node.input[0]]).item() else "else_branch"
            branch = next(a.g for a in node.attribute if a.name == chosen)
            nodes += _taken(node, branch, taken)
            graph.initializer.extend(branch.initializer)
        else:
            nodes.append(node)
    set_nodes(graph, nodes)
    return True


def _taken(call: onnx.NodeProto, branch: onnx.GraphProto, taken: Names) -> list[onnx.NodeProto]:
    """The nodes of a branch with names of their own, its results under the names of the node's outputs."""
    own = defined(branch.node)
    own += [t.name for t in branch.initializer]
    renamed = {name: taken.fresh(f"{call.name}.{name}") for name in own}
    nodes = list(branch.node)
    rename(nodes, renamed, call, taken)
    ends = [
        onnx.helper.make_node("Identity", [renamed.get(result.name, result.name)], [output])
        for result, output in zip(branch.output, call.output, strict=True)
    ]
    rename(ends, {}, call, taken)
    for tensor in branch.initializer:
        tensor.name = renamed[tensor.name]
    return [*nodes, *ends]
