"""Many samples of a table as a map: a column per sample, a row per feature, with the sum above and the mean size beside."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from onnxplain.results.feature_table import FeatureTable
from onnxplain.results.plot.page import Page
from onnxplain.results.plot.style import INK, QUIET, RIM, STRENGTH, colours, rim, short
from onnxplain.results.plot.tabular.drawing import RowNames, heading

__all__ = ["HeatBlock", "sample_order"]

Array = np.ndarray[Any, Any]

WIDTH, HEAD, CURVE, RIGHT, FOOT, ROW = 5.2, 0.55, 0.55, 0.85, 0.55, 0.24
MOST = 20


def sample_order(table: FeatureTable) -> Array:
    """Samples by target, and from the greatest sum of attributions to the smallest."""
    targets = {t: i for i, t in enumerate(dict.fromkeys(table.targets))}
    return np.lexsort((-table.attributions.sum(axis=1), [targets[t] for t in table.targets]))


class HeatBlock:
    """The map; sizes in inches."""

    def __init__(self, table: FeatureTable, most: int | None = None) -> None:
        self.table = table
        self.features = [int(f) for f in table.order[: max(1, most or MOST)]]
        self.names = RowNames([table.names[f] for f in self.features])
        self.names.row = max(ROW, self.names.row)
        self.width = self.names.width + WIDTH + RIGHT
        self.height = HEAD + CURVE + self.names.row * len(self.features) + FOOT

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        table, order = self.table, sample_order(self.table)
        hidden = len(table.names) - len(self.features)
        rest = f"; {hidden} features that matter less are not shown" if hidden else ""
        words = f"a column per sample, by target and score; right: mean size{rest}"
        heading(page, left, top, table.heading, words, self.width)
        x, y, high = left + self.names.width, top + HEAD + CURVE, self.names.row * len(self.features)
        start = np.zeros(len(table)) if table.base is None else table.base
        score = (start + table.attributions.sum(axis=1) + (0 if table.joint is None else table.joint))[order]
        above = page.axes(x, y - CURVE, WIDTH, CURVE - 0.06, frame=False)
        above.plot(np.arange(len(score)) + 0.5, score, color=INK, linewidth=1.0, drawstyle="steps-mid")
        above.axhline(float(start.mean()), color=QUIET, linewidth=0.7, linestyle=(0, (3, 2)))
        above.set_xlim(0, len(score))
        base = "" if table.base is None else "; dashed: the base, without any feature"
        what = "sum" if table.base is None else "score" if table.complete else "base + sum"
        page.text(x - 0.08, y - CURVE / 2, what, size=7.5, colour=QUIET, ha="right", va="center")
        for value, at in ((score.max(), y - CURVE), (score.min(), y - 0.06)):
            side = "top" if at < y - 0.2 else "bottom"
            page.text(x + WIDTH + 0.08, at, short(float(value)), size=7, colour=QUIET, va=side)
        shown = table.attributions[order][:, self.features].T
        scale = rim(shown)
        axes = page.axes(x, y, WIDTH, high)
        axes.imshow(colours(shown, scale, table.signed), aspect="auto", interpolation="nearest",
                    extent=(0, len(score), len(self.features), 0))  # fmt: skip
        axes.hlines(np.arange(1, len(self.features)), 0, len(score), color="white", linewidth=0.6)
        self._targets(page, axes, x, y + high, order)
        self.names.draw(page, x, y)
        sizes = np.abs(table.attributions[:, self.features]).mean(axis=0)
        bars = page.axes(x + WIDTH + 0.08, y, RIGHT - 0.1, high, frame=False)
        bars.barh(np.arange(len(sizes)) + 0.5, sizes, height=0.6, color=STRENGTH if not table.signed else "#9aa1ad", linewidth=0)
        bars.set_xlim(0, float(sizes.max()) * 2.0 or 1.0)
        bars.set_ylim(len(sizes), 0)
        for i, size in enumerate(sizes):
            bars.annotate(short(float(size)), (size, i + 0.5), (3, 0), textcoords="offset points", fontsize=6.5, color=QUIET,
                          va="center_baseline")  # fmt: skip
        page.legend(x, y + high + 0.36, signed=table.signed, unsigned=not table.signed, note=f"full colour: {short(scale)}{base}")

    def _targets(self, page: Page, axes: Any, x: float, bottom: float, order: Array) -> None:
        """The targets below their samples, with lines between."""
        named = [self.table.targets[i] for i in order]
        edges = [i for i in range(len(named)) if i == 0 or named[i] != named[i - 1]] + [len(named)]
        for first, last in pairwise(edges):
            wide = WIDTH * (last - first) / len(named)
            if first:
                axes.axvline(first, color=INK, linewidth=0.8)
            if 0.062 * len(named[first]) < wide:
                middle = x + WIDTH * (first + last) / 2 / len(named)
                page.text(middle, bottom + 0.05, named[first], size=7.5, colour=QUIET, ha="center")
        axes.spines[:].set_edgecolor(RIM)
