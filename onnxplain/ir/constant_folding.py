"""Operators on small constants, computed while the graph is built: per-channel factors, shapes, axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import onnx

from onnxplain.ir.graph import READABLE_ELEMENTS

__all__ = ["FOLDABLE"]


def _unsqueeze(x: np.ndarray[Any, Any], axes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.expand_dims(x, tuple(int(a) for a in axes))


def _reshape(x: np.ndarray[Any, Any], shape: np.ndarray[Any, Any], allowzero: int = 0) -> np.ndarray[Any, Any] | None:
    return None if 0 in shape else x.reshape(shape)


def _cast(x: np.ndarray[Any, Any], to: int) -> np.ndarray[Any, Any] | None:
    """Whole numbers as floating-point ones, where nothing is rounded."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(to)
    made = x.astype(kind)
    return made if x.dtype.kind in "iu" and kind.kind == "f" and np.array_equal(made.astype(x.dtype), x) else None


def _range(start: np.ndarray[Any, Any], limit: np.ndarray[Any, Any], delta: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Counting whole numbers, where they are few."""
    if start.dtype.kind not in "iu" or not delta.item():
        return None
    numbers = range(start.item(), limit.item(), delta.item())
    return np.array(numbers, start.dtype) if len(numbers) <= READABLE_ELEMENTS else None


def _squeeze(x: np.ndarray[Any, Any], axes: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
    return np.squeeze(x, None if axes is None else tuple(int(a) for a in axes))


# operators: an implementation of each
FOLDABLE: dict[str, Callable[..., np.ndarray[Any, Any] | None]] = {
    "Add": np.add,
    "Cast": _cast,
    "Concat": lambda *x, axis: np.concatenate(x, axis),
    "Max": lambda *x: reduce(np.maximum, x),
    "Min": lambda *x: reduce(np.minimum, x),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Range": _range,
    "Reciprocal": np.reciprocal,
    "Reshape": _reshape,
    "Sqrt": np.sqrt,
    "Squeeze": _squeeze,
    "Sub": np.subtract,
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Unsqueeze": _unsqueeze,
}
"""Operators computed at once where their inputs are small constants. All are exact: ONNX Runtime gives the same bits."""
