"""Spectra: linear maps of the signal, whose adjoints are Fourier transforms the other way round."""

from collections.abc import Callable
from math import pi

from onnxplain import Builder, Extents, Messages, Node, Tensor, rule
from onnxplain.rulekit import scatter as placing

Transform = Callable[[Tensor, Tensor, int], Tensor]


@rule("DFT", role="linear")
def dft(b: Builder, node: Node, dy: Tensor) -> Messages:
    """As below, with the axis as an attribute."""
    axis = node["axis"]

    def transformed(x: Tensor, length: Tensor, inverse: int) -> Tensor:
        return b.DFT(x, length, axis=axis, inverse=inverse)

    return _dft_message(b, node, dy, b.const([axis]), transformed), None


@rule("DFT", role="linear", since=20)
def dft_20(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Y_k = Σ x_t · e^(−2πikt/N), so dx_t = Σ dY_k · e^(2πikt/N): N times the inverse, of the half spectrum filled with zeros."""
    axis = node.inputs[2]
    known = b.const(-2) if axis is None else axis

    def transformed(x: Tensor, length: Tensor, inverse: int) -> Tensor:
        return b.DFT(x, length, known, inverse=inverse)

    return _dft_message(b, node, dy, b.Reshape(b.Cast(known, to=7), [1]), transformed), None, None


def _dft_message(b: Builder, node: Node, dy: Tensor, axis: Tensor, transformed: Transform) -> Tensor:
    x, inverse, half = node.x, node["inverse"], node["onesided"]
    real = inverse and half  # a half spectrum in, a real signal out
    own, made = b.Gather(b.Shape(x), axis), b.Gather(b.Shape(dy), axis)
    length = own if node.inputs[1] is None else b.Cast(b.Reshape(node.inputs[1], [1]), to=7)
    if real:
        length = made
    elif half:
        dy = _lengthened(b, dy, b.Sub(length, made), axis)
    dx = transformed(dy, b.Squeeze(length), 1 - inverse)
    size = b.cast(length, dy)
    dx = b.Div(dx, size) if inverse else b.Mul(dx, size)
    if real or node.inputs[1] is not None:
        dx = _lengthened(b, b.Slice(dx, [0], own, axis), b.Max(b.Sub(own, length), 0), axis)
    if real:  # the other half is the conjugate: all but the first and, of an even length, the middle count twice
        numbers = b.Range(0, b.Squeeze(own), 1)
        once = b.Or(b.Equal(numbers, 0), b.Equal(b.Mul(numbers, 2), length))
        counts = b.Where(once, b.const(1, dy.dtype), b.const(2, dy.dtype))
        shape = b.ScatterElements(b.Expand([1], b.Shape(b.Shape(x))), axis, own, axis=0)
        return b.Mul(dx, b.Reshape(counts, shape))
    return b.Slice(dx, [0], b.dim(x, -1), [-1])


def _lengthened(b: Builder, x: Tensor, count: Tensor, axis: Tensor) -> Tensor:
    """x with so many zeros at the end of an axis."""
    pads, known = b.Concat([0], count, axis=0), b.ints(axis)
    made: Tensor = b.op("Pad", x, pads, None, axis) if known is None else b.Pad(x, pads, None, known)
    return made


@rule("STFT", role="bilinear")
def stft(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Y_k = Σ x_t · w_t · e^(−2πikt/F) for each frame: with g_t = Σ dY_k · e^(2πikt/F), dx_t = Σ g_t · w_t, dw_t = Σ g_t · x_t"""
    x, step, window, length = node.input(0), node.input(1), *node.inputs[2:]
    flat_signal = x.rank == 2  # beyond the standard, but TorchScript's exporter writes it and ONNX Runtime takes it
    x = b.Unsqueeze(x, [2]) if flat_signal else x
    frames, bins = b.dim(node.y, 1), b.dim(node.y, 2)
    extent = b.dim(window, 0) if window is not None else b.Cast(b.Reshape(length, [1]), to=7)
    times = b.Range(0, b.Squeeze(extent), 1)
    turns = b.Mod(b.Mul(b.Unsqueeze(b.Range(0, b.Squeeze(bins), 1), [1]), times), extent)  # whole turns do not count
    angle = b.Mul(b.Div(b.cast(turns, dy), b.cast(extent, dy)), 2 * pi)
    cos, sin = b.Cos(angle), b.Sin(angle)
    re, im = b.Gather(dy, 0, axis=3), b.Gather(dy, 1, axis=3)
    parts = [b.Sub(b.MatMul(re, cos), b.MatMul(im, sin)), b.Add(b.MatMul(re, sin), b.MatMul(im, cos))]
    g = b.Slice(b.Concat(*(b.Unsqueeze(p, [3]) for p in parts), axis=3), [0], b.dim(x, 2), [3])
    starts = b.Mul(b.Range(0, b.Squeeze(frames), 1), b.Cast(b.Reshape(step, [1]), to=7))
    places = b.Reshape(b.Add(b.Unsqueeze(starts, [1]), times), [-1])
    dx = dw = None
    if node.needs_input_grad(0):
        m = g if window is None else b.Mul(g, b.Reshape(window, [-1, 1]))
        flat = b.Reshape(m, Extents(b, [0, -1]).then(Extents(b, b.dim(x, 2))).operand)
        dx = placing.sum_at(b, flat, places, b.dim(x, 1), 1, 3)
        dx = b.Squeeze(dx, [2]) if flat_signal else dx
    if window is not None and node.needs_input_grad(2):
        read = b.Reshape(b.Gather(x, places, axis=1), b.Shape(g))
        dw = b.ReduceSum(b.Mul(g, read), [0, 1, 3], keepdims=0)
    return dx, None, dw, None


@rule("MelWeightMatrix", role="zero")
def zero(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Its frequencies are rounded to whole bins."""
    return None
