"""Colours and number formats of figures and pages. Zero is white or transparent, positive is red, negative is blue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = [
    "AGAINST",
    "CLIP",
    "FOR",
    "INK",
    "QUIET",
    "RIM",
    "STRENGTH",
    "blocks",
    "colours",
    "edges",
    "enlarged",
    "percent",
    "plain",
    "rim",
    "shaded",
    "short",
    "to_picture",
    "veil",
]  # fmt: skip

Array = np.ndarray[Any, Any]

INK, QUIET, RIM = "#1d2129", "#6b7280", "#d5d9e0"
"""Colours of text, secondary text and frames."""
FOR, AGAINST, STRENGTH = "#c8402a", "#2867b2", "#6d4aa2"
"""Colours of bars and words: for the target, against it, and strength without a sign."""

# From zero on: lightness falls evenly, and red and blue differ for all kinds of colour vision and in print.
_STOPS = {
    "for": ((255, 255, 255), (252, 216, 196), (240, 150, 112), (203, 66, 43), (122, 16, 28)),
    "against": ((255, 255, 255), (208, 225, 242), (125, 174, 219), (43, 107, 181), (12, 48, 104)),
    "strength": ((255, 255, 255), (228, 220, 240), (182, 163, 214), (115, 80, 168), (58, 20, 99)),
}
# For pages, where zero lets a light or a dark paper through.
_VEILS = {"for": (214, 66, 40), "against": (40, 112, 200), "strength": (124, 84, 184)}
_BAD = (190, 190, 190)


CLIP = 99.5
"""The percentile of sizes that has the strongest colour, so that single outliers do not dim the rest."""


def rim(values: Array, clip: float = CLIP) -> float:
    """The value with the strongest colour: a percentile of absolute values.

    Returns:
        0 if all values are zero.
    """
    sizes = np.abs(values[np.isfinite(values)])
    if sizes.size == 0 or not sizes.max() > 0:
        return 0.0
    return float(np.percentile(sizes, clip)) or float(sizes.max())


def _signs(values: Array, signed: bool) -> list[tuple[str, Array]]:
    return [("for", values >= 0), ("against", values < 0)] if signed else [("strength", np.ones(values.shape, bool))]


def colours(values: Array, scale: float, signed: bool, cmap: str | None = None) -> Array:
    """Attributions [...] as colours on white, or of a colour map of matplotlib, uint8 [..., 3]. What is not finite is grey."""
    finite = np.isfinite(values)
    if cmap is not None:
        from matplotlib import colormaps

        share = np.where(finite, values, 0) / (scale or 1.0)
        mapped = 255 * colormaps[cmap](np.clip((share + 1) / 2 if signed else np.abs(share), 0, 1))[..., :3]
        return np.round(np.where(finite[..., None], mapped, _BAD)).astype(np.uint8)
    size = np.clip(np.abs(np.where(finite, values, 0)) / (scale or 1.0), 0, 1)
    result = np.zeros((*values.shape, 3))
    for name, where in _signs(np.where(finite, values, 0), signed):
        stops = np.array(_STOPS[name])
        for channel in range(3):
            ramp = np.interp(size, np.linspace(0, 1, len(stops)), stops[:, channel])
            result[..., channel] = np.where(where, ramp, result[..., channel])
    result[~finite] = _BAD
    return np.round(result).astype(np.uint8)


def veil(values: Array, scale: float, signed: bool) -> Array:
    """Attributions [...] as colours whose opacity is their strength, uint8 [..., 4]."""
    finite = np.isfinite(values)
    size = np.clip(np.abs(np.where(finite, values, 0)) / (scale or 1.0), 0, 1)
    result = np.zeros((*values.shape, 4))
    for name, where in _signs(np.where(finite, values, 0), signed):
        result[where, :3] = _VEILS[name]
    result[..., 3] = 255 * size**0.8
    result[~finite] = (*_BAD, 255)
    return np.round(result).astype(np.uint8)


def edges(picture: Array) -> Array | None:
    """The strength of the image's edges, 0..1 [h, w], drawn for orientation under a heat map; None for images under 32 pixels."""
    grey = picture.mean(axis=-1) if picture.ndim == 3 else picture
    if min(grey.shape) < 32:
        return None
    soft = (grey + np.roll(grey, 1, 0) + np.roll(grey, 1, 1) + np.roll(grey, (1, 1), (0, 1))) / 4
    down, right = np.gradient(soft)
    size = np.hypot(down, right)
    size[:2], size[:, :2] = 0, 0  # there the rolled picture meets its other side
    low, top = (float(q) for q in np.percentile(size, (60, 99)))
    return np.clip((size - low) / (top - low), 0, 1) if top > low else None


def to_picture(heat: Array, shape: tuple[int, ...]) -> Array:
    """Enlarge the map of an inner layer to the size of the image by repeating its elements: [h, w]."""
    if heat.shape == shape[:2]:
        return heat
    rows = np.arange(shape[0]) * heat.shape[0] // shape[0]
    columns = np.arange(shape[1]) * heat.shape[1] // shape[1]
    return np.asarray(heat[np.ix_(rows, columns)])


def enlarged(values: Array, sizes: Sequence[int]) -> Array:
    """Resize the last axes by linear interpolation between the centres of the elements."""
    for axis, size in enumerate(sizes, start=values.ndim - len(sizes)):
        have = values.shape[axis]
        if have != size:
            at = np.clip((np.arange(size) + 0.5) * have / size - 0.5, 0, have - 1)
            low = np.minimum(at.astype(int), max(have - 2, 0))
            share = np.expand_dims(at - low, [i for i in range(values.ndim) if i != axis])
            high = np.minimum(low + 1, have - 1)
            values = values.take(low, axis) * (1 - share) + values.take(high, axis) * share
    return values


def shaded(pixels: Array, picture: Array) -> Array:
    """Draw colours [h, w, 3] in 0..1 on a light grey print of the image."""
    grey = picture.mean(axis=-1) if picture.ndim == 3 else picture
    return np.asarray(pixels * (0.6 + 0.4 * grey[..., None]))


def blocks(array: Array, most: int) -> Array:
    """Reduce an image [h, w, ...] to at most `most` pixels per side by averaging blocks."""
    factor = -(-max(array.shape[:2]) // most)
    if factor <= 1:
        return array
    height, width = (s // factor * factor for s in array.shape[:2])
    cut = array[:height, :width].reshape(height // factor, factor, width // factor, factor, *array.shape[2:])
    return np.asarray(cut.mean(axis=(1, 3)))


def short(value: float) -> str:
    """A number with three significant digits and a true minus sign."""
    if not np.isfinite(value):
        return "∞" if value == np.inf else "−∞" if value == -np.inf else "not a number"
    size = abs(value)
    if size == 0:
        return "0"
    if 1e-3 <= size < 1e5:
        digits = max(0, 2 - int(np.floor(np.log10(size))))
        text = f"{size:,.{digits}f}".replace(",", " ")
    else:
        mantissa, exponent = f"{size:.1e}".split("e")
        text = f"{mantissa}e{int(exponent)}".replace("-", "−")
    return ("−" if value < 0 else "") + text


def plain(value: float) -> str:
    """A number as people write it: whole ones in full, others with four significant digits, long ones with powers of ten."""
    size = abs(value)
    if size < 1e9 and value == np.round(value):
        text = f"{size:,.0f}".replace(",", " ")
    elif 1e-4 <= size < 1e6:
        text = f"{size:,.{max(0, 3 - int(np.floor(np.log10(size))))}f}".replace(",", " ")
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        text = f"{size:.4g}".replace("-", "−")
    return ("−" if value < 0 else "") + text


def percent(probability: float) -> str:
    """A probability in percent that is never rounded to 0 or 100."""
    if probability > 0.9995 and probability < 1:
        return "> 99.9 %"
    if 0 < probability < 0.0005:
        return "< 0.1 %"
    return "100 %" if probability == 1 else f"{100 * probability:.1f} %"
