"""Bars for tables and tokens: one row per feature or token, one column per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.results.plot.page import Page, prediction_lines
from onnxplain.results.plot.style import AGAINST, FOR, QUIET, RIM, STRENGTH, plain, short
from onnxplain.results.plot.views import PlotColumn, PlotView
from onnxplain.results.prediction import Prediction

__all__ = ["BarsBlock", "strongest", "value_text"]

Array = np.ndarray[Any, Any]

ROWS_SHOWN = {"table": 12, "tokens": 40}
"""The number of rows shown. The sum of the others is noted below them."""


def strongest(rows: Sequence[Array], most: int, *, in_order: bool) -> list[int]:
    """The elements with the strongest attributions in any method, each relative to the method's largest.

    Args:
        rows: the attributions of one sample, one array per method.
        most: the number of elements.
        in_order: whether to keep the order of the elements instead of sorting by strength.

    Returns:
        Flat indices.
    """
    sizes = np.zeros(rows[0].size)
    for row in rows:
        own = np.abs(np.nan_to_num(row.ravel().astype(np.float64), posinf=0, neginf=0))
        sizes = np.maximum(sizes, own / (own.max() or 1.0))
    if len(rows) > 1 and not in_order:  # what several methods agree on comes first among equals
        sizes = sizes + 1e-6 * sum(np.abs(r.ravel()) / (np.abs(r).max() or 1.0) for r in rows)
    order = np.argsort(-sizes, kind="stable")[:most]
    return sorted(int(i) for i in order) if in_order else [int(i) for i in order]


def value_text(view: PlotView, sample: int, place: int) -> str:
    """The value of an input element, as text."""
    if view.values is None or view.values[sample].size != view.attributions[0][sample].size:
        return ""
    value = view.values[sample].ravel()[place]
    if isinstance(value, str | bytes) or (hasattr(value, "dtype") and value.dtype.kind in "US"):
        return str(value)
    return str(value) if isinstance(value, int | np.integer) else plain(float(value))


class BarsBlock:
    """Bars, one block per sample. Sizes are in inches."""

    def __init__(
        self, view: PlotView, columns: Sequence[PlotColumn], samples: Sequence[int], predictions: Sequence[Prediction]
    ) -> None:
        self.view, self.columns, self.samples, self.predictions = view, columns, samples, predictions
        most = ROWS_SHOWN[view.form]
        self.places = {s: strongest([a[s] for a in view.attributions], most, in_order=view.form == "tokens") for s in samples}
        names = [view.label(s, p) for s in samples for p in self.places[s]]
        self.names = min(2.6, max(0.4, 0.071 * max(len(n) for n in names)))
        self.given = max(0.15, 0.068 * max(len(value_text(view, s, p)) for s in samples for p in self.places[s]) + 0.22)
        self.bars = 2.9 if len(columns) == 1 else 1.9
        self.gap, self.line, self.head, self.foot = 0.22, 0.205, 0.62, 0.38
        self.width = max(self.names + self.given + len(columns) * (self.bars + self.gap), 4.6)
        self.height = sum(self.head + self.foot + self.line * len(self.places[s]) for s in samples) - 0.12

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        for sample in self.samples:
            self._sample(page, sample, left, top)
            top += self.head + self.foot + self.line * len(self.places[sample])

    def _sample(self, page: Page, sample: int, left: float, top: float) -> None:
        places = self.places[sample]
        self._heading(page, sample, left, top)
        first = left + self.names + self.given
        lefts = [first + i * (self.bars + self.gap) for i in range(len(self.columns))]
        page.headings([c.heading for c in self.columns], lefts, top + self.head - 0.06, self.bars)
        y = top + self.head
        lines = page.axes(left, y, self.width - self.gap, self.line * len(places), frame=False)
        lines.set_ylim(len(places), 0)
        lines.hlines(np.arange(len(places) + 1), 0, 1, transform=lines.get_yaxis_transform(), color="#eceef2", linewidth=0.5)
        for row, place in enumerate(places):
            middle = y + (row + 0.5) * self.line
            name = self.view.label(sample, place)
            shown = name if len(name) <= 36 else name[:35] + "…"
            page.text(left, middle, shown, size=8, va="center_baseline")
            page.text(
                first - 0.14,
                middle,
                value_text(self.view, sample, place),
                size=7.5,
                colour=QUIET,
                ha="right",
                va="center_baseline",
            )
        for column, attributions, x in zip(self.columns, self.view.attributions, lefts, strict=True):
            self._bars(page, column, attributions[sample], places, x, y)
        hidden = self.view.attributions[0][sample].size - len(places)
        if hidden:
            page.text(left, y + self.line * len(places) + 0.05, f"{hidden} others", size=7, colour=QUIET)

    def _heading(self, page: Page, sample: int, left: float, top: float) -> None:
        targets = {c.target(sample) for c in self.columns}
        lines = prediction_lines(self.predictions[sample], next(iter(targets)) if len(targets) == 1 else None, 40)
        words = [text for text, *_ in lines]
        if self.predictions[sample].label is None and len(words) > 1:
            words = [words[1], "is explained", *words[2:]]
        if words:
            page.text(left, top, words[0], size=10, weight="bold")
            page.text(left, top + 0.19, " ".join(words[1:]), size=8, colour=QUIET)

    def _bars(self, page: Page, column: PlotColumn, row: Array, places: list[int], left: float, top: float) -> None:
        flat = np.nan_to_num(row.ravel().astype(np.float64), posinf=0, neginf=0)
        values = flat[places]
        axes = page.axes(left, top, self.bars, self.line * len(places), frame=False)
        axes.set_ylim(len(places), 0)
        low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
        reach = (high - low) or 1.0
        room = 0.5 / (self.bars - 0.5 * ((low < 0) + (high > 0 or low == 0))) * reach  # inches for the numbers at the ends
        axes.set_xlim(low - (room if low < 0 else 0), high + (room if high > 0 or low == 0 else 0))
        shades = [(FOR if v >= 0 else AGAINST) if column.signed else STRENGTH for v in values]
        axes.barh(np.arange(len(places)) + 0.5, values, height=0.56, color=shades, linewidth=0)
        axes.axvline(0, color=RIM, linewidth=0.8)
        for i, value in enumerate(values):
            side = -1 if value < 0 else 1
            axes.annotate(
                short(float(value)), (value, i + 0.5), (3 * side, 0), textcoords="offset points", fontsize=6.5,
                color=QUIET, ha="right" if side < 0 else "left", va="center_baseline",
            )  # fmt: skip
        rest = float(flat.sum() - values.sum())
        if flat.size > values.size:
            zero = left + self.bars * -axes.get_xlim()[0] / (axes.get_xlim()[1] - axes.get_xlim()[0])
            page.text(zero + 0.04, top + self.line * len(places) + 0.05, f"Σ {short(rest)}", size=6.5, colour=QUIET)
