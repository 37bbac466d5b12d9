"""From integers to the real numbers they stand for, and back: what the expansions of quantized operators are written with."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.tensor import Tensor

__all__ = ["columns", "dequantized", "quantized", "real", "requantized", "scalar"]

FLOAT = np.dtype(np.float32)

SCALES_OF_ANY_TYPE = 19
"""From this operator set on scales need not be float32."""


def real(b: Builder, x: Tensor | None, scale: Tensor | None, zero: Tensor | None) -> Tensor:
    """The real numbers that integers stand for: (x − zero) · scale.

    Args:
        b: where nodes are emitted.
        x: the integers.
        scale: the scale, one number.
        zero: the zero point, one number; None for 0.

    Returns:
        Real numbers in the type of the scale.

    Raises:
        RuleError: there are several scales.

    Example:
        >>> from onnxplain.rulekit.quantized import real
        >>> run(real(b, b.const([1, 2, 3], np.uint8), b.const(0.5), b.const(1, np.uint8)))
        array([0. , 0.5, 1. ], dtype=float32)
    """
    assert scale is not None
    return dequantized(b, x, scalar(b, scale), None if zero is None else scalar(b, zero))


def dequantized(b: Builder, x: Tensor | None, scale: Tensor, zero: Tensor | None, **settings: Any) -> Tensor:
    """DequantizeLinear of scales of any type, in every operator set: where they have to be float32, the result is rounded after.

    Args:
        b: where nodes are emitted.
        x: the integers.
        scale: the scales.
        zero: the zero points; None for 0.
        **settings: attributes of DequantizeLinear.

    Returns:
        Real numbers in the type of the scale.

    Example:
        >>> from onnxplain.rulekit.quantized import dequantized
        >>> run(dequantized(b, b.const([1, 2], np.uint8), b.const(0.5, np.float16), None))
        array([0.5, 1. ], dtype=float16)
    """
    if b.graph.opset >= SCALES_OF_ANY_TYPE or scale.dtype == np.float32:
        made: Tensor = b.DequantizeLinear(x, scale, zero, **settings)
        return made
    return b.cast(b.DequantizeLinear(x, b.cast(scale, Tensor("", FLOAT)), zero, **settings), scale)


def requantized(b: Builder, y: Tensor, scale: Tensor, zero: Tensor | None, **settings: Any) -> Tensor:
    """QuantizeLinear of numbers of any type, in every operator set.

    Args:
        b: where nodes are emitted.
        y: real numbers.
        scale: the scales.
        zero: the zero points; None for 0, as uint8.
        **settings: attributes of QuantizeLinear.

    Returns:
        The integers.

    Example:
        >>> from onnxplain.rulekit.quantized import requantized
        >>> run(requantized(b, b.const([1.0, 2.0], np.float16), b.const(0.5, np.float16), b.const(0, np.uint8)))
        array([2, 4], dtype=uint8)
    """
    if not (b.graph.opset >= SCALES_OF_ANY_TYPE or scale.dtype == np.float32):
        wide = Tensor("", FLOAT)
        y, scale = b.cast(y, wide), b.cast(scale, wide)
    made: Tensor = b.QuantizeLinear(y, scale, zero, **settings)
    return made


def columns(b: Builder, w: Tensor | None, scale: Tensor | None, zero: Tensor | None) -> Tensor:
    """The real weights that integers stand for, with one scale and zero point, or one per column.

    This is plain arithmetic: ONNX Runtime fuses a DequantizeLinear by columns with the MatMul behind it into one operator, which
    rounds the other factor to 8 bits.

    Args:
        b: where nodes are emitted.
        w: the integers, [rows, columns].
        scale: the scales, [], [1] or [columns].
        zero: the zero points, likewise; None for 0.

    Returns:
        Real numbers in the type of the scales.

    Example:
        >>> from onnxplain.rulekit.quantized import columns
        >>> run(columns(b, b.const([[1, 2], [3, 4]], np.int8), b.const([1.0, 0.5]), None))
        array([[1., 1.],
               [3., 2.]], dtype=float32)
    """
    assert w is not None
    assert scale is not None
    if scale.rank == 0 or scale.dim(0) == 1:
        return real(b, w, scale, zero)
    steps = b.cast(w, scale) if zero is None else b.Sub(b.cast(w, scale), b.cast(zero, scale))
    return b.Mul(steps, scale)


def scalar(b: Builder, x: Tensor) -> Tensor:
    """A scale (or zero point) of one element, without axes.

    Args:
        b: where nodes are emitted.
        x: a tensor [] or [1].

    Returns:
        The same number, [].

    Raises:
        RuleError: it holds several numbers.

    Example:
        >>> from onnxplain.rulekit.quantized import scalar
        >>> run(scalar(b, b.const([0.5]))).shape
        ()
    """
    if x.rank == 0:
        return x
    if x.dim(0) != 1:
        raise RuleError(f"'{x.name}' holds {x.dim(0)} scales where one is supported")
    return b.Reshape(x, np.zeros(0, np.int64))


def quantized(b: Builder, y: Tensor, scale: Tensor | None, zero: Tensor | None, like: Tensor) -> Tensor:
    """Real numbers as integers: y / scale + zero, rounded and saturated.

    Args:
        b: where nodes are emitted.
        y: the real numbers.
        scale: the scale, one number.
        zero: the zero point, one number, whose type the result has; None for 0.
        like: a tensor whose type the result has where there is no zero point.

    Returns:
        The integers.

    Raises:
        RuleError: there are several scales.

    Example:
        >>> from onnxplain.rulekit.quantized import quantized
        >>> run(quantized(b, x, b.const(0.5), b.const(10, np.uint8), x))
        array([[12,  6, 16],
               [ 2, 20,  0]], dtype=uint8)
    """
    assert scale is not None
    return requantized(b, y, scalar(b, scale), b.const(0, like.dtype) if zero is None else scalar(b, zero))
