"""Bounds of an input, for the box rule: the lowest and highest values that it can take."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.lrp import linear_rules as lrp
from onnxplain.propagation.lrp.linear_rules import LinearRule, Part

__all__ = ["Bound", "bound", "box_between"]

Bound: TypeAlias = "float | str | list[float] | np.ndarray[Any, Any] | Tensor"
"""A bound of the box rule: a number, one per channel, an array that broadcasts to the input, or "input" for run time."""


def box_between(low: Bound = 0.0, high: Bound = 1.0) -> LinearRule:
    """The box rule between two bounds.

    Raises:
        MethodError: a bound holds no numbers, or low is not below high.
    """
    values = []
    for value in (low, high):
        if isinstance(value, Tensor) or (isinstance(value, str) and value == "input"):
            continue
        array = np.asarray(value)
        if array.dtype.kind not in "iuf" or not np.isfinite(array).all():
            raise MethodError(f"{BOUND}; found {value!r}")
        values.append(array)
    if len(values) == 2 and values[0].ndim == values[1].ndim == 0 and values[0] >= values[1]:
        raise MethodError(f"the box rule needs low below high, found low = {low}, high = {high}")
    return lrp.box(bound(low), bound(high))


BOUND = "a bound is a number, one number per channel, an array, or 'input' for run time"


def bound(value: Bound) -> Part:
    """A bound as a part of an input: one number, one per channel, an array that broadcasts to it, or a tensor given at run
    time, stretched to the input's shape."""

    def part(b: Builder, x: Tensor) -> Tensor:
        if isinstance(value, Tensor):
            return b.expand(b.cast(value, x), x)
        if isinstance(value, str):
            raise MethodError(f"{BOUND}; found {value!r}")
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
