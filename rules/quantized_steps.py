"""QLinearConv and QLinearMatMul as dequantize, compute, quantize, for relevance: it goes through the product by whichever rule
serves products of floating-point numbers, and through both ends unchanged."""

from onnxplain import Builder, Node, Tensor, expansion
from onnxplain.rulekit.quantized import columns, quantized, real, scalar


@expansion(
    "QLinearConv", domain="", inputs=9, on_demand=True, approximates=True,
    auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None,
)  # fmt: skip
def qlinear_conv(b: Builder, node: Node) -> Tensor:
    """Q(X ⊛ W + β) with β in steps of s_X · s_W"""
    x, x_scale, x_zero, w, w_scale, w_zero, scale, zero = (node.input(i) for i in range(8))
    bias = node.inputs[8]
    filters = [-1, *[1] * (w.rank - 1)]
    if w_scale.rank == 1 and w_scale.dim(0) != 1:
        steps = b.Sub(b.cast(w, w_scale), b.Reshape(b.cast(w_zero, w_scale), filters))
        weight = b.Mul(steps, b.Reshape(w_scale, filters))
    else:
        weight = real(b, w, w_scale, w_zero)
    added = None if bias is None else b.Mul(b.cast(bias, x_scale), b.Mul(scalar(b, x_scale), w_scale))
    settings = {k: node.get(k) for k in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")}
    return quantized(b, b.Conv(real(b, x, x_scale, x_zero), weight, added, **settings), scale, zero, x)


@expansion("QLinearMatMul", domain="", inputs=8, on_demand=True, approximates=True)
def qlinear_matmul(b: Builder, node: Node) -> Tensor:
    """Q(A·B)"""
    a, a_scale, a_zero, w, w_scale, w_zero, scale, zero = node.inputs
    return quantized(b, b.MatMul(real(b, a, a_scale, a_zero), columns(b, w, w_scale, w_zero)), scale, zero, node.x)
