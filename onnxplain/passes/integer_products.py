"""Products of integers and the scaling behind them written as products of what the integers stand for.

A dynamically quantized model multiplies integers (MatMulInteger, ConvInteger), casts the result and multiplies it by the
product of both scales. Relevance belongs to the real numbers: the same product, dequantized first.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from onnxplain.ir.edit import Names, NodeWriter, names_in, reads, set_nodes

__all__ = ["float_products"]

PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


def float_products(model: onnx.ModelProto) -> bool:
    """Write `Mul(Cast(product of integers), scales)` as a product of floating-point numbers, where the scales are that of a
    DynamicQuantizeLinear and that of the weights; anything else stays."""
    graph = model.graph
    makers = {o: n for n in graph.node for o in n.output if o}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in reads(node):
            readers.setdefault(name, []).append(node)
    single = {t.name for t in graph.initializer if int(np.prod(t.dims)) == 1}
    outputs = {o.name for o in graph.output}
    names = names_in(model.graph)
    made: dict[str, list[onnx.NodeProto]] = {}
    for product in (n for n in graph.node if n.op_type in PRODUCTS and not n.domain):
        chain = _scaling(product, readers, outputs)
        scales = None if chain is None else _scales(product, chain[1], makers)
        if chain is None or scales is None:
            continue
        if product.op_type == "ConvInteger" and not {scales[1], *product.input[3:]} <= single:
            continue  # scales of filters have no place in a product of all of them
        cast, scaled = chain
        made |= {product.output[0]: [], cast.output[0]: [], scaled.output[0]: _written(product, scaled, *scales, names)}
    if not made:
        return False
    nodes = [m for n in graph.node for m in made.get(n.output[0], [n])]
    set_nodes(graph, nodes)
    return True


def _scaling(
    product: onnx.NodeProto, readers: Mapping[str, list[onnx.NodeProto]], outputs: set[str]
) -> tuple[onnx.NodeProto, onnx.NodeProto] | None:
    """The Cast behind a product and the Mul behind that, where nothing else reads what lies between."""
    found: list[onnx.NodeProto] = []
    node = product
    for op in ("Cast", "Mul"):
        after = readers.get(node.output[0], [])
        if len(after) != 1 or after[0].op_type != op or after[0].domain or node.output[0] in outputs:
            return None
        node = after[0]
        found.append(node)
    return found[0], found[1]


def _scales(product: onnx.NodeProto, scaled: onnx.NodeProto, makers: Mapping[str, onnx.NodeProto]) -> tuple[str, str] | None:
    """The scale of the first factor and that of the weights, which are constant."""
    quantizer = makers.get(product.input[0])
    both = next((m for i in scaled.input if (m := makers.get(i)) is not None and m.op_type == "Mul"), None)
    if both is None or quantizer is None or quantizer.op_type != "DynamicQuantizeLinear":
        return None
    others = [i for i in both.input if i != quantizer.output[1]]
    constant = len(others) == 1 and others[0] not in makers and product.input[1] not in makers
    return (quantizer.output[1], others[0]) if constant else None


def _written(
    product: onnx.NodeProto, scaled: onnx.NodeProto, scale: str, weight_scale: str, names: Names
) -> list[onnx.NodeProto]:
    """(X − z_X) · s_X times (W − z_W) · s_W"""
    x, w, *zeros = product.input
    x_zero, w_zero = (*zeros, "", "")[:2]
    new = NodeWriter(names, f"{product.name}.")
    given = new.op("DequantizeLinear", x, scale, *filter(None, [x_zero]))
    weight = new.op("Cast", w, to=onnx.TensorProto.FLOAT)
    if w_zero:
        weight = new.op("Sub", weight, new.op("Cast", w_zero, to=onnx.TensorProto.FLOAT))
    weight = new.op("Mul", weight, weight_scale)
    last = onnx.NodeProto()
    last.CopyFrom(product)
    last.op_type, last.name = PRODUCTS[product.op_type], scaled.name
    last.input[:], last.output[:] = [given, weight], scaled.output
    return [*new.nodes, last]
