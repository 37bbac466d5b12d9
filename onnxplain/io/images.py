"""Images as input arrays. Channels and layout follow from the model's input; images are never resized."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Dim, Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["LAYOUTS", "PICTURES", "Look", "picture_array", "picture_layout", "read_picture"]

Array = np.ndarray[Any, Any]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""File endings of images."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""What images are opened as, by their content, whatever their names: no other decoder is started."""
MOST_PIXELS = 1 << 27
"""Pixels of the largest image that is decoded, 134 million."""
SIDEWAYS = (5, 6, 7, 8)
"""Values of the EXIF orientation that exchange height and width."""
LAYOUTS = ("NCHW", "NHWC", "NHW", "CHW", "HWC", "HW")
"""Orders of axes: N samples, C channels, H height, W width."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Look:
    """How pixel values become input values: (pixel · scale − mean) / std, in a layout.

    Attributes:
        mean: one number, or one per channel; None subtracts nothing.
        std: one number, or one per channel; None divides by nothing.
        scale: the factor that is applied first; None leaves the pixel values as they are.
        layout: one of `LAYOUTS`; None infers it from the input's shape.
    """

    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    scale: float | None = None
    layout: str | None = None

    @property
    def is_used(self) -> bool:
        """Whether any setting was given. Without one, raw pixel values are used."""
        return any(v is not None for v in (self.mean, self.std, self.scale, self.layout))


def picture_layout(tensor: Tensor, layout: str | None = None) -> str:
    """The order of the axes of an image input.

    Args:
        tensor: the model's input.
        layout: the order the user asked for; None infers it from the input's shape.

    Returns:
        One of `LAYOUTS`, or "" for flat rows of pixels ([n, h·w]).

    Raises:
        InputError: the shape does not determine the layout, or the layout is unknown or has a different number of axes.
    """
    shape = tensor.shape
    if layout is not None:
        chosen = layout.upper()
        if chosen not in LAYOUTS:
            raise InputError(f"unknown layout '{layout}'; known: {', '.join(LAYOUTS)}")
        if shape is not None and len(chosen) != len(shape):
            raise InputError(
                f"layout {chosen} has {len(chosen)} axes, input '{tensor.name}' {named_dims(tensor)} has {len(shape)}"
            )
        return chosen
    inferred = None if shape is None else _inferred(shape)
    if inferred is None:
        raise InputError(
            f"the shape {named_dims(tensor)} of input '{tensor.name}' does not say where the channels are; "
            "say --layout NCHW or NHWC"
        )
    return inferred


def _inferred(shape: tuple[Dim, ...]) -> str | None:
    """The layout that a shape implies; None if it is ambiguous."""
    channels = set(MODES)
    if len(shape) == 4:
        first, last = shape[1] in channels, shape[3] in channels
        if first and last and (shape[1] == 4) != (shape[3] == 4):  # 4 is more often a height than a transparency
            return "NHWC" if shape[1] == 4 else "NCHW"
        if first and last:
            return "NCHW" if shape[2] == shape[3] or shape[1] != shape[2] else None
        return "NCHW" if first else "NHWC" if last else None
    if len(shape) == 3:
        if isinstance(shape[0], int) and shape[0] in (3, 4):
            return "CHW"
        return "HWC" if isinstance(shape[0], int) and shape[2] in channels else "NHW"
    return "" if len(shape) == 2 else None


def read_picture(path: Path, tensor: Tensor, look: Look, content: IO[bytes] | None = None) -> Array:
    """Read an image as one sample of an input.

    Args:
        path: a file whose content is PNG, JPEG, WebP, BMP, TIFF or GIF.
        tensor: the model's input. Its shape determines the number of channels and the size the image must have.
        look: how pixel values become input values.
        content: the file's content where it lies within another file; the path then names it in errors.

    Returns:
        The sample, [1, …]; without the sample axis if the input's layout has none.

    Raises:
        InputError: the file is not an image, has a different size, has transparency that the model cannot take, or the settings
            do not fit.
        MissingDependencyError: Pillow is not installed.
    """
    with optional("image", "pictures"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    try:
        given = path if content is None else content
        layout = picture_layout(tensor, look.layout)
        extents = dict(zip(layout, tensor.shape or (), strict=False)) if layout else {}
        with warnings.catch_warnings(), Image.open(given, formats=FORMATS) as opened:
            warnings.simplefilter("ignore")  # sizes are checked here, and damage is an error below
            _check_header(opened, extents, tensor, path)
            return picture_array(ImageOps.exif_transpose(opened), tensor, look, path)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{path} has more than {MOST_PIXELS:,} pixels; make it smaller") from None
    except UnidentifiedImageError:
        raise InputError(f"cannot read {path} as a picture: its content is none of {', '.join(FORMATS)}") from None
    except Exception as error:  # decoders raise whatever they meet in damaged files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"cannot read {path} as a picture: {reason}") from error


def picture_array(picture: Image, tensor: Tensor, look: Look, path: Path) -> Array:
    """One sample of an input from a picture that Pillow opened.

    Args:
        picture: the picture.
        tensor: the model's input.
        look: how pixel values become input values.
        path: where the picture comes from, for messages.

    Returns:
        The sample, [1, …]; without the sample axis if the input's layout has none.

    Raises:
        InputError: as `read_picture`.
    """
    layout = picture_layout(tensor, look.layout)
    extents = dict(zip(layout, tensor.shape or (), strict=False)) if layout else {}
    wanted = extents.get("C", 1 if "C" not in layout else None)
    pixels = _pixels(picture, wanted if isinstance(wanted, int) else None, path, tensor)
    _check_size(pixels.shape[0], pixels.shape[1], extents, tensor, path)
    values = _normalised(pixels, look, path)
    if tensor.dtype is not None and tensor.is_float:
        values = values.astype(tensor.dtype)
    if not layout:
        return _row(values, tensor, path)
    if "C" not in layout:
        values = values[..., 0]
    elif layout.index("C") < layout.index("H"):
        values = np.moveaxis(values, -1, 0)
    return values[None] if "N" in layout else values


def _pixels(picture: Image, channels: int | None, path: Path, tensor: Tensor) -> Array:
    """Raw pixel values [h, w, c], converted between grey and colour to the number of channels the model takes."""
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 and 32 bits per pixel, which conversion would cut off
        if channels not in (None, 1):
            raise InputError(
                f"{path} has one channel of more than 8 bits, input '{tensor.name}' takes {channels}; convert it first"
            )
        return np.asarray(picture)[..., None]
    grey = picture.mode in ("1", "L", "LA")
    wanted = channels if channels is not None else 1 if grey else 3
    if wanted not in MODES:
        raise InputError(
            f"input '{tensor.name}' {named_dims(tensor)} takes {wanted} channels; pictures have 1, 3 or 4; use an array"
        )
    if picture.has_transparency_data and wanted != 4:
        seen = picture.convert("RGBA")
        if np.asarray(seen)[..., 3].min() < 255:
            raise InputError(f"{path} has transparent pixels, input '{tensor.name}' takes none; lay it on a background first")
        picture = seen
    array = np.asarray(picture.convert(MODES[wanted]))
    return array if array.ndim == 3 else array[..., None]


def _check_header(opened: Image, extents: dict[str, Dim], tensor: Tensor, path: Path) -> None:
    """What can be told of a picture before its pixels are decoded."""
    width, height = opened.size
    if opened.format in ("GIF", "TIFF", "WEBP") and getattr(opened, "n_frames", 1) > 1:
        raise InputError(f"{path} holds {opened.n_frames} pictures; save the one that is meant")  # type: ignore[attr-defined]
    if width * height > MOST_PIXELS:
        raise InputError(f"{path} is {height:,}×{width:,} pixels, more than {MOST_PIXELS:,} in all; make it smaller")
    if opened.getexif().get(0x0112) in SIDEWAYS:
        width, height = height, width
    _check_size(height, width, extents, tensor, path)


def _check_size(height: int, width: int, extents: dict[str, Dim], tensor: Tensor, path: Path) -> None:
    wanted = [extents.get("H"), extents.get("W")]
    if any(isinstance(w, int) and w != found for w, found in zip(wanted, (height, width), strict=True)):
        h, w = (e if isinstance(e, int) else f for e, f in zip(wanted, (height, width), strict=True))
        raise InputError(
            f"{path} is {height}×{width} pixels (height × width), input '{tensor.name}' {named_dims(tensor)} takes "
            f'{h}×{w}; resize it as in training, e.g. python -c "from PIL import Image; '
            f"Image.open('{path.name}').resize(({w}, {h})).save('resized.png')\""
        )


def _normalised(pixels: Array, look: Look, path: Path) -> Array:
    if look.scale is None and look.mean is None and look.std is None:
        return pixels
    channels = pixels.shape[-1]
    for name, numbers in (("mean", look.mean), ("std", look.std)):
        if numbers is not None and len(numbers) not in (1, channels):
            raise InputError(
                f"{len(numbers)} numbers as {name} for the {channels} channels of {path}; give one, or one per channel"
            )
    if look.std is not None and not np.all(np.asarray(look.std) > 0):
        raise InputError(f"std must be positive, not {', '.join(map(str, look.std))}")
    values = pixels.astype(np.float64) * (1.0 if look.scale is None else look.scale)
    values = values - (0.0 if look.mean is None else np.asarray(look.mean, np.float64))
    return np.asarray(values / (1.0 if look.std is None else np.asarray(look.std, np.float64)))


def _row(values: Array, tensor: Tensor, path: Path) -> Array:
    """An image for an input of flat rows: its pixels line by line, [1, h·w]."""
    size = tensor.shape[1] if tensor.shape else None
    if isinstance(size, int) and values.size != size:
        raise InputError(
            f"{path} holds {values.shape[0]}×{values.shape[1]}×{values.shape[2]} = {values.size} values, "
            f"input '{tensor.name}' {named_dims(tensor)} takes {size}"
        )
    return values.reshape(1, -1)
