"""Equal DequantizeLinear nodes made one again.

ONNX Runtime gives each consumer of dequantized values a DequantizeLinear of its own and writes them so into a model it
has optimized; so do the quantized operators that are written in standard ones. An embedding or an inner tensor would then
be explained at one of the copies only.
"""

from __future__ import annotations

import onnx

from onnxplain.ir.edit import replace_uses, set_nodes

__all__ = ["merge_dequantized"]


def merge_dequantized(model: onnx.ModelProto) -> bool:
    """Keep the first of DequantizeLinear nodes with equal inputs and attributes; outputs of the model keep their own."""
    graph = model.graph
    outputs = {o.name for o in graph.output}
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] not in outputs:
            settings = sorted(a.SerializeToString(deterministic=True) for a in node.attribute if not _usual(a))
            name = first.setdefault((node.domain, *node.input, *settings), node.output[0])
            if name != node.output[0]:
                same[node.output[0]] = name
                continue
        kept.append(node)
    if not same:
        return False
    replace_uses(kept, same)
    set_nodes(graph, kept)
    return True


def _usual(attribute: onnx.AttributeProto) -> bool:
    """Whether it says what is so without it."""
    usual: dict[str, int] = {"axis": 1, "block_size": 0, "output_dtype": 0}
    return attribute.i == usual.get(attribute.name)
