"""A sigmoid written as 1 / (1 + exp(−x)), as converters of scikit-learn and others leave it, made one operator.

The exponential overflows where −x is large: the value is still right (1 / ∞ = 0), but its derivative would be 0 · ∞. As one
operator it has the derivative s (1 − s), its relevance passes as through any activation, and it is known for a gate and for
a final activation. The numbers stay what they are, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import helper

from onnxplain.ir.edit import Names, graphs_in, names_in, reads, set_nodes

__all__ = ["merge_sigmoids"]


def merge_sigmoids(model: onnx.ModelProto) -> bool:
    """Write 1 / (1 + exp(z)) as Sigmoid(−z), in subgraphs too; what nothing reads any more goes."""
    numbers = {t.name: t for t in model.graph.initializer if int(np.prod(t.dims)) == 1 and not t.external_data}
    taken = names_in(model.graph)
    merged = [_merge(graph, numbers, taken) for graph in reversed(graphs_in(model.graph))]
    return any(merged)


def _merge(graph: onnx.GraphProto, numbers: Mapping[str, onnx.TensorProto], taken: Names) -> bool:
    makers = {o: n for n in graph.node for o in n.output if not n.domain}
    ranks = {
        v.name: len(v.type.tensor_type.shape.dim)
        for v in (*graph.value_info, *graph.input, *graph.output)
        if v.type.tensor_type.HasField("shape")
    }

    def is_number(name: str, value: float, like: str) -> bool:
        """Whether this is one number that broadcasts without adding axes."""
        tensor = numbers.get(name)
        if tensor is None or len(tensor.dims) > ranks.get(like, 0):
            return False
        return float(onnx.numpy_helper.to_array(tensor).ravel()[0]) == value

    changed = False
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        z = _exponent(node, makers, is_number)
        if z is None:
            nodes.append(node)
            continue
        changed = True
        x = _negated(z, makers, is_number)
        if x is None:
            x = taken.fresh(f"{node.name}.Neg")
            nodes.append(helper.make_node("Neg", [z], [x], x))
        nodes.append(helper.make_node("Sigmoid", [x], node.output, node.name))
        nodes[-1].metadata_props.extend(node.metadata_props)
    if changed:
        kept = _read(nodes, [o.name for o in graph.output])
        set_nodes(graph, kept)
    return changed


IsNumber = Callable[[str, float, str], bool]


def _exponent(node: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto], is_number: IsNumber) -> str | None:
    """z where a node makes 1 / (1 + exp(z))"""
    if node.domain:
        return None
    if node.op_type == "Reciprocal":
        total = node.input[0]
    elif node.op_type == "Div" and is_number(node.input[0], 1, node.input[1]):
        total = node.input[1]
    elif node.op_type == "Pow" and is_number(node.input[1], -1, node.input[0]):
        total = node.input[0]
    else:
        return None
    add = makers.get(total)
    if add is None or add.op_type != "Add":
        return None
    power = next((e for e, one in (tuple(add.input), tuple(add.input)[::-1]) if is_number(one, 1, e)), "")
    exp = makers.get(power)
    return exp.input[0] if exp is not None and exp.op_type == "Exp" else None


def _negated(z: str, makers: Mapping[str, onnx.NodeProto], is_number: IsNumber) -> str | None:
    """x where z is −x"""
    node = makers.get(z)
    if node is None:
        return None
    if node.op_type == "Neg":
        return node.input[0]
    if node.op_type in ("Mul", "Div") and is_number(node.input[1], -1, node.input[0]):
        return node.input[0]
    if (node.op_type == "Mul" and is_number(node.input[0], -1, node.input[1])) or (
        node.op_type == "Sub" and is_number(node.input[0], 0, node.input[1])
    ):
        return node.input[1]
    return None


def _read(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    """The nodes without links of such chains that nothing reads."""
    while True:
        read = {*outputs, *(name for node in nodes for name in reads(node))}
        kept = [n for n in nodes if n.op_type not in LINKS or n.domain or read.intersection(n.output)]
        if len(kept) == len(nodes):
            return kept
        nodes = kept


LINKS = frozenset({"Neg", "Mul", "Div", "Sub", "Exp", "Add"})
