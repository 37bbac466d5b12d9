"""The figures of the arm study: explanations as arrows, derivatives as maps, misses, and what lies beyond the training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.arm.study import AXES, STEPS, THRESHOLDS, Network, Study, arm, derivatives
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET, RIM, colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE, GAP, LABEL = 3.6, 0.55, 0.45
"""Inches: a panel's side, between panels, the room for an axis' words."""
ARROWS, FINE = 12, 121
"""Degrees between arrows; points along a side of a map."""
TICKS = ((0, "0"), (np.pi / 2, "π/2"), (np.pi, "π"), (3 * np.pi / 2, "3π/2"), (2 * np.pi, "2π"))
CUT = np.pi / 2
"""θ₂ of the curves beyond the training."""

Array = np.ndarray[Any, Any]


def draw(study: Study, network: Network, folder: Path) -> None:
    """Write the three figures into a folder."""
    for name, page in {"arm": arrows(network), "arm_slopes": slopes(network), "arm_misses": misses(study, network)}.items():
        page.figure.savefig(folder / f"{name}.png", dpi=130, metadata={"Software": None})


def _plane(points: int) -> Array:
    """A grid over the range of the training, row by row from below: [points², 2]."""
    line = np.linspace(0, 2 * np.pi, points)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


def _framed(page: Page, left: float, top: float, side: float) -> Axes:
    """A panel over both angles."""
    axes = page.axes(left, top, side, side)
    for set_ticks in (axes.set_xticks, axes.set_yticks):
        set_ticks([at for at, _ in TICKS], [word for _, word in TICKS], fontsize=7, color=QUIET)
    axes.tick_params(length=0, pad=3)
    axes.set_xlim(-0.15, 2 * np.pi + 0.15)
    axes.set_ylim(-0.15, 2 * np.pi + 0.15)
    page.text(left + side / 2, top + side + 0.2, "θ₁", size=9, ha="center")
    page.text(left - 0.33, top + side / 2, "θ₂", size=9, va="center", ha="center")
    return axes


def arrows(network: Network) -> Page:
    """An explanation for each axis every ARROWS degrees, the arm's own derivatives beneath."""
    page = Page(2 * MARGIN + LABEL + 2 * (SIDE + 0.9) + GAP, 2 * MARGIN + 0.95 + SIDE + 0.9 + 0.2)
    side, top = SIDE + 0.9, MARGIN + 0.85
    page.text(MARGIN, MARGIN, "How two joints move the hand", size=12, weight="bold")
    grid = _plane(360 // ARROWS + 1)
    found, true = network.explained(grid).attribution, derivatives(grid)
    ground = network.hand(_plane(FINE)).reshape(FINE, FINE, 2)
    for axis, name in enumerate(AXES):
        left = MARGIN + LABEL + axis * (side + GAP)
        page.text(left, top - 0.07, f"∂{name} / ∂(θ₁, θ₂)", size=9, va="bottom")
        axes = _framed(page, left, top, side)
        axes.imshow(ground[:, :, axis], origin="lower", extent=(0, 2 * np.pi) * 2, cmap="Greys", alpha=0.45, vmin=-2.4, vmax=2.8)
        common: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 9.0, "pivot": "mid"}
        axes.quiver(*grid.T, true[:, axis, 0], true[:, axis, 1], color=AGAINST, width=0.0056, **common)
        axes.quiver(*grid.T, found[:, axis, 0], found[:, axis, 1], color=FOR, width=0.0022, **common)
    left = MARGIN + LABEL
    for words, colour, at in (
        ("the arm's own derivatives", AGAINST, 0.0),
        (f"the network's explanation, every {ARROWS}°", FOR, 1.65),
        ("ground: the predicted coordinate, dark is high", QUIET, 4.1),
    ):
        page.text(left + at, MARGIN + 0.32, words, size=8, colour=colour)
    return page


def slopes(network: Network) -> Page:
    """∂x/∂θ₁ and ∂x/∂θ₂ over the range of the training: of the network, of the formula, and their difference."""
    side = SIDE - 0.9
    page = Page(2 * MARGIN + LABEL + 3 * side + 2 * GAP + 0.1, 2 * MARGIN + 0.75 + 2 * (side + 0.75))
    page.text(MARGIN, MARGIN, "The derivatives of x by both angles", size=12, weight="bold")
    plane = _plane(FINE)
    found, true = network.explained(plane).attribution[:, 0], derivatives(plane)[:, 0]
    top = MARGIN + 0.9
    for joint, name in enumerate(("∂x / ∂θ₁", "∂x / ∂θ₂")):
        limit = 2.0 - joint
        maps = {"network": (found, limit), "formula": (true, limit), "network − formula": (found - true, 0.25)}
        for column, (words, (values, scale)) in enumerate(maps.items()):
            left = MARGIN + LABEL + column * (side + GAP)
            page.text(left, top - 0.06, f"{name}, {words}, ±{scale:g}", size=8.5, va="bottom")
            axes = _framed(page, left, top, side)
            shown = colours(values[:, joint].reshape(FINE, FINE), scale, signed=True)
            axes.imshow(shown, origin="lower", extent=(0, 2 * np.pi) * 2, interpolation="nearest")
        top += side + 0.75
    page.legend(MARGIN + LABEL, MARGIN + 0.42, signed=True, unsigned=False, note="“for”: the angle raises x")
    return page


def misses(study: Study, network: Network) -> Page:
    """Where the joint named makes the smaller movement, and what the network says outside the range of its training."""
    page = Page(2 * MARGIN + LABEL + 2 * SIDE + 0.95 + 2.4 * SIDE - 4.2, 2 * MARGIN + 0.95 + SIDE + 0.3)
    top = MARGIN + 0.8
    words = f"Where the joint named moves the hand less than the other (threshold {THRESHOLDS[0]}, ±{STEPS[-1]}°)"
    page.text(MARGIN, MARGIN, words, size=11, weight="bold")
    fine = _plane(FINE)
    steep = np.linalg.norm(derivatives(fine), axis=2).reshape(FINE, FINE, 2)
    for axis, name in enumerate(AXES):
        left = MARGIN + LABEL + axis * (SIDE + GAP)
        page.text(
            left, top - 0.07, f"{name}: {study.misses[:, axis].sum():,} of {len(study.angles):,} samples", size=9, va="bottom"
        )
        axes = _framed(page, left, top, SIDE)
        axes.imshow(steep[:, :, axis], origin="lower", extent=(0, 2 * np.pi) * 2, cmap="Greys_r", vmin=-1.2, vmax=1.2)
        axes.plot(*study.angles[study.misses[:, axis]].T, "o", markersize=2.2, color=FOR, markeredgewidth=0)
    left = MARGIN + LABEL + 2 * (SIDE + GAP) + 0.1
    wide = page.width - MARGIN - left
    page.text(left, top - 0.07, "beyond the training: x at θ₂ = π/2", size=9, va="bottom")
    axes = page.axes(left, top, wide, SIDE)
    line = np.linspace(-2 * np.pi, 4 * np.pi, 400)
    angles = np.stack([line, np.full_like(line, CUT)], axis=1)
    axes.axvspan(0, 2 * np.pi, color="#eef0f3", linewidth=0)
    axes.plot(line, arm(angles)[:, 0], color=AGAINST, linewidth=1.3)
    axes.plot(line, network.hand(angles)[:, 0], color=FOR, linewidth=1.6)
    axes.axhline(0, color=RIM, linewidth=0.8)
    axes.set_xlim(line[0], line[-1])
    axes.set_xticks(np.arange(-2, 5, 2) * np.pi, ("−2π", "0", "2π", "4π"), fontsize=7, color=QUIET)
    axes.set_yticks((-2, 0, 2), ("−2", "0", "2"), fontsize=7, color=QUIET)
    axes.tick_params(length=0, pad=3)
    page.text(left + wide / 2, top + SIDE + 0.2, "θ₁", size=9, ha="center")
    note = "ground: dark where neither joint moves the hand along the axis"
    page.text(MARGIN + LABEL, top + SIDE + 0.36, note, size=7, colour=QUIET)
    for place, (words, colour) in enumerate((("formula", AGAINST), ("network", FOR), ("grey: trained on", INK))):
        page.text(left + 0.08, top + 0.08 + 0.16 * place, words, size=7.5, colour=colour)
    return page
