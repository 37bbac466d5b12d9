"""What integers stand for, and back: what the expansions of quantized operators are written with."""

from __future__ import annotations

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.tensor import Tensor

__all__ = ["columns", "quantized", "real", "scalar"]


def real(b: Builder, x: Tensor | None, scale: Tensor | None, zero: Tensor | None) -> Tensor:
    """What integers stand for: (x − zero) · scale"""
    assert scale is not None
    return b.DequantizeLinear(x, scalar(b, scale), None if zero is None else scalar(b, zero))


def columns(b: Builder, w: Tensor | None, scale: Tensor | None, zero: Tensor | None) -> Tensor:
    """What weights stand for, with scales and zero points for all of them or for each column.

    Plain arithmetic: ONNX Runtime makes a DequantizeLinear by columns before a MatMul one operator that rounds the other
    factor to 8 bits.
    """
    assert w is not None
    assert scale is not None
    if scale.rank == 0 or scale.dim(0) == 1:
        return real(b, w, scale, zero)
    steps = b.cast(w, scale) if zero is None else b.Sub(b.cast(w, scale), b.cast(zero, scale))
    return b.Mul(steps, scale)


def scalar(b: Builder, x: Tensor) -> Tensor:
    """A scale (or zero point) of one element, without axes"""
    if x.rank == 0:
        return x
    if x.dim(0) != 1:
        raise RuleError(f"'{x.name}' holds {x.dim(0)} scales where one is supported")
    return b.Reshape(x, np.zeros(0, np.int64))


def quantized(b: Builder, y: Tensor, scale: Tensor | None, zero: Tensor | None, like: Tensor) -> Tensor:
    """y / scale + zero, rounded and saturated, in the type of `like` where no zero point gives one"""
    assert scale is not None
    return b.QuantizeLinear(y, scalar(b, scale), b.const(0, like.dtype) if zero is None else scalar(b, zero))
