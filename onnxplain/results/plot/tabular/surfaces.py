"""Two features at a time: a map of the score over the values of both, for partial dependence and accumulated local effects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.interactions import player_names
from onnxplain.results.plot.page import Page, wrapped
from onnxplain.results.plot.style import QUIET, colours, short
from onnxplain.results.plot.tabular.drawing import heading
from onnxplain.results.prediction import explained_score, lifted

__all__ = ["SurfacesBlock", "has_surfaces"]

Array = np.ndarray[Any, Any]

WIDE, HIGH, LEFT, GAP, TOP, BOTTOM, HEAD, FOOT = 1.9, 1.6, 0.7, 0.25, 0.14, 0.55, 0.52, 0.3
"""Inches: a panel, what is left of it, between panels, above and below one, above and below all."""
ACROSS, PANELS = 3, 12


def has_surfaces(explanation: ExplanationData) -> bool:
    """Whether a method left surfaces over the values of pairs of features."""
    return "surfaces" in explanation.facts


class SurfacesBlock:
    """A panel per pair, those that move most first; of several targets the first. Sizes in inches."""

    def __init__(self, explanation: ExplanationData, features: Sequence[str] | None = None) -> None:
        self.explanation = explanation
        surfaces = lifted(explanation, explanation.facts["surfaces"])
        self.every = surfaces.ndim == 5
        self.surfaces = surfaces[0, 0] if self.every else surfaces[0]
        self.grid = lifted(explanation, explanation.facts["surface_grid"]).reshape(len(self.surfaces), 2, -1)
        self.pairs = lifted(explanation, explanation.facts["pairs"]).reshape(-1, 2)
        self.names = player_names(explanation, features)
        self.centred = explanation.method == "ale"
        moved = [np.nanstd(s) for s in self.surfaces]
        self.shown = [int(i) for i in np.argsort(-np.array(moved), kind="stable")[:PANELS]]
        across = min(ACROSS, len(self.shown))
        self.width = max(across * (LEFT + WIDE + GAP), 4.6)
        self.height = HEAD + -(-len(self.shown) // ACROSS) * (TOP + HIGH + BOTTOM) + FOOT

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        what = (
            "what two features do together beyond what each does alone"
            if self.centred
            else "the mean score over values of two features"
        )
        target = f", target {self.explanation.class_name(0)}" if self.every else ""
        hidden = len(self.surfaces) - len(self.shown)
        rest = f"; {hidden} pairs that move it less are not shown" if hidden else ""
        words = f"{what}; {explained_score(self.explanation)}{target}{rest}"
        heading(page, left, top, self.explanation.method, words, self.width)
        shown = self.surfaces[self.shown]
        centre = 0.0 if self.centred else float(np.nanmean(shown))
        scale = float(np.nanmax(np.abs(shown - centre))) or 1.0
        for i, which in enumerate(self.shown):
            row, column = divmod(i, ACROSS)
            x = left + column * (LEFT + WIDE + GAP) + LEFT
            self._panel(page, x, top + HEAD + row * (TOP + HIGH + BOTTOM) + TOP, which, centre, scale)
        bar = top + self.height - 0.12
        x = left + LEFT
        for value, at in ((centre - scale, x), (centre, x + 0.9), (centre + scale, x + 1.8)):
            page.text(at, bar, short(value if abs(value) > 1e-12 * scale else 0.0), size=7, colour=QUIET, ha="center", va="top")
        axes = page.axes(x, bar - 0.12, 1.8, 0.09)
        axes.imshow(colours(np.linspace(-1, 1, 256)[None], 1.0, signed=True), aspect="auto")
        page.text(x + 2.0, bar - 0.075, "score" if not self.centred else "change of the score", size=7, colour=QUIET, va="center")

    def _panel(self, page: Page, x: float, y: float, which: int, centre: float, scale: float) -> None:
        surface = self.surfaces[which]
        known = np.isfinite(surface)
        rows, columns = known.any(axis=1), known.any(axis=0)
        values = surface[np.ix_(rows, columns)].T - centre
        first, second = _numbers(self.grid[which][0][rows]), _numbers(self.grid[which][1][columns])
        axes = page.axes(x, y, WIDE, HIGH)
        axes.pcolormesh(np.arange(len(first) + 1), np.arange(len(second) + 1), colours(values, scale, signed=True) / 255.0)
        axes.set_xlim(0, len(first))
        axes.set_ylim(0, len(second))
        for text, share in _marks(first):
            page.text(x + WIDE * share, y + HIGH + 0.05, text, size=6.5, colour=QUIET, ha="center")
        for text, share in _marks(second):
            page.text(x - 0.05, y + HIGH * (1 - share), text, size=6.5, colour=QUIET, ha="right", va="center")
        a, b = (self.names[f] for f in self.pairs[which])
        page.text(
            x + WIDE / 2, y + HIGH + 0.2, "\n".join(wrapped(a, WIDE + GAP, 7.5)[:2]), size=7.5, ha="center", linespacing=1.05
        )
        beside = "\n".join(wrapped(b, HIGH + 0.3, 7.5)[:2])
        page.text(x - 0.57, y + HIGH / 2, beside, size=7.5, ha="center", va="center", rotation=90, linespacing=1.05)


def _numbers(values: Array) -> Array:
    """Values as numbers where they are; they lie beside texts in one array."""
    try:
        return values.astype(np.float64)
    except ValueError:
        return values


def _marks(values: Array) -> list[tuple[str, float]]:
    """The first, the middle and the last of an axis' values (of few texts all), where along it each lies."""
    count = len(values)
    if values.dtype.kind not in "fiu":
        return [(str(values[i]), (i + 0.5) / count) for i in (range(count) if count <= 4 else (0, count - 1))]
    return [(short(float(values[i])), (i + 0.5) / count) for i in sorted({0, count // 2, count - 1})]
