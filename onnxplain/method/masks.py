"""Masks: only what passes through chosen neurons or channels at a layer is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from onnxplain.analysis.explained import find_layers
from onnxplain.analysis.liveness import liveness
from onnxplain.errors import InputError
from onnxplain.ir.tensor import Tensor

if TYPE_CHECKING:
    from onnxplain.method.context import Job

__all__ = ["Masks", "emit_masks"]

Masks: TypeAlias = "Mapping[str, str | Sequence[int] | np.ndarray[Any, Any]]"
"""By layer (tensor, node or module scope), what messages are multiplied with there: the numbers of the channels to keep (axis 1),
an array that broadcasts to the layer's tensor, or "input" for an array given at run time."""


def emit_masks(job: Job, masks: Masks, layers: Mapping[str, str]) -> dict[Tensor, Tensor]:
    """The masks by the tensor they belong to; `layers` says which that is.

    Concept relevance propagation conditions relevance so on channels (Achtibat et al. 2023, From Attribution Maps to
    Human-Understandable Explanations through Concept Relevance Propagation); Montavon et al. 2017, section 6.3, filter so.

    Raises:
        LayerError: no such layer, or the target does not depend on it.
        InputError: the mask does not fit, or nothing that is explained passes the layer.
    """
    made: dict[Tensor, Tensor] = {}
    for name, value in masks.items():
        (found,) = find_layers(job.graph, job.target, [layers[name]], job.registry.role)
        x = found.tensor
        live = liveness(job.calls, job.sources, [job.target], job.registry.role).tensors
        if x.name not in live and x != job.target:
            raise InputError(f"nothing that is explained passes '{name}', so a mask there says nothing; mask a layer behind it")
        made[x] = _run_time(job, name, x, len(masks)) if isinstance(value, str) else _baked_in(job, name, x, value)
    return made


def _run_time(job: Job, name: str, x: Tensor, count: int) -> Tensor:
    key = ("mask", name)
    if key not in job.extra_inputs:
        job.extra_inputs[key] = replace(x, name=job.graph.fresh("mask" if count == 1 else f"{name}_mask"))
    return job.b.given(job.extra_inputs[key], x)


def _baked_in(job: Job, name: str, x: Tensor, value: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
    if isinstance(value, np.ndarray):
        array = value
    else:
        channels = x.dim(1) if x.shape is not None and len(x.shape) > 1 else None
        if not isinstance(channels, int):
            raise InputError(f"how many channels '{name}' has is unknown; give an array that broadcasts to it")
        wrong = [v for v in value if not -channels <= v < channels]
        if wrong or not value:
            raise InputError(f"'{name}' has channels 0 to {channels - 1}; the mask names {wrong or 'none'}")
        array = np.zeros((channels, *[1] * (x.rank - 2)))
        array[list(value)] = 1
    extents = x.shape if x.shape is not None else ()
    fits = x.shape is None or (
        array.ndim <= len(extents)
        and all(n == 1 or n == d or not isinstance(d, int) for n, d in zip(array.shape[::-1], extents[::-1], strict=False))
    )
    if not fits:
        raise InputError(f"the mask of shape {list(array.shape)} does not broadcast to '{name}' {list(extents)}")
    return job.bake_in(f"the mask of '{name}'", array, x)
