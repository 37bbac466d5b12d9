"""Products of integers and the scaling behind them written as products of what the integers stand for.

A dynamically quantized model multiplies integers (MatMulInteger, ConvInteger), casts the result and multiplies it by the
product of both scales. Relevance belongs to the real numbers: the same product, dequantized first.
"""

from __future__ import annotations

import numpy as np
import onnx

from onnxplain.ir.edit import Names, NodeWriter, names_in, set_nodes
from onnxplain.ir.own_kernels import beside
from onnxplain.ir.pattern import Match, match, op, var
from onnxplain.passes.view import FileView

__all__ = ["float_products"]

# operators: the product of real numbers that each stands for
PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}

QUANTIZED = op.DynamicQuantizeLinear(var("x")).named("quantizer")
PRODUCT = op[tuple(PRODUCTS)](QUANTIZED, var("w"), ...).named("product").only_here()
SCALED = op.Cast(PRODUCT).named("cast").only_here() * (var("scale") * var("other scale"))
"""A product of integers, and the scaling behind it."""


def float_products(model: onnx.ModelProto) -> bool:
    """Write `Mul(Cast(product of integers), scales)` as a product of floating-point numbers, where the scales are that of a
    DynamicQuantizeLinear and that of the weights; anything else stays. The integers keep making the prediction."""
    graph = model.graph
    view = FileView(graph)
    single = {t.name for t in graph.initializer if int(np.prod(t.dims)) == 1}
    names = names_in(graph)
    made: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        found = match(view, SCALED, node.output[0]) if node.op_type == "Mul" else None
        scales = _scales(view, found) if found else None
        if not found or scales is None:
            continue
        product = found.named["product"]
        if product.op_type == "ConvInteger" and not {scales[1], *product.input[3:]} <= single:
            continue  # scales of filters have no place in a product of all of them
        made[node.output[0]] = beside(node, _written(product, node, *scales, names), names)
    if not made:
        return False
    nodes = [m for n in graph.node for m in made.get(n.output[0], [n])]
    set_nodes(graph, nodes)
    return True


def _scales(view: FileView, found: Match[str, onnx.NodeProto]) -> tuple[str, str] | None:
    """The scale of the first factor and that of the weights, which are constant."""
    mine, product = found.named["quantizer"].output[1], found.named["product"]
    others = [found[name] for name in ("scale", "other scale") if found[name] != mine]
    constant = len(others) == 1 and view.maker(others[0]) is None and view.maker(product.input[1]) is None
    return (mine, others[0]) if constant else None


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
