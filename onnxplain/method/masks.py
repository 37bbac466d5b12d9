"""Masks: only what passes through chosen neurons or channels at a layer is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from onnxplain.errors import InputError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext

__all__ = ["Masks", "emit_masks"]

Masks: TypeAlias = "Mapping[str, str | Sequence[int] | np.ndarray[Any, Any]]"
"""By layer (tensor, node or module scope), what messages are multiplied with there: the numbers of the channels to keep (axis 1),
an array that broadcasts to the layer's tensor, or "input" for an array given at run time."""


def emit_masks(context: AttributionContext, masks: Masks) -> dict[Tensor, Tensor]:
    """The masks by the tensor they belong to.

    Concept relevance propagation conditions relevance so on channels (Achtibat et al. 2023, From Attribution Maps to
    Human-Understandable Explanations through Concept Relevance Propagation); Montavon et al. 2017, section 6.3, filter so.

    Raises:
        InputError: the mask does not fit.
    """
    made: dict[Tensor, Tensor] = {}
    for name, value in masks.items():
        x = context.selection.masked[name]
        made[x] = _run_time(context, name, x, len(masks)) if isinstance(value, str) else _baked_in(context, name, x, value)
    return made


def _run_time(context: AttributionContext, name: str, x: Tensor, count: int) -> Tensor:
    def make() -> Tensor:
        return replace(x, name=context.graph.fresh("mask" if count == 1 else f"{name}_mask"))

    return context.b.given(context.outputs.run_time_input("mask", name, make), x)


def _baked_in(context: AttributionContext, name: str, x: Tensor, value: Sequence[int] | np.ndarray[Any, Any]) -> Tensor:
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
    return context.bake_in(f"the mask of '{name}'", array, x)
