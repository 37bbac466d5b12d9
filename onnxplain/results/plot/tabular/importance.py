"""Bars of mean sizes of attributions over a data set, by class or cohort."""

from __future__ import annotations

import numpy as np

from onnxplain.results.importance import GlobalImportance
from onnxplain.results.plot.page import Page
from onnxplain.results.plot.style import QUIET, STRENGTH, short
from onnxplain.results.plot.tabular.drawing import RowNames, heading, numbers_along

__all__ = ["ImportanceBlock"]

WIDTH, HEAD, FOOT = 4.4, 0.6, 0.5
MOST = 15
COLOURS = (STRENGTH, "#d9822b", "#2f8f6b", "#2867b2", "#c8402a", "#5d6676")
"""Of cohorts; more share the last."""


class ImportanceBlock:
    """A row per feature with a bar per cohort, the greatest first; sizes in inches."""

    def __init__(self, found: GlobalImportance, title: str, most: int | None = None) -> None:
        self.found, self.title = found, title
        self.features = [int(f) for f in found.order[: max(1, most or MOST)]]
        self.names = RowNames([found.features[f] for f in self.features])
        self.bar = 0.2 if len(found.cohorts) == 1 else 0.13
        self.names.row = max(self.names.row, self.bar * len(found.cohorts) + 0.1)
        self.legend = 0.17 * len(found.cohorts) if len(found.cohorts) > 1 else 0.0
        self.width = self.names.width + WIDTH
        self.height = HEAD + self.legend + self.names.row * len(self.features) + FOOT

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        hidden = len(self.found.features) - len(self.features)
        rest = f"; {hidden} others are smaller" if hidden else ""
        count = int(self.found.counts.sum())
        over = "the samples of each cohort" if len(self.found.cohorts) > 1 else f"{count} samples"
        words = f"{'sizes' if count == 1 else f'mean size over {over}, with its standard error'}{rest}"
        heading(page, left, top, self.title, words, self.width)
        x, y = left + self.names.width, top + HEAD
        for i, (cohort, count) in enumerate(zip(self.found.cohorts, self.found.counts, strict=True)):
            if self.legend:
                page.axes(x, y + 0.03, 0.1, 0.1, frame=False).set_facecolor(COLOURS[min(i, len(COLOURS) - 1)])
                page.text(x + 0.16, y + 0.085, f"{cohort} ({count} samples)", size=7.5, colour=QUIET, va="center_baseline")
                y += 0.17
        high = self.names.row * len(self.features)
        self.names.draw(page, x, y)
        axes = page.axes(x, y, WIDTH, high, frame=False)
        sizes, errors = self.found.sizes[:, self.features], np.nan_to_num(self.found.errors[:, self.features])
        most = float((sizes + errors).max()) or 1.0
        axes.set_xlim(0, most * WIDTH / (WIDTH - 0.5))
        axes.set_ylim(len(self.features), 0)
        many, thick = len(self.found.cohorts), self.bar / self.names.row
        for i, (row, spread) in enumerate(zip(sizes, errors, strict=True)):
            middles = np.arange(len(self.features)) + 0.5 + (i - (many - 1) / 2) * thick
            axes.barh(middles, row, height=0.86 * thick, color=COLOURS[min(i, len(COLOURS) - 1)], linewidth=0)
            axes.hlines(middles, row - spread, row + spread, color="#1d2129", linewidth=0.8)
            for middle, value, error in zip(middles, row, spread, strict=True):
                axes.annotate(short(float(value)), (value + error, middle), (4, 0), textcoords="offset points", fontsize=6.5,
                              color=QUIET, va="center_baseline")  # fmt: skip
        numbers_along(page, axes, x, y + high, WIDTH, "|attribution|" if self.found.counts.sum() == 1 else "mean |attribution|")
