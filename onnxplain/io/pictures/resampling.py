"""Pictures resized, cropped and letterboxed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.io.pictures.placement import Placement
from onnxplain.io.pictures.preprocessing import INTERPOLATIONS, Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["resampled"]

Array = np.ndarray[Any, Any]


def resampled(picture: Image, preprocessing: Preprocessing, placement: Placement) -> Image:
    """A picture as the input sees it, in its own mode.

    Args:
        picture: of the mode L, RGB, RGBA or F.
        preprocessing: the filter, and what fills a border.
        placement: where it goes.
    """
    size = int(placement.width.resized), int(placement.height.resized)
    window = placement.width.extent, placement.height.extent
    start = int(placement.width.offset), int(placement.height.offset)
    if picture.size != size:
        picture = _resized(picture, preprocessing, size)
    if start == (0, 0) and size == window:
        return picture
    with optional("image", "pictures"):
        from PIL import Image

    fill = preprocessing.fill if len(picture.getbands()) == 1 else (preprocessing.fill,) * len(picture.getbands())
    made = Image.new(picture.mode, window, fill)
    made.paste(picture, start)
    return made


def _resized(picture: Image, preprocessing: Preprocessing, size: tuple[int, int]) -> Image:
    if preprocessing.antialias or preprocessing.interpolation != "bilinear":
        return picture.resize(size, INTERPOLATIONS.index(preprocessing.interpolation))
    with optional("image", "pictures"):
        from PIL import Image

    values = np.asarray(picture, np.float64)
    values = _between(_between(values, size[1], 0), size[0], 1)
    return Image.fromarray(values.astype(np.float32) if picture.mode == "F" else np.round(values).astype(np.uint8))


def _between(values: Array, count: int, axis: int) -> Array:
    """Linear interpolation between the two pixels that are nearest to the middle of each new one, along an axis."""
    extent = values.shape[axis]
    at = np.clip((np.arange(count) + 0.5) * (extent / count) - 0.5, 0, extent - 1)
    low = np.minimum(np.floor(at).astype(int), max(extent - 2, 0))
    part = (at - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return np.asarray(values.take(low, axis) * (1 - part) + values.take(np.minimum(low + 1, extent - 1), axis) * part)
