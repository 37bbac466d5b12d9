"""Quantization, explained as deployed: rounding counts as the identity (straight-through), saturation as what it is.

The message on a quantized tensor is the derivative by its integers, as though they were real numbers. So every operator
that only moves them (Reshape, MaxPool on int8) keeps its own rule, QuantizeLinear divides by the scale and
DequantizeLinear multiplies with it. Messages themselves are floating-point: the type they have where they come from.

Where a value lies beyond what the integers can stand for, nothing passes: quantizing is rounding after a Clip to that range.
So a Relu or Clip before it that cuts off no less (runtimes leave such out) makes no difference to an explanation: at zero too,
where quantizing without negative numbers is taken for the Relu that it replaces.
QLinearConv and QLinearMatMul do not tell a value that rounds to the last integer from one beyond it, so their products are
formed once more, in floating point.
"""

from typing import Any

import ml_dtypes
import numpy as np

from onnxplain import Builder, Extents, Messages, Node, RuleError, Tensor, expansion, rule
from onnxplain.rulekit import windows as geometry

# -- there and back ----------------------------------------------------------------------------------------------------


@rule("QuantizeLinear", role="straight-through")
def quantize_linear(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = x / s + z, rounded and saturated: dx = dy / s within the range of the integers; ds = −Σ dx · (y − z)"""
    x, scale, zero = node.input(0), node.input(1), node.inputs[2]
    s = b.cast(_stretched(b, node, scale), x)
    z = b.const(0, x.dtype) if zero is None else b.cast(_stretched(b, node, zero), x)
    low, high = (b.cast(_stretched(b, node, end), x) for end in _range(b, node, scale, zero))
    dx = _within(b, x, low, high, b.Div(b.cast(dy, x), s), relu=_cuts_negatives(b, node, zero) and not b.unsigned(x))
    ds = _gathered(b, node, b.Mul(dx, b.Sub(z, b.cast(node.y, x))), scale) if node.needs_input_grad(1) else None
    return dx, ds, None


@rule("DequantizeLinear", role="straight-through")
def dequantize_linear(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = (x − z) · s: dx = dy · s, ds = Σ dy · (x − z)"""
    x, scale, zero = node.input(0), node.input(1), node.inputs[2]
    dx = b.Mul(dy, b.cast(_stretched(b, node, scale), dy)) if node.needs_input_grad(0) else None
    if not node.needs_input_grad(1):
        return dx, None, None
    steps = b.cast(x, dy) if zero is None else b.Sub(b.cast(x, dy), b.cast(_stretched(b, node, zero), dy))
    return dx, _gathered(b, node, b.Mul(dy, steps), scale), None


@rule("DynamicQuantizeLinear", role="straight-through")
def dynamic_quantize_linear(b: Builder, node: Node, dy: Tensor | None, ds: Tensor | None, _: Tensor | None) -> Messages:
    """y = x / s + z, rounded: dx = dy / s.

    The scale s = (max − min) / 255 follows from x too, but its two shares cancel: what it does to y is undone where y is
    read. Where the scale alone is followed, the greatest and the least element get its message.
    """
    x = node.x
    if dy is not None:
        return b.Div(dy, node.output(1))
    high, low = b.ReduceMax(x, keepdims=0), b.ReduceMin(x, keepdims=0)
    share = b.Div(ds, 255)
    top = b.Where(b.And(b.Equal(x, high), b.Greater(x, 0)), share, 0)
    return b.Sub(top, b.Where(b.And(b.Equal(x, low), b.Less(x, 0)), share, 0))


def _blocks(b: Builder, node: Node, scale: Tensor) -> str:
    """How scales lie on the tensor: one for all, one for each element of an axis, or one for each block along an axis."""
    if node.get("block_size", 0):
        return "block"
    return "tensor" if scale.rank == 0 or scale.dim(0) == 1 else "axis"


def _stretched(b: Builder, node: Node, scale: Tensor) -> Tensor:
    """Scales (or zero points) in a shape that goes with the tensor they belong to."""
    x, how = node.x, _blocks(b, node, scale)
    if how == "tensor":
        return scale if scale.rank == 0 else b.Reshape(scale, np.zeros(0, np.int64))
    axis = node["axis"] % x.rank
    if how == "axis":
        return b.Reshape(scale, [-1 if a == axis else 1 for a in range(x.rank)])
    size = node["block_size"]
    parts = b.Unsqueeze(scale, [axis + 1])
    copies = b.Expand(parts, [size if a == axis + 1 else 1 for a in range(x.rank + 1)])
    whole = b.Reshape(copies, _split(b, x, axis, [-1]).operand)
    return b.Slice(whole, [0], b.dim(x, axis), [axis])


def _gathered(b: Builder, node: Node, m: Tensor, scale: Tensor) -> Tensor:
    """A message summed over the elements that share a scale: the adjoint of `_stretched`."""
    x, how = node.x, _blocks(b, node, scale)
    if how == "tensor":
        return b.reshape(b.ReduceSum(m, keepdims=0), scale)
    axis = node["axis"] % x.rank
    if how == "axis":
        return b.ReduceSum(m, [a for a in range(x.rank) if a != axis], keepdims=0)
    size, count = node["block_size"], Extents(b, b.dim(scale, axis))
    padded = b.Pad(m, Extents(b, [0]).then(count * size - Extents(b, b.dim(x, axis))).operand, None, [axis])
    return b.ReduceSum(b.Reshape(padded, _split(b, x, axis, [-1, size]).operand), [axis + 1], keepdims=0)


def _split(b: Builder, x: Tensor, axis: int, extents: list[int]) -> Extents:
    """The extents of a tensor, with others in the place of one axis."""
    return Extents(b, [0] * axis).then(extents, *(Extents(b, b.dim(x, a)) for a in range(axis + 1, x.rank)))


def _range(b: Builder, node: Node, scale: Tensor, zero: Tensor | None) -> tuple[Tensor, Tensor]:
    """What the least and the greatest integer of the output's type stand for."""
    dtype = node.y.dtype
    if dtype is None:
        raise RuleError(f"the type of its output '{node.y.name}' is unknown")
    limits: Any = ml_dtypes.finfo(dtype) if node.y.is_float else ml_dtypes.iinfo(dtype)  # type: ignore[no-untyped-call]
    z = b.const(0, scale.dtype) if zero is None else b.cast(zero, scale)
    low, high = (b.Mul(b.Sub(b.const(float(end), scale.dtype), z), scale) for end in (limits.min, limits.max))
    return low, high


def _within(b: Builder, x: Tensor, low: Tensor, high: Tensor, m: Tensor, *, relu: bool) -> Tensor:
    """A message where low ≤ x ≤ high, else 0; with `relu`, where low is zero, as of Relu: where low < x."""
    above = b.Greater(x, low) if relu else b.GreaterOrEqual(x, low)
    return b.Where(b.And(above, b.LessOrEqual(x, high)), m, 0)


def _cuts_negatives(b: Builder, node: Node, zero: Tensor | None) -> bool:
    """Whether the least integer stands for zero, as far as is known."""
    if node.y.dtype is None or node.y.is_float:
        return False
    points = [0] if zero is None else b.ints(zero)
    return points is not None and set(points) == {int(ml_dtypes.iinfo(node.y.dtype).min)}  # type: ignore[no-untyped-call]


# -- products that come out quantized ----------------------------------------------------------------------------------


@rule("QLinearMatMul", role="straight-through")
def qlinear_matmul(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The product of what the operands stand for, quantized: with dY' = dY / s_Y, dA = dY'·Bᵀ · s_A, dB = Aᵀ·dY' · s_B"""
    a, a_scale, a_zero, c, c_scale, c_zero, y_scale, y_zero = (node.input(i) for i in range(8))
    relu = _cuts_negatives(b, node, y_zero)
    a_scale, a_zero, y_scale, y_zero = (_rows(b, t) for t in (a_scale, a_zero, y_scale, y_zero))
    left, right = _real(b, a, a_zero, a_scale), _real(b, c, c_zero, c_scale)
    real = b.Div(_within(b, b.MatMul(left, right), *_range(b, node, y_scale, y_zero), dy, relu=relu), y_scale)
    da = b.Mul(_left(b, node, real, right, a), a_scale) if node.needs_input_grad(0) else None
    dc = b.Mul(_right(b, node, real, left, c), c_scale) if node.needs_input_grad(3) else None
    return da, None, None, dc, None, None, None, None


@rule("QLinearConv", role="straight-through")
def qlinear_conv(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The convolution of what the operands stand for, quantized: with dY' = dY / s_Y, as of Conv, times s_X and s_W."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (node.input(i) for i in range(8))
    bias, group, n = node.inputs[8], node["group"], x.rank - 2
    filters = b.Reshape(w_scale, [-1, *[1] * (n + 1)])
    image, weight = _real(b, x, x_zero, x_scale), _real(b, w, b.Reshape(w_zero, [-1, *[1] * (n + 1)]), filters)
    over, relu = geometry.windows(b, node, x, Extents.of(b, w, 2)), _cuts_negatives(b, node, y_zero)
    y = geometry.conv_forward(b, over, image, weight, group)
    if bias is not None:
        y = b.Add(y, b.Reshape(b.Mul(b.cast(bias, x_scale), b.Mul(x_scale, w_scale)), [-1, *[1] * n]))
    real = b.Div(_within(b, y, *_range(b, node, y_scale, y_zero), dy, relu=relu), y_scale)
    dx, dw = _convolved(b, node, real, image, weight, 0, 3)
    dx, dw = dx and b.Mul(dx, x_scale), dw and b.Mul(dw, filters)
    return dx, None, None, dw, None, None, None, None, None


@expansion("QGemm", domain="com.microsoft", inputs=9, approximates=True, alpha=1.0, transA=0, transB=0)
def qgemm(b: Builder, node: Node) -> Tensor:
    """Y = α·A·B + C of what the operands stand for, quantized where there is a scale for it; C counts in α · s_A · s_B."""
    a, a_scale, a_zero, w, w_scale, w_zero = (node.input(i) for i in range(6))
    bias, y_scale, y_zero = node.inputs[6:]
    left = b.DequantizeLinear(a, a_scale, a_zero)
    right = b.DequantizeLinear(w, w_scale, w_zero, axis=1 - node["transB"])
    unit = b.Mul(b.Mul(a_scale, w_scale), node["alpha"])
    added = None if bias is None else b.Mul(b.cast(bias, a_scale), unit)
    y = b.Gemm(left, right, added, alpha=node["alpha"], transA=node["transA"], transB=node["transB"])
    return y if y_scale is None else b.QuantizeLinear(y, y_scale, y_zero)


# -- products of integers ----------------------------------------------------------------------------------------------


@rule("MatMulInteger", role="straight-through")
def matmul_integer(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Y = (A − z_A)·(B − z_B): dA = dY·(B − z_B)ᵀ, dB = (A − z_A)ᵀ·dY"""
    a, c, a_zero, c_zero = node.input(0), node.input(1), *node.inputs[2:]
    left, right = _steps(b, a, a_zero and _rows(b, a_zero), dy), _steps(b, c, c_zero, dy)
    da = _left(b, node, dy, right, a) if node.needs_input_grad(0) else None
    dc = _right(b, node, dy, left, c) if node.needs_input_grad(1) else None
    return da, dc, None, None


@rule("ConvInteger", role="straight-through")
def conv_integer(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The convolution of X − z_X with W − z_W: messages as of Conv."""
    x, w, x_zero, w_zero = node.input(0), node.input(1), *node.inputs[2:]
    zero = w_zero and b.Reshape(w_zero, [-1, *[1] * (x.rank - 1)])
    return *_convolved(b, node, dy, _steps(b, x, x_zero, dy), _steps(b, w, zero, dy), 0, 1), None, None


# -- both --------------------------------------------------------------------------------------------------------------


def _steps(b: Builder, x: Tensor, zero: Tensor | None, like: Tensor) -> Tensor:
    """x − z as floating-point numbers."""
    wide = b.cast(x, like)
    return wide if zero is None else b.Sub(wide, b.cast(zero, like))


def _real(b: Builder, x: Tensor, zero: Tensor, scale: Tensor) -> Tensor:
    """What a quantized tensor stands for: (x − z) · s."""
    return b.Mul(_steps(b, x, zero, scale), scale)


def _rows(b: Builder, scale: Tensor) -> Tensor:
    """Scales or zero points of the rows of a matrix: a vector of them as a column."""
    return scale if scale.rank != 1 or scale.dim(0) == 1 else b.Unsqueeze(scale, [1])


def _left(b: Builder, node: Node, dy: Tensor, right: Tensor, a: Tensor) -> Tensor:
    """dA = dY·Bᵀ in the shape of A"""
    return _fitted(b, node, b.MatMul(dy, b.swap_last(right)), a)


def _right(b: Builder, node: Node, dy: Tensor, left: Tensor, c: Tensor) -> Tensor:
    """dB = Aᵀ·dY in the shape of B"""
    return _fitted(b, node, b.MatMul(b.swap_last(left), dy), c)


def _fitted(b: Builder, node: Node, m: Tensor, x: Tensor) -> Tensor:
    if min(node.x.rank, x.rank) < 2:
        raise RuleError("an operand is a vector; give it as a matrix")
    y = node.y.shape
    return b.sum_to(m, x, None if y is None or x.shape is None else (*y[:-2], *x.shape[-2:]))


def _convolved(
    b: Builder, node: Node, dy: Tensor, image: Tensor, weight: Tensor, first: int, second: int
) -> tuple[Tensor | None, Tensor | None]:
    """The messages of a convolution on its image (input `first`) and on its weight (input `second`)."""
    over, group = geometry.windows(b, node, image, Extents.of(b, weight, 2)), node["group"]
    dx = geometry.conv_input_gradient(b, over, dy, weight, image, node.y, group) if node.needs_input_grad(first) else None
    dw = geometry.conv_weight_gradient(b, over, image, dy, group) if node.needs_input_grad(second) else None
    return dx, dw
