"""Images: the image itself, then one heat map per method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.results.found import FoundBox, found_boxes
from onnxplain.results.plot.heat_style import HeatStyle
from onnxplain.results.plot.page import Page, gutter_of
from onnxplain.results.plot.style import QUIET, colours, edges, rim, shaded, short, to_picture
from onnxplain.results.plot.views import PlotColumn, PlotView, picture_of, pooled_map
from onnxplain.results.prediction import Prediction

__all__ = ["USUAL", "ImageBlock", "heat_picture", "scale_text"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = np.ndarray[Any, Any]

BOX = "#0a7d55"
"""The colour of a box that is explained; green is in neither scale of heat maps."""

USUAL = HeatStyle()


class ImageBlock:
    """Images, one row per sample and one column per method. Sizes are in inches."""

    def __init__(
        self, view: PlotView, columns: Sequence[PlotColumn], samples: Sequence[int], predictions: Sequence[Prediction],
        style: HeatStyle = USUAL,
    ) -> None:  # fmt: skip
        self.view, self.columns, self.samples, self.predictions, self.style = view, columns, samples, predictions, style
        height, width = (
            picture_of(view.values[0]).shape[:2] if view.values is not None else pooled_map(view.attributions[0][0]).shape
        )
        small = max(height, width) <= 16
        wide = (1.2 if small else 1.9) if len(columns) > 3 else (1.5 if small else 2.5)
        ratio = min(max(height / width, 0.4), 1.6)
        self.cell = (wide, wide * ratio)
        self.gap, self.foot = 0.14, 0.26
        self.gutter = gutter_of([predictions[s] for s in samples], [c.target(s) for s in samples for c in columns])
        self.panels = len(columns) + (view.values is not None)
        self.head = 0.22 * max(1, max(-(-len(c.heading) * 0.066 // wide) for c in columns))
        self.width = self.gutter + self.panels * (wide + self.gap) - self.gap
        self.height = self.head + len(samples) * (self.cell[1] + self.foot) - 0.04

    def draw(self, page: Page, left: float, top: float) -> None:
        """Draw at a place."""
        wide, high = self.cell
        places = [left + self.gutter + i * (wide + self.gap) for i in range(self.panels)]
        headings = [*(["input"] if self.view.values is not None else []), *(c.heading for c in self.columns)]
        page.headings(headings, places, top + self.head - 0.07, wide)
        page.left_heading(left, top + self.head - 0.07)
        for row, sample in enumerate(self.samples):
            y = top + self.head + row * (high + self.foot)
            self._row(page, sample, left, y, places)

    def _row(self, page: Page, sample: int, left: float, top: float, places: list[float]) -> None:
        wide, high = self.cell
        targets = {c.target(sample) for c in self.columns}
        page.prediction(
            left,
            top + high / 2,
            self.gutter - 0.12,
            self.predictions[sample],
            next(iter(targets)) if len(targets) == 1 else None,
        )
        picture = None
        if self.view.values is not None:
            picture = picture_of(self.view.values[sample])
            axes = page.axes(places[0], top, wide, high)
            page.image(axes, picture)
            draw_boxes(axes, found_boxes(self.columns[0].explanation, sample), picture.shape, named=True)
        maps = self.view.maps or (False,) * len(self.columns)
        for column, attributions, place, is_map in zip(
            self.columns, self.view.attributions, places[len(places) - len(self.columns) :], maps, strict=True
        ):
            heat = pooled_map(attributions[sample])
            scale = rim(heat, self.style.clip)
            pixels = heat_picture(heat, scale, column.signed, picture, printed=is_map, style=self.style)
            axes = page.axes(place, top, wide, high)
            page.image(axes, pixels)
            draw_boxes(axes, [b for b in found_boxes(column.explanation, sample) if b.explained], pixels.shape)
            page.text(
                place + wide,
                top + high + 0.04,
                scale_text(heat, scale, column.signed),
                size=6.2,
                colour=QUIET,
                ha="right",
            )
            if len(targets) > 1 and "→" not in column.heading:
                page.text(place, top + high + 0.04, f"for {column.target(sample)}", size=6.2, colour=QUIET)


def draw_boxes(axes: Axes, boxes: Sequence[FoundBox], shape: tuple[int, ...], *, named: bool = False) -> None:
    """Draw detections on a picture of height and width `shape`: what is explained strongly, with names where wanted."""
    from matplotlib.patches import Rectangle

    high, wide = shape[:2]
    for box in boxes:
        left, top, right, bottom = (
            min(max(v, -0.5), end - 0.5) for v, end in zip((c - 0.5 for c in box.corners), (wide, high, wide, high), strict=True)
        )
        colour = BOX if box.explained else QUIET
        axes.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="white", linewidth=2.6, alpha=0.7)
        )
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=colour, linewidth=1.1))
        if named:
            below = top < 0.08 * high
            name = f" {box.number} {box.name} {box.score:.2f} ".replace("$", r"\$")
            leftwards = left > 0.7 * wide
            axes.text(right if leftwards else left, bottom if below else top, name, fontsize=4.6,
                      color="white", va="top" if below else "bottom", ha="right" if leftwards else "left", clip_on=True,
                      bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6})  # fmt: skip


def heat_picture(
    heat: Array, scale: float, signed: bool, picture: Array | None, *, printed: bool = False, style: HeatStyle = USUAL
) -> Array:
    """A heat map in colour, [h, w, 3], on top of the image.

    Args:
        heat: the attributions, [h, w].
        scale: the value with the strongest colour.
        signed: whether signs have colours of their own.
        picture: the image; its edges are drawn for orientation. None leaves them out.
        printed: whether to draw the image itself in light grey, for maps that are coarser than its edges.
        style: colours, and what of the image is drawn.
    """
    shape = heat.shape if picture is None else picture.shape
    pixels: Array = colours(to_picture(heat, shape), scale, signed, style.cmap).astype(np.float64) / 255
    if picture is None or style.overlay == "none":
        return pixels
    if style.overlay == "picture":
        grey = picture.mean(axis=-1) if picture.ndim == 3 else picture
        return np.asarray(style.alpha * pixels + (1 - style.alpha) * grey[..., None])
    if printed:
        return shaded(pixels, picture)
    lines = edges(picture)
    if lines is not None:
        pixels = pixels * (1 - 0.42 * lines[..., None])
    return pixels


def scale_text(heat: Array, scale: float, signed: bool) -> str:
    """The meaning of the ends of the colour scale."""
    broken = int((~np.isfinite(heat)).sum())
    if broken:
        return f"{broken} not finite (grey)"
    if scale == 0:
        return "all zero"
    return f"±{short(scale)}" if signed else f"0 … {short(scale)}"
