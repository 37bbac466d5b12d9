"""Soft decision trees of image models: the filter of each inner node as an image, and the paths of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.plot.page import Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, colours, percent, rim
from onnxplain.results.plot.views import choose_form, pooled_map
from onnxplain.results.prediction import lifted

__all__ = ["TreeBlock", "has_pictured_filters"]

Array = np.ndarray[Any, Any]

LEVELS = 4
"""The largest number of inner levels drawn, from the root."""
LEAF, BETWEEN, HEAD, FOOT = 0.56, 0.3, 0.62, 0.5
"""In inches: the width of a leaf, the distance of levels, the space above and below the tree."""


def has_pictured_filters(explanation: ExplanationData) -> bool:
    """Whether the explanation contains a tree whose filters are images."""
    if "filters" not in explanation.facts:
        return False
    filters = lifted(explanation, explanation.facts["filters"])[0]
    return choose_form(None, np.asarray(filters)) == "image" and filters.ndim >= 3


class TreeBlock:
    """The tree, from the root down. Sizes are in inches."""

    def __init__(self, explanation: ExplanationData, samples: Sequence[int]) -> None:
        self.explanation = explanation
        self.filters = [pooled_map(f) for f in self._fact("filters")[0]]
        self.leaves = self._fact("leaves")[0]
        self.taken = self._visits([int(self._fact("leaf")[s]) for s in samples])
        self.depth = int(np.log2(len(self.leaves)))
        self.levels = min(self.depth, LEVELS)
        ratio = self.filters[0].shape[0] / self.filters[0].shape[1]
        self.high = [0.95, 0.85, 0.72, 0.5][: self.levels]
        self.wide = [h / max(ratio, 0.4) for h in self.high]
        self.width = 2**self.levels * max(LEAF, max(w * 2**i for i, w in enumerate(self.wide)) / 2**self.levels)
        self.height = HEAD + sum(self.high) + self.levels * BETWEEN + FOOT

    def _fact(self, name: str) -> Array:
        return lifted(self.explanation, self.explanation.facts[name])

    def _visits(self, leaves: Sequence[int]) -> Array:
        """The share of the samples that reach each node, inner nodes first, then leaves."""
        inner = len(self.filters)
        visits = np.zeros(inner + len(self.leaves))
        for leaf in leaves:
            node = leaf + inner
            while node >= 0:
                visits[node] += 1 / len(leaves)
                node = (node - 1) // 2 if node else -1
        return visits

    def _place(self, node: int, left: float, top: float) -> tuple[float, float, float]:
        """The centre, the upper and the lower edge of a node."""
        level = int(np.log2(node + 1))
        across = (node + 1 - 2**level + 0.5) / 2**level
        y = top + HEAD + sum(self.high[:level]) + level * BETWEEN
        return left + across * self.width, y, y + (self.high[level] if level < self.levels else 0)

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        below = "" if self.levels == self.depth else f"; {self.depth - self.levels} levels below are not shown"
        page.text(left, top, self.explanation.method, size=10, weight="bold")
        words = f"the filter of every inner node, on standardised pixels{below}; dark lines: the way of the samples"
        page.text(left, top + 0.19, words, size=7.5, colour=QUIET)
        self._legend(page, left, top + 0.42)
        sheet = page.axes(left, top, self.width, self.height, frame=False)
        sheet.set_xlim(left, left + self.width)
        sheet.set_ylim(top + self.height, top)
        for node in range(1, 2 ** (self.levels + 1) - 1):
            x, y, _ = self._place(node, left, top)
            above, _, bottom = self._place((node - 1) // 2, left, top)
            visited = self.taken[node]
            sheet.plot(
                (above, x), (bottom, y), color=INK if visited else RIM, linewidth=0.8 + 2.2 * visited, zorder=2 if visited else 1
            )
        scale = rim(np.stack(self.filters[: 2**self.levels - 1]))
        for node in range(2**self.levels - 1):
            level = int(np.log2(node + 1))
            x, y, _ = self._place(node, left, top)
            axes = page.axes(x - self.wide[level] / 2, y, self.wide[level], self.high[level])
            page.image(axes, colours(self.filters[node], scale, signed=True))
            for spine in axes.spines.values() if self.taken[node] else ():
                spine.set_edgecolor(INK)
                spine.set_linewidth(1.2)
        if self.levels == self.depth:
            self._classes(page, left, top)

    def _classes(self, page: Page, left: float, top: float) -> None:
        """Add the most probable class of each leaf."""
        first = len(self.filters)
        for leaf, chances in enumerate(self.leaves):
            x, y, _ = self._place(first + leaf, left, top)
            own = int(chances.argmax())
            ink = INK if self.taken[first + leaf] else QUIET
            name = self.explanation.class_name(own)
            weight = "bold" if self.taken[first + leaf] else "normal"
            page.text(x, y + 0.05, name[:8], size=9 if len(name) <= 4 else 6.5, colour=ink, weight=weight, ha="center")
            page.text(x, y + 0.22, percent(float(chances[own])), size=6, colour=QUIET, ha="center")

    def _legend(self, page: Page, left: float, middle: float) -> None:
        for colour, word in ((AGAINST, "bright here: to the left"), (FOR, "to the right")):
            page.axes(left, middle - 0.05, 0.1, 0.1, frame=False).set_facecolor(colour)
            page.text(left + 0.16, middle, word, size=7, colour=QUIET, va="center_baseline")
            left += 0.16 + 0.062 * len(word) + 0.22
