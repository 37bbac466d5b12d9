"""What tree-shap reads of a model: its ensembles, the columns that their features are made of, and rows as the trees see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.columns import Column, ColumnFlow, Columns
from onnxplain.analysis.trees.ensemble import LEAF, Array, Ensemble
from onnxplain.analysis.trees.read import is_ensemble, read_ensemble
from onnxplain.analysis.trees.tail import Term, terms_of
from onnxplain.builder.builder import Builder
from onnxplain.errors import InputError, MethodError
from onnxplain.ir.edit import alive, set_nodes
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.background import values_at
from onnxplain.method.context import AttributionContext
from onnxplain.runtime.session import Session

__all__ = ["Read", "Table", "elements", "read_model", "split", "terms"]

CHECKED = 256
"""Rows on which what was read from an ensemble is compared with what the runtime makes of it."""


@dataclass(frozen=True, eq=False)
class Read:
    """An operator with its trees, and the tensor that their leaves make: its scores, or a function of them."""

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


def read_model(context: AttributionContext, rows: Mapping[str, Array]) -> list[Table]:
    """The ensembles that the score is a linear map of, by the tensor they look at.

    Args:
        context: what is explained.
        rows: of the inputs, to take the place of absent features.

    Raises:
        MethodError: there are none, or their features are made of several columns each.
        InputError: rows have missing values that no tree has a way for.
    """
    graph = context.graph
    found = terms(graph, context.target, context.registry.traits)
    seen_as = {term.node.x: _behind(graph, term.node.x) for term in found}
    tensors = list(dict.fromkeys(tensor for tensor, _ in seen_as.values()))
    flow = ColumnFlow(graph, context.registry.traits)
    tables = []
    for x, seen in zip(tensors, values_at(graph, tensors, rows), strict=True):
        mine = [term for term in found if seen_as[term.node.x][0] == x]
        dtype = np.dtype(np.float64 if x.dtype == np.float64 else np.float32)
        if seen.ndim != 2 or (seen.dtype != dtype and seen.dtype.kind not in "iu"):
            raise MethodError(
                f"{mine[0].node} looks at {seen.dtype} {named_dims(x)}; tree-shap takes tables [rows, columns] of numbers"
            )
        reads = tuple(_read(graph, term, seen_as[term.node.x][1], seen, dtype) for term in mine)
        used = np.unique(np.concatenate([r.trees.feature for r in reads]))
        tables.append(Table(x, seen.astype(dtype), reads, _players(context, x, flow.of(x), seen.shape[1], used[used >= 0])))
    return tables


def terms(graph: Graph, score: Tensor, traits: Traits) -> list[Term]:
    """The functions of ensembles that a score is a linear map of.

    Raises:
        MethodError: there are none, or the score is no linear map of them.
    """
    if not any(is_ensemble(node) for node in graph.nodes):
        raise MethodError(
            "the model has no tree ensemble (TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier); onnxplain advise "
            "names methods that suit it"
        )
    return terms_of(graph, score, traits)


def _behind(graph: Graph, x: Tensor) -> tuple[Tensor, Array | None]:
    """The tensor that columns are picked from, and their numbers; None for all as they are."""
    maker = graph.producer(x)
    if maker is None or maker.op != "Gather" or maker.domain or maker.get("axis") not in (1, -1):
        return x, None
    places = graph.value(maker.input(1))
    if places is None or places.ndim != 1 or maker.x.shape is None or len(maker.x.shape) != 2 or not maker.x.is_float:
        return x, None
    return maker.x, places


def _read(graph: Graph, term: Term, places: Array | None, rows: Array, dtype: np.dtype[Any]) -> Read:
    """An ensemble, with what its leaves mean for its term."""
    node = term.node
    trees = read_ensemble(node, dtype)
    picked = rows if places is None else rows[:, places]
    scores = node.output(1) if node.op == "TreeEnsembleClassifier" else node.y
    _check(graph, Read(node, trees, scores), node.x, picked)
    if term.is_function:
        trees = _applied(graph, term, scores, trees)
    if places is not None:
        trees = replace(trees, feature=np.where(trees.feature >= 0, places[trees.feature], LEAF))
    return Read(node, trees, term.tensor)


def _applied(graph: Graph, term: Term, scores: Tensor, trees: Ensemble) -> Ensemble:
    """A tree whose leaves have the values of a function of its output.

    Raises:
        MethodError: the function mixes rows, or depends on more than the scores.
    """
    leaves = np.flatnonzero(trees.mode == LEAF)
    outputs = (trees.weights[leaves] + trees.base).astype(scores.dtype)
    part = onnx.ModelProto()
    part.CopyFrom(graph.model)
    kept = [n for n in part.graph.node if scores.name not in n.output]
    kept = alive(kept, [term.tensor.name])
    set_nodes(part.graph, kept)
    fed = {t.name: np.zeros(_extents(t, len(leaves)), t.dtype) for t in graph.inputs if any(t.name in n.input for n in kept)}
    for field, tensors in ((part.graph.input, [scores, *map(graph.tensor, fed)]), (part.graph.output, [term.tensor])):
        del field[:]
        for tensor in tensors:
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
            field.append(onnx.helper.make_tensor_value_info(tensor.name, kind, None))
    session = Session(part, "cpu", threads=1)
    there, back = (session.run({scores.name: rows, **fed})[term.tensor.name] for rows in (outputs, outputs[::-1].copy()))
    if there.ndim not in (1, 2) or len(there) != len(leaves) or not np.array_equal(there, back[::-1], equal_nan=True):
        raise MethodError(f"'{term.tensor.name}' is no function of each row of {term.node}; exact-shapley explains any model")
    weights = np.zeros((len(trees.mode), there.reshape(len(leaves), -1).shape[1]))
    weights[leaves] = there.reshape(len(leaves), -1)
    return replace(trees, weights=weights, base=np.zeros(weights.shape[1]))


def _extents(x: Tensor, count: int) -> list[int]:
    """Of so many samples of an input, of which nothing but the extents is read."""
    return [count, *(d if isinstance(d, int) else 1 for d in (x.shape or ())[1:])]


def _players(context: AttributionContext, x: Tensor, columns: Columns | None, width: int, used: Array) -> Array:
    """The number of the column that each feature is made of."""
    start, first = 0, {}
    for source in context.sources:
        first[source.name] = start
        start += elements(source)
    made = np.full(width, -1, np.int64)
    row = () if columns is None else columns.reshape(len(columns), -1)[0]
    for feature in used.tolist():
        of = row[feature] if feature < len(row) else frozenset()
        if len(of) != 1 or not {name for name, _ in of} <= first.keys():
            raise MethodError(_why_not(x, feature, of))
        ((source_name, column),) = of
        made[feature] = first[source_name] + column
    return made


def _why_not(x: Tensor, feature: int, of: frozenset[Column]) -> str:
    shown = ", ".join(f"{column} of '{source}'" for source, column in sorted(of)[:4]) + (", …" if len(of) > 4 else "")
    what = (
        f"columns {shown}" if len(of) > 1 else f"column {shown}, which is not explained" if of else "no column that can be told"
    )
    return (
        f"feature {feature} of the trees ('{x.name}') is made of {what}, so that tree-shap cannot give its contribution to one "
        "column; exact-shapley and kernel-shap explain any model"
    )


def elements(source: Tensor) -> int:
    """The columns of an explained tensor."""
    return prod(d for d in (source.shape or ())[1:] if isinstance(d, int))


def _check(graph: Graph, read: Read, x: Tensor, rows: Array) -> None:
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
    proto = next(n for n in graph.model.graph.node if read.scores.name in n.output)
    kind = onnx.helper.np_dtype_to_tensor_dtype(rows.dtype)
    single = onnx.helper.make_graph(
        [proto],
        "ensemble",
        [onnx.helper.make_tensor_value_info(x.name, kind, [None, None])],
        [onnx.helper.make_empty_tensor_value_info(read.scores.name)],
    )
    whole = graph.model
    alone = onnx.helper.make_model(single, opset_imports=list(whole.opset_import), ir_version=whole.ir_version)
    theirs = Session(alone, "cpu", threads=1).run({x.name: rows[:CHECKED]}, [read.scores.name])[read.scores.name]
    ours, trees = read.trees.margins(rows[:CHECKED]), read.trees
    scale = np.abs(trees.weights).max(initial=0) * len(trees.roots) + np.abs(trees.base).max(initial=0)
    if theirs.shape != ours.shape or not np.allclose(theirs, ours, rtol=1e-5, atol=1e-5 * scale):
        raise MethodError(
            f"{read.node}: ONNX Runtime reads these trees otherwise than their attributes say; please report the model"
        )


def split(b: Builder, values: Tensor, sources: Sequence[Tensor]) -> list[Tensor]:
    """Values of all columns [n, columns] as attributions of the explained tensors, in their shapes."""
    made, at = [], 0
    for source in sources:
        width = elements(source)
        mine = values if len(sources) == 1 else b.Slice(values, [at], [at + width], [1])
        at += width
        made.append(mine if source.rank == 2 else b.reshape(mine, source))
    return made
