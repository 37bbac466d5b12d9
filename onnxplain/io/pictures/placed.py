"""PlacedPicture: a picture that became an input, with its way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.io.pictures.placement import Placement

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["PlacedPicture"]

Array = np.ndarray[Any, Any]

MOST = 640
"""Pixels along the longer side of what is kept for drawing."""


@dataclass(frozen=True)
class PlacedPicture:
    """A picture as it was before it became an input.

    Attributes:
        name: the name of its file.
        placement: where it lies in the input.
        preview: the picture, reduced to at most 640 pixels a side, uint8 [h, w, 3] or, of grey, [h, w].
    """

    name: str
    placement: Placement
    preview: Array

    @classmethod
    def of(cls, picture: Image, name: str, placement: Placement) -> PlacedPicture:
        """Keep what is needed of a picture of the mode L, RGB, RGBA or F."""
        ratio = min(1.0, MOST / max(picture.size))
        width, height = (max(1, round(side * ratio)) for side in picture.size)
        small = picture if ratio == 1 else picture.resize((width, height), reducing_gap=2.0)
        if small.mode == "F":
            return cls(name, placement, np.round(np.clip(np.asarray(small), 0, 255)).astype(np.uint8))
        return cls(name, placement, np.asarray(small.convert("L" if small.mode == "L" else "RGB")))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.placement.height.original, self.placement.width.original

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON, without the pixels."""
        return {"name": self.name, **self.placement.to_dict()}

    @classmethod
    def of_dict(cls, given: Mapping[str, Any], preview: Array) -> PlacedPicture:
        """What `to_dict` gave, and the pixels."""
        return cls(str(given["name"]), Placement.from_dict(given), preview)
