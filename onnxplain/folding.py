"""Operators on small constants, computed while the graph is built: per-channel factors, shapes, axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

__all__ = ["FOLDED"]


def _unsqueeze(x: np.ndarray[Any, Any], axes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.expand_dims(x, tuple(int(a) for a in axes))


def _reshape(x: np.ndarray[Any, Any], shape: np.ndarray[Any, Any], allowzero: int = 0) -> np.ndarray[Any, Any] | None:
    return None if 0 in shape else x.reshape(shape)


def _cast(x: np.ndarray[Any, Any], to: int) -> np.ndarray[Any, Any] | None:
    """Whole numbers as floating-point ones, where nothing is rounded."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(to)
    made = x.astype(kind)
    return made if x.dtype.kind in "iu" and kind.kind == "f" and np.array_equal(made.astype(x.dtype), x) else None


FOLDED: dict[str, Callable[..., np.ndarray[Any, Any] | None]] = {
    "Add": np.add,
    "Cast": _cast,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Reshape": _reshape,
    "Sqrt": np.sqrt,
    "Sub": np.subtract,
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Unsqueeze": _unsqueeze,
}
"""Operators computed at once where their inputs are small constants. All are exact: ONNX Runtime gives the same bits."""
