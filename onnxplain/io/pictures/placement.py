"""Where a picture's pixels lie in the input that was made of it, and how attributions come back from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.pictures.preprocessing import Preprocessing

__all__ = ["MOST_PIXELS", "AxisPlacement", "Placement", "placement_of"]

Array = np.ndarray[Any, Any]
MOST_PIXELS = 1 << 27
"""Pixels of the largest picture that is decoded or made, 134 million."""
Size = tuple[int, int]


@dataclass(frozen=True)
class AxisPlacement:
    """One axis of a picture in the input: resized, then moved by an offset, and seen through the input's extent.

    Attributes:
        original: pixels of the picture.
        resized: pixels after resizing.
        offset: where the resized picture begins in the input: below zero of a crop, above of a letterbox.
        extent: pixels of the input.
    """

    original: int
    resized: float
    offset: float
    extent: int

    def edges(self, cells: int) -> Array:
        """Where the edges of the input's pixels - or of the cells of a coarser grid over it - lie in the picture, [cells + 1]."""
        return self.back(np.arange(cells + 1) * (self.extent / cells), self.original)

    def back(self, at: Array, pixels: int) -> Array:
        """Where places along the input lie in the picture, divided into so many pixels."""
        return np.asarray((at - self.offset) * (pixels / self.resized))

    def step(self, cells: int, pixels: int) -> float:
        """How many pixels of the picture, divided into so many, lie under a cell."""
        return self.extent / cells * (pixels / self.resized)

    def shares(self, cells: int, pixels: int) -> Array:
        """What part of every cell lies on every pixel, [pixels, cells]; the picture is divided into so many pixels."""
        edges = self.edges(cells) * (pixels / self.original)
        low, high = edges[:-1], edges[1:]
        here = np.arange(pixels)[:, None]
        overlap = np.minimum(high, here + 1) - np.maximum(low, here)
        return np.asarray(np.clip(overlap, 0, None) / (high - low))

    def values(self, cells: int, pixels: int) -> Array:
        """Weights of linear interpolation between the middles of cells, [pixels, cells]; zero for pixels outside the input."""
        edges = self.edges(cells) * (pixels / self.original)
        middles, here = (edges[:-1] + edges[1:]) / 2, np.arange(pixels) + 0.5
        between = np.clip(np.interp(here, middles, np.arange(cells)), 0, cells - 1)
        weights = np.clip(1 - np.abs(between[:, None] - np.arange(cells)), 0, None)
        return np.asarray(weights * ((here >= edges[0]) & (here <= edges[-1]))[:, None])


@dataclass(frozen=True)
class Placement:
    """A picture in the input that was made of it.

    Attributes:
        height: along its height.
        width: along its width.
    """

    height: AxisPlacement
    width: AxisPlacement

    def carried(self, attribution: Array, size: Size | None = None, *, densities: bool = False) -> Array:
        """An attribution on the input's pixels, carried back to the picture's.

        The attribution of an input pixel is divided among the picture's pixels under it by the area that each has of it. So sums
        are kept, but for what lies on a letterbox's border; and of a slope it is the chain rule through averaging over areas.

        Args:
            attribution: [..., h, w], on the input's pixels or on a coarser grid over them.
            size: height and width of the result, if the picture is drawn at another size than its own.
            densities: whether these are values at positions, as in a class activation map, which are interpolated instead.

        Returns:
            float64 [..., height, width]; zero where the input saw nothing of the picture.
        """
        rows, columns = size or (self.height.original, self.width.original)
        h, w = attribution.shape[-2:]
        kind = AxisPlacement.values if densities else AxisPlacement.shares
        return np.asarray(kind(self.height, h, rows) @ attribution.astype(np.float64) @ kind(self.width, w, columns).T)

    def drawn(self, attribution: Array, size: Size, *, densities: bool = False) -> Array:
        """As `carried`, for a drawing of another size: every place has the mean of what lies there, whatever the size is."""
        carried = self.carried(attribution, size, densities=densities)
        h, w = attribution.shape[-2:]
        return carried if densities else carried * self.height.step(h, size[0]) * self.width.step(w, size[1])

    def to_dict(self) -> dict[str, list[float]]:
        """Plain values: original, resized, offset and extent of each axis."""
        return {name: [a.original, a.resized, a.offset, a.extent] for name, a in (("height", self.height), ("width", self.width))}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Placement:
        """What `to_dict` gave."""
        return cls(AxisPlacement(*given["height"]), AxisPlacement(*given["width"]))


def placement_of(preprocessing: Preprocessing, original: Size, wanted: Size) -> Placement:
    """Where a picture goes.

    Args:
        preprocessing: what is done with it.
        original: its height and width.
        wanted: the input's height and width.

    Raises:
        InputError: the picture, or what it is resized to, is smaller than the crop.
    """
    resized = _resized(preprocessing, original, wanted)
    if resized[0] * resized[1] > MOST_PIXELS:
        raise InputError(
            f"{original[0]}×{original[1]} pixels (height × width) become {resized[0]:,}×{resized[1]:,}, more than "
            f"{MOST_PIXELS:,} in all: cut the picture first"
        )
    if preprocessing.crop and any(r < w for r, w in zip(resized, wanted, strict=True)):
        was = f"{original[0]}×{original[1]} pixels (height × width)"
        now = "" if resized == original else f", resized to {resized[0]}×{resized[1]},"
        raise InputError(
            f"{was}{now} is smaller than the crop of {wanted[0]}×{wanted[1]}: take a larger picture, or a preprocessing that "
            'resizes to the size first ("resize": "shortest")'
        )
    starts = [_start(preprocessing, r, w) for r, w in zip(resized, wanted, strict=True)]
    ends = wanted if preprocessing.crop or preprocessing.resize == "letterbox" else resized
    height, width = (AxisPlacement(*parts) for parts in zip(original, resized, starts, ends, strict=True))
    return Placement(height, width)


def _resized(p: Preprocessing, original: Size, wanted: Size) -> Size:
    """Height and width after resizing."""
    if p.resize == "none":
        return original
    larger = [floor(w / p.crop_ratio) for w in wanted]
    if p.resize == "stretch":
        return larger[0], larger[1]
    ratios = [w / o for w, o in zip(larger, original, strict=True)]
    if p.resize == "letterbox":
        return max(1, round(original[0] * min(ratios))), max(1, round(original[1] * min(ratios)))
    lead = ratios.index(max(ratios))  # the axis that is exactly covered; of squares the shorter side
    side = larger[lead] if p.shorter_side is None else p.shorter_side
    other = max(1, int(side * original[1 - lead] / original[lead]))
    return (side, other) if lead == 0 else (other, side)


def _start(p: Preprocessing, resized: int, wanted: int) -> int:
    if p.resize == "letterbox":
        return round((wanted - resized) / 2 - 0.1)  # a pixel left over goes to the far side, as Ultralytics has it
    if not p.crop:
        return 0
    spare = resized - wanted
    return -(spare // 2 if p.rounding == "down" else round(spare / 2))
