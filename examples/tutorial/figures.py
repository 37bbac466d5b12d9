"""The figures of the tutorial study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from examples.tutorial.digits import SIDE
from examples.tutorial.measure import BEST, METHODS, PATCH, Measured, area, signed
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, STRENGTH, colours, percent, rim, short

COLOURS = {"sensitivity": STRENGTH, "simple Taylor": AGAINST, "LRP α1β0": FOR, "LRP α2β1": "#e8906a", "LRP α3β2": "#b58a2c"}
SIGNED = {name: name != "sensitivity" for name in METHODS}
CELL, GAP = 0.92, 0.1
"""Inches: a picture's side, and between pictures."""
QUARTERS = (("top left", "-"), ("top right", "--"), ("bottom left", "-."), ("bottom right", ":"))

Array = np.ndarray[Any, Any]


def draw(found: Measured, folder: Path) -> None:
    """Write all figures into a folder."""
    for name, make in {
        "heatmaps": heatmaps, "continuity": continuity, "selectivity": selectivity, "denoising": denoising, "objects": objects
    }.items():  # fmt: skip
        make(found).figure.savefig(folder / f"tutorial_{name}.png", dpi=150, metadata={"Software": None})


def _heat(page: Page, left: float, top: float, wide: float, high: float, heat: Array, scale: float, signed: bool = True) -> None:
    page.image(page.axes(left, top, wide, high), colours(heat, scale, signed=signed))


def heatmaps(found: Measured) -> Page:
    """One digit of each class by every method, with its share of negative relevance."""
    first = found.explained[BEST]
    shown = found.first(10)
    gutter = 1.25
    width = 2 * MARGIN + gutter + 10 * (CELL + GAP) - GAP
    page = Page(width, 2 * MARGIN + (1 + len(METHODS)) * (CELL + 0.22) + 0.2)
    top = MARGIN
    for row, name in enumerate(("digit", *METHODS)):
        page.text(MARGIN, top + CELL / 2 - 0.08, name, size=9, va="center", colour=COLOURS.get(name, INK))
        if row and SIGNED[name]:
            share = float(found.explained[name].negative_share().mean())
            page.text(MARGIN, top + CELL / 2 + 0.1, f"{percent(share)} negative", size=7, colour=QUIET, va="center")
        for column, sample in enumerate(shown):
            left = MARGIN + gutter + column * (CELL + GAP)
            if not row:
                page.image(page.axes(left, top, CELL, CELL), first.inputs["image"][sample, 0])
                continue
            heat = found.explained[name].attribution[sample, 0]
            _heat(page, left, top, CELL, CELL, heat, rim(heat), SIGNED[name])
            if SIGNED[name]:
                share = float(found.explained[name].negative_share()[sample])
                page.text(left + CELL / 2, top + CELL + 0.03, percent(share), size=6.2, colour=QUIET, ha="center")
        top += CELL + 0.22
    page.legend(MARGIN + gutter, top + 0.1, signed=True, unsigned=True, note="under each map: its share of negative relevance")
    return page


def continuity(found: Measured) -> Page:
    """A two on its way through the field: maps at some steps, relevance of the quarters at all."""
    track = found.track
    steps = len(track.score)
    reach = steps // 2
    shown = range(1, steps, 2)
    gutter, curve = 1.25, 2.6
    strip = len(shown) * (CELL + GAP)
    page = Page(2 * MARGIN + gutter + strip + 0.35 + curve, 2 * MARGIN + (1 + len(METHODS)) * (CELL + 0.16) + 0.4)
    top, right = MARGIN, MARGIN + gutter + strip + 0.35
    for row, name in enumerate(("digit", *METHODS)):
        page.text(MARGIN, top + CELL / 2 - 0.08, name, size=9, va="center", colour=COLOURS.get(name, INK))
        if row:
            page.text(
                MARGIN, top + CELL / 2 + 0.1, f"largest step {found.largest[name][1]:.2f}", size=7, colour=QUIET, va="center"
            )
        maps = track.pictures[:, 0] if not row else track.maps[name]
        scale = 0.0 if not row else rim(maps)
        for column, step in enumerate(shown):
            left = MARGIN + gutter + column * (CELL + GAP)
            if row:
                _heat(page, left, top, CELL, CELL, maps[step], scale, SIGNED[name])
            else:
                page.image(page.axes(left, top, CELL, CELL), maps[step])
        axes = page.axes(right, top, curve, CELL)
        values = track.quarters[name] if row else track.score[:, None]
        axes.set_xlim(-reach, reach)
        axes.axhline(0, color=RIM, linewidth=0.8)
        for line, (_, dashes) in zip(values.T, QUARTERS, strict=False):
            axes.plot(np.arange(-reach, reach + 1), line, dashes, color=COLOURS.get(name, INK), linewidth=1.4)
        if not row:
            axes.set_ylim(0, 1.12 * values.max())
            score = f"score of the two, from {short(float(values.min()))} to {short(float(values.max()))}"
            page.text(right, top - 0.04, score, size=7, colour=QUIET, va="bottom")
        top += CELL + 0.16
        if not row:
            page.text(right, top - 0.03, "relevance of the quarters", size=7, colour=QUIET, va="bottom")
    page.text(right, top - 0.1, f"−{reach}", size=7, colour=QUIET, ha="center")
    page.text(right + curve, top - 0.1, f"+{reach}", size=7, colour=QUIET, ha="center")
    page.text(right + curve / 2, top - 0.1, "pixels moved to the right", size=7, colour=QUIET, ha="center")
    for i, (words, dashes) in enumerate(QUARTERS):
        left, y = right + (i % 2) * curve / 2, top + 0.16 + (i // 2) * 0.15
        page.axes(left, y - 0.04, 0.36, 0.08, frame=False).plot((0, 1), (0, 0), dashes, color=QUIET, linewidth=1.2)
        page.text(left + 0.42, y, words, size=6.5, colour=QUIET, va="center")
    note = "one scale for each row"
    page.legend(MARGIN + gutter, top + 0.16, signed=True, unsigned=True, note=note)
    return page


def selectivity(found: Measured) -> Page:
    """The score as patches are removed in the order of their relevance."""
    wide, high = 5.6, 3.0
    page = Page(2 * MARGIN + 0.45 + wide + 1.9, 2 * MARGIN + high + 0.75)
    left, top = MARGIN + 0.45, MARGIN + 0.3
    page.text(left, top - 0.07, f"mean score of the class, patches of {PATCH} × {PATCH} pixels made black", size=8.5, va="bottom")
    axes = page.axes(left, top, wide, high)
    count = len(next(iter(found.curves.values()))) - 1
    low = min(float(c.min()) for c in found.curves.values())
    axes.set_xlim(0, count)
    axes.set_ylim(low - 0.06, 1.04)
    axes.axhline(0, color=RIM, linewidth=0.9)
    words = []
    for name, line in found.curves.items():
        colour = COLOURS.get(name, QUIET)
        axes.plot(line, color=colour, linewidth=1.7, linestyle="-" if name in METHODS else ":")
        words.append((area(line), name, colour))
    axes.set_xticks(range(0, count + 1, 7), map(str, range(0, count + 1, 7)), fontsize=7, color=QUIET)
    ticks = np.arange(np.ceil(low * 2), 3) / 2
    axes.set_yticks(ticks, [f"{100 * t:.0f} %".replace("-", "−") for t in ticks + 0.0], fontsize=7, color=QUIET)
    axes.tick_params(length=0, pad=3)
    page.text(left + wide / 2, top + high + 0.2, f"patches removed, of {count}", size=7.5, colour=QUIET, ha="center")
    page.text(left + wide + 0.25, top, "area under the curve", size=7.5, colour=QUIET)
    for row, (value, name, colour) in enumerate(sorted(words)):
        y = top + 0.3 + 0.22 * row
        page.axes(left + wide + 0.25, y - 0.05, 0.3, 0.1, frame=False).plot(
            (0, 1), (0, 0), "-" if name in METHODS else ":", color=colour, linewidth=1.7
        )
        page.text(left + wide + 0.63, y, f"{name}  {signed(value)}", size=7.5, va="center")
    return page


def denoising(found: Measured) -> Page:
    """Relevance of the network with strides, as it is and averaged over translations."""
    plain, averaged = found.gridded
    shown = found.first(8)
    gutter = 1.55
    page = Page(2 * MARGIN + gutter + len(shown) * (CELL + GAP) - GAP + 0.35 + CELL, 2 * MARGIN + 0.2 + 3 * (CELL + 0.12))
    top = MARGIN + 0.2
    right = MARGIN + gutter + len(shown) * (CELL + GAP) + 0.25
    page.text(right + CELL / 2, top + CELL + 0.06, "mean of all", size=7, colour=QUIET, ha="center", va="bottom")
    for row, name in enumerate(("digit", "LRP α1β0", "averaged over 16")):
        page.text(MARGIN, top + CELL / 2 - 0.08, name, size=9, va="center")
        if row:
            page.text(MARGIN, top + CELL / 2 + 0.1, ("translations; " if row == 2 else "") + f"grid {found.grid[row - 1]:.2f}",
                      size=7, colour=QUIET, va="center")  # fmt: skip
        explanation = averaged if row == 2 else plain
        for column, sample in enumerate(shown):
            left = MARGIN + gutter + column * (CELL + GAP)
            if not row:
                page.image(page.axes(left, top, CELL, CELL), plain.inputs["image"][sample, 0])
                continue
            heat = explanation.attribution[sample, 0]
            _heat(page, left, top, CELL, CELL, heat, rim(heat))
        if row:
            mean = np.abs(explanation.attribution).mean(axis=(0, 1))
            _heat(page, right, top, CELL, CELL, mean, float(mean.max()), signed=False)
        top += CELL + 0.12
    return page


def objects(found: Measured) -> Page:
    """Two digits in one picture: relevance of either class pooled over each digit, and what single filters pass."""
    pair = found.pair
    wide, high = 2 * 1.15, 1.15
    page = Page(2 * MARGIN + 3 * (wide + 0.3) + 0.2, 2 * MARGIN + 2 * (high + 0.62) - 0.1)
    a, b = pair.classes
    scale = rim(np.concatenate([e.attribution for e in pair.explained]))
    cells = [("picture", None, 0.0), (f"relevance of the {a}", pair.explained[0], scale)]
    cells.append((f"relevance of the {b}", pair.explained[1], scale))
    named = [*(f"of the {a}, through filter {n} alone" for n in pair.filters), f"of the {a}, through all other filters"]
    cells += [(name, e, rim(e.attribution)) for name, e in zip(named, pair.filtered, strict=True)]
    for i, (words, explanation, limit) in enumerate(cells):
        left = MARGIN + (i % 3) * (wide + 0.3)
        top = MARGIN + 0.2 + (i // 3) * (high + 0.62)
        page.text(left, top - 0.06, words, size=8.5, va="bottom")
        if explanation is None:
            page.image(page.axes(left, top, wide, high), pair.picture[0])
            continue
        axes = page.axes(left, top, wide, high)
        page.image(axes, colours(explanation.attribution[0, 0], limit, signed=True))
        axes.axvline(SIDE - 0.5, color=QUIET, linewidth=0.7, linestyle=":")
        for side, pooled in enumerate(explanation.pool(pair.half)[0]):
            colour = FOR if pooled > 0 else AGAINST
            page.text(left + (side + 0.5) * wide / 2, top + high + 0.05, short(float(pooled)), size=8, ha="center", colour=colour)
    return page
