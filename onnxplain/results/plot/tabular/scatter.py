"""A feature's attributions over its values, coloured by the feature that it interacts with most, or one that is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.errors import OutputError
from onnxplain.results.feature_table import FeatureTable
from onnxplain.results.plot.page import Page, wrapped
from onnxplain.results.plot.style import QUIET, short
from onnxplain.results.plot.tabular.drawing import heading, numbers_along, ranks, tick, value_bar, value_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ScatterBlock", "strongest_partner"]

Array = np.ndarray[Any, Any]

WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM, HEAD = 2.5, 1.9, 0.5, 1.0, 0.3, 0.55, 0.5
"""Inches: a panel, beside it, above and below it, above all."""
ACROSS, PANELS = 2, 4
CATEGORIES = 8
"""Texts told apart on an axis, at most."""


def strongest_partner(table: FeatureTable, feature: int) -> int | None:
    """The feature that another one interacts with most: by its interactions where they are known, else by how much of what the
    feature's own value leaves of its attributions goes along with the other's value."""
    if table.interactions is not None:
        sizes = np.abs(table.interactions[:, feature]).mean(axis=0)
        sizes[feature] = -1
        return int(sizes.argmax()) if sizes.max() > 0 else None
    own = _along(table, feature)
    if own is None:
        return None
    order = np.argsort(own, kind="stable")
    pieces = np.array_split(order, max(1, min(10, len(order) // 6)))
    scores = np.zeros(len(table.names))
    for other in range(len(table.names)):
        values = _along(table, other)
        if other == feature or values is None:
            continue
        for piece in pieces:
            scores[other] += abs(_correlation(table.attributions[piece, feature], values[piece])) * len(piece)
    return int(scores.argmax()) if scores.max() > 0 else None


def _correlation(a: Array, b: Array) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    a, b = a[known], b[known]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _along(table: FeatureTable, feature: int) -> Array | None:
    """A feature's values as numbers; texts in alphabetical order, where there are few."""
    numbers = table.numbers(feature)
    if numbers is not None or table.fed is None:
        return numbers
    texts = table.fed[:, feature].astype(str)
    known = np.unique(texts)
    return np.searchsorted(known, texts).astype(np.float64) if len(known) <= CATEGORIES else None


class ScatterBlock:
    """A panel per feature; sizes in inches."""

    def __init__(
        self, table: FeatureTable, features: Sequence[int] | None = None, by: int | None = None, most: int | None = None
    ) -> None:
        drawable = [int(f) for f in table.order if _along(table, int(f)) is not None]
        if not drawable:
            raise OutputError("no feature has values to draw attributions over: groups and inner tensors have none")
        chosen = drawable[: most or PANELS] if features is None else list(features)
        if any(f not in drawable for f in chosen):
            lost = next(f for f in chosen if f not in drawable)
            raise OutputError(f"'{table.names[lost]}' holds more texts than an axis has room for")
        self.table, self.features = table, chosen
        self.partners = [strongest_partner(table, f) if by is None else by for f in chosen]
        across = min(ACROSS, len(chosen))
        self.panel = LEFT + WIDE + RIGHT
        self.width = across * self.panel
        self.height = HEAD + -(-len(chosen) // ACROSS) * (TOP + HIGH + BOTTOM)

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        words = f"attributions of {len(self.table)} samples over the feature's value"
        heading(page, left, top, self.table.heading, words, self.width)
        for i, (feature, partner) in enumerate(zip(self.features, self.partners, strict=True)):
            row, column = divmod(i, ACROSS)
            self._panel(page, left + column * self.panel + LEFT, top + HEAD + row * (TOP + HIGH + BOTTOM) + TOP, feature, partner)

    def _panel(self, page: Page, x: float, y: float, feature: int, partner: int | None) -> None:
        table, values = self.table, _along(self.table, feature)
        assert values is not None
        shown = table.attributions[:, feature]
        axes = page.axes(x, y, WIDE, HIGH)
        known = np.isfinite(values)
        room = 0.05 * (float(np.ptp(values[known])) or 1.0)
        axes.set_xlim(float(values[known].min()) - room, float(values[known].max()) + room)
        rise = 0.08 * (float(np.ptp(shown)) or 1.0)
        axes.set_ylim(float(shown.min()) - rise, float(shown.max()) + rise)
        colours = value_colours(np.full(len(table), 0.1))
        if partner is not None:
            other = _along(table, partner)
            colours = value_colours(np.full(len(table), np.nan) if other is None else ranks(other))
        axes.axhline(0, color="#c3c8d1", linewidth=0.7, zorder=0)
        size = 16.0 if len(table) <= 200 else 8.0
        axes.scatter(values[known], shown[known], s=size, c=colours[known], linewidths=0, zorder=2)
        _numbers_beside(page, axes, x, y)
        if table.numbers(feature) is None and table.fed is not None:
            for place, text in enumerate(np.unique(table.fed[:, feature].astype(str))):
                at = x + WIDE * (place - axes.get_xlim()[0]) / (axes.get_xlim()[1] - axes.get_xlim()[0])
                page.text(at, y + HIGH + 0.05, "\n".join(wrapped(text, WIDE / 4, 7)), size=7, colour=QUIET, ha="center")
        else:
            numbers_along(page, axes, x, y + HIGH, WIDE)
        name = "\n".join(wrapped(table.names[feature], WIDE + RIGHT, 8.5))
        page.text(x, y - 0.06, name, size=8.5, weight="bold", va="bottom")
        if partner is not None:
            lines = "\n".join(wrapped(table.names[partner], HIGH - 0.3, 7.5)[:2])
            value_bar(page, x + WIDE + 0.14, y + 0.1, HIGH - 0.2, lines, _ends(table, partner))


def _ends(table: FeatureTable, feature: int) -> tuple[str, str]:
    """The values at the ends of the colours."""
    numbers = table.numbers(feature)
    if numbers is None or not np.isfinite(numbers).any():
        texts = np.unique(table.fed[:, feature].astype(str)) if table.fed is not None else np.array(["low", "high"])
        return str(texts[0]), str(texts[-1])
    low, high = np.percentile(numbers[np.isfinite(numbers)], [5, 95])
    return short(float(low)), short(float(high))


def _numbers_beside(page: Page, axes: Axes, x: float, y: float) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_ylim()
    for value in MaxNLocator(4).tick_values(low, high):
        if low <= value <= high:
            at = y + HIGH * (high - value) / (high - low)
            page.text(x - 0.06, at, tick(float(value), high - low), size=7, colour=QUIET, ha="right", va="center_baseline")
