"""Operators of ONNX Runtime's quantizer (com.microsoft) written in standard ones: dequantize, compute, quantize.

The rules of QuantizeLinear and DequantizeLinear then say what a message on integers means. ONNX Runtime's own kernels
compute some of them with integers or tables: outputs agree to one step of the output's scale.
"""

import numpy as np

from onnxplain import Builder, Call, RuleError, Tensor, expansion
from onnxplain.rulekit.quantized import columns, quantized, real

MS = "com.microsoft"


@expansion("QLinearAdd", "QLinearMul", domain=MS, inputs=8)
def qlinear_arithmetic(b: Builder, call: Call) -> Tensor:
    """A + B, A · B"""
    x, x_scale, x_zero, y, y_scale, y_zero, scale, zero = call.inputs
    z = b.op(call.op.removeprefix("QLinear"), real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero))
    return quantized(b, z, scale, zero, call.x)


@expansion("QLinearSigmoid", "QLinearLeakyRelu", domain=MS, inputs=5)
def qlinear_activation(b: Builder, call: Call) -> Tensor:
    """The activation of what x stands for"""
    x, x_scale, x_zero, scale, zero = call.inputs
    y = b.op(call.op.removeprefix("QLinear"), real(b, x, x_scale, x_zero), alpha=call.get("alpha"))
    return quantized(b, y, scale, zero, call.x)


@expansion("QLinearSoftmax", domain=MS, inputs=5, axis=-1)
def qlinear_softmax(b: Builder, call: Call) -> Tensor:
    """Softmax along an axis; before opset 13 over that axis and all behind it"""
    x, x_scale, x_zero, scale, zero = call.inputs
    given, axis = real(b, x, x_scale, x_zero), call["axis"]
    if call["opset"] >= 13 or axis == -1:
        return quantized(b, b.Softmax(given, axis=axis), scale, zero, call.x)
    axis %= call.x.rank
    flat = b.Softmax(b.Reshape(given, [*[0] * axis, -1]), axis=-1)
    return quantized(b, b.reshape(flat, call.x), scale, zero, call.x)


@expansion("QLinearConcat", domain=MS, inputs=-1)
def qlinear_concat(b: Builder, call: Call) -> Tensor:
    """Tensors in a row, each with a scale and a zero point of its own"""
    scale, zero, *parts = call.inputs
    given = [real(b, *part) for part in zip(parts[::3], parts[1::3], parts[2::3], strict=True)]
    return quantized(b, b.Concat(*given, axis=call["axis"]), scale, zero, call.input(2))


@expansion("QLinearWhere", domain=MS, inputs=9)
def qlinear_where(b: Builder, call: Call) -> Tensor:
    """x where the condition holds, else y"""
    condition, x, x_scale, x_zero, y, y_scale, y_zero, scale, zero = call.inputs
    chosen = b.Where(condition, real(b, x, x_scale, x_zero), real(b, y, y_scale, y_zero))
    return quantized(b, chosen, scale, zero, call.input(1))


@expansion("QLinearAveragePool", domain=MS, inputs=5, channels_last=0)
def qlinear_average_pool(b: Builder, call: Call) -> Tensor:
    """Means over windows"""
    x, x_scale, x_zero, scale, zero = call.inputs
    settings = {k: call.get(k) for k in ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")}
    given = real(b, x, x_scale, x_zero)
    rank = len(call["kernel_shape"]) + 2
    last = call["channels_last"]
    y = b.AveragePool(channels_first(b, given, rank) if last else given, **settings)
    return quantized(b, channels_back(b, y, rank) if last else y, scale, zero, call.x)


@expansion("QLinearGlobalAveragePool", domain=MS, inputs=5, channels_last=0)
def qlinear_global_average_pool(b: Builder, call: Call) -> Tensor:
    """The mean of each channel"""
    x, x_scale, x_zero, scale, zero = call.inputs
    axes = [axis for axis in range(1, call.x.rank) if axis != (call.x.rank - 1 if call["channels_last"] else 1)]
    return quantized(b, b.ReduceMean(real(b, x, x_scale, x_zero), axes, keepdims=1), scale, zero, call.x)


def channels_first(b: Builder, x: Tensor, rank: int) -> Tensor:
    """[batch, …, channels] → [batch, channels, …]"""
    return b.Transpose(x, perm=[0, rank - 1, *range(1, rank - 1)])


def channels_back(b: Builder, x: Tensor, rank: int) -> Tensor:
    """[batch, channels, …] → [batch, …, channels]"""
    return b.Transpose(x, perm=[0, *range(2, rank), 1])


@expansion("NhwcMaxPool", domain=MS)
def nhwc_max_pool(b: Builder, call: Call) -> Tensor:
    """Maxima over windows, channels last"""
    rank = len(call["kernel_shape"]) + 2
    settings = {k: call.get(k) for k in ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")}
    return channels_back(b, b.MaxPool(channels_first(b, call.x, rank), **settings), rank)


@expansion("QLinearConv", domain=MS, inputs=9, channels_last=0)
def qlinear_conv(b: Builder, call: Call) -> Tensor:
    """The standard's own, where channels may be last"""
    x, others, last = call.x, call.inputs[1:], call["channels_last"]
    settings = {k: call.get(k) for k in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")}
    y = b.QLinearConv(channels_first(b, x, x.rank) if last else x, *others, **settings)
    return channels_back(b, y, x.rank) if last else y


@expansion("DynamicQuantizeMatMul", domain=MS, inputs=5)
def dynamic_quantize_matmul(b: Builder, call: Call) -> Tensor:
    """A B + bias, with A rounded to 8 bits by its own range"""
    a, w, scale, zero, bias = call.inputs
    rounded = b.DequantizeLinear(*b.DynamicQuantizeLinear(a, outputs=3))
    y = b.MatMul(rounded, columns(b, w, scale, zero))
    return y if bias is None else b.Add(y, bias)


@expansion("MatMulIntegerToFloat", domain=MS, inputs=7)
def matmul_integer_to_float(b: Builder, call: Call) -> Tensor:
    """A B + bias of what integers stand for"""
    a, w, a_scale, w_scale, a_zero, w_zero, bias = call.inputs
    y = b.MatMul(real(b, a, a_scale, a_zero), columns(b, w, w_scale, w_zero))
    return y if bias is None else b.Add(y, bias)


@expansion("QAttention", domain=MS, inputs=9, outputs=2)
def qattention(b: Builder, call: Call) -> tuple[Tensor, ...]:
    """Attention on what the input and the weights stand for"""
    x, w, bias, x_scale, w_scale, mask, x_zero, w_zero, past = call.inputs
    given = real(b, x, x_scale, x_zero), columns(b, w, w_scale, w_zero)
    names = ("num_heads", "unidirectional", "scale", "mask_filter_value", "do_rotary", "past_present_share_buffer")
    settings = {k: call.get(k) for k in names}
    count = 1 if call.outputs[1] is None else 2
    made = b.op("Attention", *given, bias, mask, past, domain=MS, outputs=count, **settings)
    return made if isinstance(made, tuple) else (made,)


@expansion("QuantizeLinear", "DequantizeLinear", domain=MS, inputs=3)
def quantize_linear(b: Builder, call: Call) -> Tensor:
    """The standard's own; for 16 and 4 bits the standard has them from opset 21 on"""
    narrow = call.x if call.op == "DequantizeLinear" else call.inputs[2]
    if b.graph.opset < 21 and narrow is not None and narrow.dtype not in (np.uint8, np.int8, np.int32):
        raise RuleError(f"it quantizes to {narrow.dtype}; convert the model to opset 21")
    x, scale, zero = call.inputs
    y: Tensor = b.op(call.op, x, scale, zero, axis=call.get("axis"))
    return y
