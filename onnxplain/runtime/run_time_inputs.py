"""What a host gives an explained model at run time beside the model's own inputs: baselines, noise, paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.ir.type_inference import FIXED

__all__ = ["MEANING", "run_time_feeds"]

MEANING = {
    "baseline": "reference for '{name}'; one row serves all samples",
    "noise": "standard normal numbers for '{name}', one draw after the other",
    "path": "points of the path of '{name}' before the input",
    "position": "where on the line from baseline to input each draw lies, 0 to 1",
    "reference": "the number of each draw's baseline",
    "mask": "what may pass at '{name}': 1 keeps, 0 blocks",
    "low": "the lowest values that '{name}' can take",
    "high": "the highest values that '{name}' can take",
}
"""The run-time inputs of methods by their kind, and what they are."""


def run_time_feeds(
    kind: str, names: Mapping[str, str], value: Any, inputs: Mapping[str, Any], feeds: Mapping[str, np.ndarray[Any, Any]],
    axes: Mapping[str, int | None], who: str,
) -> dict[str, np.ndarray[Any, Any]]:  # fmt: skip
    """The arrays by input name.

    Args:
        kind: of `MEANING`.
        names: the run-time input of each explained tensor.
        value: what the user gives: a number, an array, or a dict of these by explained name.
        inputs: what ONNX Runtime says of them, by name: `type` and `shape`.
        feeds: the inputs of the model that are given in their own shape, not in that of what is looked up.
        axes: the axis of each that counts samples; None where none does.
        who: what needs it, for messages: "method 'taylor'".

    Raises:
        MethodError: nothing was given.
        InputError: what was given does not fit.
    """
    if value is None:
        zero = ", such as baseline=0.0 (--baseline 0)," if kind == "baseline" else ""
        raise MethodError(f"{who} needs a {kind}: a number{zero} an array, or a dict of these for {', '.join(names)}")
    result = {}
    for explained, name in names.items():
        mine = value.get(explained) if isinstance(value, Mapping) else value
        like = feeds.get(explained)
        if mine is None and kind == "baseline" and like is not None and not like.size:
            mine = 0  # what has no elements needs none
        if mine is None or isinstance(mine, str):
            raise InputError(f"the {kind} of '{explained}' must be a number or an array")
        array = np.asarray(mine, dtype=FIXED[inputs[name].type])
        if not np.isfinite(array).all():
            raise InputError(f"the {kind} of '{explained}' holds NaN or infinity")
        if like is not None:
            several = [*inputs[name].shape[:1]] == ["references"]
            array = _fitted("references" if several else kind, explained, array, like, axes.get(explained))
        elif not array.ndim:  # a number, which is stretched
            array = np.broadcast_to(array, [d if isinstance(d, int) else 1 for d in inputs[name].shape])
        result[name] = np.ascontiguousarray(array)
    return result


def _fitted(
    kind: str, explained: str, array: np.ndarray[Any, Any], like: np.ndarray[Any, Any], axis: int | None
) -> np.ndarray[Any, Any]:
    """An array stretched to a sample's extents; one more axis in front counts draws or points."""
    samples = None if axis is None else like.shape[axis]
    beside = tuple(extent for i, extent in enumerate(like.shape) if i != axis)
    if kind in ("position", "reference"):
        full: tuple[int, ...] = (array.shape[0], samples or 1) if array.ndim else (1, 1)
        array = array[:, None] if array.ndim == 1 else array
    elif kind == "references":
        full = (array.shape[0] if array.ndim == len(beside) + 1 else 1, *beside)
    elif kind == "baseline" and axis is not None:
        full = (*beside[:axis], array.shape[axis] if array.ndim == like.ndim else 1, *beside[axis:])
    elif kind == "baseline":
        full = like.shape
    else:
        full = (array.shape[0], *like.shape) if array.ndim else like.shape
    try:
        return np.broadcast_to(array, full)
    except ValueError:
        raise InputError(f"the {kind} of shape {list(array.shape)} does not broadcast to '{explained}' {list(full)}") from None
