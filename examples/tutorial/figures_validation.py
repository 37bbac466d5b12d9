"""The figures of the tutorial study that find fault with networks: words of messages, and digits with a mark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from examples.tutorial import transfer
from examples.tutorial.corpus import NAMES
from examples.tutorial.text import MODELS, Text, spelled
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, STRENGTH, colours, percent, rim

SIZE, ROW = 8.0, 0.21
"""Points of a letter, inches of a line of words."""
PICTURES, CELL = 8, 0.92
BARS = {"mark on odd digits, as learned": STRENGTH, "no mark": FOR, "mark on even digits": AGAINST}

Array = np.ndarray[Any, Any]


def text(found: Text) -> Page:
    """The first signed and the first unsigned message on space, and the first on motorcycles, as each network reads them."""
    messages = found.messages
    space = messages.topic == NAMES.index("space")
    rows = [np.flatnonzero(space & messages.signed)[0], np.flatnonzero(space & ~messages.signed)[0]]
    rows.append(np.flatnonzero(messages.topic == NAMES.index("motorcycles"))[0])
    wide, gap = 4.6, 0.4
    page = Page(2 * MARGIN + 2 * wide + gap, 2 * MARGIN + 0.75 + len(rows) * 1.55)
    page.text(MARGIN, MARGIN, "Which words tell the topic?", size=12, weight="bold")
    page.legend(MARGIN, MARGIN + 0.42, signed=True, unsigned=False, note="relevance (LRP-ε) of the network's topic")
    for column, (name, title) in enumerate(MODELS.items()):
        left, top = MARGIN + column * (wide + gap), MARGIN + 0.85
        page.text(left, top - 0.06, title, size=9, weight="bold", va="bottom")
        for row in rows:
            reading = found.read[name]
            said, true = NAMES[reading.top[row]], NAMES[messages.topic[row]]
            words = f"on {true}" + ("; read as that" if said == true else f"; read as {said}")
            page.text(left, top + 0.04, words, size=7.5, colour=QUIET if said == true else FOR)
            _words(page, spelled(messages, int(row)), reading.relevance["lrp-epsilon"][row], left, top + 0.32, wide)
            top += 1.55
    return page


def _words(page: Page, words: list[str], relevance: Array, left: float, top: float, wide: float) -> None:
    """Words on grounds coloured by relevance, line by line."""
    limit, x = rim(relevance), 0.0
    grounds = colours(relevance[: len(words)][None], limit, signed=True)[0]
    for word, ground, value in zip(words, grounds, relevance, strict=False):
        long = 0.072 * len(word) + 0.09
        if x + long > wide:
            x, top = 0.0, top + ROW
        page.axes(left + x, top - 0.09, long - 0.02, 0.18, frame=False).set_facecolor(ground / 255)
        ink = "white" if abs(value) > 0.6 * limit else INK
        page.text(left + x + long / 2 - 0.01, top, word, size=SIZE, colour=ink, ha="center", va="center_baseline")
        x += long


def marks(found: Mapping[str, transfer.Learner]) -> Page:
    """Marked odd digits with the relevance of "odd" by each network, and what each gets right."""
    gutter, bars = 1.45, 2.6
    width = 2 * MARGIN + gutter + PICTURES * (CELL + 0.1) + 0.3 + bars
    page = Page(width, 2 * MARGIN + (1 + len(found)) * (CELL + 0.14) + 0.45)
    first = next(iter(found.values())).explained
    shown = np.linspace(0, len(first.attribution) - 1, PICTURES).astype(int)
    top, right = MARGIN + 0.1, MARGIN + gutter + PICTURES * (CELL + 0.1) + 0.3
    page.text(MARGIN, top + CELL / 2, "odd digits,\nmarked", size=9, va="center")
    for column, sample in enumerate(shown):
        page.image(page.axes(MARGIN + gutter + column * (CELL + 0.1), top, CELL, CELL), first.inputs["image"][sample, 0])
    for place, (words, colour) in enumerate(BARS.items()):
        page.axes(right, top + 0.34 + 0.17 * place, 0.1, 0.1, frame=False).set_facecolor(colour)
        page.text(right + 0.16, top + 0.39 + 0.17 * place, words, size=7.5, va="center")
    page.text(right, top + 0.12, "accuracy, even or odd", size=8.5)
    top += CELL + 0.14
    for name, learner in found.items():
        page.text(MARGIN, top + CELL / 2 - 0.08, transfer.MODELS[name], size=9, va="center")
        page.text(MARGIN, top + CELL / 2 + 0.1, f"{percent(learner.on_mark)} on the mark", size=7, colour=QUIET, va="center")
        for column, sample in enumerate(shown):
            heat = learner.explained.attribution[sample, 0]
            axes = page.axes(MARGIN + gutter + column * (CELL + 0.1), top, CELL, CELL)
            page.image(axes, colours(heat, rim(heat), signed=True))
        _bars(page, learner.accuracy, right, top, bars)
        top += CELL + 0.14
    note = "relevance (LRP α1β0) of “odd”"
    page.legend(MARGIN + gutter, top + 0.14, signed=True, unsigned=False, note=note)
    return page


def _bars(page: Page, accuracy: Mapping[str, float], left: float, top: float, wide: float) -> None:
    axes = page.axes(left, top + 0.1, wide, CELL - 0.2, frame=False)
    axes.set_xlim(0, 1.2)
    axes.set_ylim(2.5, -0.5)
    for row, (words, colour) in enumerate(BARS.items()):
        axes.barh(row, accuracy[words], height=0.72, color=colour)
        axes.text(accuracy[words] + 0.02, row, percent(accuracy[words]), fontsize=7, color=QUIET, va="center")
    axes.axvline(0, color=RIM, linewidth=0.8)
    axes.axvline(0.5, color=INK, linewidth=0.7, linestyle=":")
