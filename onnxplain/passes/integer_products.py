"""Products of integers and the scaling behind them written as products of what the integers stand for.

A dynamically quantized model multiplies integers (MatMulInteger, ConvInteger), casts the result and multiplies it by the
product of both scales. Early quantizers also round the bias to multiples of that product and add it to the integers. Relevance
belongs to the real numbers: the same product, dequantized first, and the bias itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from onnxplain.ir.edit import Names, NodeWriter, names_in, set_nodes
from onnxplain.ir.own_kernels import beside
from onnxplain.ir.pattern import Match, Pattern, constant, match, op, var
from onnxplain.passes.view import FileView

__all__ = ["float_products"]

# operators: the product of real numbers that each stands for
PRODUCTS = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}

QUANTIZED = op.DynamicQuantizeLinear(var("x")).named("quantizer")
PRODUCT = op[tuple(PRODUCTS)](QUANTIZED, var("w"), ...).named("product").only_here()
# operators: by which biases are rounded
ROUNDED = op.Cast(op["Floor", "Round"](constant("bias") / (var("scale") * var("other scale"))))
BIAS = op.Reshape(ROUNDED, constant("extents")) | ROUNDED
"""A bias in steps of the integers' product."""


def scaled(integers: Pattern) -> Pattern:
    """Integers, and the scaling behind them."""
    return op.Cast(integers).named("cast").only_here() * (var("scale") * var("other scale"))


FORMS = (scaled(PRODUCT), scaled((PRODUCT + BIAS).only_here()))
"""A product of integers, without a bias and with one."""


def float_products(model: onnx.ModelProto) -> bool:
    """Write `Mul(Cast(product of integers), scales)` as a product of floating-point numbers, where the scales are that of a
    DynamicQuantizeLinear and that of the weights; anything else stays. The integers keep making the prediction."""
    graph = model.graph
    view = FileView(graph)
    sizes = {t.name: list(t.dims) for t in graph.initializer}
    names = names_in(graph)
    made: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        ways = (match(view, form, node.output[0]) for form in FORMS if node.op_type == "Mul")
        found = next((way for way in ways if way), None)
        scales = _scales(view, found) if found else None
        if not found or scales is None:
            continue
        product = found.named["product"]
        filters = sizes[product.input[1]] if product.op_type == "ConvInteger" else []
        if filters and not _fit(filters, sizes.get(scales[1]), [sizes.get(name) for name in product.input[3:]]):
            continue
        bias = _bias(view, found, sizes, filters)
        if bias is None:
            continue
        made[node.output[0]] = beside(node, _written(graph, product, node, *scales, names, len(filters), bias), names)
    if not made:
        return False
    nodes = [m for n in graph.node for m in made.get(n.output[0], [n])]
    set_nodes(graph, nodes)
    return True


def _fit(filters: Sequence[int], scale: Sequence[int] | None, zeros: Sequence[Sequence[int] | None]) -> bool:
    """Whether there is one scale and zero point, or one for each filter, laid along the channels of the result."""
    count, places = filters[0], len(filters) - 2
    along = scale is not None and list(scale) in ([count, *[1] * places], [1, count, *[1] * places])
    single = scale is not None and int(np.prod(scale)) == 1
    return (along or single) and all(each is not None and int(np.prod(each)) in (1, count) for each in zeros)


def _scales(view: FileView, found: Match[str, onnx.NodeProto]) -> tuple[str, str] | None:
    """The scale of the first factor and that of the weights, which are constant."""
    mine, product = found.named["quantizer"].output[1], found.named["product"]
    others = [found[name] for name in ("scale", "other scale") if found[name] != mine]
    constant = len(others) == 1 and view.maker(others[0]) is None and view.maker(product.input[1]) is None
    return (mine, others[0]) if constant else None


def _bias(
    view: FileView, found: Match[str, onnx.NodeProto], sizes: Mapping[str, list[int]], filters: Sequence[int]
) -> str | None:
    """The bias, "" where there is none; None where that of a convolution is not one number for each filter."""
    name = found.values.get("bias", "")
    if not name or not filters:
        return name
    extents = view.constant(found["extents"]) if "extents" in found.values else None
    beside = [1] * (len(filters) - 2)
    along = extents is not None and extents.tolist() in ([1, filters[0], *beside], [1, -1, *beside])
    return name if along and sizes.get(name) == [filters[0]] else None


def _written(
    graph: onnx.GraphProto,
    product: onnx.NodeProto,
    multiplied: onnx.NodeProto,
    scale: str,
    weight_scale: str,
    names: Names,
    rank: int,
    bias: str,
) -> list[onnx.NodeProto]:
    """(X − z_X) · s_X times (W − z_W) · s_W; filters of a `rank` have scales and zero points of their own, or share one."""
    x, w, *zeros = product.input
    x_zero, w_zero = (*zeros, "", "")[:2]
    new = NodeWriter(names, f"{product.name}.", constants=graph.initializer)

    def along_filters(numbers: str) -> str:
        return new.op("Reshape", numbers, new.constant(np.array([-1, *[1] * (rank - 1)]))) if rank else numbers

    given = new.op("DequantizeLinear", x, scale, *filter(None, [x_zero]))
    weight = new.op("Cast", w, to=onnx.TensorProto.FLOAT)
    if w_zero:
        weight = new.op("Sub", weight, along_filters(new.op("Cast", w_zero, to=onnx.TensorProto.FLOAT)))
    weight = new.op("Mul", weight, along_filters(weight_scale))
    last = onnx.NodeProto()
    last.CopyFrom(product)
    last.op_type, last.name = PRODUCTS[product.op_type], multiplied.name
    last.input[:], last.output[:] = [given, weight, *([bias] if rank and bias else [])], multiplied.output
    if not bias or rank:
        return [*new.nodes, last]
    last.output[:] = [names.fresh(f"{product.name}.product")]
    last.name = last.output[0]
    summed = onnx.helper.make_node("Add", [last.output[0], bias], list(multiplied.output), name=multiplied.name)
    return [*new.nodes, last, summed]
