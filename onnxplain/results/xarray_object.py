"""Explanations as xarray data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.io.metadata import sample_axis_in
from onnxplain.results.explanation_data import ExplanationData

if TYPE_CHECKING:
    import xarray

__all__ = ["to_xarray_object"]

Array = np.ndarray[Any, Any]


def to_xarray_object(explanation: ExplanationData) -> xarray.Dataset:
    """See `Explanation.to_xarray`."""
    with optional("xarray", "data sets with named axes"):
        import xarray
    made: dict[str, tuple[tuple[str, ...], Array]] = {}
    every = explanation.target is None and explanation.about.get("target") == "all"
    for name, values in explanation.attributions.items():
        axis, fed = explanation.sample_axis(name), explanation.inputs.get(name)
        targets = None if not every else 0 if axis is None else axis + 1
        own = tuple(extent for place, extent in enumerate(values.shape) if place != targets)
        # maps have fewer places than the input that they lie on
        prefix = name if fed is None or own[: fed.ndim] == fed.shape else f"{name}_attribution"
        made[f"{name}_attribution"] = (_axes(prefix, values.ndim, axis, targets), values)
    for named in (explanation.outputs, explanation.inputs):
        for name, values in named.items():
            if isinstance(values, np.ndarray) and name not in made:
                made[name] = (_axes(name, values.ndim, sample_axis_in(explanation.about, name)), values)
    if explanation.target is not None and explanation.about.get("batched", True):
        made["target"] = (("sample",), explanation.target)
    coordinates = _coordinates(explanation, made)
    about = {k: v if isinstance(v, str | int | float) else json.dumps(v, default=str) for k, v in explanation.about.items()}
    return xarray.Dataset(made, coordinates, {k: v for k, v in about.items() if not isinstance(v, bool)})


def _axes(name: str, rank: int, samples: int | None, targets: int | None = None) -> tuple[str, ...]:
    """Names of the axes: "sample", "target" behind it where every target was explained, and the tensor's own by number."""
    named: list[str] = []
    own = 0
    for axis in range(rank):
        if axis == samples:
            named.append("sample")
        elif axis == targets:
            named.append("target_class")
        else:
            own += 1
            named.append(f"{name}_{own}")
    return tuple(named)


def _coordinates(explanation: ExplanationData, made: Mapping[str, tuple[tuple[str, ...], Array]]) -> dict[str, Any]:
    """Names of samples, classes and features, along the axes that they fit."""
    extents = {axis: extent for axes, values in made.values() for axis, extent in zip(axes, values.shape, strict=True)}
    name = next(iter(explanation.attributions))
    wanted = {
        "sample": explanation.sample_names,
        "target_class": explanation.labels,
        f"{name}_1": explanation.features,
        f"{explanation.about.get('output')}_1": explanation.labels,
    }
    return {axis: [str(n) for n in names] for axis, names in wanted.items() if names and extents.get(axis) == len(names)}
