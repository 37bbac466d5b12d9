"""A sigmoid written as 1 / (1 + exp(−x)), as converters of scikit-learn and others leave it, made one operator.

The exponential overflows where −x is large: the value is still right (1 / ∞ = 0), but its derivative would be 0 · ∞. As one
operator it has the derivative s (1 − s), its relevance passes as through any activation, and it is known for a gate and for
a final activation. The numbers stay what they are, to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from onnxplain.analysis.probabilities import inverse
from onnxplain.ir.edit import Names, graphs_in, names_in, set_nodes, without_dead
from onnxplain.ir.pattern import match, op, var
from onnxplain.passes.view import FileView

__all__ = ["merge_sigmoids"]


X = var("x")
NEGATIVE = -X | X * -1 | X / -1 | 0 - X
SIGMOID = inverse(1 + op.Exp(NEGATIVE | var("z")))
"""1 / (1 + exp(−x)), or of z where no minus is seen."""


def merge_sigmoids(model: onnx.ModelProto) -> bool:
    """Write 1 / (1 + exp(z)) as Sigmoid(−z), in subgraphs too; what nothing reads any more goes."""
    outside = {t.name: t for t in model.graph.initializer}
    names = names_in(model.graph)
    merged = [_merge(graph, outside, names) for graph in reversed(graphs_in(model.graph))]
    return any(merged)


def _merge(graph: onnx.GraphProto, outside: Mapping[str, onnx.TensorProto], names: Names) -> bool:
    view = FileView(graph, outside)
    links: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        # operators: the last step of the formula, in any spelling
        found = match(view, SIGMOID, node.output[0]) if node.op_type in ("Reciprocal", "Div", "Pow") else None
        if not found:
            nodes.append(node)
            continue
        links.update(name for link in found.nodes[1:] for name in link.output)
        x = found.values.get("x")
        if x is None:
            x = names.fresh(f"{node.name}.Neg")
            nodes.append(helper.make_node("Neg", [found["z"]], [x], x))
        nodes.append(helper.make_node("Sigmoid", [x], node.output, node.name))
        nodes[-1].metadata_props.extend(node.metadata_props)
    if links:
        set_nodes(graph, without_dead(nodes, [o.name for o in graph.output], links))
    return bool(links)
