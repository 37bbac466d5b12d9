"""Time series: the line of each channel, on a ground coloured by its attribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.results.plot.heat_style import HeatStyle
from onnxplain.results.plot.image import USUAL, scale_text
from onnxplain.results.plot.page import Page, gutter_of
from onnxplain.results.plot.style import INK, QUIET, colours, rim
from onnxplain.results.plot.views import PlotColumn, PlotView
from onnxplain.results.prediction import Prediction

__all__ = ["SeriesBlock", "lanes_of"]

Array = np.ndarray[Any, Any]

CHANNELS_SHOWN = 8
"""The number of channels shown: those with the strongest attributions."""


def lanes_of(rows: Sequence[Array], most: int = CHANNELS_SHOWN) -> list[int]:
    """The channels to show, in order: those with the strongest attributions in any method. Rows are [channels, time]."""
    sizes = np.max([np.abs(np.nan_to_num(r)).sum(axis=1) / (np.abs(np.nan_to_num(r)).sum() or 1.0) for r in rows], axis=0)
    return sorted(int(i) for i in np.argsort(-sizes, kind="stable")[:most])


def as_channels(array: Array) -> Array:
    """One sample as [channels, time]."""
    return array.reshape(1, -1) if array.ndim < 2 else array.reshape(-1, array.shape[-1])


class SeriesBlock:
    """Series, one row per sample, one column per method, one lane per channel. Sizes are in inches."""

    def __init__(
        self, view: PlotView, columns: Sequence[PlotColumn], samples: Sequence[int], predictions: Sequence[Prediction],
        style: HeatStyle = USUAL,
    ) -> None:  # fmt: skip
        self.view, self.columns, self.samples, self.predictions, self.style = view, columns, samples, predictions, style
        self.lanes = {s: lanes_of([as_channels(a[s]) for a in view.attributions]) for s in samples}
        many = len(next(iter(self.lanes.values())))
        self.lane = 1.15 if many == 1 else max(0.42, 1.6 / many)
        self.panel = 5.2 if len(columns) == 1 else 3.0
        names = [self._name(lane) for lanes in self.lanes.values() for lane in lanes] if many > 1 else [""]
        self.said = gutter_of([predictions[s] for s in samples], [c.target(s) for s in samples for c in columns])
        self.gutter = self.said + 0.068 * max(len(n) for n in names) + (0.1 if many > 1 else 0)
        self.gap, self.foot, self.head = 0.18, 0.34, 0.24
        self.high = many * self.lane
        self.width = self.gutter + len(columns) * (self.panel + self.gap) - self.gap
        self.height = self.head + len(samples) * (self.high + self.foot) - 0.08

    def _name(self, lane: int) -> str:
        if self.view.labels is not None and self.view.attributions[0].ndim == 3:
            return self.view.label(0, lane)
        return f"channel {lane}"

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        places = [left + self.gutter + i * (self.panel + self.gap) for i in range(len(self.columns))]
        page.headings([c.heading for c in self.columns], places, top + self.head - 0.07, self.panel)
        page.left_heading(left, top + self.head - 0.07)
        for row, sample in enumerate(self.samples):
            y = top + self.head + row * (self.high + self.foot)
            targets = {c.target(sample) for c in self.columns}
            page.prediction(
                left,
                y + self.high / 2,
                self.said - 0.1,
                self.predictions[sample],
                next(iter(targets)) if len(targets) == 1 else None,
            )
            lanes = self.lanes[sample]
            if len(lanes) > 1:
                for i, lane in enumerate(lanes):
                    middle = y + (i + 0.5) * self.lane
                    page.text(
                        left + self.gutter - 0.1,
                        middle,
                        self._name(lane),
                        size=7,
                        colour=QUIET,
                        ha="right",
                        va="center",
                    )
            for column, attributions, x in zip(self.columns, self.view.attributions, places, strict=True):
                self._panel(page, column, attributions[sample], sample, x, y)
                if len(targets) > 1:
                    page.text(
                        x + self.panel / 2,
                        y + self.high + 0.04,
                        f"for {column.target(sample)}",
                        size=6.2,
                        colour=QUIET,
                        ha="center",
                    )

    def _panel(self, page: Page, column: PlotColumn, attribution: Array, sample: int, left: float, top: float) -> None:
        rows = as_channels(attribution)
        scale = rim(rows, self.style.clip)
        for i, lane in enumerate(self.lanes[sample]):
            axes = page.axes(left, top + i * self.lane, self.panel, self.lane)
            length = rows.shape[1]
            ground = colours(rows[lane][None], scale, column.signed, self.style.cmap)
            axes.imshow(ground, aspect="auto", extent=(-0.5, length - 0.5, 0, 1), interpolation="antialiased")
            line = self._line(sample, lane, rows.shape)
            if line is not None:
                steps = np.arange(length)
                axes.plot(steps, line, color="white", linewidth=2.2, alpha=0.65, solid_joinstyle="round")
                axes.plot(steps, line, color=INK, linewidth=0.9, solid_joinstyle="round")
            axes.set_xlim(-0.5, length - 0.5)
            axes.set_ylim(0, 1)
        page.text(left, top + self.high + 0.04, "0", size=6.2, colour=QUIET)
        page.text(left + self.panel, top + self.high + 0.04, f"{rows.shape[1] - 1}", size=6.2, colour=QUIET, ha="right")
        page.text(
            left + 0.18,
            top + self.high + 0.04,
            "colours " + scale_text(rows, scale, column.signed) + self._hidden(len(rows)),
            size=6.2,
            colour=QUIET,
        )

    def _hidden(self, channels: int) -> str:
        """How many channels are not shown."""
        shown = len(next(iter(self.lanes.values())))
        return f"; the {shown} strongest of {channels} channels" if shown < channels else ""

    def _line(self, sample: int, lane: int, shape: tuple[int, ...]) -> Array | None:
        """The values of a channel, scaled to 0.1..0.9 of its lane; None if they are unknown."""
        if self.view.values is None:
            return None
        values = as_channels(np.asarray(self.view.values[sample], dtype=np.float64))
        if values.shape != shape:
            return None
        low, high = float(values[lane].min()), float(values[lane].max())
        return np.asarray(0.1 + 0.8 * (values[lane] - low) / (high - low)) if high > low else np.full(shape[1], 0.5)
