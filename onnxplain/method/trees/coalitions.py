"""SHAP values behind a transform: probabilities are no sum of trees, so that all coalitions are run, in the file.

Every coalition of columns is run with every row of background in place of the others. Shapley values, interactions and the base
value are weighted sums of the scores that come back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np

from onnxplain.analysis.columns import ColumnFlow
from onnxplain.analysis.forward_only_advice import EXACT_PLAYERS
from onnxplain.analysis.trees.ensemble import Array
from onnxplain.analysis.trees.read import is_ensemble, tested_features, transform_of
from onnxplain.analysis.trees.tail import BESIDE, origins_of, terms_of
from onnxplain.errors import MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import Traits, standard_traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.blackbox.exact import all_coalitions, shapley_matrix
from onnxplain.method.context import AttributionContext
from onnxplain.method.sampling.accumulate import Sum, accumulate
from onnxplain.method.trees.reading import elements
from onnxplain.method.trees.slots import Slots

__all__ = ["Played", "behind_transform", "columns_used", "played"]

AT_ONCE = 1 << 13
"""Rows that go through the model together."""


def behind_transform(graph: Graph, score: Tensor, traits: Traits) -> bool:
    """Whether a score depends on the inputs by trees alone, and some transform of their margins: on probabilities of
    classifiers. Any function of the margins of one tree is a sum of trees all the same."""
    origins = origins_of(graph)
    if BESIDE in origins.get(score.name, {BESIDE: None}):
        return False
    try:
        return any(transform_of(term.node) != "NONE" for term in terms_of(graph, score, traits))
    except MethodError:
        return _has_transform(graph, score, origins)


def _has_transform(graph: Graph, score: Tensor, origins: Collection[str]) -> bool:
    """Whether a softmax, a sigmoid or the like lies between a score and its trees."""
    wanted, seen = [score], {score.name}
    while wanted:
        maker = graph.producer(wanted.pop())
        assert maker is not None, "what depends on trees alone is made by a node"
        if transform_of(maker) != "NONE" if is_ensemble(maker) else standard_traits(maker).of_logits:
            return True
        new = [] if is_ensemble(maker) else [t for t in maker.reads if t is not None and t.name in origins and t.name not in seen]
        seen.update(t.name for t in new)
        wanted += new
    return False


def columns_used(context: AttributionContext) -> list[int]:
    """The numbers of the columns that trees of the score look at, counted through all explained tensors.

    Raises:
        MethodError: they are too many to run all coalitions of.
    """
    graph, flow, seen = context.graph, ColumnFlow(context.graph, context.registry.traits), set[int]()
    start, first = 0, dict[str, int]()
    for source in context.sources:
        first[source.name] = start
        start += elements(source)
    for node in origins_of(graph)[context.target.name].values():
        assert node is not None, "the score depends on trees alone"
        columns = flow.of(node.x)
        if columns is None:
            seen.update(range(start))
            continue
        row = columns.reshape(len(columns), -1)[0]
        seen.update(first[name] + c for found in row[tested_features(node)] for name, c in found if name in first)
    if len(seen) > EXACT_PLAYERS:
        raise MethodError(
            f"probabilities behind a transform are no sum of trees, so that all coalitions of at most {EXACT_PLAYERS} columns "
            f"are run, and the trees look at {len(seen)}; explain the margin (score='logit'), or use kernel-shap, which estimates"
        )
    return sorted(seen)


@dataclass(frozen=True)
class Played:
    """What came of all coalitions, each a tensor in the shape of the score: by slot, and the mean of the background."""

    by_slot: Mapping[int, Tensor]
    base: Tensor


def played(context: AttributionContext, rows: Mapping[str, Array], slots: Slots, columns: Sequence[int]) -> Played:
    """Run all coalitions of columns against all rows of background.

    Args:
        context: what is explained.
        rows: of background, by input.
        slots: what gets a number.
        columns: the numbers of the columns that come and go.
    """
    b, sources = context.b, context.sources
    masks = all_coalitions(len(columns))
    weights = np.concatenate([_weights(slots, columns, masks), np.eye(1, len(masks))])
    count = len(next(iter(rows.values())))
    tables = [b.const(rows[s.name], s.dtype) for s in sources]
    present = [b.const(mask) for mask in _present(sources, columns, masks)]

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        row, coalition = b.Div(numbers, len(masks)), b.Mod(numbers, len(masks))
        made = {}
        for x, table, mask in zip(sources, tables, present, strict=True):
            absent = b.Unsqueeze(b.Gather(table, row, axis=0), [1])
            made[x] = b.Where(b.Unsqueeze(b.Gather(mask, coalition, axis=0), [1]), b.Unsqueeze(x, [0]), absent)
        return made

    def weighed(numbers: Tensor, index: int, scores: Tensor) -> Tensor:
        each = b.Gather(b.const(weights[index] / count, scores.dtype), b.Mod(numbers, len(masks)), axis=0)
        return b.Mul(scores, b.Unsqueeze(each, list(range(1, scores.rank))))

    total = b.const([count * len(masks)])
    found = accumulate(
        context, total, points, lambda at: [at.target] * len(weights), Sum(), chunk=AT_ONCE, place=weighed,
        likes=[context.target] * len(weights),
    )  # fmt: skip
    return Played(dict(zip(slots.of(columns), found[:-1], strict=True)), found[-1])


def _present(sources: Sequence[Tensor], columns: Sequence[int], masks: Array) -> list[Array]:
    """For every source which elements coalitions hold, bool [coalitions, …]; columns that do not come and go are there."""
    made, start = [], 0
    for source in sources:
        shape = [d for d in (source.shape or ())[1:] if isinstance(d, int)]
        width = elements(source)
        mine = np.ones((len(masks), width), bool)
        for place, column in enumerate(columns):
            if start <= column < start + width:
                mine[:, column - start] = masks[:, place]
        made.append(mine.reshape(len(masks), *shape))
        start += width
    return made


def _weights(slots: Slots, columns: Sequence[int], masks: Array) -> Array:
    """By how much the score of each coalition counts for each slot, [slots, coalitions]: Shapley values, and half of the Shapley
    interaction index for pairs."""
    count, place = len(columns), {c: i for i, c in enumerate(columns)}
    made = [*shapley_matrix(count)]
    sizes = masks.sum(axis=1)
    for slot in slots.of(columns)[count:]:
        both = masks[:, [place[slot // slots.players - 1], place[slot % slots.players]]].sum(axis=1)
        others = sizes - both
        share = [factorial(s) * factorial(count - s - 2) / (2 * factorial(count - 1)) for s in range(count - 1)]
        made.append(np.where(both == 1, -1, 1) * np.array(share)[others])
    return np.array(made).reshape(-1, len(masks))
