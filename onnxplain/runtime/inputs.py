"""Checking what the user feeds against what the model takes; all problems at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from onnxplain.errors import InputError, nearest
from onnxplain.io.reader import ModelLike, read
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.passes import prepared

__all__ = ["Nonfinite", "check_inputs", "first_missing", "model_inputs"]


Nonfinite: TypeAlias = Literal["none", "missing", "all"]
"""Which numbers that are not finite an input may hold: none, NaN for a missing value, or infinity too."""


def check_inputs(
    given: Any, wanted: Sequence[Tensor], *, nonfinite: Nonfinite = "none", axes: Mapping[str, int | None] | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays by input name, in the types the model takes.

    An array alone stands for the only input. Integers are converted to floats, and floats between precisions, where no
    information about kind is lost; anything else must fit. `nonfinite` says what may stand where a number is expected. `axes` are
    those that count samples, by input: there a batch of any size is taken, whatever size the model was exported for. None stands
    for the first axis of each.

    Raises:
        InputError: unknown or missing names, other ranks or extents, other kinds of data, NaN; all of them in one message.
    """
    if not isinstance(given, Mapping):
        if len(wanted) != 1:
            names = ", ".join(f"'{t.name}' {named_dims(t)}" for t in wanted)
            raise InputError(f"the model has {len(wanted)} inputs: hand over a dict with {names}")
        given = {wanted[0].name: given}
    known = {t.name: t for t in wanted}
    problems = [f"no input '{n}' in the model; {nearest(n, known)}" for n in given if n not in known]
    problems += [f"input '{n}' {named_dims(t)} of {t.dtype} is missing" for n, t in known.items() if n not in given]
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, tensor in known.items():
        if name in given:
            arrays[name] = np.asarray(given[name])
            problems += _problems(arrays[name], tensor, nonfinite, 0 if axes is None else axes.get(name))
    problems += _uneven(arrays, known, axes)
    if problems:
        raise InputError("; ".join(problems))
    return {n: a if known[n].dtype is None else np.asarray(a, dtype=known[n].dtype, order="C") for n, a in arrays.items()}


def _problems(array: np.ndarray[Any, Any], tensor: Tensor, nonfinite: Nonfinite, samples: int | None) -> list[str]:
    found: list[str] = []
    expected = f"input '{tensor.name}' expects {named_dims(tensor)} of {tensor.dtype}"
    if tensor.shape is not None:
        fits = array.ndim == tensor.rank and all(
            mine == d or not isinstance(d, int) or axis == samples
            for axis, (mine, d) in enumerate(zip(array.shape, tensor.shape, strict=True))
        )
        if not fits:
            hint = ""
            if array.ndim == tensor.rank - 1:
                hint = "; add an axis for the samples, e.g. x[None]"
            elif sorted(map(str, array.shape)) == sorted(map(str, tensor.shape)):
                hint = "; the axes are in another order"
            elif samples is None and array.shape[1:] == tensor.shape[1:] and tensor.shape[0] == 1:
                hint = "; the output does not count samples: give one at a time"
            found.append(f"{expected}, got {list(array.shape)}{hint}")
    if tensor.dtype is not None:
        found += _kind_problems(array, tensor, expected, nonfinite)
    return found


def _kind_problems(array: np.ndarray[Any, Any], tensor: Tensor, expected: str, nonfinite: Nonfinite) -> list[str]:
    dtype = tensor.dtype
    assert dtype is not None
    if dtype.kind in "OUS":
        return [] if array.dtype.kind in "OUS" else [f"{expected} (text), got {array.dtype}"]
    if array.dtype.kind not in "fiub" and array.dtype.kind != dtype.kind:
        return [f"{expected}, got {array.dtype}"]
    if not tensor.is_float:
        whole = array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool(np.all(array == np.floor(array))))
        if not whole:
            return [f"{expected}, got {array.dtype} with fractions"]
        return []
    if nonfinite == "all" or array.dtype.kind != "f":
        return []
    bad = np.argwhere(np.isinf(array) if nonfinite == "missing" else ~np.isfinite(array))
    if not len(bad):
        return []
    where = [int(i) for i in bad[0]]
    return [f"input '{tensor.name}' holds {array[tuple(where)]} at {where}; explanations need finite numbers"]


def first_missing(feeds: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Where the first NaN stands in the inputs, in words; empty where none does."""
    for name, array in feeds.items():
        places = np.argwhere(np.isnan(array) if array.dtype.kind == "f" else np.zeros(0, bool))
        if len(places):
            return f"input '{name}' holds nan at {[int(i) for i in places[0]]}"
    return ""


def _uneven(
    arrays: Mapping[str, np.ndarray[Any, Any]], known: Mapping[str, Tensor], axes: Mapping[str, int | None] | None
) -> list[str]:
    """Inputs whose sample axes have the same symbol must agree on it."""
    counts: dict[Any, dict[str, int]] = {}
    for name, array in arrays.items():
        shape, axis = known[name].shape, 0 if axes is None else axes.get(name)
        if shape and axis is not None and array.ndim > axis and isinstance(shape[axis], str):
            counts.setdefault(shape[axis], {})[name] = array.shape[axis]
    return [
        f"inputs disagree on the number of samples: {', '.join(f'{n!r} has {c}' for n, c in group.items())}"
        for group in counts.values()
        if len(set(group.values())) > 1
    ]


def model_inputs(model: ModelLike) -> tuple[Tensor, ...]:
    """The inputs a model takes."""
    return Graph(prepared(read(model)).model).inputs
