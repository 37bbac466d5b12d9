"""The figure of the sinusoid study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, STRENGTH, colours, percent, rim

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from examples.sinusoid.study import Study

DUMMY = "#b4bac4"
"""Bars of channels without a signal."""
LANE, PANEL, BAR, GAP, CURVES = 0.2, 3.5, 1.28, 0.16, 2.5
"""Inches: a channel's height, the sample's width, a method's width, between them, the height of the curves."""
LINES = (
    ("lrp-alpha2-beta1", "LRP α2β1", FOR, "-"),
    ("lrp-epsilon", "LRP ε", "#e8906a", "-"),
    ("lrp-alpha2-beta1, by size", "LRP α2β1, by size", FOR, "--"),
    ("sensitivity", "sensitivity", STRENGTH, "-"),
    ("input by size", "input by size", INK, ":"),
    ("random", "random", QUIET, "-"),
    ("lrp-alpha2-beta1, the smallest by size", "smallest by LRP α2β1", AGAINST, "-"),
)
"""Curves: key, words, colour, dashes."""
BEST, SAMPLE, RINGS = "lrp-alpha2-beta1", 1, 32
NAMES = {"gradient": "|gradient|", "sensitivity": "sensitivity", "lrp-epsilon": "|LRP ε|", "lrp-alpha2-beta1": "|LRP α2β1|"}

Array = np.ndarray[Any, Any]


def draw(study: Study, counts: tuple[int, ...], path: Path) -> None:
    """Write the figure: a sample, the channels by method, and the accuracy kept."""
    channels = len(study.task.weight)
    order = np.argsort(-np.abs(study.task.weight), kind="stable")
    label = 1.0
    width = 2 * MARGIN + label + PANEL + len(study.channels) * (BAR + GAP)
    high = channels * LANE
    page = Page(width, 2 * MARGIN + 0.69 + high + 0.75 + CURVES + 0.3)
    left, top = MARGIN, MARGIN
    page.text(left, top, "Which channels hold the sinusoid, and which points carry it", size=12, weight="bold")
    top += 0.62
    page.text(left + label + PANEL / 2, top, "one sample, LRP α2β1", size=8.5, ha="center", va="bottom")
    top += 0.07
    _sample(page, study, order, left + label, top)
    for row, channel in enumerate(order):
        amplitude = abs(study.task.weight[channel])
        words = f"sinusoid × {amplitude:.2f}" if amplitude else "noise only"
        ink = INK if amplitude else QUIET
        page.text(left + label - 0.08, top + (row + 0.5) * LANE, words, size=7, colour=ink, ha="right", va="center")
    x = left + label + PANEL + GAP
    for method, measured in study.channels.items():
        page.text(x + BAR / 2, top - 0.07, NAMES[method], size=8.5, ha="center", va="bottom")
        _bars(page.axes(x, top, BAR, high, frame=False), 100 * measured.share[order], study.task.holds[order])
        page.text(x, top + high + 0.05, f"signal {percent(measured.signal)}", size=7, colour=STRENGTH)
        page.text(x, top + high + 0.17, f"dummy {percent(1 - measured.signal)}", size=7, colour=QUIET)
        x += BAR + GAP
    note = f"red: for, blue: against; rings: the {RINGS} most relevant points"
    page.text(left + label, top + high + 0.05, note, size=7, colour=QUIET)
    unit = "share of a channel in the attribution, %"
    page.text(width - MARGIN, top - 0.36, unit, size=7, colour=QUIET, ha="right", va="bottom")
    top += high + 0.75
    _curves(page, study, counts, left + 0.42, top, width - 2 * MARGIN - 0.42 - 1.75)
    page.figure.savefig(path, dpi=140, metadata={"Software": None})


def _sample(page: Page, study: Study, order: Array, left: float, top: float) -> None:
    """A sample's channels on grounds coloured by relevance, its most relevant points ringed."""
    relevance, signal = study.attributions[BEST][SAMPLE], study.task.signal[SAMPLE]
    steps = np.arange(signal.shape[1])
    first = np.unravel_index(np.argsort(-relevance, axis=None, kind="stable")[:RINGS], relevance.shape)
    reach = np.abs(signal).max()
    for row, channel in enumerate(order):
        axes = page.axes(left, top + row * LANE, PANEL, LANE)
        ground = colours(relevance[channel][None], rim(relevance), signed=True)
        axes.imshow(ground, aspect="auto", extent=(-0.5, len(steps) - 0.5, -1.1, 1.1), interpolation="antialiased")
        line = signal[channel] / reach
        axes.plot(steps, line, color=INK, linewidth=0.55)
        ringed = first[1][first[0] == channel]
        axes.plot(ringed, line[ringed], "o", markersize=3.6, fillstyle="none", color=INK, markeredgewidth=0.7, clip_on=False)
        axes.set_xlim(-0.5, len(steps) - 0.5)
        axes.set_ylim(-1.1, 1.1)


def _bars(axes: Axes, shares: Array, holds: Array) -> None:
    """Horizontal bars on the rows of the sample's channels."""
    rows = np.arange(len(shares))
    axes.barh(rows, shares, height=0.66, color=np.where(holds, STRENGTH, DUMMY))
    for row, share in zip(rows, shares, strict=True):
        axes.text(share + 0.02 * shares.max(), row, f"{share:.1f}", fontsize=6.2, color=QUIET, va="center")
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlim(0, 1.25 * shares.max())
    axes.axvline(0, color=RIM, linewidth=0.8)


def _curves(page: Page, study: Study, counts: tuple[int, ...], left: float, top: float, width: float) -> None:
    """Accuracy over the number of points kept."""
    page.text(left, top - 0.09, "accuracy when only some points are kept and all others are zero", size=8.5, va="bottom")
    high, chance = CURVES, 1 / (int(study.task.label.max()) + 1)
    axes = page.axes(left, top, width, high)
    axes.set_xscale("log", base=2)
    axes.set_xlim(counts[0] * 0.94, counts[-1] * 1.06)
    axes.set_ylim(0, 106)
    for level, words in ((100 * study.accuracy, "all points"), (100 * chance, "chance")):
        axes.axhline(level, color=RIM, linewidth=0.9, zorder=0)
        up = level > 50
        axes.text(counts[0], level + (1 if up else -1.5), words, fontsize=6.5, color=QUIET, va="bottom" if up else "top")
    for key, _, colour, dashes in LINES:
        axes.plot(counts, 100 * study.kept[key], dashes, color=colour, linewidth=1.6, marker="o", markersize=2.8)
    middle = study.kept["random"]
    axes.fill_between(counts, 100 * (middle - study.spread), 100 * (middle + study.spread), color=QUIET, alpha=0.2, linewidth=0)
    axes.set_xticks(counts, [str(k) for k in counts], fontsize=7, color=QUIET)
    axes.minorticks_off()
    axes.set_yticks(range(0, 101, 25), [f"{p} %" for p in range(0, 101, 25)], fontsize=7, color=QUIET)
    axes.tick_params(length=0, pad=3)
    total = study.task.signal[0].size
    page.text(left + width / 2, top + high + 0.2, f"points kept, of {total}", size=7.5, colour=QUIET, ha="center")
    page.text(left + width + 0.2, top, "kept are the largest by", size=7.5, colour=QUIET)
    for row, (_, words, colour, dashes) in enumerate(LINES):
        y = top + 0.3 + 0.22 * row
        stroke = page.axes(left + width + 0.2, y - 0.05, 0.3, 0.1, frame=False)
        stroke.plot((0, 1), (0, 0), dashes, color=colour, linewidth=1.6)
        page.text(left + width + 0.58, y, words, size=7.5, va="center")
