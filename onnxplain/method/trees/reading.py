"""What tree-shap reads of a model: its ensembles, the columns that their features are made of, and rows as the trees see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.trees.columns import Columns, columns_of
from onnxplain.analysis.trees.ensemble import Array, Ensemble
from onnxplain.analysis.trees.read import check_transform, read_ensemble
from onnxplain.analysis.trees.tail import ensembles_of
from onnxplain.errors import InputError, MethodError
from onnxplain.ir.edit import alive, set_nodes
from onnxplain.ir.graph import named_dims
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext
from onnxplain.runtime.session import Session

__all__ = ["Read", "Table", "absent_rows", "columns_in_all", "read_model", "split"]

CHECKED = 256
"""Rows on which what was read from an ensemble is compared with what the runtime makes of it."""


@dataclass(frozen=True, eq=False)
class Read:
    """An operator with its trees and the scores that it makes."""

    node: Node
    trees: Ensemble
    scores: Tensor


@dataclass(frozen=True, eq=False)
class Table:
    """Ensembles that look at one tensor.

    Attributes:
        x: the tensor, [n, features].
        rows: rows of it that take the place of absent features, in the type in which trees compare.
        reads: the ensembles.
        player_of: the number of the column that each feature is made of, counted through all explained tensors; −1 for none.
    """

    x: Tensor
    rows: Array
    reads: tuple[Read, ...]
    player_of: Array


def absent_rows(context: AttributionContext, background: Any, data: Any) -> dict[str, Array]:
    """Rows of background or data by explained tensor's name, [m, …].

    Raises:
        MethodError: neither or both are given.
        InputError: they do not have the form of the inputs.
    """
    if (background is None) == (data is None):
        found = "neither" if data is None else "both"
        raise MethodError(
            "tree-shap takes background=rows (interventional values) or data=rows (path-dependent values: the file does not "
            f"say how many rows went which way); got {found}"
        )
    what, given = ("background", background) if data is None else ("data", data)
    if not isinstance(given, Mapping):
        if len(context.explained) > 1:
            names = ", ".join(e.name for e in context.explained)
            raise InputError(f"{what} must be a dict with rows for each explained input: {names}")
        given = {context.explained[0].name: given}
    made = {e.tensor.name: _rows(what, given, e) for e in context.explained}
    counts = {n: len(r) for n, r in made.items()}
    if len(set(counts.values())) > 1:
        raise InputError(
            f"{what}: inputs disagree on the number of rows: {', '.join(f'{n!r} has {c}' for n, c in counts.items())}"
        )
    return made


def _rows(what: str, given: Mapping[Any, Any], e: Explained) -> Array:
    if e.name not in given:
        raise InputError(f"{what} has no rows for '{e.name}'; it has {', '.join(map(str, given))}")
    x = e.tensor
    text = x.dtype is not None and x.dtype.kind in "OUS"
    rows = np.asarray(given[e.name], object if text else None)
    shape = x.shape if x.shape is not None else (None,)
    fits = rows.ndim == len(shape) and len(rows) and (text or rows.dtype.kind in "fiub")
    if not fits or any(isinstance(d, int) and d != r for d, r in zip(shape[1:], rows.shape[1:], strict=True)):
        kind = "text" if text else "numbers"
        extents = ", ".join(str(d) for d in shape[1:])
        raise InputError(
            f"{what} holds rows of {kind} like the input: expected [m{', ' if extents else ''}{extents}] for '{e.name}', got "
            f"{list(rows.shape)} of {rows.dtype}"
        )
    return rows if text else rows.astype(x.dtype)


def read_model(context: AttributionContext, rows: Mapping[str, Array]) -> list[Table]:
    """The ensembles that the score is a linear map of, by the tensor they look at.

    Args:
        context: what is explained.
        rows: what takes the place of absent features, by explained tensor.

    Raises:
        MethodError: there are none, or their features are made of several columns each.
        InputError: rows have missing values that no tree has a way for.
    """
    found = ensembles_of(context.nodes, context.sources, context.target)
    if not found:
        names = ", ".join(f"'{s.name}'" for s in context.sources)
        raise MethodError(
            f"no tree ensemble (TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier) lies between {names} and "
            f"'{context.target.name}'; onnxplain advise names methods that suit this model"
        )
    columns = columns_of(context.nodes, context.sources, context.b.value)
    tables = []
    for x in dict.fromkeys(node.x for node in found):
        mine = [node for node in found if node.x == x]
        seen = _computed(context, x, rows)
        dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        if seen.ndim != 2 or (seen.dtype != dtype and seen.dtype.kind not in "iu"):
            raise MethodError(
                f"{mine[0]} looks at {seen.dtype} {named_dims(x)}; tree-shap explains tables [rows, columns] of numbers"
            )
        reads = tuple(_read(context, node, dtype) for node in mine)
        for read in reads:
            _check(context, read, x, seen)
        used = np.unique(np.concatenate([r.trees.feature for r in reads]))
        players = _players(context, x, columns.get(x.name, ()), seen.shape[1], used[used >= 0])
        tables.append(Table(x, seen.astype(dtype), reads, players))
    return tables


def _read(context: AttributionContext, node: Node, dtype: np.dtype[Any]) -> Read:
    check_transform(node)
    scores = node.output(1) if node.op == "TreeEnsembleClassifier" else node.y
    return Read(node, read_ensemble(node, dtype), scores)


def _players(context: AttributionContext, x: Tensor, columns: Columns, width: int, used: Array) -> Array:
    """The number of the column that each feature is made of."""
    start, first = 0, {}
    for source in context.sources:
        first[source.name] = start
        start += _elements(source)
    made = np.full(width, -1, np.int64)
    for feature in used.tolist():
        of = columns[feature] if feature < len(columns) else frozenset()
        if len(of) != 1:
            raise MethodError(_why_not(x, feature, of))
        ((source, column),) = of
        made[feature] = first[source] + column
    return made


def _why_not(x: Tensor, feature: int, of: frozenset[tuple[str, int]]) -> str:
    shown = ", ".join(f"{column} of '{source}'" for source, column in sorted(of)[:4]) + (", …" if len(of) > 4 else "")
    what = f"is made of several columns ({shown})" if of else "is made of no column of an explained input that can be told"
    return (
        f"feature {feature} of the trees ('{x.name}') {what}, so that its contribution is no column's; explain the features "
        f"themselves (--layer {x.name})"
    )


def _elements(source: Tensor) -> int:
    """The columns of an explained tensor."""
    extents = source.shape[1:] if source.shape is not None else (None,)
    known = [d for d in extents if isinstance(d, int)]
    if len(known) < len(extents):
        raise MethodError(
            f"tree-shap explains tables with a known number of columns, and '{source.name}' is {named_dims(source)}; export the "
            "model with it"
        )
    return int(np.prod(known))


def _computed(context: AttributionContext, x: Tensor, rows: Mapping[str, Array]) -> Array:
    """The rows as the trees see them: through all that the model does before."""
    if x.name in rows:
        return rows[x.name]
    model = onnx.ModelProto()
    model.CopyFrom(context.graph.model)
    graph = model.graph
    inner = [n for n in graph.node if not rows.keys() & set(n.output)]  # an explained tensor within the model is given instead
    set_nodes(graph, alive(inner, [x.name]))
    read = {name for node in graph.node for name in node.input}
    beside = [t.name for t in context.graph.inputs if t.name in read and t.name not in rows]
    if beside:
        raise MethodError(
            f"the features of the trees ('{x.name}') depend on '{beside[0]}' too, which is not explained; explain all that they "
            "depend on"
        )
    feeds = {name: array for name, array in rows.items() if name in read}
    given = [_info(s) for s in context.sources if s.name in feeds]
    for field, values in ((graph.input, given), (graph.output, [onnx.helper.make_empty_tensor_value_info(x.name)])):
        del field[:]
        field.extend(values)
    made: Array = np.asarray(Session(model, "cpu", threads=1).run(feeds, [x.name])[x.name])
    return made


def _info(tensor: Tensor) -> onnx.ValueInfoProto:
    assert tensor.dtype is not None
    return onnx.helper.make_tensor_value_info(tensor.name, onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype), tensor.shape)


def _check(context: AttributionContext, read: Read, x: Tensor, rows: Array) -> None:
    """Compare what was read with what the runtime makes of rows.

    Raises:
        InputError: rows have missing values that no tree has a way for.
        MethodError: the runtime reads the trees otherwise.
    """
    if rows.dtype.kind == "f":
        missing = np.intersect1d(np.flatnonzero(np.isnan(rows).any(axis=0)), read.trees.feature)
        if len(missing) and not read.trees.tracks_missing:
            raise InputError(
                f"the rows given hold NaN in feature {missing[0]} of '{x.name}', and {read.node} does not say where missing "
                "values go; leave these rows out, or fill them as in training"
            )
    proto = next(n for n in context.graph.model.graph.node if read.scores.name in n.output)
    kind = onnx.helper.np_dtype_to_tensor_dtype(rows.dtype)
    graph = onnx.helper.make_graph(
        [proto],
        "ensemble",
        [onnx.helper.make_tensor_value_info(x.name, kind, [None, None])],
        [onnx.helper.make_empty_tensor_value_info(read.scores.name)],
    )
    whole = context.graph.model
    alone = onnx.helper.make_model(graph, opset_imports=list(whole.opset_import), ir_version=whole.ir_version)
    theirs = Session(alone, "cpu", threads=1).run({x.name: rows[:CHECKED]}, [read.scores.name])[read.scores.name]
    ours, trees = read.trees.margins(rows[:CHECKED]), read.trees
    scale = np.abs(trees.weights).max(initial=0) * len(trees.roots) + np.abs(trees.base).max(initial=0)
    if theirs.shape != ours.shape or not np.allclose(theirs, ours, rtol=1e-5, atol=1e-5 * scale):
        raise MethodError(
            f"{read.node}: ONNX Runtime reads these trees otherwise than their attributes say; please report the model"
        )


def split(context: AttributionContext, values: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """Values of all columns [n, columns] as attributions of the explained tensors, in their shapes."""
    b, made, at = context.b, [], 0
    for source in of:
        width = _elements(source)
        mine = values if width == values.dim(1) else b.Slice(values, [at], [at + width], [1])
        at += width
        made.append(mine if source.rank == 2 else b.reshape(mine, source))
    return made


def columns_in_all(sources: Sequence[Tensor]) -> int:
    """The number of columns of all explained tensors together."""
    return sum(_elements(s) for s in sources)
