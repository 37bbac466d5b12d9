"""SHAP values of tree ensembles, exact, by tables that are made when the file is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.trees.ensemble import LEAF, Array
from onnxplain.builder.builder import Builder
from onnxplain.errors import InputError, MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import gap, over_targets, score, with_target_axis
from onnxplain.method.background import table_rows
from onnxplain.method.context import AttributionContext
from onnxplain.method.pairs import chosen_pairs
from onnxplain.method.registry import method
from onnxplain.method.sampling.chunk_size import memory_bytes
from onnxplain.method.trees.coalitions import behind_transform, columns_used, played
from onnxplain.method.trees.deep_emit import summed_up
from onnxplain.method.trees.emit import looked_up
from onnxplain.method.trees.forest import Forest, forest_of
from onnxplain.method.trees.patterns import Patterns, Rows, Shares
from onnxplain.method.trees.reading import Read, Table, elements, read_model, split, terms
from onnxplain.method.trees.slots import Slots
from onnxplain.method.trees.tables import Tables, fitted

__all__: list[str] = []


def _serves(graph: Graph, score: Tensor, traits: Traits) -> None:
    """Raises where the score is no linear map of tree ensembles, nor their probability."""
    if not behind_transform(graph, score, traits):
        terms(graph, score, traits)


@method(
    "tree-shap",
    summary="Exact SHAP values of tree ensembles, looked up in tables: against rows of background, or along the paths of data",
    formula="Σ_S |S|! (p − |S| − 1)! / p! · (v(S ∪ i) − v(S)), v(S) the mean of f over what takes the place of the others",
    source="Lundberg et al. 2020, From local explanations to global understanding with explainable AI for trees",
    axioms=("completeness", "sensitivity", "symmetry", "linearity"),
    multi_point=True,
    attributes_to="column",
    serves=_serves,
    takes_missing=True,
    usual_rows=256,
)
def tree_shap(
    context: AttributionContext,
    *,
    background: Any = None,
    data: Any = None,
    pairs: Any = None,
    table: int | str = "128MB",
    delta: bool = True,
) -> dict[Tensor, Tensor]:
    """With `background`, absent features are averaged over its rows (interventional values); with `data`, they follow the shares
    of its rows along the paths (path-dependent values). With `pairs`, the file has the SHAP interaction values of these pairs
    of columns too, counted through all inputs: `interactions` [n, columns, columns], half of a pair on either side of the
    diagonal, which holds what is left of a column's value, so that rows add up to the values."""
    if (background is None) == (data is None):
        raise MethodError(
            "tree-shap takes background=rows (interventional values) or data=rows (path-dependent values: the file does not say "
            f"how many rows went which way); got {'neither' if data is None else 'both'}"
        )
    _serves(context.graph, context.target, context.registry.traits)  # before anything is said of rows
    shares, what = background is None, "data" if background is None else "background"
    rows = table_rows(context, data if shares else background, what)
    most = memory_bytes(table) if isinstance(table, str) else table
    b, sources = context.b, context.sources
    slots = _slots(pairs, sum(elements(s) for s in sources))
    if behind_transform(context.graph, context.target, context.registry.traits):
        return _of_probabilities(context, rows, slots, delta, shares)
    folded = [_folded(t, shares=shares, most=most, slots=slots) for t in read_model(context, rows)]
    used = slots.used(n for f in folded for n in f.tables.slots)
    scores = [r.scores for f in folded for r in f.table.reads]

    def made(context: AttributionContext) -> list[Tensor]:
        messages = context.gradient(of=scores)
        parts = [_values(context, f, used, messages, slots) for f in folded]
        values = b.total([b.cast(p, parts[-1]) for p in parts])
        if not slots.paired:
            return split(b, values, sources)
        alone = b.Slice(values, [0], [slots.players], [1])
        return [*split(b, alone, sources), _matrix(b, values, alone, slots, used)]

    attributions = over_targets(context, made, [*(context.sample_axis(s) for s in sources), *([0] if slots.paired else [])])
    if slots.paired:
        context.report("interactions", attributions.pop())
    absent = _absent(context, {r.scores: r.trees.margins(f.table.rows).mean(axis=0) for f in folded for r in f.table.reads})
    _report(context, attributions, absent.target, delta)
    return dict(zip(sources, attributions, strict=True))


def _report(context: AttributionContext, attributions: Sequence[Tensor], absent: Tensor, delta: bool) -> None:
    """The score where all columns are absent, and what the attributions miss of the way from there."""
    context.report("base_value", score(context.with_point(target=absent)))
    if delta:
        change = score(context.with_point(target=context.b.Sub(context.target, absent)))
        context.report("delta", gap(context, attributions, change))


def _of_probabilities(
    context: AttributionContext, rows: Mapping[str, Array], slots: Slots, delta: bool, shares: bool
) -> dict[Tensor, Tensor]:
    """The values of a score behind a transform."""
    if shares:
        raise MethodError(
            "probabilities behind a transform are no sum of trees, and have no values along paths; give background=rows, or "
            "explain the margin (score='logit')"
        )
    b, columns = context.b, columns_used(context)
    found = played(context, rows, slots, columns)
    used = np.unique([*range(slots.players), *found.by_slot])
    numbers = {slot: score(context.with_point(target=t)) for slot, t in found.by_slot.items()}
    some = score(context)
    none = b.Expand(b.const(0, some.dtype), b.Shape(some))
    values = b.Concat(*(b.Unsqueeze(b.cast(numbers.get(s, none), some), [some.rank]) for s in used.tolist()), axis=some.rank)
    every, start, attributions = context.identity_cotangents is not None, 0, list[Tensor]()
    for x in context.sources:
        width = elements(x)
        mine = b.Slice(values, [start], [start + width], [some.rank])
        ends = [d for d in (x.shape or ())[1:] if isinstance(d, int)]
        wide = mine if ends == [width] else b.Reshape(mine, b.Concat(b.Shape(some), ends, axis=0) if ends else b.Shape(some))
        attributions.append(b.shaped(wide, with_target_axis(context, x.shape, 1)))
        start += width
    if slots.paired:
        flat = b.Reshape(values, [-1, len(used)]) if every else values
        matrix = _matrix(b, flat, b.Slice(flat, [0], [slots.players], [1]), slots, used)
        extents = b.Concat(b.Shape(some), [slots.players, slots.players], axis=0)
        context.report("interactions", b.Reshape(matrix, extents) if every else matrix)
    _report(context, attributions, found.base, delta)
    return dict(zip(context.sources, attributions, strict=True))


@dataclass(frozen=True, eq=False)
class _Folded:
    """Ensembles that look at one tensor, with their tables. `against` are rows of background, None where leaves have shares."""

    table: Table
    forest: Forest
    tables: Tables
    against: Array | None


def _slots(pairs: Any, players: int) -> Slots:
    """The columns, and the pairs of them that are asked for."""
    every = isinstance(pairs, str) and pairs == "all"
    chosen = [] if every else chosen_pairs(pairs, players)
    return Slots(players, None if every else frozenset((min(p), max(p)) for p in chosen))


def _matrix(b: Builder, values: Tensor, alone: Tensor, slots: Slots, used: Array) -> Tensor:
    """Interactions [n, players, players], from values of slots [n, slots used] and of players [n, players]."""
    players = slots.players
    none = b.Expand(b.const(0, alone.dtype), b.Concat(b.Shape(alone, start=0, end=1), [1], axis=0))
    picked = b.Gather(b.Concat(values, none, axis=1), slots.matrix(used).ravel(), axis=1)
    beside = b.Reshape(picked, [-1, players, players])
    left = b.Sub(alone, b.ReduceSum(beside, [2], keepdims=0))
    return b.Add(beside, b.Mul(b.Unsqueeze(left, [2]), b.const(np.eye(players), left.dtype)))


def _folded(table: Table, *, shares: bool, most: int, slots: Slots) -> _Folded:
    dtype = table.rows.dtype
    forest = forest_of([r.trees for r in table.reads], [_covers(r, table.rows) if shares else None for r in table.reads], dtype)
    unknown = sum(any(np.isnan(s) for s in leaf.shares.values()) for t in forest.trees for leaf in t.tree.leaves())
    if unknown:
        raise InputError(
            f"{unknown} leaves lie behind nodes that none of the {len(table.rows)} rows of data reaches, so that nobody knows "
            "which share goes on from there; give the rows that the trees were trained on, or background=rows"
        )
    patterns: Patterns = Shares() if shares else Rows(table.rows)
    return _Folded(table, forest, fitted(forest, table.player_of, patterns, most, slots), None if shares else table.rows)


def _covers(read: Read, rows: Array) -> Array:
    """How many rows reach each node.

    Raises:
        MethodError: trees share nodes.
    """
    trees = read.trees
    inner = trees.mode != LEAF
    named = np.bincount(np.concatenate([trees.roots, trees.true[inner], trees.false[inner]]), minlength=len(inner))
    if named[inner].max(initial=0) > 1:
        raise MethodError(
            f"{read.node}: trees share nodes, so that shares of data are no one tree's; give background=rows instead"
        )
    return trees.covers(rows)


def _values(context: AttributionContext, folded: _Folded, used: Array, messages: Mapping[Tensor, Tensor], slots: Slots) -> Tensor:
    """The contributions of the trees that look at one tensor, [n, slots used]."""
    b, forest, tables = context.b, folded.forest, folded.tables
    x = folded.table.x if folded.table.x.is_float else b.cast(folded.table.x, b.const(0.0))
    message = [b.cast(m if m.rank == 2 else b.Unsqueeze(m, [1]), x) for m in (messages[r.scores] for r in folded.table.reads)]
    joined = message[0] if len(message) == 1 else b.Concat(*message, axis=1)
    if not forest.trees:
        return b.Expand(b.const(0, x.dtype), b.Concat(b.Shape(x, start=0, end=1), [len(used)], axis=0))
    weights = b.MatMul(joined, forest.directions.T.astype(forest.dtype))
    parts = [looked_up(b, x, tables, used, len(forest.directions), weights)] if tables.widths else []
    if tables.deep is not None:
        parts.append(summed_up(b, x, tables.deep, used, weights, folded.against, slots.paired))
    return b.total(parts)


def _absent(context: AttributionContext, means: Mapping[Tensor, Array]) -> AttributionContext:
    """The context with the trees' scores as they are on average."""
    b = context.b
    at = {t: b.alias(b.expand(b.const(mean[None] if t.rank == 2 else mean, t.dtype), t), "mean") for t, mean in means.items()}
    _, became = context.replay(at)
    return context.with_point(target=at.get(context.target) or became.get(context.target, context.target))
