"""Many samples of a table: a dot per sample and feature, coloured by the feature's value."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.results.feature_table import FeatureTable
from onnxplain.results.plot.page import Page
from onnxplain.results.plot.style import QUIET
from onnxplain.results.plot.tabular.drawing import RowNames, heading, numbers_along, ranks, value_bar, value_colours

__all__ = ["SwarmBlock", "swarm"]

Array = np.ndarray[Any, Any]

WIDTH, HEAD, FOOT, RIGHT, ROW = 4.6, 0.6, 0.5, 0.75, 0.3
"""Inches: of the dots, above, below, for the colours, of a row."""
MOST = 15
"""Features shown where nothing is said."""


def swarm(values: Array, bins: int) -> Array:
    """How far each dot goes off the middle of its row, −1 to 1, so that dots of about one value lie beside each other."""
    low, high = float(values.min()), float(values.max())
    place = np.zeros(len(values), int) if high == low else np.round((values - low) / (high - low) * bins).astype(int)
    offsets = np.zeros(len(values))
    for where in np.unique(place):
        mine = np.flatnonzero(place == where)
        order = np.arange(len(mine))
        offsets[mine] = np.where(order % 2, 1, -1) * ((order + 1) // 2)
    return offsets / max(float(np.abs(offsets).max()), 6.0)


class SwarmBlock:
    """A row per feature, the greatest first; sizes in inches."""

    def __init__(self, table: FeatureTable, most: int | None = None) -> None:
        self.table = table
        self.features = [int(f) for f in table.order[: max(1, most or MOST)]]
        self.names = RowNames([table.names[f] for f in self.features])
        self.row = max(ROW, self.names.row)
        self.names.row = self.row
        self.width = self.names.width + WIDTH + RIGHT
        self.height = HEAD + max(self.row * len(self.features), 0.7) + FOOT

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        hidden = len(self.table.names) - len(self.features)
        rest = f"; {hidden} features that matter less are not shown" if hidden else ""
        known = [self.table.numbers(f) for f in self.features]
        grey = any(n is None or not np.isfinite(n).all() for n in known)
        rest += "; grey: texts, missing or unknown values" if grey else ""
        words = f"a dot per sample, {len(self.table)} of them; features by mean size{rest}"
        heading(page, left, top, self.table.heading, words, self.width)
        x, y, high = left + self.names.width, top + HEAD, self.row * len(self.features)
        self.names.draw(page, x, y)
        axes = page.axes(x, y, WIDTH, high, frame=False)
        shown = self.table.attributions[:, self.features]
        low, top_value = min(0.0, float(shown.min())), max(0.0, float(shown.max()))
        room = 0.04 * ((top_value - low) or 1.0)
        axes.set_xlim(low - room, top_value + room)
        axes.set_ylim(len(self.features), 0)
        axes.hlines(np.arange(len(self.features)) + 0.5, *axes.get_xlim(), color="#eceef2", linewidth=0.6, zorder=0)
        axes.axvline(0, color=QUIET, linewidth=0.8, zorder=1)
        size = 14.0 if len(self.table) <= 200 else 8.0 if len(self.table) <= 1000 else 4.0
        for row, feature in enumerate(self.features):
            values, numbers = self.table.attributions[:, feature], self.table.numbers(feature)
            unit = np.full(len(values), np.nan) if numbers is None else ranks(numbers)
            off = 0.5 + 0.42 * swarm(values, 100)
            axes.scatter(values, row + off, s=size, c=value_colours(unit), linewidths=0, zorder=2, rasterized=len(values) > 2000)
        numbers_along(page, axes, x, y + high, WIDTH, f"attribution ({self._target()})")
        value_bar(page, x + WIDTH + 0.16, y + 0.12, max(min(high - 0.24, 3.0), 0.9), "the feature's value")

    def _target(self) -> str:
        several = set(self.table.targets)
        return next(iter(several)) if len(several) == 1 else "each sample's own target"
