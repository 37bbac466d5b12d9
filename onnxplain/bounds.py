"""Bounds of an input, for the box rule: the lowest and highest values that it can take."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.builder import Builder
from onnxplain.errors import MethodError
from onnxplain.lrp import Part
from onnxplain.tensor import Tensor

__all__ = ["bound"]


def bound(value: float | str | list[float] | np.ndarray[Any, Any] | Tensor) -> Part:
    """A bound as a part of an input: one number, one per channel, an array that broadcasts to it, or a tensor given at run
    time, stretched to the input's shape."""

    def part(b: Builder, x: Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return b.expand(value, x)
        if isinstance(value, str):
            raise MethodError(f"a bound is a number, one number per channel, an array, or 'input' for run time; found '{value}'")
        array = np.asarray(value, np.float64)
        if array.ndim == 1 and x.rank > 2 and array.size == x.dim(1):  # one per channel, axis 1
            array = array.reshape(-1, *[1] * (x.rank - 2))
        fits = x.shape is None or (
            array.ndim <= x.rank
            and all(n in (1, d) or not isinstance(d, int) for n, d in zip(array.shape[::-1], x.shape[::-1], strict=False))
        )
        if not fits:
            raise MethodError(f"a bound of shape {list(array.shape)} does not broadcast to '{x.name}' {list(x.shape or ())}")
        return b.expand(b.const(array, x.dtype), x)

    return part
