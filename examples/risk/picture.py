"""The figure of the risk study: importance beside the rule, and predictions turned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from examples.risk.forms import AREAS, BLOCK, ITEMS
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import FOR, INK, QUIET, RIM, STRENGTH

Array = np.ndarray[Any, Any]

LINE, NAMES, GAP = 0.185, 1.75, 0.22
"""Inches: an item's height, the width of names, between panels."""
PALE = "#cdbfe3"
"""Bars of items outside the block of an area."""
LINES = {
    "published": ("published (real forms)", INK, ":", "s"),
    "importance": ("importance", STRENGTH, "-", "o"),
    "importance × possible change": ("× possible change", FOR, "-", "o"),
    "integrated gradients": ("integrated gradients", "#e8906a", "--", "o"),
    "random": ("random order", QUIET, "-", "o"),
}
"""Curves: words, colour, dashes, marker."""


def rows(top: float) -> tuple[Array, float]:
    """The middle of every item's line, blocks apart, and where the last ends; inches."""
    middles = top + (np.arange(len(ITEMS)) + 0.5) * LINE + BLOCK * 0.75 * LINE
    return middles, float(middles[-1] + 0.5 * LINE)


def draw(importance: Array, rule: Array, turned: dict[str, tuple[Array, Array]], path: Path) -> None:
    """Write the figure of the study.

    Args:
        importance: mean importance [4, 25].
        rule: how much the rule lets an item count [4, 25].
        turned: by ranking, mean and deviation over wards of the shares of predictions turned [4, top].
    """
    panel, curves = 1.36, 1.75
    width = 2 * MARGIN + NAMES + 4 * panel + 3 * GAP
    _, high = rows(0)
    page = Page(width, 2 * MARGIN + 0.7 + high + 0.75 + curves + 0.3)
    page.text(MARGIN, MARGIN, "Which items raise a risk, and which answers would turn the prediction", size=12, weight="bold")
    top = MARGIN + 0.7
    middles, bottom = rows(top)
    lefts = [MARGIN + NAMES + a * (panel + GAP) for a in range(len(AREAS))]
    for item, middle in zip(ITEMS, middles, strict=True):
        page.text(lefts[0] - 0.1, middle, item, size=7.5, ha="right", va="center_baseline")
    for area, left in enumerate(lefts):
        page.text(left + panel / 2, top - 0.1, AREAS[area], size=9, weight="bold", ha="center", va="bottom")
        _importance(page, importance[area], rule[area], area, left, top, panel, importance)
    y = bottom + 0.14
    page.axes(lefts[0], y - 0.045, 0.1, 0.09, frame=False).set_facecolor(STRENGTH)
    page.axes(lefts[0] + 0.13, y - 0.045, 0.1, 0.09, frame=False).set_facecolor(PALE)
    words = "mean importance ∂ log-odds / ∂ answer, in the risk's own block and outside"
    page.text(lefts[0] + 0.3, y, words, size=7, colour=QUIET, va="center_baseline")
    mark = page.axes(lefts[2] + 1.02, y - 0.06, 0.1, 0.12, frame=False)
    mark.plot(0.5, 0.5, "d", color=INK, markersize=3.2)
    page.text(lefts[2] + 1.17, y, "weight in the rule, scaled to fit", size=7, colour=QUIET, va="center_baseline")
    top = bottom + 0.75
    words = "predictions turned, %, when the first items of an order get the answer that speaks against them"
    page.text(MARGIN, top - 0.12, words, size=8.5, va="bottom")
    for row, (words, colour, dashes, marker) in enumerate(LINES.values()):
        line = page.axes(MARGIN, top + 0.11 + 0.22 * row, 0.26, 0.1, frame=False)
        line.plot((0, 1), (0, 0), dashes, color=colour, linewidth=1.5)
        line.plot(0.5, 0, marker, color=colour, markersize=2.8)
        page.text(MARGIN + 0.34, top + 0.16 + 0.22 * row, words, size=7, va="center_baseline")
    for area, left in enumerate(lefts):
        _curves(page, {r: (m[area], d[area]) for r, (m, d) in turned.items()}, left, top, panel, curves, first=area == 0)
    page.figure.savefig(path, dpi=140, metadata={"Software": None})


def _importance(page: Page, mine: Array, rule: Array, area: int, left: float, top: float, width: float, every: Array) -> None:
    """The bars of one risk, the rule's weights as diamonds."""
    middles, bottom = rows(top)
    axes = page.axes(left, top, width, bottom - top, frame=False)
    places = (middles - top) / (bottom - top)
    axes.set_ylim(1, 0)
    axes.set_xlim(min(0.0, 1.08 * every.min()), 1.12 * every.max())
    axes.hlines(places, *axes.get_xlim(), color="#eef0f3", linewidth=0.6, zorder=0)
    thick = 0.62 * LINE / (bottom - top)
    axes.barh(places, mine, height=thick, color=[STRENGTH if b == area else PALE for b in BLOCK], linewidth=0)
    axes.plot(rule * (mine @ rule) / (rule @ rule), places, "d", color=INK, markersize=3)
    axes.axvline(0, color=RIM, linewidth=0.8)


def _curves(
    page: Page, turned: dict[str, tuple[Array, Array]], left: float, top: float, width: float, high: float, *, first: bool
) -> None:
    """Shares of predictions turned over the number of items."""
    axes = page.axes(left, top, width, high)
    axes.set_ylim(0, 100)
    axes.set_xlim(0.6, 4.4)
    for name, (_, colour, dashes, marker) in LINES.items():
        mean, deviation = turned[name]
        counts = np.arange(1, len(mean) + 1)
        axes.plot(counts, 100 * mean, dashes, marker=marker, color=colour, linewidth=1.5, markersize=3)
        if name in ("importance", "random"):
            axes.fill_between(counts, 100 * (mean - deviation), 100 * (mean + deviation), color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks((1, 2, 3, 4))
    axes.set_yticks((0, 25, 50, 75, 100), [f"{p}" if first else "" for p in (0, 25, 50, 75, 100)])
    axes.tick_params(length=0, pad=3, labelsize=7, labelcolor=QUIET)
    axes.grid(axis="y", color="#eef0f3", linewidth=0.6)
    axes.set_axisbelow(True)
    page.text(left + width / 2, top + high + 0.2, "items moved", size=7, colour=QUIET, ha="center")
