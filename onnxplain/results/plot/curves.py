"""Curves of `ice` and `partial-dependence`: one panel per feature, with the score over the feature's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.errors import OutputError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.plot.page import Page, wrapped
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, STRENGTH, short
from onnxplain.results.plot.views import PlotView, columns_of, views_of
from onnxplain.results.prediction import explained_score, has_samples, lifted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Curves", "CurvesBlock", "curves_of", "has_curves"]

Array = np.ndarray[Any, Any]

PANELS, ACROSS = 12, 4
"""The number of features shown (those with the largest deviation), and the number of panels in a row."""
LINES_SHOWN = 60
"""The largest number of lines of single samples in a panel."""
COLOURS = (STRENGTH, FOR, AGAINST, "#2f8f6b", "#d99a2b", "#5d6676")
"""Colours of targets. If there are more targets, those with the highest scores get one; the others share the last."""
WIDE, HIGH, GAP, HEAD, FOOT = 1.62, 1.05, 0.26, 0.22, 0.4
"""In inches: the size of a panel, the gap between panels, the space above and below a panel."""


def has_curves(explanation: ExplanationData) -> bool:
    """Whether the explanation contains curves over a grid of values."""
    return any(key.split(".")[0] == "curves" for key in explanation.facts)


@dataclass(frozen=True)
class Curves:
    """The curves of all samples, with the features of all inputs in one row."""

    scores: Array
    """[n, targets, points, features]; NaN beyond the last value of a feature."""
    grid: tuple[Array, ...]
    """The values of each feature, as numbers or texts."""
    targets: tuple[tuple[str, ...], ...]
    """What was explained about each sample, as text."""


def curves_of(explanation: ExplanationData) -> Curves:
    """Collect the curves of an explanation."""
    names = [key for key in explanation.facts if key.split(".")[0] == "curves"]
    among = _of(explanation) == "all"
    parts, grid = [], []
    for name in names:
        part = lifted(explanation, explanation.facts[name]).astype(np.float64)
        values = lifted(explanation, explanation.facts[name.replace("curves", "grid", 1)])[0]
        part = part if among else part[:, None]
        parts.append(part.reshape(*part.shape[:3], -1))
        grid += list(values.reshape(part.shape[2], -1).T)
    scores = np.concatenate(parts, axis=-1)
    kept = [np.isfinite(scores[:, :, :, f]).any(axis=(0, 1)) for f in range(scores.shape[-1])]
    return Curves(scores, tuple(g[k] for g, k in zip(grid, kept, strict=True)), _targets(explanation, *scores.shape[:2]))


def _of(explanation: ExplanationData) -> str:
    """What the scores belong to, as text: the target, or what they are a mean of."""
    return str(explanation.about.get("mean_of", explanation.about["target"]))


def _targets(explanation: ExplanationData, count: int, targets: int) -> tuple[tuple[str, ...], ...]:
    of = _of(explanation)
    if of == "all":
        return (tuple(explanation.class_name(t) for t in range(targets)),) * count
    if explanation.target is not None:
        return tuple((explanation.label(i),) for i in range(count))
    return ((explanation.class_name(int(of)) if of.isdigit() else of,),) * count


def _first_target(explanation: ExplanationData, features: Sequence[Any] | None) -> PlotView:
    """RowNames and values of the features; deviations of the first target alone."""
    if _of(explanation) == "all":
        axis = 1 if has_samples(explanation) else 0
        first = {name: values.take(0, axis) for name, values in explanation.attributions.items()}
        explanation = replace(explanation, attributions=first, about={**explanation.about, "target": "0"})
    return views_of(columns_of([explanation]), features, "table")[0]


class CurvesBlock:
    """The panels of one explanation, with all samples in each panel. Sizes are in inches."""

    def __init__(self, explanation: ExplanationData, features: Sequence[Any] | None, samples: Sequence[int] | None) -> None:
        view = _first_target(explanation, features)
        self.explanation, self.curves = explanation, curves_of(explanation)
        count = len(self.curves.scores)
        self.samples = list(range(min(count, LINES_SHOWN))) if samples is None else list(samples)
        self.note = f"; first {len(self.samples)} of {count} samples" if samples is None and len(self.samples) < count else ""
        drawn = [f for f, values in enumerate(self.curves.grid) if len(values)]
        if not drawn:
            raise OutputError("no curve can be drawn: no score is finite")
        moved = np.nanstd(self.curves.scores[self.samples][..., drawn], axis=2).mean(axis=(0, 1))
        self.features = [drawn[f] for f in np.argsort(-moved, kind="stable")[:PANELS]]
        self.names = [view.label(self.samples[0], f) for f in self.features]
        self.hidden = len(moved) - len(self.features)
        self.own = None if view.values is None else np.asarray(view.values).reshape(count, -1)
        self.kinds = self._kinds()
        self.left = 0.5
        across = min(ACROSS, len(self.features))
        self.width = self.left + across * (WIDE + GAP) - GAP
        self.titles = [wrapped(name, WIDE + GAP - 0.1, 8) for name in self.names]
        self.head = HEAD + 0.13 * (max(map(len, self.titles)) - 1)
        self.height = 0.48 + -(-len(self.features) // across) * (self.head + HIGH + FOOT) + 0.02

    def _kinds(self) -> list[str]:
        """The targets. If there are more than colours, those with the highest scores come first."""
        scores: dict[str, list[float]] = {}
        for sample in self.samples:
            for target, curves in zip(self.curves.targets[sample], self.curves.scores[sample], strict=True):
                scores.setdefault(target, []).append(float(np.nanmean(curves)))
        if len(scores) <= len(COLOURS):
            return list(scores)
        return sorted(scores, key=lambda target: -float(np.mean(scores[target])))

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        page.text(left, top, self.explanation.method, size=10, weight="bold")
        hidden = f"; {self.hidden} other features move it less" if self.hidden else ""
        page.text(left, top + 0.19, f"{explained_score(self.explanation)}{hidden}{self.note}", size=7.5, colour=QUIET)
        self._legend(page, left + self.width, top + 0.08)
        shown = self.curves.scores[self.samples][..., self.features]
        low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
        room = 0.06 * (high - low) or 1.0
        for place, (feature, title) in enumerate(zip(self.features, self.titles, strict=True)):
            row, column = divmod(place, ACROSS)
            x = left + self.left + column * (WIDE + GAP)
            y = top + 0.48 + row * (self.head + HIGH + FOOT) + self.head
            page.text(x, y - 0.05, "\n".join(title), size=8, va="bottom", linespacing=1.1)
            axes = page.axes(x, y, WIDE, HIGH)
            axes.set_ylim(low - room, high + room)
            if low < 0 < high:
                axes.axhline(0, color=RIM, linewidth=0.7, zorder=0)
            if column == 0:
                for value in (low, high):
                    at = y + HIGH * (high + room - value) / (high - low + 2 * room)
                    page.text(x - 0.07, at, short(value), size=6.5, colour=QUIET, ha="right", va="center_baseline")
            self._panel(axes, feature)
            self._values(page, feature, x, y + HIGH + 0.05)

    def _panel(self, axes: Axes, feature: int) -> None:
        """Draw one feature: a line per sample, a dot at the sample's own value, and the mean of each target."""
        grid, many = self.curves.grid[feature], len(self.samples)
        at = grid.astype(np.float64) if grid.dtype.kind in "fiu" else np.arange(len(grid), dtype=np.float64)
        drawn: dict[str, list[Array]] = {kind: [] for kind in self.kinds}
        for sample in self.samples:
            own = self._own(sample, feature, grid, at)
            for target, line in zip(self.curves.targets[sample], self.curves.scores[sample, ..., feature], strict=True):
                line, colour = line[: len(at)], self._colour(target)
                drawn[target].append(line)
                if many > 1:
                    axes.plot(at, line, color=colour, linewidth=0.7, alpha=max(0.25, 0.8 - 0.02 * many))
                if own is not None:
                    size = 2.6 if many > 1 else 4.2
                    axes.plot(own, np.interp(own, at, line), "o", color=colour, markersize=size, markeredgewidth=0, clip_on=False)
        for target, lines in drawn.items():
            mean = INK if many > 1 and len(self.kinds) == 1 else self._colour(target)
            axes.plot(at, np.mean(lines, axis=0), color=mean, linewidth=1.7)
        span = (at[-1] - at[0]) or 1.0
        axes.set_xlim(at[0] - 0.03 * span, at[-1] + 0.03 * span)

    def _own(self, sample: int, feature: int, grid: Array, at: Array) -> float | None:
        """The position of a sample's own value on the axis; None if it is unknown or outside the grid."""
        if self.own is None:
            return None
        value = self.own[sample, feature]
        if grid.dtype.kind in "fiu":
            return float(value) if at[0] <= value <= at[-1] else None
        found = np.flatnonzero(grid.astype(str) == str(value))
        return float(at[found[0]]) if len(found) else None

    def _values(self, page: Page, feature: int, left: float, top: float) -> None:
        """Label the axis: its ends, or all values if they are a few texts."""
        grid = self.curves.grid[feature]
        if grid.dtype.kind in "fiu":
            ends = [(0.0, short(float(grid[0])), "left"), (1.0, short(float(grid[-1])), "right")]
        else:
            room = max(3, int(22 / len(grid)))
            ends = [
                ((0.03 + i / max(len(grid) - 1, 1)) / 1.06, str(g)[:room], "center") for i, g in enumerate(grid) if len(grid) <= 6
            ]
        for share, text, side in ends:
            page.text(left + share * WIDE, top, text, size=6.5, colour=QUIET, ha=side)

    def _colour(self, target: str) -> str:
        return COLOURS[min(self.kinds.index(target), len(COLOURS) - 1)]

    def _legend(self, page: Page, right: float, middle: float) -> None:
        """Draw the legend: the colours of the targets, from the right, and the mean."""
        words = [(self._colour(t), t) for t in self.kinds[: len(COLOURS)]]
        if len(self.kinds) > len(COLOURS):
            words[-1] = (COLOURS[-1], "others")
        if len(self.samples) > 1:
            words.append((INK if len(self.kinds) == 1 else QUIET, "thick: the mean"))
        for colour, word in reversed(words):
            right -= 0.062 * len(word)
            page.text(right, middle, word, size=7, colour=QUIET, va="center_baseline")
            stroke = page.axes(right - 0.26, middle - 0.05, 0.2, 0.1, frame=False)
            stroke.plot((0, 1), (0, 0), color=colour, linewidth=1.7)
            right -= 0.26 + 0.14
