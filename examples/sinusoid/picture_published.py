"""The figure of the sinusoid study as published: data, sensitivity, relevance, and what the extrema alone tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from examples.sinusoid.published import (
    ANGLES,
    CARRIERS,
    EVERY,
    NEAR,
    PUBLISHED_INFLUENCE,
    PUBLISHED_KEPT,
    PUBLISHED_RELEVANCE,
    SETS,
    Result,
)  # fmt: skip
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, STRENGTH, colours, percent, rim

LANE, WIDE, BAR, GAP, LABEL = 0.3, 4.1, 1.15, 0.3, 0.75
"""Inches: a channel's height, a window's width, the bars', between columns, channel names."""
SHOWN, SPAN = 301, 150
"""The window in the picture, among those explained, and the steps of the first panel."""
GROUND = "#b4bac4"

Array = np.ndarray[Any, Any]


def draw(results: Mapping[str, Result], path: Path) -> None:
    """Write the figure."""
    five = results["five"]
    height = len(five.series.values) * LANE
    width = 2 * MARGIN + LABEL + 2 * WIDE + 2 * BAR + 3 * GAP
    page = Page(width, 2 * MARGIN + 0.8 + 0.75 + 0.62 + height + 0.85 + 0.75 + height + 0.7 + 1.95)
    page.text(MARGIN, MARGIN, "Does the sinusoid rise or fall next? Three channels hold it in turn", size=12, weight="bold")
    left, right = MARGIN + LABEL, MARGIN + LABEL + WIDE + BAR + 2 * GAP
    top = MARGIN + 0.62
    _task(page, five, left, top, width - MARGIN - left)
    top += 0.75 + 0.62
    window = _Window(five)
    _sensitivity(page, five, window, left, top, height)
    _relevance(page, five, window, right, top, height)
    top += height + 0.85 + 0.75
    _profile(page, results, left, top, WIDE, height + 1.6)
    page.text(right, top - 0.07, f"values near the extrema alone (|sin| > {NEAR:.2f}), all others 0", size=9, va="bottom")
    kept = np.where(np.abs(window.sine) > NEAR, 1.0, 0.0)[None].repeat(len(window.values), axis=0)
    _lanes(page, window, colours(0.25 * kept, 1.0, signed=False), right, top, kept > 0)
    _kept(page, results, right, top + height + 0.5, WIDE + BAR, 1.75)
    page.figure.savefig(path, dpi=140, metadata={"Software": None})


class _Window:
    """One of the windows explained, with what is drawn of it."""

    def __init__(self, result: Result) -> None:
        self.start = SHOWN * EVERY
        steps = slice(self.start, self.start + result.series.window)
        self.values = result.series.values[:, steps]
        self.sine, self.carried = result.series.sine[steps], result.series.carried[:, steps]
        self.gradient, self.relevance = np.abs(result.gradient[SHOWN]), result.relevance[SHOWN]


def _task(page: Page, result: Result, left: float, top: float, wide: float) -> None:
    """The sinusoid by what comes next, and the window that the network sees."""
    start = SHOWN * EVERY - (SPAN - result.series.window) // 2
    sine = result.series.sine[start : start + SPAN + 1]
    axes = page.axes(left, top, wide, 0.75)
    falls = sine[1:] < sine[:-1]
    first = SHOWN * EVERY - start
    axes.axvspan(first - 0.5, first + result.series.window - 0.5, color="#eef0f3", linewidth=0)
    for label, colour in ((False, AGAINST), (True, FOR)):
        axes.plot(np.flatnonzero(falls == label), sine[:-1][falls == label], "o", markersize=2.2, color=colour)
    axes.set_xlim(-1, SPAN)
    axes.set_ylim(-1.25, 1.25)
    page.text(left, top - 0.07, "the sinusoid;", size=8.5, va="bottom")
    page.text(left + 0.83, top - 0.07, "rises next", size=8.5, colour=AGAINST, va="bottom")
    page.text(left + 1.48, top - 0.07, "falls next", size=8.5, colour=FOR, va="bottom")
    words = "grey: the window below, whose class is that of its last step"
    page.text(left + wide, top - 0.07, words, size=7, colour=QUIET, ha="right", va="bottom")


def _lanes(page: Page, window: _Window, ground: Array, left: float, top: float, kept: Array | None = None) -> None:
    """The channels of a window, or what of it is kept, on coloured grounds; where the sinusoid is, the line is dark."""
    for row, whole in enumerate(window.values):
        values = whole if kept is None else np.where(kept[row], whole, 0)
        axes = page.axes(left, top + row * LANE, WIDE, LANE)
        steps = np.arange(len(values))
        axes.imshow(ground[row][None], aspect="auto", extent=(-0.5, len(steps) - 0.5, -1.6, 1.6), interpolation="nearest")
        axes.plot(steps, values, color=QUIET, linewidth=0.5)
        axes.plot(steps, np.where(window.carried[row], values, np.nan), color=INK, linewidth=1.1)
        axes.set_xlim(-0.5, len(steps) - 0.5)
        axes.set_ylim(-1.6, 1.6)


def _bars(page: Page, shares: Array, published: Array, left: float, top: float, height: float) -> None:
    """Horizontal bars beside the lanes, published values as diamonds."""
    axes = page.axes(left, top, BAR, height, frame=False)
    rows = np.arange(len(shares))
    axes.barh(rows, shares, height=0.6, color=[STRENGTH if r < CARRIERS else GROUND for r in rows])
    axes.plot(published, rows[: len(published)], "d", color=INK, markersize=3.5)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlim(0, 1.1 * max(shares.max(), published.max()))
    axes.axvline(0, color=RIM, linewidth=0.8)
    for row, share in enumerate(shares):
        inside = row < CARRIERS
        place = 0.02 * shares.max() if inside else max([share, *published[row : row + 1]]) + 0.06 * shares.max()
        axes.text(place, row, percent(share), fontsize=6.5, color="white" if inside else INK, va="center")


def _sensitivity(page: Page, result: Result, window: _Window, left: float, top: float, height: float) -> None:
    """The gradient's size over a window, its sums per step and per channel."""
    page.text(left, top - 0.07, "size of the gradient", size=9, va="bottom")
    page.text(left + WIDE + 0.1, top - 0.07, "share of all windows", size=7, colour=QUIET, va="bottom")
    for row in range(len(window.values)):
        name = f"channel {row + 1}" if row < CARRIERS else "dummy"
        page.text(left - 0.08, top + (row + 0.5) * LANE, name, size=7.5, ha="right", va="center")
    _lanes(page, window, colours(window.gradient, rim(window.gradient), signed=False), left, top)
    published = np.array(PUBLISHED_INFLUENCE) / sum(PUBLISHED_INFLUENCE)
    _bars(page, result.influence / result.influence.sum(), published, left + WIDE + 0.1, top, height)
    axes = page.axes(left, top + height + 0.12, WIDE, 0.6)
    sums = window.gradient.sum(axis=0)
    axes.bar(np.arange(len(sums)), sums, width=0.8, color=STRENGTH)
    axes.set_xlim(-0.5, len(sums) - 0.5)
    page.text(left - 0.08, top + height + 0.42, "sum over\nchannels", size=7.5, ha="right", va="center")
    page.text(left, top + height + 0.77, "bold line: the channel that holds the sinusoid", size=7, colour=QUIET)
    page.text(left + WIDE + 0.1, top + height + 0.05, "◆ published", size=7)


def _relevance(page: Page, result: Result, window: _Window, left: float, top: float, height: float) -> None:
    """Relevance over the same window, per channel, and on the sinusoid."""
    page.text(left, top - 0.07, "relevance (LRP-α2β1) of the predicted class", size=9, va="bottom")
    page.text(left + WIDE + 0.1, top - 0.07, "share of all windows", size=7, colour=QUIET, va="bottom")
    _lanes(page, window, colours(window.relevance, rim(window.relevance), signed=True), left, top)
    published = np.array(PUBLISHED_RELEVANCE) / np.mean(PUBLISHED_RELEVANCE) * result.shares[:CARRIERS].mean()
    _bars(page, result.shares, published, left + WIDE + 0.1, top, height)
    page.text(left + WIDE + 0.1, top + height + 0.05, "◆ published, scaled\n    to the mean of ours", size=7)
    axes = page.axes(left, top + height + 0.12, WIDE, 0.6)
    steps = np.arange(len(window.sine))
    here = np.where(window.carried, window.relevance, 0).sum(axis=0)
    axes.plot(steps, window.sine, color=RIM, linewidth=1, zorder=1)
    size = 46 * np.abs(here) / np.abs(here).max()
    axes.scatter(steps, window.sine, s=size, color=[FOR if r > 0 else AGAINST for r in here], linewidths=0, zorder=2)
    axes.set_xlim(-0.5, len(steps) - 0.5)
    axes.set_ylim(-1.5, 1.5)
    words = "on the sinusoid: the larger a dot, the larger its relevance, for (red) or against (blue)"
    page.text(left, top + height + 0.77, words, size=7, colour=QUIET)


def _profile(page: Page, results: Mapping[str, Result], left: float, top: float, wide: float, high: float) -> None:
    """Where on the sinusoid relevance lies."""
    page.text(left, top - 0.07, "size of relevance over the sinusoid's angle, 1 if it were even", size=8.5, va="bottom")
    axes = page.axes(left, top, wide, high)
    middles = (np.arange(ANGLES) + 0.5) * 360 / ANGLES
    fine = np.linspace(0, 360, 200)
    axes.plot(fine, 1 + 0.7 * np.sin(np.radians(fine)), color=RIM, linewidth=1.2)
    axes.axhline(1, color=RIM, linewidth=0.7, linestyle="--")
    for (name, result), colour, y in zip(results.items(), (FOR, STRENGTH), (0.08, 0.25), strict=True):
        axes.plot(middles, result.profile, color=colour, linewidth=1.7, marker="o", markersize=2.8)
        page.text(left + wide + 0.08, top + y, SETS[name], size=7.5, colour=colour)
    page.text(left + wide + 0.08, top + 0.42, "the sinusoid", size=7.5, colour=QUIET)
    axes.set_xlim(0, 360)
    axes.set_ylim(0, 2)
    axes.set_xticks((0, 90, 180, 270, 360), ("0°", "90°, highest", "180°", "270°, lowest", "360°"), fontsize=7, color=QUIET)
    axes.set_yticks((0, 1, 2), ("0", "1", "2"), fontsize=7, color=QUIET)
    axes.tick_params(length=0, pad=3)


def _kept(page: Page, results: Mapping[str, Result], left: float, top: float, wide: float, high: float) -> None:
    """Accuracy with some values alone."""
    page.text(left, top - 0.07, "accuracy", size=8.5, va="bottom")
    rows = {"everything": {n: r.accuracy for n, r in results.items()}}
    rows |= {what: {n: r.kept[what] for n, r in results.items()} for what in results["three"].kept}
    label = 2.5
    axes = page.axes(left + label, top, wide - label, high, frame=False)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 1.17)
    for row, (what, accuracies) in enumerate(rows.items()):
        page.text(left + label - 0.08, top + (row + 0.5) * high / len(rows), what, size=7.5, ha="right", va="center")
        for name, colour, offset in (("three", FOR, -0.17), ("five", STRENGTH, 0.17)):
            axes.barh(row + offset, accuracies[name], height=0.3, color=colour)
            axes.text(accuracies[name] + 0.02, row + offset, percent(accuracies[name]), fontsize=6.2, color=QUIET, va="center")
    axes.plot(PUBLISHED_KEPT, 1 - 0.17, "d", color=INK, markersize=3.5)
    axes.axvline(0.5, color=INK, linewidth=0.7, linestyle=":")
    axes.text(0.51, len(rows) - 0.42, "guessing", fontsize=6.5, color=QUIET, va="top")
    axes.axvline(0, color=RIM, linewidth=0.8)
