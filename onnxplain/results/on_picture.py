"""Attributions on the pixels of the pictures that inputs were made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.errors import InputError, LayerError
from onnxplain.io.pictures.placed import PlacedPicture
from onnxplain.results.explanation_data import ExplanationData

__all__ = ["carried", "is_map", "on_picture", "pictures_of"]

Array = np.ndarray[Any, Any]


def is_map(explanation: ExplanationData, name: str) -> bool:
    """Whether an attribution is a map over the positions of an input, computed at an inner layer."""
    entries = explanation.about.get("attributions", {}).values()
    return any(e["explains"] == name and e["kind"] == "map" for e in entries)


def pictures_of(explanation: ExplanationData, name: str) -> list[PlacedPicture]:
    """The pictures that an attribution lies on, one a sample; none where there are none.

    Args:
        explanation: the explanation.
        name: an input, or an inner tensor of a model with one input of pictures.
    """
    if name in explanation.pictures:
        return list(explanation.pictures[name])
    return [] if name in explanation.inputs or len(explanation.pictures) != 1 else list(next(iter(explanation.pictures.values())))


def on_picture(explanation: ExplanationData, sample: int, name: str | None, target: int | None) -> Array:
    """As `Explanation.on_picture`."""
    name, _ = explanation.of(name)
    pictures = pictures_of(explanation, name)
    if not pictures:
        raise InputError("no pictures were explained: give the Explainer preprocess= and pictures, explainer('photo.jpg')")
    values = explanation.samples_first(name)[sample]
    every = explanation.target is None and explanation.about.get("target") == "all"
    if every and target is None:
        raise InputError("all targets were explained: say which one is meant, target=0")
    return carried(explanation, name, values[target] if every else values, pictures[sample])


def carried(
    explanation: ExplanationData, name: str, values: Array, picture: PlacedPicture, size: tuple[int, int] | None = None
) -> Array:
    """One sample's attribution on the picture, [height, width].

    Args:
        explanation: the explanation.
        name: the attribution.
        values: of one sample: [h, w], or with channels as the input has them, [channels, h, w] or [h, w, channels].
        picture: the picture.
        size: height and width of the result; None for the picture's own.

    Raises:
        LayerError: it is no map over the picture.
    """
    layout = str(explanation.about.get("preprocess", {}).get(name, {}).get("layout", "NCHW")).replace("N", "")
    last = layout.endswith("C") and not is_map(explanation, name)
    if values.ndim not in (2, 3):
        raise LayerError(f"'{name}' {list(values.shape)} of one sample is no map over the picture")
    heat = values.astype(np.float64)
    heat = heat if heat.ndim == 2 else heat.sum(axis=-1 if last else 0)
    return picture.placement.carried(heat, size, densities=is_map(explanation, name))
