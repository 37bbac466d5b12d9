"""Comparisons: which numbers of a sample exceed which thresholds, and what follows for digits and conditions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxplain.analysis.trees.ensemble import Array
from onnxplain.analysis.trees.leaves import Cells
from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Tensor

__all__ = ["HIGH", "MISSING", "RAW", "Threshold", "compared", "steps"]

RAW, HIGH, MISSING = range(3)
"""What a comparison looks at: the value itself, which as NaN exceeds nothing; the value with +∞ for NaN; whether it is NaN."""


@dataclass(frozen=True)
class Threshold:
    """Whether a feature, seen as `kind` says, exceeds a threshold."""

    kind: int
    feature: int
    threshold: float


def steps(feature: int, cells: Cells, classes: tuple[int, ...]) -> tuple[int, list[tuple[Threshold, float]]]:
    """The digit of a feature, which is the number of the class that its cell belongs to.

    Returns:
        The digit of the lowest cell, and by how much it changes where the feature exceeds a break or is missing.
    """
    digit = [next(i for i, c in enumerate(classes) if c >> cell & 1) for cell in range(cells.count)]
    *known, nan = digit
    breaks = cells.breaks
    high = nan == known[-1] and nan != known[0] and bool(np.isfinite(breaks[-1]))
    made = [
        (Threshold(HIGH if high else RAW, feature, float(b)), float(known[i + 1] - known[i]))
        for i, b in enumerate(breaks)
        if known[i + 1] != known[i]
    ]
    if nan != known[0] and not high:
        made.append((Threshold(MISSING, feature, 0.5), float(nan - known[0])))
    return known[0], made


def compared(b: Builder, x: Tensor, kinds: Array, features: Array, thresholds: Array) -> Tensor:
    """Whether comparisons hold.

    Args:
        b: emits into the graph.
        x: samples [n, features]. They lie along the last axis of the result, so that picking features moves whole stretches of
            memory.
        kinds: what each comparison looks at, int64 [comparisons].
        features: which feature, int64 [comparisons].
        thresholds: what it has to exceed, [comparisons].

    Returns:
        float32 [comparisons, n], 1 where the comparison holds and 0 elsewhere.
    """
    turned = b.Transpose(x, perm=[1, 0])
    used = sorted({RAW, *np.unique(kinds).tolist()})
    sources = [turned]
    if used != [RAW]:
        missing = b.IsNaN(turned)
        sources += [b.Where(missing, np.inf, turned) if kind == HIGH else b.cast(missing, turned) for kind in used[1:]]
    width = x.dim(1)
    assert isinstance(width, int)
    places = features + np.searchsorted(used, kinds) * width
    rows = b.Gather(sources[0] if len(sources) == 1 else b.Concat(*sources, axis=0), places, axis=0)
    made: Tensor = b.Cast(b.Greater(rows, thresholds[:, None]), to=1)
    return made
