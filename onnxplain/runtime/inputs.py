"""Checking what the user feeds against what the model takes; all problems at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from onnxplain.analysis.sample_axis import AUTO, SampleAxes, SampleAxisLike, find_sample_axes
from onnxplain.analysis.score import before_derived, find_score
from onnxplain.analysis.tensor_names import resolve
from onnxplain.errors import InputError, nearest
from onnxplain.io.reader import ModelLike, read
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.ops import Traits
from onnxplain.ir.registry import load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.passes import prepared
from onnxplain.runtime.frames import as_array, frame_arrays, is_frame
from onnxplain.runtime.guarded import guarded

__all__ = ["Nonfinite", "axes_of", "check_inputs", "check_rows", "first_missing", "inputs_and_axes", "model_inputs"]


Nonfinite: TypeAlias = Literal["none", "missing", "all"]
"""Which numbers that are not finite an input may hold: none, NaN for a missing value, or infinity too."""


def check_inputs(
    given: Any, wanted: Sequence[Tensor], *, nonfinite: Nonfinite = "none", axes: Mapping[str, int | None] | None = None
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays by input name, in the types the model takes.

    An array alone stands for the only input, a DataFrame for its columns (`frame_arrays`). Integers are converted to floats, and
    floats between precisions, where no information about kind is lost; anything else must fit. `nonfinite` says what may stand
    where a number is expected. `axes` are those that count samples, by input: there a batch of any size is taken, whatever size
    the model was exported for. None stands for the first axis of each.

    Raises:
        InputError: unknown or missing names, other ranks or extents, other kinds of data, NaN; all of them in one message.
    """
    if is_frame(given):
        given = frame_arrays(given, wanted)
    elif not isinstance(given, Mapping):
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
            arrays[name] = as_array(given[name], name)
            found = _problems(arrays[name], tensor, nonfinite, 0 if axes is None else axes.get(name))
            if type(given[name]).__module__.startswith("PIL."):
                found = [f"{p.partition(';')[0]}; onnxplain.load_image(picture, model) makes it fit" for p in found]
            problems += found
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
        hint = "; read a file first, e.g. np.load(path) or onnxplain.load_image(path, model)" if array.dtype.kind == "U" else ""
        return [f"{expected}, got {array.dtype}{hint}"]
    if not tensor.is_float:
        whole = array.dtype.kind in "iub" or (array.dtype.kind == "f" and bool(np.all(array == np.floor(array))))
        if not whole:
            return [f"{expected}, got {array.dtype} with fractions"]
        return _range_problems(array, dtype, tensor.name)
    if nonfinite == "all" or array.dtype.kind != "f":
        return _range_problems(array, dtype, tensor.name)
    bad = np.argwhere(np.isinf(array) if nonfinite == "missing" else ~np.isfinite(array))
    if not len(bad):
        return _range_problems(array, dtype, tensor.name)
    where = [int(i) for i in bad[0]]
    return [f"input '{tensor.name}' holds {array[tuple(where)]} at {where}; explanations need finite numbers"]


def _range_problems(array: np.ndarray[Any, Any], dtype: np.dtype[Any], name: str) -> list[str]:
    """Numbers that the model's type cannot hold: they would wrap around, or become infinite."""
    if array.dtype == dtype:
        return []
    with np.errstate(all="ignore"):
        made = array.astype(dtype)
    lost = np.argwhere(made != array if dtype.kind in "iu" else np.isinf(made) & ~np.isinf(array))
    if not len(lost):
        return []
    where = [int(i) for i in lost[0]]
    return [f"input '{name}' takes {dtype}, which cannot hold {array[tuple(where)]} at {where}"]


def check_rows(name: str, array: np.ndarray[Any, Any], rows: int | None) -> None:
    """Check integers that are looked up in a table.

    Args:
        name: the input.
        array: its values.
        rows: how many rows the table has; None where that is not known.

    Raises:
        InputError: a value has no row.
    """
    if rows is None or not array.size or (array.max() < rows and array.min() >= -rows):
        return
    where = [int(i) for i in np.argwhere((array >= rows) | (array < -rows))[0]]
    raise InputError(
        f"input '{name}' holds {array[tuple(where)]} at {where}, and the table that it is looked up in has {rows} rows: "
        f"expected 0 to {rows - 1}"
    )


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


@guarded
def model_inputs(model: ModelLike) -> tuple[Tensor, ...]:
    """The inputs a model takes."""
    return Graph(prepared(read(model)).model).inputs


def inputs_and_axes(
    model: ModelLike,
    *,
    output: str | None = None,
    score: str = "logit",
    sample_axis: SampleAxisLike = AUTO,
    rules: str | Path | Iterable[str | Path] | None = None,
) -> tuple[tuple[Tensor, ...], SampleAxes]:
    """The inputs a model takes, and which of their axes count samples, seen from the output that is explained.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        output, score, sample_axis, rules: as in `onnxplain.rewrite`.

    Raises:
        LayerError: no such output.
        InputError: the user says what does not fit the inputs.
    """
    registry = load_registry(rules)
    graph = Graph(prepared(read(model), registry).model)
    return graph.inputs, axes_of(graph, output, score, sample_axis, registry.traits)


def axes_of(graph: Graph, output: str | None, score: str, sample_axis: SampleAxisLike, traits: Traits) -> SampleAxes:
    """Which axes of a prepared model count samples, seen from the output that is explained; as `inputs_and_axes`."""
    named = None if output is None else resolve(graph.model, output)
    return find_sample_axes(graph, find_score(graph, named, before_derived(score)), sample_axis, traits)
