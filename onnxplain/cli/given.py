"""What was given on the command line, judged before a long run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import click
import numpy as np

from onnxplain.errors import InputError
from onnxplain.explain.explainer import Explainer
from onnxplain.io.images import sized
from onnxplain.io.pictures.finding import preprocessing_of
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.pictures.walking import PICTURES, is_pattern
from onnxplain.io.samples import files_of
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.runtime.inputs import model_inputs

__all__ = ["check_features", "prepared_by", "raw_pixels_in_words", "sample_names", "wanted_input", "warn_of_raw_pixels"]

Array = np.ndarray[Any, Any]

LARGE = 16.0
"""Far more than inputs are that were brought to about -3..3 or 0..1 in training, far less than pixel values."""


def wanted_input(model: str) -> str:
    """What a model has to be given, in words."""
    tensors = model_inputs(model)
    named = ", ".join(f"'{t.name}' {named_dims(t)} of {t.dtype}" for t in tensors)
    files = " ".join(f"{t.name}={t.name}.npy" for t in tensors) if len(tensors) > 1 else "INPUT.npy"
    return f"no input was given; the model takes {named}: onnxplain explain {model} {files} (or .npz .csv .txt .png .jpg)"


def sample_names(files: Sequence[str], arrays: Mapping[str, Array]) -> tuple[str, ...]:
    """The names of the files, where each holds one sample of an input; none otherwise."""
    by_input: dict[str, list[str]] = {}
    for text in files:
        name, equals, path = text.partition("=")
        named = bool(equals) and name in arrays
        by_input.setdefault(name if named else "", []).append(path if named else text)
    paths = [str(p) for given in max(by_input.values(), key=len, default=[]) for p in files_of(given)]
    names = [Path(p).name for p in paths]
    return tuple(names if len(set(names)) == len(names) else paths)


def prepared_by(
    said: str | None,
    found: Callable[[], Preprocessing | None],
    files: Sequence[str],
    numbers: tuple[Any, Any, Any, Any],
    tensors: Sequence[Tensor] = (),
    slides: bool = False,
) -> Preprocessing:
    """How pictures become inputs: as was said; as is found, unless numbers say it; told on standard error.

    Args:
        said: a preset or a file; None where nothing was said.
        found: asks the model's metadata and the files beside it.
        files: what is explained.
        numbers: the values of --mean, --std, --scale and --layout.
        tensors: the model's inputs.
        slides: whether the model is moved over larger pictures, which are not resized then.

    Raises:
        InputError: there is no such preprocessing, it does not go with what is given, or what is found is wrong.
    """
    look = None if said is None else preprocessing_of(said)
    if slides and look is not None and (look.resize != "none" or look.crop):
        raise InputError(
            f"--slide moves the model over pictures of any size, and --preprocess {said} resizes them: give --scale, --mean and "
            "--std instead"
        )
    pictured = any(map(_names_pictures, files))
    if look is None and not slides and not any(n is not None for n in numbers) and pictured:
        look = found()
    if look is not None and look.name:
        known = look.with_numbers(*numbers)
        known = sized(known, tensors[0]) if len(tensors) == 1 and pictured else known
        click.echo(f"onnxplain: pictures by {known.in_words()}", err=True)
    return look or Preprocessing()


def _names_pictures(given: str) -> bool:
    path = given if Path(given).exists() or is_pattern(given) else given.rpartition("=")[2]
    return path.lower().endswith(PICTURES) or is_pattern(path) or Path(path).is_dir()


def check_features(names: Sequence[str], arrays: Mapping[str, Array]) -> None:
    """Check that there are as many names as elements of a sample, or as channels.

    Raises:
        InputError: there are more or fewer, or the model has several inputs, which have names of their own.
    """
    if len(arrays) != 1:
        raise InputError(
            f"--features names the elements of one input; the model has {len(arrays)}, which have names of their own"
        )
    ((name, values),) = arrays.items()
    if len(names) not in (prod(values.shape[1:]), *values.shape[1:2]):
        raise InputError(f"{len(names)} feature names for the {prod(values.shape[1:])} elements of '{name}' {list(values.shape)}")


def warn_of_raw_pixels(files: Sequence[str], explainer: Explainer, arrays: Mapping[str, Array], scale: float | None) -> None:
    """Say so where pixel values 0..255 enter a model whose own file does nothing to bring them into another range."""
    if scale is not None or not any(map(_names_pictures, files)):
        return
    for tensor in explainer.inputs:
        values = arrays.get(tensor.name)
        large = values is not None and tensor.is_float and np.abs(values).max(initial=0) > LARGE
        if values is not None and large and explainer.weighs_at_once(tensor.name):
            low, high = float(values.min()), float(values.max())
            click.echo(f"onnxplain: {raw_pixels_in_words(low, high, tensor.name)}", err=True)


def raw_pixels_in_words(low: float, high: float, name: str) -> str:
    """What is said of pixel values that a model weighs as they come in."""
    return (
        f"values from {low:.4g} to {high:.4g} enter '{name}', and the model weighs them at once: give "
        "--scale 1/255, --mean and --std as in training (--scale 1 if it was trained on pixel values)"
    )
