"""Background data: rows that stand for what is usual, and what the tensors of a model are for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxplain.errors import InputError, MethodError, nearest
from onnxplain.io.samples import read_inputs
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext
from onnxplain.runtime.session import Arrays, Session

__all__ = ["background_rows", "table_rows", "values_at"]

Array: TypeAlias = "np.ndarray[Any, Any]"

ROWS_AT_ONCE = 4096
"""Rows that go through the model together."""


def table_rows(context: AttributionContext, background: Any, what: str = "background") -> Arrays:
    """Rows of data for every input of a model of tables.

    Args:
        context: what is explained.
        background: an array [rows, ...] for the one input, a dict of them by input name, a data frame with a column for each
            input, or the path of a .csv, .npy or .npz file of rows.
        what: the option that holds them, for errors.

    Returns:
        Rows by input name, [rows, ...] in the types of the inputs.

    Raises:
        InputError: rows are missing, or do not have the shape of samples; or nothing tells which axis counts samples.
        MethodError: the model does not take samples of a known shape, along the first axis of all that it takes and gives.
    """
    graph, axes = context.graph, context.selection.axes
    wanted: Arrays = {}
    if axes.open:
        raise InputError(axes.question())
    places = {**{t.name: axes.of_input(t.name) for t in graph.inputs}, axes.score.name: axes.axis}
    elsewhere = [name for name, axis in places.items() if axis != 0]
    if elsewhere:
        raise MethodError(
            f"rows of a table are expected along the first axis of every input and of the output; '{elsewhere[0]}' has none "
            f"there ({axes.reason}); exact-shapley and kernel-shap explain any model"
        )
    for t in graph.inputs:
        rest = (t.shape or (None, None))[1:]
        if t.dtype is None or not all(isinstance(d, int) for d in rest):
            raise MethodError(f"rows of data need samples of a known shape; '{t.name}' has {t.shape and list(t.shape)}")
        wanted[t.name] = np.empty((1, *rest), t.dtype)
    if background is None:
        shown = ", ".join(f"'{n}' [rows, {', '.join(map(str, a.shape[1:]))}]" for n, a in wanted.items())
        raise InputError(f"{what} is missing: rows of data to compare with, {shown}")
    if isinstance(background, str | Path):
        background = read_inputs([str(background)], graph.inputs)
    elif hasattr(background, "columns") and len(wanted) > 1:  # a data frame
        lost = [name for name in wanted if name not in background.columns]
        if lost:
            raise InputError(f"{what} has no column '{lost[0]}'; {nearest(lost[0], map(str, background.columns))}")
        background = {name: np.asarray(background[name]).reshape(-1, *rows.shape[1:]) for name, rows in wanted.items()}
    return background_rows(background, wanted, what)


def values_at(graph: Graph, tensors: Sequence[Tensor], rows: Mapping[str, Array]) -> list[Array]:
    """What tensors of a model are for rows of data, by ONNX Runtime on the CPU.

    Args:
        graph: the model, to which nothing has been added.
        tensors: of the model.
        rows: by input name, [rows, ...].

    Returns:
        For each tensor its values, [rows, ...].

    Raises:
        ModelError: ONNX Runtime does not load the model.
        InputError: it does not take the rows.
    """
    part = onnx.ModelProto()
    part.CopyFrom(graph.model)
    del part.graph.output[:]
    ends = [onnx.helper.make_empty_tensor_value_info(t.name) for t in tensors if t not in graph.inputs]
    if not ends:
        return [rows[t.name] for t in tensors]
    part.graph.output.extend({e.name: e for e in ends}.values())
    session = Session(part, "cpu")
    fixed = [t.shape[0] for t in graph.inputs if t.shape and isinstance(t.shape[0], int)]
    size, count = fixed[0] if fixed else ROWS_AT_ONCE, len(next(iter(rows.values())))
    found: dict[str, list[Array]] = {e.name: [] for e in ends}
    for start in range(0, count, size):
        chunk = {n: r[start : start + size] for n, r in rows.items() if n in session.inputs}
        here = min(size, count - start)
        if fixed:
            chunk = {n: np.concatenate([r, np.repeat(r[-1:], size - here, 0)]) for n, r in chunk.items()}
        for name, value in session.run(chunk).items():
            found[name].append(np.asarray(value)[:here])
    return [np.concatenate(found[t.name]) if t.name in found else rows[t.name] for t in tensors]


def background_rows(background: Any, x: Mapping[str, Array], what: str = "background") -> Arrays:
    """Rows of data by input name, [m, …], in the types of the inputs.

    Raises:
        InputError: a name is missing, or the rows do not have the shape of samples.
    """
    named = background if isinstance(background, Mapping) else dict.fromkeys(x, background)
    if (len(x) > 1 and not isinstance(background, Mapping)) or set(x) - set(named):
        raise InputError(f"{what} must be a dict with rows of data for each explained input: {', '.join(x)}")
    made: Arrays = {}
    for name, array in x.items():
        rows = np.asarray(named[name], object if array.dtype.kind in "OUS" else None)
        if rows.dtype.kind in "OUS" and array.dtype.kind not in "OUS":
            raise InputError(f"{what} for '{name}' holds {rows.dtype}, expected numbers ({array.dtype})")
        if rows.ndim != array.ndim or rows.shape[1:] != array.shape[1:] or not len(rows):
            raise InputError(
                f"{what} holds rows of data like the input: expected [m, {', '.join(map(str, array.shape[1:]))}] for '{name}', "
                f"got {list(rows.shape)}"
            )
        made[name] = rows.astype(array.dtype)
    counts = {n: len(v) for n, v in made.items()}
    if len(set(counts.values())) > 1:
        raise InputError(
            f"{what}: inputs disagree on the number of rows: {', '.join(f'{n!r} has {c}' for n, c in counts.items())}"
        )
    return made
