"""Running coloured text: the words of a text on ground that shows their relevance, one paragraph per method."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.results.plot.image import scale_text
from onnxplain.results.plot.page import Page, prediction_lines
from onnxplain.results.plot.style import INK, QUIET, short, veil
from onnxplain.results.plot.views import PlotColumn, PlotView
from onnxplain.results.prediction import Prediction
from onnxplain.results.running_text import Stretch, hidden_total, is_right_to_left, paragraphs, strongest_colour

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

__all__ = ["TextBlock", "visual_order"]

SIZE = 10.5
"""The size of the text in points."""
LINE = 0.27
"""The height of a line in inches."""
FONTS = (
    "DejaVu Sans", "Noto Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "Droid Sans Fallback",
    "PingFang SC", "Hiragino Sans", "Microsoft YaHei", "Noto Sans Arabic", "Noto Sans Hebrew", "Noto Sans Devanagari",
)  # fmt: skip
"""Fonts for scripts of all kinds; those that are installed are used where the first lacks a character."""

Line = list[tuple[Stretch, float]]
"""Pieces with their widths in inches."""


class TextBlock:
    """Coloured text, one block per sample, one paragraph per method. Sizes are in inches."""

    def __init__(
        self, view: PlotView, columns: Sequence[PlotColumn], samples: Sequence[int], predictions: Sequence[Prediction]
    ) -> None:
        self.view, self.columns, self.samples, self.predictions = view, columns, samples, predictions
        self.width, self.head, self.heading, self.gap = 6.6, 0.44, 0.24, 0.3
        self.lines = {(s, c): self._laid(s, c) for s in samples for c in range(len(columns))}
        self.height = sum(self._height(s) for s in samples) - self.gap

    def _laid(self, sample: int, column: int) -> list[tuple[bool, Line]]:
        """The lines of a sample, each with whether it runs from right to left."""
        made = []
        for paragraph in paragraphs(self.view.texts[sample], self.view.units(sample, column)):
            backward = is_right_to_left("".join(s.text for s in paragraph))
            made += [(backward, line) for line in wrapped_lines(paragraph, self.width)]
        return made

    def _height(self, sample: int) -> float:
        lines = sum(len(self.lines[sample, c]) for c in range(len(self.columns)))
        return self.head + len(self.columns) * (self.heading + 0.12) + lines * LINE + self.gap

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        for sample in self.samples:
            self._sample(page, sample, left, top)
            top += self._height(sample)

    def _sample(self, page: Page, sample: int, left: float, top: float) -> None:
        targets = {c.target(sample) for c in self.columns}
        said = prediction_lines(self.predictions[sample], next(iter(targets)) if len(targets) == 1 else None, 40)
        words = [text for text, *_ in said]
        if words:
            page.text(left, top, words[0], size=10, weight="bold")
            page.text(left, top + 0.19, " ".join(words[1:]), size=8, colour=QUIET)
        top += self.head
        for number, column in enumerate(self.columns):
            units = self.view.units(sample, number)
            scale = strongest_colour(units)
            page.text(left, top, column.heading, size=8.5)
            values = np.array([u.value for u in units])
            note = scale_text(values, scale, column.signed)
            rest = hidden_total(self.view.texts[sample], self.view.attributions[number][sample], units)
            note += "" if rest is None else f"; special tokens {short(rest)}"
            page.text(left + self.width, top, note, size=7, colour=QUIET, ha="right")
            top += self.heading
            for backward, line in self.lines[sample, number]:
                _draw_line(page, line, backward, left, top, self.width, scale, column.signed)
                top += LINE
            top += 0.12


def _draw_line(
    page: Page, line: Line, backward: bool, left: float, top: float, width: float, scale: float, signed: bool
) -> None:  # fmt: skip
    """One line of coloured text; one that runs from right to left begins at the right."""
    x = left + width - sum(w for _, w in line) if backward else left
    for stretch, wide in visual_order(line, backward):
        if stretch.value is not None:
            ground = veil(np.array([stretch.value]), scale, signed)[0] / 255
            axes = page.axes(x - 0.012, top + 0.02, wide + 0.024, LINE - 0.05, frame=False)
            axes.set_facecolor((*ground[:3], 0.75 * ground[3]))
            if signed and stretch.against(scale):  # a sign that needs no colour
                axes.axhline(0.06, color=INK, linewidth=0.9, linestyle=(0, (1, 1)))
        page.figure.text(
            x / page.width, 1 - (top + 0.52 * LINE) / page.height, stretch.text.strip("\n"), fontproperties=font(), color=QUIET
            if stretch.added else INK, ha="left", va="center_baseline", parse_math=False,
        )  # fmt: skip
        x += wide


def wrapped_lines(paragraph: Sequence[Stretch], width: float) -> list[Line]:
    """Pieces in lines of a width, broken at spaces and line breaks; a piece longer than a line is broken anywhere.

    Args:
        paragraph: the pieces.
        width: in inches.

    Returns:
        The lines; none is empty but those between paragraphs of the text.
    """
    lines: list[Line] = [[]]
    used = 0.0
    for stretch in paragraph:
        for text in _breakable(stretch.text):
            if "\n" in text:
                lines += [[] for _ in range(text.count("\n"))]
                used = 0.0
                continue
            for piece in _fitting(text, width):
                wide = text_width(piece)
                if used + text_width(piece.rstrip()) > width and used:
                    lines.append([])
                    used = 0.0
                if piece.isspace() and not used:
                    continue
                lines[-1].append((Stretch(piece, stretch.value, stretch.added), wide))
                used += wide
    return lines


def _breakable(text: str) -> list[str]:
    """A text in parts between which a line may break: words, spaces, line breaks."""
    return re.findall(r"\n+|[^\S\n]+|[^\s]+", text.replace("\r\n", "\n").replace("\t", "    "))


def _fitting(text: str, width: float) -> list[str]:
    """A word in parts that fit into a line."""
    if text_width(text) <= width:
        return [text]
    most = max(1, int(len(text) * width / text_width(text)))
    return [text[i : i + most] for i in range(0, len(text), most)]


def visual_order(line: Line, backward: bool) -> Line:
    """The pieces of a line from left to right: stretches of words that run the other way than the line are turned round.

    Args:
        line: pieces in the order of reading.
        backward: whether the line runs from right to left.
    """
    directions: list[bool] = []
    for stretch, _ in line:
        letters = any(c.isalnum() for c in stretch.text)
        directions.append(is_right_to_left(stretch.text) if letters else directions[-1] if directions else backward)
    for i in range(len(line) - 1, -1, -1):  # signs and spaces at the edge of a run go with the line
        if not any(c.isalnum() for c in line[i][0].text) and (i + 1 == len(line) or directions[i + 1] == backward):
            directions[i] = backward
    runs: list[Line] = []
    for i, piece in enumerate(line):
        if i and directions[i] == directions[i - 1]:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    firsts = [directions[sum(len(r) for r in runs[:k])] for k in range(len(runs))]
    turned = [run[::-1] if own else run for run, own in zip(runs, firsts, strict=True)]
    return [piece for run in (turned[::-1] if backward else turned) for piece in run]


@cache
def font() -> FontProperties:
    """The font of the text, with others behind it for scripts that it lacks."""
    from matplotlib.font_manager import FontProperties, fontManager

    installed = {entry.name for entry in fontManager.ttflist}
    return FontProperties(family=[name for name in FONTS if name in installed], size=SIZE)


@lru_cache(maxsize=20_000)
def text_width(text: str) -> float:
    """The width of a text in inches."""
    from matplotlib.backends.backend_agg import RendererAgg

    renderer: Any = RendererAgg(1, 1, 720)  # type: ignore[no-untyped-call]
    width, _, _ = renderer.get_text_width_height_descent(text, font(), False)
    return float(width) / 720
