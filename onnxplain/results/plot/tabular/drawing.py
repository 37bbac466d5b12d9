"""What pictures of tables share: names of features at the left, numbers along an axis, the colours of low and high values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.results.plot.page import Page, wrapped
from onnxplain.results.plot.style import INK, QUIET, RIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RowNames", "heading", "numbers_along", "ranks", "tick", "value_bar", "value_colours"]

Array = np.ndarray[Any, Any]

# From low to high values: lightness rises evenly, and blue, red and gold differ for all kinds of colour vision and in print.
_STOPS = np.array([(38, 24, 130), (130, 20, 140), (190, 55, 105), (228, 110, 60), (245, 175, 45)], np.float64)
_MISSING = np.array([168.0, 172, 180])
LONGEST = 2.7
"""Inches for the names of features, at most; longer ones take more lines."""


class RowNames:
    """RowNames of features at the left of rows; long ones take several lines, so that none is cut off."""

    def __init__(self, names: Sequence[str], size: float = 8, most: float = LONGEST) -> None:
        self.size = size
        needed = max((len(line) for n in names for line in n.split("\n")), default=1) * 0.56 * size / 72 + 0.1
        self.width = min(most, max(0.5, needed))
        self.lines = ["\n".join(w for part in n.split("\n") for w in wrapped(part, self.width - 0.05, size)) for n in names]
        self.row = max(0.24, (0.02 + 1.25 * size / 72) * max((text.count("\n") + 1 for text in self.lines), default=1))

    def draw(self, page: Page, right: float, top: float) -> None:
        """Each in the middle of its row, ending at `right`."""
        for row, text in enumerate(self.lines):
            middle = top + (row + 0.5) * self.row
            page.text(
                right - 0.08, middle, text, size=self.size, ha="right", va="center", linespacing=1.1, multialignment="right"
            )


def heading(page: Page, left: float, top: float, title: str, words: str, width: float) -> None:
    """A title in bold, and a line or two of lesser words below."""
    page.text(left, top, title, size=10, weight="bold")
    page.text(left, top + 0.2, "\n".join(wrapped(words, width, 7.5)), size=7.5, colour=QUIET, linespacing=1.25)


def numbers_along(page: Page, axes: Axes, left: float, top: float, width: float, label: str = "") -> None:
    """Numbers below an axis at round places, faint lines above them, and what they count."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_xlim()
    for value in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high):
        if low <= value <= high:
            axes.axvline(value, color="#eceef2", linewidth=0.6, zorder=0)
            at = left + width * (value - low) / (high - low)
            page.text(at, top + 0.05, tick(float(value), high - low), size=7, colour=QUIET, ha="center")
    if label:
        page.text(left + width / 2, top + 0.2, label, size=7.5, colour=INK, ha="center")


def tick(value: float, span: float) -> str:
    """A round number on an axis of some length, with a true minus sign."""
    return f"{0.0 if abs(value) < 1e-9 * span else value:g}".replace("-", "−")


def ranks(values: Array) -> Array:
    """Where values lie between the 5th and the 95th percentile, 0 to 1; NaN where they are missing."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.full(values.shape, np.nan)
    low, high = np.percentile(known, [5, 95])
    if low == high:
        low, high = known.min(), known.max()
    unit = np.clip((values - low) / (high - low), 0, 1) if high > low else np.full(values.shape, 0.5)
    return np.where(np.isfinite(values), unit, np.nan)


def value_colours(unit: Array) -> Array:
    """Colours of values from 0 to 1, [n, 3] in 0 to 1; grey where they are missing."""
    known = np.isfinite(unit)
    made = np.stack(
        [np.interp(np.where(known, unit, 0), np.linspace(0, 1, len(_STOPS)), _STOPS[:, c]) for c in range(3)], axis=-1
    )
    return np.where(known[..., None], made, _MISSING) / 255


def value_bar(page: Page, left: float, top: float, height: float, words: str, ends: tuple[str, str] = ("low", "high")) -> None:
    """The colours of values, from the bottom up, with the ends in words and what they are of."""
    axes = page.axes(left, top, 0.09, height, frame=False)
    axes.imshow(value_colours(np.linspace(1, 0, 128))[:, None], aspect="auto")
    axes.spines[:].set_edgecolor(RIM)
    page.text(left + 0.14, top, ends[1], size=7, colour=QUIET, va="center")
    page.text(left + 0.14, top + height, ends[0], size=7, colour=QUIET, va="center")
    beside = left + 0.24 + 0.062 * max(map(len, ends))
    page.text(beside, top + height / 2, words, size=7.5, colour=INK, ha="center", va="center", rotation=90)
