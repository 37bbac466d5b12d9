"""load_image: a picture as the array that a model takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.errors import InputError, nearest
from onnxplain.explain.explainer import Explainer
from onnxplain.io.images import picture_array, read_picture
from onnxplain.io.pictures.finding import PreprocessLike, preprocessing_of
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.reader import ModelLike
from onnxplain.runtime.inputs import model_inputs

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["load_image"]


def load_image(
    image: str | os.PathLike[str] | Image,
    model: ModelLike | Explainer,
    *,
    input: str | None = None,
    preprocess: PreprocessLike | None = None,
    scale: float | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    layout: str | None = None,
) -> np.ndarray[Any, Any]:
    """A picture as one sample of a model's input: resized as said, then (pixel · scale − mean) / std, its axes in order.

    Channels and layout follow from the input's shape. Pictures are rotated as their EXIF data says, and resized only by a
    `preprocess`: the one given here; else the Explainer's own, or, where no numbers are given here, what it finds.

    Args:
        image: a .png or .jpg file, or a picture of Pillow.
        model: the model, or an Explainer of it.
        input: the name of the input, if the model has several.
        preprocess: imagenet, clip, inception, yolo, unit or none; a JSON file, such as a preprocessor_config.json; or its fields.
        scale: the factor on pixel values 0..255, e.g. 1/255; None leaves them as they are.
        mean: subtracted next; one number, or one per channel.
        std: the divisor at the end; one number, or one per channel.
        layout: the order of the axes - NCHW, NHWC, NHW, CHW, HWC or HW - where the shape leaves it open.

    Returns:
        The sample, [1, …] in the input's type, float64 where that is of integers and pixels were scaled; without the sample axis
        if the layout has none.

    Raises:
        InputError: the picture cannot be read, has another size than the input and is not to be resized, or there is no such
            input or preprocessing.
        MissingDependencyError: Pillow is not installed.

    Example:
        >>> from onnxplain import Explainer, load_image
        >>> explainer = Explainer("fixtures/digits/model.onnx")
        >>> picture = load_image("fixtures/digits/digit_8.png", explainer, scale=1 / 255)
        >>> picture.shape, explainer(picture).target
        ((1, 1, 8, 8), array([8]))
    """
    tensors = model.inputs if isinstance(model, Explainer) else model_inputs(model)
    named = {t.name: t for t in tensors}
    if input is None and len(named) != 1:
        raise InputError(f"the model has {len(named)} inputs: say which one the picture is for, input={next(iter(named), '')!r}")
    if input is not None and input not in named:
        raise InputError(f"no input '{input}' in the model; {nearest(input, named)}")
    tensor = next(iter(named.values())) if input is None else named[input]
    silent = all(v is None for v in (mean, std, scale, layout))
    known = model.found_preprocessing(beside=silent) if preprocess is None and isinstance(model, Explainer) else preprocess
    start = Preprocessing() if known is None else preprocessing_of(known)
    look = start.with_numbers(_each(mean), _each(std), scale, layout)
    if isinstance(image, str | os.PathLike):
        if not Path(image).is_file():
            raise InputError(f"no file at {image}")
        return read_picture(Path(image), tensor, look)
    if not hasattr(image, "convert"):
        raise InputError(f"a picture is a path or an image of Pillow, not {type(image).__name__}")
    return picture_array(image, tensor, look, Path(getattr(image, "filename", "") or "picture.png"))


def _each(numbers: float | Sequence[float] | None) -> Sequence[float] | None:
    return [float(numbers)] if isinstance(numbers, int | float) else numbers
