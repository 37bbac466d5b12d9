"""Inputs for a given batch size: random ones, or the user's samples repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.errors import InputError
from onnxplain.ir.graph import Graph
from onnxplain.runtime.random_inputs import random_inputs

__all__ = ["batch_sizes", "feeds_of"]

Arrays = dict[str, np.ndarray[Any, Any]]


def batch_sizes(axes: SampleAxes, wanted: Sequence[int]) -> list[int]:
    """The batch sizes to measure.

    Args:
        axes: which axes of the model count samples.
        wanted: the sizes the user asked for.

    Returns:
        The sizes asked for; by default 1 and 8, or the model's own if it is fixed. 1 where nothing counts samples.

    Raises:
        InputError: the model does not take a size that was asked for, or nothing tells which axis counts samples.
    """
    if any(size < 1 for size in wanted):
        raise InputError(f"a batch has at least 1 sample, not {min(wanted)}")
    if axes.batched and axes.fixed is None:
        return list(wanted) or [1, 8]
    if axes.open and any(size > 1 for size in wanted):
        raise InputError(axes.question())
    own = axes.fixed or 1
    if wanted and list(wanted) != [own]:
        if not axes.batched:
            raise InputError(f"nothing counts samples in this model ({axes.reason}); leave --batch out")
        raise InputError(f"the model was exported for batches of {own}; leave --batch out, or export it with a free axis")
    return [own]


def feeds_of(
    graph: Graph, axes: SampleAxes, size: int, given: Mapping[str, np.ndarray[Any, Any]] | None, extents: Mapping[str, int]
) -> Arrays:
    """Input arrays for a batch.

    Args:
        graph: the model's graph.
        axes: which of its axes count samples.
        size: the number of samples, which becomes the extent of every axis that counts them.
        given: the user's arrays, whose samples are repeated in turn; None generates random arrays.
        extents: extents of other free axes, by symbol; the default is 8, or 1 where the axis may count samples.

    Returns:
        Arrays by input name.

    Raises:
        InputError: a symbol is unknown, or no random input can be generated.
    """
    if given is not None:
        return {n: _repeated(array, axes.of_input(n), size) for n, array in given.items()}
    symbols = {d for t in graph.inputs for d in t.shape or () if isinstance(d, str)}
    unknown = [name for name in extents if name not in symbols]
    if unknown:
        raise InputError(f"no axis of an input is called '{unknown[0]}'; free axes: {', '.join(sorted(symbols)) or 'none'}")
    samples = {t.dim(axis) for t in graph.inputs if (axis := axes.of_input(t.name)) is not None}
    undecided = {t.dim(axis) for t in graph.inputs for axis in axes.open.get(t.name, ())}
    return random_inputs(graph, extents={**dict.fromkeys(undecided, 1), **dict.fromkeys(samples, size), **extents})


def _repeated(array: np.ndarray[Any, Any], axis: int | None, size: int) -> np.ndarray[Any, Any]:
    """So many samples of an array, in turn; all of what serves every sample."""
    return array if axis is None else np.take(array, np.arange(size) % array.shape[axis], axis)
