"""The figure of the toy study: vectors over the plane, raw and at one length."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, INK, QUIET, STRENGTH

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
        length = np.linalg.norm(found, axis=1, keepdims=True)
        unit = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
        step = 2 / np.sqrt(len(points))
        _panel(page, points, found / np.quantile(length, 0.98) * 1.6 * step, ground, corners, left, top)
        _panel(page, points, unit * 0.8 * step, ground, corners, left, top + PANEL + GAP)
    note = "ground: the network's probability of “inside”, dark is high, its boundary dashed; blue: the true triangle"
    page.text(MARGIN + label, top + 2 * PANEL + GAP + 0.12, note, size=7.5, colour=QUIET)
    page.figure.savefig(path, dpi=140, metadata={"Software": None})


def _panel(page: Page, points: Array, arrows: Array, ground: Array, corners: Array, left: float, top: float) -> None:
    """Arrows, in units of the plane, on the ground."""
    axes = page.axes(left, top, PANEL, PANEL)
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
