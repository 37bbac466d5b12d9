"""PictureFront: photographs - files, folders, pictures of Pillow - brought to a model that takes pixels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.images import picture_layout, pictured_sample, read_pictured, sized
from onnxplain.io.pictures.finding import PreprocessLike, find_preprocessing, preprocessing_of
from onnxplain.io.pictures.placed import PlacedPicture
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.pictures.presets import PRESETS
from onnxplain.io.pictures.walking import PICTURES, is_pattern, pictures_in
from onnxplain.io.reader import Source
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.inputs import model_inputs

__all__ = ["PictureFront", "PictureSettings", "holds_pictures", "no_preprocessing", "pictured"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class PictureSettings:
    """What an Explainer was told of preprocessing, and where it finds what it was not told.

    Attributes:
        given: the preprocessing that the user said.
        metadata: the entries of the model's metadata.
        folder: where the model lies.
        reference: the picture whose embedding others are compared with, if it is one.
    """

    given: Preprocessing | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    reference: PlacedPicture | None = None

    @classmethod
    def of(cls, source: Source, preprocess: PreprocessLike | None) -> PictureSettings:
        """The settings for a model that was read.

        Raises:
            InputError: there is no such preprocessing.
        """
        metadata = {entry.key: entry.value for entry in source.model.metadata_props}
        return cls(None if preprocess is None else preprocessing_of(preprocess), metadata, source.folder)

    def preprocessing(self) -> Preprocessing | None:
        """What was said, else what the model's file or its folder tells; None where nothing does.

        Raises:
            InputError: what is found is wrong.
        """
        return self.given if self.given is not None else find_preprocessing(self.metadata, self.folder)

    def with_reference(self, source: Source, given: Any) -> tuple[PictureSettings, Any]:
        """The settings with a picture as the reference, and the reference as inputs of the model.

        Args:
            source: the model.
            given: one picture, or a dict with one for an input; anything else stays what it is.

        Raises:
            InputError: nothing says how a picture becomes an input, or it does not fit.
        """
        if not holds_pictures(given):
            return self, given
        look = self.preprocessing()
        if look is None:
            raise InputError(no_preprocessing(given))
        inputs, pictures = PictureFront(model_inputs(source.model), {}, look).read(given)
        return replace(self, reference=next(iter(pictures.values()))[0]), inputs


def holds_pictures(given: Any) -> bool:
    """Whether something names or holds pictures: files, a folder, a pattern, pictures of Pillow, or a list of these."""
    if isinstance(given, list | tuple):
        return len(given) > 0 and all(holds_pictures(g) for g in given)
    if isinstance(given, Mapping):
        return any(holds_pictures(value) for value in given.values())
    if isinstance(given, str):
        ends = given.lower().endswith(PICTURES)
        return is_pattern(given) or (ends and (not any(c.isspace() for c in given) or Path(given).is_file()))
    if isinstance(given, os.PathLike):
        path = Path(given)
        return path.is_dir() or path.suffix.lower() in PICTURES or is_pattern(str(path))
    return hasattr(given, "convert") and hasattr(given, "getbands")


@dataclass(frozen=True)
class PictureFront:
    """Brings pictures to a model.

    Attributes:
        inputs: the model's inputs.
        axes: the axis of each that counts samples, by name; None where none does.
        preprocessing: how pixels become values.
    """

    inputs: Sequence[Tensor]
    axes: Mapping[str, int | None]
    preprocessing: Preprocessing

    def read(self, given: Any) -> tuple[dict[str, Any], dict[str, list[PlacedPicture]]]:
        """The inputs of the model for pictures.

        Args:
            given: pictures, or a dict with them for some inputs and arrays for others.

        Returns:
            Arrays by input, and the pictures of those that were made of them.

        Raises:
            InputError: a picture cannot be read or does not fit, or it is not said which input it is for.
        """
        known = {t.name: t for t in self.inputs}
        if not isinstance(given, Mapping):
            if len(known) != 1:
                raise InputError(f"the model has {len(known)} inputs ({', '.join(known)}): say which one pictures are for, "
                                 f"{{{next(iter(known), '')!r}: pictures}}")  # fmt: skip
            given = {next(iter(known)): given}
        made: dict[str, Any] = {}
        seen: dict[str, list[PlacedPicture]] = {}
        for name, value in given.items():
            if name in known and holds_pictures(value):
                made[name], seen[name] = self._batch(value, known[name])
            else:
                made[name] = value
        return made, seen

    def _batch(self, given: Any, tensor: Tensor) -> tuple[Array, list[PlacedPicture]]:
        read = [self._one(each, tensor) for each in listed(given)]
        samples, pictures = [values for values, _ in read], [picture for _, picture in read]
        if len({s.shape for s in samples}) > 1:
            shapes = ", ".join(str(list(s)) for s in sorted({s.shape for s in samples}))
            raise InputError(f"pictures of different shapes are no batch: {shapes}; say a preprocessing with a size")
        if len(samples) == 1:
            return samples[0], pictures
        axis = self.axes.get(tensor.name)
        if axis is None:
            raise InputError(f"{len(samples)} pictures for input '{tensor.name}' {named_dims(tensor)}, which takes one sample")
        return np.concatenate(samples, axis), pictures

    def _one(self, given: Any, tensor: Tensor) -> tuple[Array, PlacedPicture]:
        if isinstance(given, str | os.PathLike):
            path = Path(given)
            if not path.is_file():
                raise InputError(f"no file at {path}")
            made = read_pictured(path, tensor, self.preprocessing)
        else:
            made = pictured_sample(given, tensor, self.preprocessing, Path(getattr(given, "filename", "") or "picture"))
        return made.values, made.placed()


def no_preprocessing(given: Any) -> str:
    """What to say where a picture is given and nothing tells how it becomes an input."""
    first = next(iter(given.values())) if isinstance(given, Mapping) else given
    first = first[0] if isinstance(first, list | tuple) else first
    if not isinstance(first, str | os.PathLike):
        return (
            "a picture is given, and nothing says how it becomes an input: say preprocess= (--preprocess) "
            f"{', '.join(PRESETS)} or a JSON file, or give onnxplain.load_image(picture, model)"
        )
    return (
        f"'{first}' names a file; read a file first, by numpy.load or onnxplain.load_image, or say preprocess= (--preprocess) "
        f"{', '.join(PRESETS)} or a JSON file"
    )


def listed(given: Any) -> list[Any]:
    """Pictures one by one; folders and patterns by the pictures in them."""
    if isinstance(given, list | tuple):
        return [one for each in given for one in listed(each)]
    if isinstance(given, str | os.PathLike) and (Path(given).is_dir() or is_pattern(str(given))):
        return list(pictures_in(str(given)))
    return [given]


def pictured(
    made: Explanation, pictures: Mapping[str, Sequence[PlacedPicture]], preprocessing: Preprocessing, inputs: Sequence[Tensor]
) -> Explanation:
    """An explanation that knows the pictures it is of, and how they became inputs.

    Args:
        made: the explanation.
        pictures: the pictures of every input that was made of pictures, one a sample.
        preprocessing: how.
        inputs: the model's inputs.
    """
    fitting = {name: list(found) for name, found in pictures.items() if len(found) == len(made)}
    if not fitting or not preprocessing.name:
        return made
    layouts = {t.name: picture_layout(t, preprocessing.layout) for t in inputs if t.name in fitting}
    looks = {t.name: sized(preprocessing, t) for t in inputs if t.name in fitting}
    told = {name: {**looks[name].to_dict(), "layout": layout} for name, layout in layouts.items()}
    names = [p.name for p in next(iter(fitting.values()))]
    named = made.sample_names or (names if len(set(names)) == len(names) else ())
    return replace(made, pictures=fitting, sample_names=tuple(named), about={**made.about, "preprocess": told})
