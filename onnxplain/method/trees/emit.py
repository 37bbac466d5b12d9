"""The nodes that look contributions up: comparisons, numbers of rows, rows, and their sums by player."""

from __future__ import annotations

import numpy as np

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Tensor
from onnxplain.method.trees.comparisons import compared
from onnxplain.method.trees.tables import Tables, Width

__all__ = ["looked_up"]


def looked_up(b: Builder, x: Tensor, tables: Tables, used: Array, directions: int, weights: Tensor) -> Tensor:
    """The contributions that tables hold.

    Args:
        b: emits into the graph.
        x: the features [n, features], in the type in which trees compare.
        tables: those of the forest.
        used: the slots that get something, in rising order.
        directions: how many directions contributions count in.
        weights: how much each direction counts for each sample, [n, directions].

    Returns:
        [n, slots used]
    """
    numbers = _row_numbers(b, x, tables)
    parts, at = [], 0
    for width in tables.widths:
        mine = b.Slice(numbers, [at], [at + len(width.starts)], [1])
        at += len(width.starts)
        parts.append(_summed(b, mine, width, used, weights if directions > 1 else None))
    made = b.total(parts)
    return made if directions > 1 else b.Mul(made, weights)


def _row_numbers(b: Builder, x: Tensor, tables: Tables) -> Tensor:
    """The number of the row of each bundle, int32 [n, bundles]."""
    blocks, bundles, size = tables.steps.shape
    holds = compared(b, x, *(a.ravel() for a in (tables.kinds, tables.features, tables.thresholds)))
    made = b.MatMul(tables.steps, b.Reshape(holds, [blocks, size, -1]))
    flat = b.Transpose(b.Reshape(made, [blocks * bundles, -1]), perm=[1, 0])
    starts = np.concatenate([w.starts for w in tables.widths]).astype(np.int32)
    made = b.Add(b.Cast(flat, to=6), starts[None])
    return made


def _summed(b: Builder, numbers: Tensor, width: Width, used: Array, weights: Tensor | None) -> Tensor:
    """The contributions of bundles of one width, [n, slots used]."""
    bundles, outputs = width.directions.shape
    each = width.slots.shape[1]
    rows = b.Gather(width.table, numbers, axis=0)
    if weights is not None:
        chosen = b.Gather(weights, width.directions.ravel(), axis=1)
        rows = b.Mul(b.Reshape(rows, [0, bundles * outputs, each]), b.Unsqueeze(chosen, [2]))
    of = np.searchsorted(used, np.repeat(width.slots[:, None], outputs, axis=1).ravel())
    sums = b.cast(b.Equal(of.astype(np.int32)[:, None], np.arange(len(used), dtype=np.int32)), rows)
    made = b.MatMul(b.Reshape(rows, [0, bundles * outputs * each]), sums)
    return made
