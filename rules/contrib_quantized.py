"""Operators of ONNX Runtime's quantizer (com.microsoft) written in standard ones: dequantize, compute, quantize.

The rules of QuantizeLinear and DequantizeLinear then say what a message on integers means. ONNX Runtime's own kernels
compute some of them with integers or tables: outputs agree to one step of the output's scale.
"""

import numpy as np

from onnxplain import Builder, Node, RuleError, Tensor, expansion
from onnxplain.rulekit.quantized import columns, dequantized, quantized, real, requantized

MS = "com.microsoft"


@expansion("QLinearAdd", "QLinearMul", domain=MS, inputs=8, approximates=True)
def qlinear_arithmetic(b: Builder, node: Node) -> Tensor:
    """A + B, A · B"""
    x, x_scale, x_zero, y, y_scale, y_zero, scale, zero = node.inputs
    z = b.op(node.op.removeprefix("QLinear"), real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero))
    return quantized(b, z, scale, zero, node.x)


@expansion("QLinearSigmoid", "QLinearLeakyRelu", domain=MS, inputs=5, approximates=True)
def qlinear_activation(b: Builder, node: Node) -> Tensor:
    """The activation of what x stands for"""
    x, x_scale, x_zero, scale, zero = node.inputs
    y = b.op(node.op.removeprefix("QLinear"), real(b, x, x_scale, x_zero), alpha=node.get("alpha"))
    return quantized(b, y, scale, zero, node.x)


@expansion("QLinearSoftmax", domain=MS, inputs=5, approximates=True, axis=-1)
def qlinear_softmax(b: Builder, node: Node) -> Tensor:
    """Softmax along an axis; before opset 13 over that axis and all behind it"""
    x, x_scale, x_zero, scale, zero = node.inputs
    given, axis = real(b, x, x_scale, x_zero), node["axis"]
    if node["opset"] >= 13 or axis == -1:
        return quantized(b, b.Softmax(given, axis=axis), scale, zero, node.x)
    axis %= node.x.rank
    flat = b.Softmax(b.Reshape(given, [*[0] * axis, -1]), axis=-1)
    return quantized(b, b.reshape(flat, node.x), scale, zero, node.x)


@expansion("QLinearConcat", domain=MS, inputs=-1, approximates=True)
def qlinear_concat(b: Builder, node: Node) -> Tensor:
    """Tensors in a row, each with a scale and a zero point of its own"""
    scale, zero, *parts = node.inputs
    given = [real(b, *part) for part in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]
    return quantized(b, b.Concat(*given, axis=node["axis"]), scale, zero, node.input(2))


@expansion("QLinearWhere", domain=MS, inputs=9, approximates=True)
def qlinear_where(b: Builder, node: Node) -> Tensor:
    """x where the condition holds, else y"""
    condition, x, x_scale, x_zero, y, y_scale, y_zero, scale, zero = node.inputs
    chosen = b.Where(condition, real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero))
    return quantized(b, chosen, scale, zero, node.input(1))


@expansion("QLinearAveragePool", domain=MS, inputs=5, approximates=True, channels_last=0)
def qlinear_average_pool(b: Builder, node: Node) -> Tensor:
    """Means over windows"""
    x, x_scale, x_zero, scale, zero = node.inputs
    settings = {k: node.get(k) for k in ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")}
    given = real(b, x, x_scale, x_zero)
    rank = len(node["kernel_shape"]) + 2
    last = node["channels_last"]
    y = b.AveragePool(channels_first(b, given, rank) if last else given, **settings)
    return quantized(b, channels_back(b, y, rank) if last else y, scale, zero, node.x)


@expansion("QLinearGlobalAveragePool", domain=MS, inputs=5, approximates=True, channels_last=0)
def qlinear_global_average_pool(b: Builder, node: Node) -> Tensor:
    """The mean of each channel"""
    x, x_scale, x_zero, scale, zero = node.inputs
    axes = [axis for axis in range(1, node.x.rank) if axis != (node.x.rank - 1 if node["channels_last"] else 1)]
    return quantized(b, b.ReduceMean(real(b, x, x_scale, x_zero), axes, keepdims=1), scale, zero, node.x)


def channels_first(b: Builder, x: Tensor, rank: int) -> Tensor:
    """[batch, …, channels] → [batch, channels, …]"""
    return b.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)])


def channels_back(b: Builder, x: Tensor, rank: int) -> Tensor:
    """[batch, channels, …] → [batch, …, channels]"""
    return b.Transpose(x, perm=[0, *range(2, rank), 1])


@expansion("NhwcMaxPool", domain=MS)
def nhwc_max_pool(b: Builder, node: Node) -> Tensor:
    """Maxima over windows, channels last"""
    rank = len(node["kernel_shape"]) + 2
    settings = {k: node.get(k) for k in ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")}
    return channels_back(b, b.MaxPool(channels_first(b, node.x, rank), **settings), rank)


@expansion("QLinearConv", domain=MS, inputs=9, channels_last=0)
def qlinear_conv(b: Builder, node: Node) -> Tensor:
    """The standard's own, where channels may be last"""
    x, others, last = node.x, node.inputs[1:], node["channels_last"]
    settings = {k: node.get(k) for k in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")}
    y = b.QLinearConv(channels_first(b, x, x.rank) if last else x, *others, **settings)
    return channels_back(b, y, x.rank) if last else y


@expansion("DynamicQuantizeMatMul", domain=MS, inputs=5, approximates=True)
def dynamic_quantize_matmul(b: Builder, node: Node) -> Tensor:
    """A B + bias, with A rounded to 8 bits by its own range"""
    a, w, scale, zero, bias = node.inputs
    rounded = b.DequantizeLinear(*b.DynamicQuantizeLinear(a, outputs=3))
    y = b.MatMul(rounded, columns(b, w, scale, zero))
    return y if bias is None else b.Add(y, bias)


@expansion("MatMulIntegerToFloat", domain=MS, inputs=7, approximates=True)
def matmul_integer_to_float(b: Builder, node: Node) -> Tensor:
    """A B + bias of what integers stand for"""
    a, w, a_scale, w_scale, a_zero, w_zero, bias = node.inputs
    y = b.MatMul(real(b, a, a_scale, a_zero), columns(b, w, w_scale, w_zero))
    return y if bias is None else b.Add(y, bias)


@expansion("QAttention", domain=MS, inputs=9, approximates=True, outputs=2)
def qattention(b: Builder, node: Node) -> tuple[Tensor, ...]:
    """Attention on what the input and the weights stand for"""
    x, w, bias, x_scale, w_scale, mask, x_zero, w_zero, past = node.inputs
    given = real(b, x, x_scale, x_zero), columns(b, w, w_scale, w_zero)
    names = ("num_heads", "unidirectional", "scale", "mask_filter_value", "do_rotary", "past_present_share_buffer")
    settings = {k: node.get(k) for k in names}
    count = 1 if node.outputs[1] is None else 2
    made = b.op("Attention", *given, bias, mask, past, domain=MS, outputs=count, **settings)
    return made if isinstance(made, tuple) else (made,)


@expansion("QuantizeLinear", "DequantizeLinear", domain=MS, inputs=3)
def quantize_linear(b: Builder, node: Node) -> Tensor:
    """The standard's own; for 16 and 4 bits the standard has them from opset 21 on"""
    narrow = node.x if node.op == "DequantizeLinear" else node.inputs[2]
    if b.graph.opset < 21 and narrow is not None and narrow.dtype not in (np.uint8, np.int8, np.int32):
        raise RuleError(f"it quantizes to {narrow.dtype}; convert the model to opset 21")
    written = dequantized if node.op == "DequantizeLinear" else requantized
    return written(b, node.x, node.input(1), node.inputs[2], axis=node.get("axis"))
