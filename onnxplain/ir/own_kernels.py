"""Nodes of the model that keep computing its prediction, beside the smaller ones that the backward pass goes through.

Where a fused or quantized kernel is written out, what is written only approximates it: the kernel rounds, looks numbers up in
tables, or adds in another order. In the file between passes both stand side by side, and a join takes the kernel's result:

    y_own_kernel = MatMulNBits(a, …)
    y_written = MatMul(a, DequantizeLinear(…))
    y = CastLike(y_own_kernel, y_written)

An If, Loop or Scan with such a kernel in it stands beside its written form as a whole.

So every such file is a valid model with the original's prediction. A `Graph` shows the written nodes, with the kernel's result
for theirs, so that rules read what the kernel made; what it hands out holds the kernel, and of the written nodes what is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import helper

from onnxplain.ir.edit import Names, alive, graphs_in, set_nodes

__all__ = ["as_shown", "as_written", "beside", "copied", "is_join", "join_names", "kernel_results", "only_written"]

OWN = "_own_kernel"
"""After a tensor's name: as the model's own kernel makes it."""

WRITTEN = "_written"
"""After a tensor's name: as the written nodes make it."""

# operators: those that ONNX Runtime knows in the standard's domain only; preparation gives them its own
IN_STANDARD_DOMAIN = ("SimplifiedLayerNormalization", "LayerNormalization")


def is_join(node: onnx.NodeProto) -> bool:
    """Whether a node takes a kernel's result where there is a written one beside it."""
    # operators: what joins are written as: the first input, in the type of the second, which is its own
    return node.op_type == "CastLike" and not node.domain and node.input[0].endswith(OWN) and node.input[1].endswith(WRITTEN)


def beside(own: onnx.NodeProto, written: Sequence[onnx.NodeProto], taken: Names) -> list[onnx.NodeProto]:
    """A kernel, the nodes that are written for it, and the joins of their results.

    Args:
        own: the model's node.
        written: nodes that make the same outputs.
        taken: the names of the model.
    """
    kernel, renamed = copied(own), {}
    kernel.domain = "" if own.op_type in IN_STANDARD_DOMAIN else own.domain
    kernel.name = taken.fresh(f"{own.name}{OWN}")
    joins = []
    for i, name in enumerate(own.output):
        if not name:
            continue
        stem = name
        while f"{stem}{OWN}" in taken or f"{stem}{WRITTEN}" in taken:
            stem = taken.fresh(stem)
        kernel.output[i], renamed[name] = f"{stem}{OWN}", f"{stem}{WRITTEN}"
        taken.take((kernel.output[i], renamed[name]))
        joins.append(
            helper.make_node("CastLike", [kernel.output[i], renamed[name]], [name], name=taken.fresh(f"{own.name}/join"))
        )
    return [kernel, *_renamed(written, renamed), *joins]


def kernel_results(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """The names of what the model's own kernels make where others are written for them."""
    return {node.input[0] for node in nodes if is_join(node)}


def join_names(nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
    """For what each kernel makes, and for what is written beside it, the name of the model's tensor."""
    return {name: node.output[0] for node in nodes if is_join(node) for name in node.input}


def as_shown(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes without joins: the written ones make the model's tensors, the kernels what they made before."""
    shown = {name: y for name, y in join_names(nodes).items() if name.endswith(WRITTEN)}
    return _renamed([n for n in nodes if not is_join(n)], shown)


def as_written(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes without joins: the kernels make the model's tensors, the written ones what they made before."""
    made = {name: y for name, y in join_names(nodes).items() if name.endswith(OWN)}
    return _renamed([n for n in nodes if not is_join(n)], made)


def only_written(model: onnx.ModelProto) -> bool:
    """Leave the kernels out, in place: the function of real numbers that they approximate, which has derivatives."""
    graph = model.graph
    if not any(map(is_join, graph.node)):
        return False
    set_nodes(graph, alive(as_shown(graph.node), [o.name for o in graph.output]))
    used = {"", "ai.onnx", *(n.domain for g in graphs_in(graph) for n in g.node)}
    kept = [o for o in model.opset_import if o.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return True


def copied(node: onnx.NodeProto) -> onnx.NodeProto:
    """A copy of a node."""
    made = onnx.NodeProto()
    made.CopyFrom(node)
    return made


def _renamed(nodes: Sequence[onnx.NodeProto], names: dict[str, str]) -> list[onnx.NodeProto]:
    """Copies of the nodes with some tensors called otherwise."""
    made = []
    for node in nodes:
        copy = copied(node)
        copy.input[:] = [names.get(i, i) for i in node.input]
        copy.output[:] = [names.get(o, o) for o in node.output]
        made.append(copy)
    return made
