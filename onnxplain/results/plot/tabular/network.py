"""Interactions as a network: features on a circle, what they do alone as discs, what pairs do together as lines."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.results.plot.page import Page, wrapped
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, STRENGTH, short
from onnxplain.results.plot.tabular.drawing import heading

__all__ = ["NetworkBlock"]

Array = np.ndarray[Any, Any]

MOST = 16
"""Features shown where nothing is said: those that do most, alone or with others."""
LINES = 40
"""Pairs shown, at most."""
NUMBERED = 5
"""Pairs with their number."""
RADIUS, HEAD, FOOT = 1.75, 0.5, 0.35


class NetworkBlock:
    """One network; sizes in inches.

    Args:
        title, words: above it.
        names: of the features.
        matrix: [features, features]: what features do alone on the diagonal, and each pair's whole interaction off it.
        signed: whether interactions have a direction.
        meaning: of discs and lines.
        most: features shown, at most.
    """

    def __init__(
        self, title: str, words: str, names: tuple[str, ...], matrix: Array, signed: bool, meaning: str, most: int | None = None
    ) -> None:
        sizes = np.abs(matrix).sum(axis=1)
        kept = sorted(int(i) for i in np.argsort(-sizes, kind="stable")[: max(2, most or MOST)])
        self.title, self.signed, self.meaning, self.matrix = title, signed, meaning, matrix[np.ix_(kept, kept)]
        hidden = len(names) - len(kept)
        self.words = words + (f"; {hidden} features that do less are not shown" if hidden else "")
        self.names = [wrapped(names[i], 1.7, 8) for i in kept]
        self.side = 0.22 + max(0.56 * 8 / 72 * len(line) for lines in self.names for line in lines)
        self.width = max(2 * (RADIUS + self.side), 5.0)
        self.height = HEAD + 2 * (RADIUS + 0.42) + FOOT

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        heading(page, left, top, self.title, self.words, self.width)
        middle, centre = left + self.width / 2, top + HEAD + RADIUS + 0.42
        reach = RADIUS + 0.4
        axes = page.axes(middle - reach, centre - reach, 2 * reach, 2 * reach, frame=False)
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
        count = len(self.names)
        angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
        places = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self._lines(axes, places)
        alone = np.diagonal(self.matrix)
        greatest = float(np.abs(alone).max()) or 1.0
        for (x, y), value in zip(places, alone, strict=True):
            size = 20 + 330 * abs(value) / greatest if np.abs(alone).max() > 0 else 40
            axes.scatter([x], [y], s=size, color=self._colour(float(value)), edgecolors="white", linewidths=1.0, zorder=3)
        for (x, y), angle, lines in zip(places, angles, self.names, strict=True):
            across, down = np.cos(angle), np.sin(angle)
            side = "center" if abs(across) < 0.2 else "left" if across > 0 else "right"
            off = 0.17
            page.text(
                middle + x + off * across, centre - y - off * down, "\n".join(lines), size=8, ha=side, linespacing=1.1,
                va="bottom" if abs(across) < 0.2 and down > 0 else "top" if abs(across) < 0.2 else "center",
                multialignment="center" if side == "center" else side,
            )  # fmt: skip
        self._legend(page, left, top + self.height - 0.1)

    def _lines(self, axes: Any, places: Array) -> None:
        first, second = np.triu_indices(len(places), 1)
        worth = self.matrix[first, second]
        order = np.argsort(-np.abs(worth), kind="stable")[:LINES]
        greatest = float(np.abs(worth).max(initial=0.0))
        taken = [*places]
        for rank, pair in enumerate(order):
            share = abs(worth[pair]) / greatest if greatest else 0.0
            if share < 0.01:
                continue
            ends, colour = places[[first[pair], second[pair]]], self._colour(float(worth[pair]))
            width, strength = 0.4 + 5.6 * share, 0.25 + 0.5 * share
            axes.plot(*ends.T, color=colour, linewidth=width, alpha=strength, solid_capstyle="round", zorder=1)
            if rank < NUMBERED:
                at = _roomiest(ends, taken)
                taken.append(at)
                paper = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
                axes.text(*at, short(float(worth[pair])), fontsize=7, color=INK, ha="center", va="center", zorder=4, bbox=paper)

    def _colour(self, value: float) -> str:
        return STRENGTH if not self.signed else FOR if value >= 0 else AGAINST

    def _legend(self, page: Page, left: float, middle: float) -> None:
        meanings = [(FOR, "raises the score"), (AGAINST, "lowers it")] if self.signed else [(STRENGTH, "strength")]
        for colour, word in meanings:
            page.axes(left, middle - 0.05, 0.1, 0.1, frame=False).set_facecolor(colour)
            page.text(left + 0.16, middle, word, size=7, colour=QUIET, va="center")
            left += 0.16 + 0.062 * len(word) + 0.22
        page.text(left, middle, self.meaning, size=7, colour=QUIET, va="center")


def _roomiest(ends: Array, taken: list[Array]) -> Array:
    """The place along a line that is farthest from numbers and discs; numbers are wider than they are high."""
    along = ends[0] + np.linspace(0.2, 0.8, 13)[:, None] * (ends[1] - ends[0])
    room = np.min([np.abs((along - place) * (0.45, 1.0)).max(axis=1) for place in taken], axis=0)
    return np.asarray(along[int(np.round(room, 6).argmax())])
