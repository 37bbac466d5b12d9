"""One form as a clinician may read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.risk.forms import ANSWERS, AREAS, BLOCK, ITEMS
from examples.risk.picture import LINE, NAMES, PALE, rows
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, STRENGTH, percent, short

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Told:
    """What is shown of one form for a clinician."""

    number: int
    area: int
    """The risk explained."""
    answers: Array
    """[25]."""
    chance: Array
    """The four probabilities."""
    contribution: Array
    """What each answer adds to the log-odds, beyond an empty form: [25]."""
    empty: float
    """The log-odds of the empty form."""
    others: Array
    """The risk's probability for every answer that an item could have: [25, 3]."""
    back: Sequence[tuple[str, float]]
    """Items moved one after another, with the probability then."""


def draw_form(told: Told, path: Path) -> None:
    """One form, as a clinician may read it."""
    answer, bars, spread, gap = 0.62, 2.3, 1.9, 0.3
    name = AREAS[told.area]
    lefts = np.cumsum([MARGIN + NAMES + 0.1, answer + 0.1, bars + gap])
    width = lefts[-1] + spread + MARGIN
    _, high = rows(0)
    page = Page(width, 2 * MARGIN + 1.62 + high + 0.8)
    chance = told.chance[told.area]
    page.text(MARGIN, MARGIN, f"Form {told.number}: risk of {name}, {percent(chance)}", size=13, weight="bold")
    note = "A made-up form. The network's estimate, not a finding: the picture says what the network went by, right or wrong."
    page.text(MARGIN, MARGIN + 0.27, note, size=7.5, colour=QUIET)
    top = MARGIN + 0.62
    for place, (area, p) in enumerate(zip(AREAS, told.chance, strict=True)):
        left = MARGIN + place * (width - 2 * MARGIN) / 4
        strong = place == told.area
        page.text(left, top, area, size=8, weight="bold" if strong else "normal")
        axes = page.axes(left, top + 0.19, 1.25, 0.11)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.barh(0.5, p, height=1, color=STRENGTH if strong else PALE)
        axes.axvline(0.5, color=INK, linewidth=0.8)
        page.text(left + 1.31, top + 0.245, percent(p), size=8, va="center_baseline")
    top += 1.0
    middles, bottom = rows(top)
    heads = ("answer", "what the answers add to the log-odds", f"risk of {name} by answer")
    for text, left, wide in zip(heads, lefts, (answer, bars, spread), strict=True):
        page.text(left + wide / 2, top - (0.1 if left < lefts[2] else 0.24), text, size=8.5, ha="center", va="bottom")
    sheet = page.axes(MARGIN, top, width - 2 * MARGIN, bottom - top, frame=False)
    sheet.set_ylim(bottom, top)
    sheet.set_xlim(0, 1)
    sheet.hlines(middles + 0.5 * LINE, 0, 1, color="#eef0f3", linewidth=0.6)
    for block, area in enumerate(AREAS):
        page.text(MARGIN, middles[block == BLOCK][0] - 0.5 * LINE, area, size=6.5, colour=QUIET, va="bottom", style="italic")
    for item, middle, given in zip(ITEMS, middles, told.answers, strict=True):
        ink = INK if given else QUIET
        page.text(lefts[0] - 0.1, middle, item, size=8, colour=ink, ha="right", va="center_baseline")
        page.text(lefts[0] + answer / 2, middle, ANSWERS[int(given)], size=8, colour=ink, ha="center", va="center_baseline")
    places = (middles - top) / (bottom - top)
    _contributions(page, told.contribution, places, float(lefts[1]), top, bars, bottom - top)
    _others(page, told, places, float(lefts[2]), top, spread, bottom - top)
    _below(page, told, bottom + 0.17, float(lefts[1]))
    page.figure.savefig(path, dpi=140, metadata={"Software": None})


def _contributions(page: Page, values: Array, places: Array, left: float, top: float, width: float, high: float) -> None:
    axes = page.axes(left, top, width, high, frame=False)
    axes.set_ylim(1, 0)
    low, far = min(0.0, values.min()), max(0.0, values.max())
    room = 0.16 * (far - low)
    axes.set_xlim(low - (room if low < 0 else 0), far + room)
    axes.barh(places, values, height=0.6 * LINE / high, color=[FOR if v > 0 else AGAINST for v in values])
    axes.axvline(0, color=RIM, linewidth=0.8)
    for place, value in zip(places, values, strict=True):
        if value:
            side = -1 if value < 0 else 1
            axes.annotate(
                f"{value:+.2f}".replace("-", "−"), (value, place), (3 * side, 0), textcoords="offset points", fontsize=6.5,
                color=QUIET, ha="right" if side < 0 else "left", va="center_baseline",
            )  # fmt: skip


def _others(page: Page, told: Told, places: Array, left: float, top: float, width: float, high: float) -> None:
    axes = page.axes(left, top, width, high, frame=False)
    axes.set_ylim(1, 0)
    axes.set_xlim(0, 1)
    axes.axvline(0.5, color=INK, linewidth=0.7, alpha=0.5)
    axes.axvline(told.chance[told.area], color=RIM, linewidth=0.8)
    for place, chances, given in zip(places, told.others, told.answers, strict=True):
        axes.plot((chances.min(), chances.max()), (place, place), color=RIM, linewidth=1.6, solid_capstyle="round", zorder=1)
        for answer, chance in enumerate(chances):
            own = answer == int(given)
            axes.plot(
                chance, place, "o", markersize=2.2 + 1.5 * answer, color=STRENGTH if own else "white",
                markeredgecolor=STRENGTH if own else QUIET, markeredgewidth=0.7, zorder=3 if own else 2,
            )  # fmt: skip
    for share in (0, 0.5, 1):
        page.text(left + share * width, top - 0.16, f"{100 * share:.0f} %", size=6.5, colour=QUIET, ha="center", va="center")


def _below(page: Page, told: Told, y: float, bars: float) -> None:
    """The sum, what dots mean, and which answers turn the prediction."""
    given = float(told.contribution.sum())
    whole = told.empty + given
    sign, chance = "−" if given < 0 else "+", percent(1 / (1 + np.exp(-whole)))
    words = f"empty form {short(told.empty)}  {sign}  answers {short(abs(given))}  =  {short(whole)}, which is {chance}"
    page.text(bars, y, words, size=7.5, va="center_baseline")
    dots = "dots: no, partly, clearly; filled: as answered"
    page.text(page.width - MARGIN, y + 0.2, dots, size=6.5, colour=QUIET, ha="right", va="center_baseline")
    swatch = MARGIN
    for colour, word in ((FOR, "raises the risk"), (AGAINST, "lowers it")):
        page.axes(swatch, y - 0.05, 0.1, 0.1, frame=False).set_facecolor(colour)
        page.text(swatch + 0.15, y, word, size=7, colour=QUIET, va="center_baseline")
        swatch += 1.0
    steps = "   →   ".join(f"{item}: {percent(chance)}" for item, chance in told.back)
    line = "What would turn the prediction, the most important answers changed one after another"
    page.text(MARGIN, y + 0.3, line, size=8, weight="bold")
    page.text(MARGIN, y + 0.5, f"as answered: {percent(told.chance[told.area])}   →   {steps}", size=8)
