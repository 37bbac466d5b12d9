"""One sample of a table: how the score gets from its base to where it is, in steps or as forces against each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.results.feature_table import FeatureTable
from onnxplain.results.plot.page import Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, short
from onnxplain.results.plot.tabular.drawing import RowNames, heading, numbers_along

__all__ = ["ForceBlock", "WaterfallBlock"]

Array = np.ndarray[Any, Any]

WIDTH = 4.3
"""Inches of the bars."""
HEAD, FOOT = 0.55, 0.45
"""Inches above and below."""
MOST = 12
"""Features shown where nothing is said; what the others sum to is a bar of its own."""
DUST = 1e-9
"""Smaller attributions, measured by the greatest, are rounding errors, drawn as 0."""
NUMBER = 0.58
"""Inches for a number beside a bar."""


@dataclass(frozen=True)
class _Step:
    """A bar: a feature with its value, or all others together."""

    name: str
    value: float


def steps_of(table: FeatureTable, sample: int, most: int) -> list[_Step]:
    """The greatest attributions of a sample, the greatest first, and the sum of the others."""
    row = np.where(
        np.abs(table.attributions[sample]) > DUST * np.abs(table.attributions[sample]).max(), table.attributions[sample], 0
    )
    order = np.argsort(-np.abs(row), kind="stable")
    shown = order if len(order) <= most else order[: most - 1]
    steps = []
    for feature in shown:
        value = table.value(sample, int(feature))
        steps.append(_Step(table.names[feature] + (f" = {value}" if value else ""), float(row[feature])))
    if len(shown) < len(order):
        steps.append(_Step(f"{len(order) - len(shown)} others", float(row.sum() - row[shown].sum())))
    if table.joint is not None:
        steps.append(_Step("interactions: what they do together", float(table.joint[sample])))
    return steps


def ends_of(table: FeatureTable, sample: int) -> tuple[float, float, str, str]:
    """Where the score starts and ends, and what to call both: without a base the attributions count from 0."""
    total = float(table.attributions[sample].sum()) + (0.0 if table.joint is None else float(table.joint[sample]))
    if table.base is None:
        return 0.0, total, "0", "sum of the attributions"
    start = float(table.base[sample])
    return start, start + total, "base: the score without any feature", "score" if table.complete else "base + attributions"


class WaterfallBlock:
    """Steps from the base to the score, one below the other; sizes in inches."""

    def __init__(self, table: FeatureTable, sample: int, most: int | None = None) -> None:
        self.table, self.sample = table, sample
        self.steps = steps_of(table, sample, max(2, most or MOST))
        self.names = RowNames([s.name for s in self.steps])
        self.width = self.names.width + WIDTH
        self.height = HEAD + self.names.row * (len(self.steps) + 1.7) + FOOT

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        start, end, first, last = ends_of(self.table, self.sample)
        title = f"{self.table.targets[self.sample]}: {last} {short(end)}"
        heading(page, left, top, title, f"sample {self.sample}, {self.table.heading}", self.width)
        x, y, row = left + self.names.width, top + HEAD, self.names.row
        self.names.draw(page, x, y + 0.6 * row)
        high = row * (len(self.steps) + 1.7)
        axes = page.axes(x, y, WIDTH, high, frame=False)
        reached = start + np.concatenate([[0.0], np.cumsum([s.value for s in self.steps])])
        low, top_value = float(reached.min()), float(reached.max())
        room = NUMBER / (WIDTH - 2 * NUMBER) * ((top_value - low) or 1.0)
        axes.set_xlim(low - room, top_value + room)
        axes.set_ylim(len(self.steps) + 0.6, -1.1)
        unit = (axes.get_xlim()[1] - axes.get_xlim()[0]) / WIDTH
        axes.plot((start, start), (-1.1, 0.34), color=QUIET, linewidth=0.8, linestyle=(0, (3, 2)))
        axes.plot((end, end), (len(self.steps) - 0.66, len(self.steps) + 0.6), color=INK, linewidth=1.0)
        for i, (step, before, after) in enumerate(zip(self.steps, reached, reached[1:], strict=False)):
            arrow(axes, i + 0.0, float(before), float(after), 0.34, unit)
            axes.plot((after, after), (i + 0.34, i + 1.0 - 0.34), color=RIM, linewidth=0.8)
            side = -1 if step.value < 0 else 1
            axes.annotate(
                ("+" if step.value > 0 else "") + short(step.value), (after, i), (4 * side, 0), textcoords="offset points",
                fontsize=7.5, color=FOR if step.value >= 0 else AGAINST, ha="right" if side < 0 else "left", va="center_baseline",
            )  # fmt: skip
        scale = WIDTH / (axes.get_xlim()[1] - axes.get_xlim()[0])
        at = x + (start - axes.get_xlim()[0]) * scale
        right = at > x + WIDTH / 2
        words = first if self.table.base is None else f"{first}, {short(start)}"
        page.text(at + (-0.06 if right else 0.06), y + 0.02, words, size=7, colour=QUIET, ha="right" if right else "left")
        at, bottom = x + (end - axes.get_xlim()[0]) * scale, y + high
        right = at > x + WIDTH / 2
        page.text(at + (-0.06 if right else 0.06), bottom - 0.05, f"{last} {short(end)}", size=7.5, weight="bold",
                  ha="right" if right else "left", va="bottom")  # fmt: skip
        numbers_along(page, axes, x, bottom, WIDTH)


def arrow(axes: Any, middle: float, before: float, after: float, half: float, unit: float) -> None:
    """A bar from one value to another that points where it goes; `unit` is the width of an inch."""
    tip = np.sign(after - before) * min(abs(after - before), 0.06 * unit)
    xs = (before, after - tip, after, after - tip, before)
    ys = (middle - half, middle - half, middle, middle + half, middle + half)
    axes.fill(xs, ys, color=FOR if after >= before else AGAINST, linewidth=0)


class ForceBlock:
    """All of a sample in one line: what raises the score comes from the left, what lowers it from the right; sizes in inches."""

    WIDTH, ROW, HEAD, MOST = 7.4, 0.17, 1.1, 5

    def __init__(self, table: FeatureTable, sample: int, most: int | None = None) -> None:
        self.table, self.sample = table, sample
        self.start, self.end, self.first, self.last = ends_of(table, sample)
        steps = [s for s in steps_of(table, sample, len(table.names)) if s.value]
        self.sides = [s for s in steps if s.value > 0], [s for s in steps if s.value < 0]
        self.named = [side[: most or self.MOST] for side in self.sides]
        margins = [max((0.062 * len(_words(s)) + 0.1 for s in side), default=0.3) for side in self.named]
        self.left, self.line = margins[0], max(self.WIDTH - sum(margins), 2.5)
        reached = [self.end - s for s in (sum(s.value for s in self.sides[0]), sum(s.value for s in self.sides[1]))]
        self.low, self.high = min(*reached, self.start), max(*reached, self.start)
        if self.low == self.high:
            self.low, self.high = self.low - 1, self.high + 1
        self.width = self.left + self.line + margins[1]
        self.height = self.HEAD + self.ROW * max(map(len, self.named)) + 0.2

    def _place(self, value: float) -> float:
        """Inches from the left."""
        return self.left + self.line * (value - self.low) / (self.high - self.low)

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        title = f"{self.table.targets[self.sample]}: {self.last} {short(self.end)}"
        known = "" if self.table.base is None else f"; {self.first}: {short(self.start)}"
        hidden = sum(map(len, self.sides)) - sum(map(len, self.named))
        rest = f"; {hidden} smaller ones have no name" if hidden else ""
        heading(page, left, top, title, f"sample {self.sample}, {self.table.heading}{known}{rest}", self.width)
        y = top + self.HEAD - 0.3
        axes = page.axes(left + self.left, y, self.line, 0.28, frame=False)
        axes.set_xlim(self.low, self.high)
        axes.set_ylim(1, 0)
        for side, steps, named in zip((-1, 1), self.sides, self.named, strict=True):
            at = self.end
            for i, step in enumerate(steps):
                before = at + side * abs(step.value)
                arrow(axes, 0.5, before, at, 0.5, (self.high - self.low) / self.line)
                axes.plot((before, before), (0, 1), color="white", linewidth=0.8)
                if i < len(named):  # the farthest on the first line: words go outwards, past no other stroke
                    self._label(page, left + self._place((before + at) / 2), y + 0.3, len(named) - 1 - i, step)
                at = before
        self._mark(page, left, y, self.end, f"{self.last} {short(self.end)}", INK, "bold")
        if self.table.base is not None and abs(self._place(self.start) - self._place(self.end)) > 1.1:
            self._mark(page, left, y, self.start, f"base {short(self.start)}", QUIET, "normal")

    def _mark(self, page: Page, left: float, y: float, value: float, words: str, colour: str, weight: str) -> None:
        at = left + self._place(value)
        stroke = page.axes(at - 0.01, y - 0.1, 0.02, 0.1, frame=False)
        stroke.axvline(0, color=colour, linewidth=1)
        page.text(at, y - 0.12, words, size=8, colour=colour, weight=weight, ha="center", va="bottom")

    def _label(self, page: Page, at: float, y: float, line: int, step: _Step) -> None:
        """The words of a segment with a thin line up to it."""
        up = step.value > 0
        colour, middle = FOR if up else AGAINST, y + 0.1 + self.ROW * line
        stroke = page.axes(at - 0.01, y, 0.02, middle - y + 0.04, frame=False)
        stroke.axvline(0, color=colour, linewidth=0.6)
        page.text(at - 0.05 if up else at + 0.05, middle, _words(step), size=7.5, colour=colour, ha="right" if up else "left",
                  va="center_baseline")  # fmt: skip


def _words(step: _Step) -> str:
    return f"{step.name}  {'+' if step.value > 0 else ''}{short(step.value)}"
