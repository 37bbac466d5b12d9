"""Images as input arrays. Channels and layout follow from the model's input; only a preprocessing resizes them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError
from onnxplain.io.pictures.placed import PlacedPicture
from onnxplain.io.pictures.placement import MOST_PIXELS, Placement, placement_of
from onnxplain.io.pictures.preprocessing import LAYOUTS, Preprocessing
from onnxplain.io.pictures.presets import PRESETS
from onnxplain.io.pictures.resampling import resampled
from onnxplain.io.pictures.walking import PICTURES
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Dim, Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "PICTURES",
    "PicturedSample",
    "picture_array",
    "picture_layout",
    "pictured_sample",
    "read_picture",
    "read_pictured",
    "sized",
]

Array = np.ndarray[Any, Any]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
"""What images are opened as, by their content, whatever their names: no other decoder is started."""
SIDEWAYS = (5, 6, 7, 8)
"""Values of the EXIF orientation that exchange height and width."""
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class PicturedSample(NamedTuple):
    """One sample of an input, and the picture that it was made of."""

    values: Array
    picture: Image
    placement: Placement
    name: str

    def placed(self) -> PlacedPicture:
        """What is kept of the picture."""
        return PlacedPicture.of(self.picture, self.name, self.placement)


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


def read_picture(path: Path, tensor: Tensor, look: Preprocessing, content: IO[bytes] | None = None) -> Array:
    """Read an image as one sample of an input.

    Args:
        path: a file whose content is PNG, JPEG, WebP, BMP, TIFF or GIF.
        tensor: the model's input. Its shape determines the number of channels and the size that comes out.
        look: how the picture becomes input values.
        content: the file's content where it lies within another file; the path then names it in errors.

    Returns:
        The sample, [1, …]; without the sample axis if the input's layout has none.

    Raises:
        InputError: the file is not an image, has a different size and is not to be resized, has transparency that the model
            cannot take, or the settings do not fit.
        MissingDependencyError: Pillow is not installed.
    """
    return read_pictured(path, tensor, look, content).values


def read_pictured(path: Path, tensor: Tensor, look: Preprocessing, content: IO[bytes] | None = None) -> PicturedSample:
    """As `read_picture`, with the picture that the sample was made of."""
    with optional("image", "pictures"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    try:
        given = path if content is None else content
        extents = _extents(tensor, look)
        with warnings.catch_warnings(), Image.open(given, formats=FORMATS) as opened:
            warnings.simplefilter("ignore")  # sizes are checked here, and damage is an error below
            _check_header(opened, extents, tensor, look, path)
            return pictured_sample(ImageOps.exif_transpose(opened), tensor, look, path)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{path} has more than {MOST_PIXELS:,} pixels; make it smaller") from None
    except UnidentifiedImageError:
        raise InputError(f"cannot read {path} as a picture: its content is none of {', '.join(FORMATS)}") from None
    except Exception as error:  # decoders raise whatever they meet in damaged files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"cannot read {path} as a picture: {reason}") from error


def picture_array(picture: Image, tensor: Tensor, look: Preprocessing, path: Path) -> Array:
    """One sample of an input from a picture that Pillow opened.

    Args:
        picture: the picture.
        tensor: the model's input.
        look: how the picture becomes input values.
        path: where the picture comes from, for messages.

    Returns:
        The sample, [1, …]; without the sample axis if the input's layout has none.

    Raises:
        InputError: as `read_picture`.
    """
    return pictured_sample(picture, tensor, look, path).values


def pictured_sample(picture: Image, tensor: Tensor, look: Preprocessing, path: Path) -> PicturedSample:
    """As `picture_array`, with the picture that the sample was made of."""
    layout = picture_layout(tensor, look.layout)
    extents = _extents(tensor, look)
    wanted = extents.get("C", 1 if "C" not in layout else None)
    ready = _in_channels(picture, wanted if isinstance(wanted, int) else None, path, tensor, look)
    size = (ready.height, ready.width)
    _check_size(*size, extents, tensor, look, path)
    placement = _placement(look, size, extents, path)
    array = np.asarray(resampled(ready, look, placement))
    pixels = array if array.ndim == 3 else array[..., None]
    if pixels.shape[-1] == 1 and isinstance(wanted, int) and wanted > 1:
        pixels = pixels.repeat(wanted, axis=-1)
    if look.channels == "BGR" and pixels.shape[-1] == 3:
        pixels = pixels[..., ::-1]
    values = _normalised(pixels, look, path)
    if tensor.dtype is not None and tensor.is_float:
        values = values.astype(tensor.dtype)
    return PicturedSample(_laid_out(values, layout, tensor, path), ready, placement, path.name)


def _laid_out(values: Array, layout: str, tensor: Tensor, path: Path) -> Array:
    """Values [h, w, c] in the order of the input's axes."""
    if not layout:
        return _row(values, tensor, path)
    if "C" not in layout:
        values = values[..., 0]
    elif layout.index("C") < layout.index("H"):
        values = np.moveaxis(values, -1, 0)
    return values[None] if "N" in layout else values


def _extents(tensor: Tensor, look: Preprocessing) -> dict[str, Dim]:
    """The extents of an input by the letters of its layout; height and width as a preprocessing has them where they are open.

    Raises:
        InputError: the preprocessing makes another size than the input has, or needs one and none is said.
    """
    layout = picture_layout(tensor, look.layout)
    extents = dict(zip(layout, tensor.shape or (), strict=False)) if layout else {}
    if look.resize == "none" and not look.crop:
        return extents
    if not layout:
        raise InputError(
            f"input '{tensor.name}' {named_dims(tensor)} takes rows of pixels, whose height and width nothing tells; resize "
            "pictures yourself"
        )
    made = look.size or look.usual_size or (None, None)
    for axis, extent in zip("HW", made, strict=True):
        known = extents[axis]
        if not isinstance(known, int) and extent is None:
            raise InputError(
                f"input '{tensor.name}' {named_dims(tensor)} leaves height and width open, and "
                f'{look.name or "the preprocessing"} names no size: write a JSON file with "size": [height, width]'
            )
        if isinstance(known, int) and look.size is not None and known != extent:
            raise InputError(
                f"{look.name or 'the preprocessing'} makes {look.size[0]}×{look.size[1]} (height × width), input '{tensor.name}' "
                f"{named_dims(tensor)} takes another size; choose a preset, or correct its size"
            )
        extents[axis] = known if isinstance(known, int) else extent
    return extents


def sized(look: Preprocessing, tensor: Tensor) -> Preprocessing:
    """A preprocessing with the size that it makes for an input.

    Raises:
        InputError: it makes another size than the input has, or needs one and none is said.
    """
    if look.resize == "none" and not look.crop:
        return look
    extents = _extents(tensor, look)
    height, width = extents["H"], extents["W"]
    return replace(look, size=(height, width)) if isinstance(height, int) and isinstance(width, int) else look


def _placement(look: Preprocessing, size: tuple[int, int], extents: dict[str, Dim], path: Path) -> Placement:
    height, width = (e if isinstance(e, int) else s for e, s in zip((extents.get("H"), extents.get("W")), size, strict=True))
    try:
        return placement_of(look, size, (height, width))
    except InputError as error:
        raise InputError(f"{path} is {error}" if "is smaller" not in str(error) else f"{path}: {error}") from None


def _in_channels(picture: Image, channels: int | None, path: Path, tensor: Tensor, look: Preprocessing) -> Image:
    """A picture in the mode that the model's channels ask for, converted between grey and colour; of more than 8 bits in grey."""
    if picture.mode.startswith("I") or picture.mode == "F":  # 16 and 32 bits per pixel, which conversion would cut off
        return _deep(picture, channels, path, tensor, look)
    grey = picture.mode in ("1", "L", "LA")
    wanted = channels if channels is not None else 1 if grey else 3
    if wanted not in MODES:
        raise InputError(
            f"input '{tensor.name}' {named_dims(tensor)} takes {wanted} channels; pictures have 1, 3 or 4; use an array"
        )
    if picture.has_transparency_data and wanted != 4:
        picture = _on_ground(picture.convert("RGBA"), path, tensor, look)
    return picture.convert(MODES[wanted])


def _on_ground(seen: Image, path: Path, tensor: Tensor, look: Preprocessing) -> Image:
    """A picture with transparency on a background."""
    if np.asarray(seen)[..., 3].min() == 255:
        return seen
    if look.background is None:
        raise InputError(
            f"{path} has transparent pixels, input '{tensor.name}' takes none; lay it on a background first, or say "
            '"background": [255, 255, 255] in a preprocessing file'
        )
    with optional("image", "pictures"):
        from PIL import Image

    return Image.alpha_composite(Image.new("RGBA", seen.size, (*look.background, 255)), seen)


def _deep(picture: Image, channels: int | None, path: Path, tensor: Tensor, look: Preprocessing) -> Image:
    """A grey picture of 16 or 32 bits; of 16, with a preprocessing, its values are brought to 0..255."""
    if not look.name:
        if channels not in (None, 1):
            raise InputError(
                f"{path} has one channel of more than 8 bits, input '{tensor.name}' takes {channels}; convert it first"
            )
        return picture
    with optional("image", "pictures"):
        from PIL import Image

    values = np.asarray(picture)
    if picture.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
        raise InputError(f"{path} holds values of 32 bits, whose range nothing tells; convert it to 8 or 16 bits first")
    return Image.fromarray((values / 257).astype(np.float32))


def _check_header(opened: Image, extents: dict[str, Dim], tensor: Tensor, look: Preprocessing, path: Path) -> None:
    """What can be told of a picture before its pixels are decoded."""
    width, height = opened.size
    if opened.format in ("GIF", "TIFF", "WEBP") and getattr(opened, "n_frames", 1) > 1:
        raise InputError(f"{path} holds {opened.n_frames} pictures; save the one that is meant")  # type: ignore[attr-defined]
    if width * height > MOST_PIXELS:
        raise InputError(f"{path} is {height:,}×{width:,} pixels, more than {MOST_PIXELS:,} in all; make it smaller")
    if opened.getexif().get(0x0112) in SIDEWAYS:
        width, height = height, width
    _check_size(height, width, extents, tensor, look, path)


def _check_size(height: int, width: int, extents: dict[str, Dim], tensor: Tensor, look: Preprocessing, path: Path) -> None:
    """Refuse a picture that has another size than the input, where nothing resizes it."""
    if look.resize != "none" or look.crop:
        return
    wanted = [extents.get("H"), extents.get("W")]
    if any(isinstance(w, int) and w != found for w, found in zip(wanted, (height, width), strict=True)):
        h, w = (e if isinstance(e, int) else f for e, f in zip(wanted, (height, width), strict=True))
        raise InputError(
            f"{path} is {height}×{width} pixels (height × width), input '{tensor.name}' {named_dims(tensor)} takes "
            f"{h}×{w}; say how pictures are prepared for it (--preprocess, preprocess=): {', '.join(PRESETS)}, or a JSON file"
        )


def _normalised(pixels: Array, look: Preprocessing, path: Path) -> Array:
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
