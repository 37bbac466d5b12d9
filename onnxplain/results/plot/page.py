"""A matplotlib figure with coordinates in inches from the top left corner."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, STRENGTH, colours, percent, short
from onnxplain.results.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["MARGIN", "Page", "gutter_of", "prediction_lines", "wrapped"]

MARGIN = 0.3
"""The margin in inches."""


def wrapped(text: str, inches: float, size: float) -> list[str]:
    """Break a text into lines that fit into a width, assuming the mean character width of the default font."""
    return textwrap.wrap(text, max(4, int(inches * 72 / (0.56 * size)))) or [""]


class Page:
    """A figure on which everything is placed by `left` and `top` in inches.

    Args:
        width: in inches.
        height: in inches.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """

    def __init__(self, width: float, height: float) -> None:
        with optional("plot", "pictures"):
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        self.width, self.height = width, height
        self.figure: Figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
        FigureCanvasAgg(self.figure)

    def axes(self, left: float, top: float, width: float, height: float, *, frame: bool = True) -> Axes:
        """Add empty axes without ticks, with or without a thin frame."""
        axes = self.figure.add_axes(
            (left / self.width, 1 - (top + height) / self.height, width / self.width, height / self.height)
        )
        axes.set_facecolor("none")
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(frame)
            spine.set_linewidth(0.6)
            spine.set_edgecolor(RIM)
        return axes

    def text(self, left: float, top: float, text: str, *, size: float = 8, colour: str = INK, **style: Any) -> None:
        """Add text. The position is its top left corner unless `ha` and `va` say otherwise."""
        # "$" would start mathematics.
        self.figure.text(
            left / self.width, 1 - top / self.height, text.replace("$", r"\$"), fontsize=size, color=colour,
            **{"ha": "left", "va": "top", **style},
        )  # fmt: skip

    def image(self, axes: Axes, pixels: np.ndarray[Any, Any], **options: Any) -> None:
        """Draw pixels: sharp if there are few, averaged if there are many."""
        grey: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1} if pixels.ndim == 2 else {}
        axes.imshow(pixels, interpolation="antialiased", **{"aspect": "auto", **grey, **options})

    def headings(self, texts: list[str], lefts: list[float], bottom: float, width: float) -> None:
        """Add centred column headings above a line."""
        for text, left in zip(texts, lefts, strict=True):
            lines = "\n".join(wrapped(text, width, 8.5))
            self.text(left + width / 2, bottom, lines, size=8.5, ha="center", va="bottom", linespacing=1.15)

    def left_heading(self, left: float, bottom: float) -> None:
        """Add the heading of the column with the predictions."""
        self.text(left, bottom, "prediction", size=8.5, colour=QUIET, va="bottom")

    def prediction(self, left: float, middle: float, width: float, prediction: Prediction, explained: str | None) -> None:
        """Add the prediction of a sample, as lines of text centred at a height."""
        lines = prediction_lines(prediction, explained, width)
        heights = [size * 1.3 / 72 for _, size, _, _ in lines]
        top = middle - sum(heights) / 2
        for (text, size, colour, weight), height in zip(lines, heights, strict=True):
            self.text(left, top, text, size=size, colour=colour, weight=weight)
            top += height

    def legend(
        self, left: float, top: float, *, signed: bool, unsigned: bool, note: str, cmap: str | None = None,
        weak: tuple[str, str] = ("weak", "strong"),
    ) -> None:  # fmt: skip
        """Add the colour scales and a note, on one line. `weak`: the ends of the scale without signs."""
        for wanted, first, last, low in ((signed, "against", "for", -1.0), (unsigned, *weak, 0.0)):
            if not wanted:
                continue
            size = 7.0
            self.text(left, top, first, size=size, colour=QUIET, va="center")
            left += 0.062 * len(first) + 0.06
            axes = self.axes(left, top - 0.045, 1.1, 0.09)
            ramp = colours(np.linspace(low, 1, 256)[None], 1.0, signed=low < 0, cmap=cmap)
            axes.imshow(ramp, aspect="auto")
            left += 1.1 + 0.07
            self.text(left, top, last, size=size, colour=QUIET, va="center")
            left += 0.062 * len(last) + 0.3
        self.text(left, top, note, size=7, colour=QUIET, va="center")

    def swatches(self, left: float, top: float, *, signed: bool, unsigned: bool, note: str) -> None:
        """Add the meaning of the bars' colours and a note, on one line."""
        words = [(AGAINST, "against"), (FOR, "for")] if signed else []
        for colour, word in [*words, *([(STRENGTH, "strength")] if unsigned else [])]:
            self.axes(left, top - 0.05, 0.1, 0.1, frame=False).set_facecolor(colour)
            self.text(left + 0.16, top, word, size=7, colour=QUIET, va="center")
            left += 0.16 + 0.062 * len(word) + 0.22
        self.text(left, top, note, size=7, colour=QUIET, va="center")


def gutter_of(predictions: Sequence[Prediction], targets: Sequence[str]) -> float:
    """The width of the column with the predictions, in inches."""
    words = [w for p in predictions for w in (p.label or "").split()] + [w for t in targets for w in t.split()]
    longest = max((len(w) for w in words), default=0)
    return min(1.5, max(0.82, 0.11 * longest + 0.2))


def prediction_lines(prediction: Prediction, explained: str | None, width: float) -> list[tuple[str, float, str, str]]:
    """The lines (text, size, colour, weight) on a prediction: class, probability, and the explained class if it differs."""
    lines: list[tuple[str, float, str, str]] = []
    if prediction.label is not None:
        size = 13.0 if len(prediction.label) <= 5 else 9.0
        lines += [(line, size, INK, "bold") for line in wrapped(prediction.label, width, size)]
        assert prediction.probability is not None
        lines.append((percent(prediction.probability), 8.0, QUIET, "normal"))
    if explained is not None and explained != prediction.label:
        lines.append(("explained:" if prediction.label is not None else "explains", 7.0, QUIET, "normal"))
        lines += [(line, 8.0, INK, "bold") for line in wrapped(explained, width, 8.0)]
        if prediction.label is None and prediction.score is not None:
            lines.append((f"score {short(prediction.score)}", 7.0, QUIET, "normal"))
    return lines
