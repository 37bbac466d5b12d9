"""The figures of the toy study: the four panels of the source, and vectors of five methods over the plane."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, STRENGTH

Array = np.ndarray[Any, Any]

PANEL, GAP = 2.3, 0.16
"""Inches: a panel's side, and between panels."""


def draw(points: Array, vectors: Mapping[str, Array], ground: Array, corners: Array, path: Path) -> None:
    """Write the figure.

    Args:
        points: where vectors start [n, 2].
        vectors: by method [n, 2].
        ground: probabilities of "inside" over the plane from −1 to 1, [m, m], from below.
        corners: of the true triangle [3, 2].
    """
    label = 0.3
    page = Page(2 * MARGIN + label + len(vectors) * (PANEL + GAP) - GAP, 2 * MARGIN + 0.62 + 2 * PANEL + GAP + 0.28)
    page.text(MARGIN, MARGIN, "Inside a triangle or not: vectors of five methods over the plane", size=12, weight="bold")
    top = MARGIN + 0.62
    for row, words in enumerate(("as they are", "all of one length")):
        middle = top + row * (PANEL + GAP) + PANEL / 2
        page.text(MARGIN, middle, words, size=8.5, colour=QUIET, rotation=90, va="center")
    for column, (name, found) in enumerate(vectors.items()):
        left = MARGIN + label + column * (PANEL + GAP)
        page.text(left + PANEL / 2, top - 0.07, name, size=9, ha="center", va="bottom")
        for row, arrows in enumerate(_arrows(found)):
            _panel(page, points, arrows, ground, corners, left, top + row * (PANEL + GAP))
    note = "ground: the network's probability of “inside”, dark is high, its boundary dashed; blue: the true triangle"
    page.text(MARGIN + label, top + 2 * PANEL + GAP + 0.12, note, size=7.5, colour=QUIET)
    page.figure.savefig(path, dpi=140, metadata={"Software": None})


def draw_published(
    learned: Array, inside: Array, points: Array, vectors: Array, ground: Array, corners: Array, path: Path
) -> None:
    """Write the four panels of the source's figure.

    Args:
        learned: the points of the training [m, 2].
        inside: whether each is inside: bool [m].
        points, vectors, ground, corners: as of `draw`, with the vectors of one method [n, 2].
    """
    side, gap = PANEL + 0.75, 0.35
    page = Page(2 * MARGIN + 2 * side + gap, 2 * MARGIN + 0.72 + 2 * side + gap + 0.3)
    page.text(MARGIN, MARGIN, "A triangle, learned and explained", size=12, weight="bold")
    none = np.zeros((0, 2))
    raw, unit = _arrows(vectors)
    panels = {
        "training data": (none, none), "the network's probability and its boundary": (none, none),
        "gradient of the probability": (points, raw), "the same, all of one length": (points, unit),
    }  # fmt: skip
    for place, (words, (starts, arrows)) in enumerate(panels.items()):
        row, column = divmod(place, 2)
        left, top = MARGIN + column * (side + gap), MARGIN + 0.72 + row * (side + gap)
        page.text(left, top - 0.06, words, size=9, va="bottom")
        if place:
            _panel(page, starts, arrows, ground, corners, left, top, side)
            continue
        axes = page.axes(left, top, side, side)
        for what, colour in ((~inside, AGAINST), (inside, FOR)):
            axes.plot(*learned[what].T, ".", color=colour, markersize=2.6, markeredgewidth=0)
        axes.set_xlim(-1, 1)
        axes.set_ylim(-1, 1)
    note = "red: inside, blue: outside; dashed: where the probability is one half; blue line: the true triangle"
    page.text(MARGIN, page.height - MARGIN - 0.1, note, size=7.5, colour=QUIET)
    page.figure.savefig(path, dpi=140, metadata={"Software": None})


def _arrows(vectors: Array) -> tuple[Array, Array]:
    """Vectors [n, 2] on a square grid as they are, to a common scale, and all of one length; in units of the plane."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    step = 2 / np.sqrt(len(vectors))
    return vectors / np.quantile(length, 0.98) * 1.6 * step, unit * 0.8 * step


def _panel(
    page: Page, points: Array, arrows: Array, ground: Array, corners: Array, left: float, top: float, side: float = PANEL
) -> None:
    """Arrows, in units of the plane, on the ground."""
    axes = page.axes(left, top, side, side)
    axes.imshow(ground, origin="lower", extent=(-1, 1, -1, 1), cmap="Greys", vmin=0, vmax=2.4, aspect="auto")
    line = (np.arange(len(ground)) + 0.5) / len(ground) * 2 - 1
    axes.contour(line, line, ground, levels=[0.5], colors=INK, linewidths=0.7, linestyles="--")
    axes.plot(*np.concatenate([corners, corners[:1]]).T, color=AGAINST, linewidth=0.9)
    common = {
        "angles": "xy",
        "scale_units": "xy",
        "scale": 1,
        "width": 0.0055,
        "headwidth": 3.6,
        "headlength": 4.2,
        "headaxislength": 3.8,
    }
    axes.quiver(*(points - arrows / 2).T, *arrows.T, color=STRENGTH, minlength=0, **common)
    axes.set_xlim(-1, 1)
    axes.set_ylim(-1, 1)
