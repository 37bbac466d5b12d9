"""Tables of pandas and polars, and other objects that hold numbers, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor

__all__ = ["as_array", "column_names", "frame_arrays", "is_frame"]

Array = np.ndarray[Any, Any]


def is_frame(given: Any) -> bool:
    """Whether an object is a table with named columns, as those of pandas and polars are."""
    return hasattr(given, "columns") and hasattr(given, "to_numpy")


def column_names(given: Any) -> tuple[str, ...]:
    """The names of a table's columns; of anything else, none."""
    return tuple(str(c) for c in given.columns) if is_frame(given) else ()


def frame_arrays(frame: Any, wanted: Sequence[Tensor]) -> dict[str, Array]:
    """The columns of a table, by the input that they are for.

    A model with one input takes all columns in their order, [n, columns]. A model with several inputs takes a column each, found
    by its name, as [n] or [n, 1]. Missing cells are NaN where an input takes numbers.

    Args:
        frame: a DataFrame.
        wanted: the model's inputs.

    Raises:
        InputError: a column holds text where the input takes numbers, or two columns have one name.
    """
    names = column_names(frame)
    if len(set(names)) < len(names):
        raise InputError(f"the table has two columns called '{next(n for n in names if names.count(n) > 1)}'")
    if len(wanted) == 1:
        tensor = wanted[0]
        if not names:
            raise InputError(f"the table has no columns; input '{tensor.name}' expects {named_dims(tensor)}")
        columns = [_column(frame[c], tensor, name) for c, name in zip(frame.columns, names, strict=True)]
        return {tensor.name: columns[0] if tensor.rank == 1 and len(columns) == 1 else np.stack(columns, axis=1)}
    known = {t.name: t for t in wanted}
    arrays = {}
    for column, name in zip(frame.columns, names, strict=True):
        values = _column(frame[column], known.get(name, Tensor(name)), name)
        arrays[name] = values[:, None] if name in known and known[name].rank == 2 else values
    return arrays


def as_array(given: Any, name: str) -> Array:
    """An object as an array.

    Args:
        given: an array, nested lists, or what NumPy can convert.
        name: the input that it is for.

    Raises:
        InputError: it cannot be converted, such as a tensor that requires a gradient.
    """
    package = type(given).__module__.partition(".")[0]
    if given is None:
        raise InputError(f"input '{name}' is None; hand over an array")
    try:
        return np.asarray(given)
    except Exception as error:  # other packages refuse with errors of their own
        hint = "hand over x.detach().cpu().numpy()" if package == "torch" else "hand over a NumPy array"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"input '{name}': {package}'s {type(given).__name__} is no array ({reason.rstrip('.')}); {hint}"
        ) from error


def _column(series: Any, tensor: Tensor, name: str) -> Array:
    values = np.asarray(series.to_numpy())
    if tensor.dtype is not None and tensor.dtype.kind in "OUS":
        empty = next((row for row, v in enumerate(values) if _is_missing(v)), None)
        if empty is not None:
            raise InputError(
                f"column '{name}' lacks a value in row {empty}, and input '{tensor.name}' takes text; fill it in as in training"
            )
    if tensor.dtype is None or tensor.dtype.kind in "OUS" or values.dtype.kind in "fiub":
        return values
    try:  # objects, such as whole numbers with missing ones among them
        return np.array([np.nan if _is_missing(v) else float(v) for v in values])
    except (TypeError, ValueError):
        text = next(v for v in values if not _is_number(v))
        raise InputError(
            f"column '{name}' holds {text!r}, input '{tensor.name}' takes {tensor.dtype}; encode it as in training"
        ) from None


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and np.isnan(value))


def _is_number(value: Any) -> bool:
    try:
        return _is_missing(value) or float(value) is not None
    except (TypeError, ValueError):
        return False
