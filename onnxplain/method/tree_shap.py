"""SHAP values of tree ensembles, exact, by tables that are made when the file is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.trees.ensemble import LEAF, Array, Ensemble
from onnxplain.analysis.trees.read import TREES, check_transform, read_ensemble
from onnxplain.analysis.trees.tail import ensembles_of, source_of
from onnxplain.errors import InputError, MethodError, RuleError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.node import Node
from onnxplain.ir.registry import OpSpec
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import gap, over_targets, score
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method
from onnxplain.method.sampling.chunk_size import memory_bytes
from onnxplain.method.trees.bundles import Prices
from onnxplain.method.trees.deep_emit import summed_up
from onnxplain.method.trees.emit import looked_up
from onnxplain.method.trees.forest import Forest, forest_of
from onnxplain.method.trees.patterns import Patterns, Rows, Shares
from onnxplain.method.trees.tables import Tables, fitted
from onnxplain.runtime.session import Session

__all__: list[str] = []

PAPER = "Lundberg et al. 2020, From local explanations to global understanding with explainable AI for trees"

CHECKED = 256
"""Rows on which what was read from an ensemble is compared with what the runtime makes of it."""


def _none_flows(b: Any, node: Node, *_: Any) -> None:
    """SHAP values are looked up: no message passes the trees."""
    raise RuleError(f"{node} is explained by tree-shap, which no message passes")


@dataclass(frozen=True, eq=False)
class _Read:
    """An operator with its trees, the scores that it makes, and the explained tensor that its features are."""

    node: Node
    trees: Ensemble
    scores: Tensor
    source: Tensor


@method(
    "tree-shap",
    summary="Exact SHAP values of tree ensembles, looked up in tables: over rows of background, or along the paths of data",
    formula="Σ over leaves and coalitions S of |S|!(k − |S| − 1)!/k! · (v(S ∪ j) − v(S)), v with absent features from the background",
    source=PAPER,
    axioms=("completeness", "sensitivity", "implementation-invariance"),
    multi_point=True,
    serves=tuple(OpSpec(op, "ai.onnx.ml", 1, _none_flows, "function", source=__file__) for op in TREES),
    takes_missing=True,
)
def tree_shap(
    context: AttributionContext, *, background: Any = None, data: Any = None, table: int | str = "64MB", delta: bool = True
) -> dict[Tensor, Tensor]:
    """With `background`, absent features are averaged over its rows (interventional); with `data`, they follow the shares of its
    rows along the paths (path-dependent). Both fold into tables when the file is written."""
    given = _rows(context, background, data)
    found = [_read(context, node) for node in _ensembles(context)]
    rows = {r.source: given[r.source.name] for r in found}
    for r in found:
        _check(context, r, rows[r.source])
    b = context.b
    forests = []
    for x in dict.fromkeys(r.node.x for r in found):
        mine = [r for r in found if r.node.x == x]
        forests.append((mine, *_folded(mine, rows[mine[0].source], shares=background is None, table=table)))

    def made(context: AttributionContext) -> list[Tensor]:
        messages = context.gradient(of=[r.scores for r in found])
        parts: dict[Tensor, list[Tensor]] = {s: [] for s in context.sources}
        for mine, forest, tables in forests:
            against = None if background is None else _typed(mine[0], rows[mine[0].source])
            parts[mine[0].source].append(_values(context, mine, forest, tables, against, messages))
        return [b.total([b.cast(p, s) for p in parts[s]]) if parts[s] else b.zeros_like(s) for s in context.sources]

    attributions = over_targets(context, made)
    absent = _absent(context, {r.scores: r.trees.margins(_typed(r, rows[r.source])).mean(axis=0) for r in found})
    context.report("base_value", score(absent))
    if delta:
        y = context.target
        change = score(context.with_point(target=b.Sub(y, absent.target)))
        context.report("delta", gap(context, attributions, change))
    return dict(zip(context.sources, attributions, strict=True))


# -- reading -----------------------------------------------------------------------------------------------------------


def _ensembles(context: AttributionContext) -> list[Node]:
    found = ensembles_of(context.nodes, context.sources, context.target)
    if not found:
        names = ", ".join(f"'{s.name}'" for s in context.sources)
        raise MethodError(
            f"no tree ensemble (TreeEnsemble, TreeEnsembleRegressor, TreeEnsembleClassifier) lies between {names} and "
            f"'{context.target.name}'; onnxplain advise names methods that suit this model"
        )
    return found


def _read(context: AttributionContext, node: Node) -> _Read:
    check_transform(node)
    x = node.x
    if x.dtype not in (np.float32, np.float64):
        raise MethodError(f"{node} compares {x.dtype} features; tree-shap takes float32 and float64")
    source = source_of(context.nodes, x, context.sources)
    trees = read_ensemble(node, x.dtype)  # type: ignore[arg-type]
    if source.shape is None or source.rank != 2 or not isinstance(source.dim(1), int):
        raise MethodError(f"tree-shap explains tables: '{source.name}' should be [rows, columns], got {named_dims(source)}")
    if trees.features > int(source.dim(1)):  # type: ignore[arg-type]
        raise MethodError(f"{node} looks at column {trees.features - 1}, and '{source.name}' is {named_dims(source)}")
    return _Read(node, trees, node.output(1) if node.op == "TreeEnsembleClassifier" else node.y, source)


def _typed(r: _Read, rows: Array) -> Array:
    """Rows as the trees see them."""
    return rows.astype(r.source.dtype).astype(r.node.x.dtype)


def _rows(context: AttributionContext, background: Any, data: Any) -> dict[str, Array]:
    """Rows of background or data by explained tensor, [m, columns]."""
    if (background is None) == (data is None):
        found = "neither" if data is None else "both"
        raise MethodError(
            f"tree-shap takes background=rows (interventional values) or data=rows (path-dependent values: the file does not "
            f"say how many rows went which way); got {found}"
        )
    what, given = ("background", background) if data is None else ("data", data)
    if not isinstance(given, Mapping):
        if len(context.explained) > 1:
            names = ", ".join(e.name for e in context.explained)
            raise InputError(f"{what} must be a dict with rows for each explained input: {names}")
        given = {context.explained[0].name: given}
    made = {}
    for e in context.explained:
        if e.name not in given:
            raise InputError(f"{what} has no rows for '{e.name}'; it has {', '.join(map(str, given))}")
        rows, width = np.asarray(given[e.name]), e.tensor.dim(-1)
        if rows.ndim != 2 or not len(rows) or rows.dtype.kind not in "fiub" or (isinstance(width, int) and rows.shape[1] != width):
            raise InputError(
                f"{what} holds rows of numbers like the input: expected [m, {width}] for '{e.name}', got {list(rows.shape)} of "
                f"{rows.dtype}"
            )
        made[e.tensor.name] = rows
    return made


def _check(context: AttributionContext, r: _Read, rows: Array) -> None:
    """Compare what was read with what the runtime makes of rows.

    Raises:
        InputError: rows have missing values that no tree has a way for.
        MethodError: the runtime reads the trees otherwise.
    """
    typed = _typed(r, rows)
    missing = np.intersect1d(np.flatnonzero(np.isnan(typed).any(axis=0)), r.trees.feature)
    if len(missing) and not r.trees.tracks_missing:
        raise InputError(
            f"column {missing[0]} of the rows given for '{r.source.name}' holds NaN, and {r.node} does not say where missing values "
            "go; leave these rows out or fill them as in training"
        )
    proto = next(n for n in context.graph.model.graph.node if r.scores.name in n.output)
    single = onnx.helper.make_model(
        onnx.helper.make_graph(
            [proto], "ensemble",
            [onnx.helper.make_tensor_value_info(r.node.x.name, onnx.helper.np_dtype_to_tensor_dtype(typed.dtype), [None, None])],
            [onnx.helper.make_empty_tensor_value_info(r.scores.name)],
        ),
        opset_imports=list(context.graph.model.opset_import), ir_version=context.graph.model.ir_version,
    )  # fmt: skip
    typed = typed[:CHECKED]
    theirs = Session(single, "cpu", threads=1).run({r.node.x.name: typed}, [r.scores.name])[r.scores.name]
    ours = r.trees.margins(typed)
    scale = np.abs(r.trees.weights).max(initial=0) * len(r.trees.roots) + np.abs(r.trees.base).max(initial=0)
    if theirs.shape != ours.shape or not np.allclose(theirs, ours, rtol=1e-5, atol=1e-5 * scale):
        raise MethodError(f"{r.node}: ONNX Runtime reads these trees otherwise than their attributes say; please report the model")


# -- folding and looking up --------------------------------------------------------------------------------------------


def _folded(mine: Sequence[_Read], rows: Array, *, shares: bool, table: int | str) -> tuple[Forest, Tables]:
    """The trees that look at one tensor, with their tables."""
    dtype, typed = np.dtype(mine[0].node.x.dtype), _typed(mine[0], rows)
    covers = [_covers(r, typed) if shares else None for r in mine]
    forest = forest_of([r.trees for r in mine], covers, dtype)
    unknown = sum(any(np.isnan(s) for s in leaf.shares.values()) for t in forest.trees for leaf in t.tree.leaves())
    if unknown:
        raise InputError(
            f"{unknown} leaves lie behind nodes that none of the {len(rows)} rows of data reaches, so that nobody knows which share "
            "goes on from there; give the rows that the trees were trained on, or background=rows"
        )
    patterns: Patterns = Shares() if shares else Rows(typed)
    most = memory_bytes(table) if isinstance(table, str) else table
    players = np.arange(typed.shape[1])
    return forest, fitted(forest, players, patterns, most)


def _covers(r: _Read, rows: Array) -> Array:
    """How many rows reach each node.

    Raises:
        MethodError: trees share nodes.
    """
    made, inner = r.trees.covers(rows), r.trees.mode != LEAF
    if np.bincount(np.concatenate([r.trees.roots, r.trees.true[inner], r.trees.false[inner]]))[inner.nonzero()].max(initial=0) > 1:
        raise MethodError(f"{r.node}: trees share nodes, so that shares of data are no one tree's; give background=rows instead")
    return made


def _values(
    context: AttributionContext,
    mine: Sequence[_Read],
    forest: Forest,
    tables: Tables,
    rows: Array | None,
    messages: Mapping[Tensor, Tensor],
) -> Tensor:
    """The contributions of the trees that look at one tensor, [n, columns]."""
    b, x = context.b, mine[0].node.x
    if not forest.trees:
        return b.zeros_like(x)
    columns = int(mine[0].source.dim(1))  # type: ignore[arg-type]
    message = [b.cast(messages[r.scores], x) for r in mine]
    joined = message[0] if len(message) == 1 else b.Concat(*message, axis=1)
    weights = b.MatMul(joined, forest.directions.T.astype(forest.dtype))
    parts = [looked_up(b, x, tables, columns, len(forest.directions), weights)] if tables.widths else []
    if tables.deep is not None:
        parts.append(summed_up(b, x, tables.deep, columns, weights, rows))
    return b.total(parts)


def _absent(context: AttributionContext, means: Mapping[Tensor, Array]) -> AttributionContext:
    """The context with the trees' scores as they are on average."""
    b = context.b
    at = {t: b.expand(b.const(mean[None], t.dtype), t) for t, mean in means.items()}
    at = {t: b.alias(v, "mean") for t, v in at.items()}
    _, became = context.replay(at)
    return context.with_point(target=at.get(context.target) or became.get(context.target, context.target))
