"""Inputs for a given batch size: random ones, or the user's samples repeated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor
from onnxplain.runtime.random_inputs import random_inputs

__all__ = ["batch_sizes", "feeds_of"]

Arrays = dict[str, np.ndarray[Any, Any]]


def batch_sizes(inputs: Sequence[Tensor], wanted: Sequence[int]) -> list[int]:
    """The batch sizes to measure.

    Args:
        inputs: the model's inputs.
        wanted: the sizes the user asked for.

    Returns:
        The sizes asked for; by default 1 and 8, or the model's own if it is fixed.

    Raises:
        InputError: the model does not take a size that was asked for.
    """
    fixed = {t.shape[0] for t in inputs if t.shape and isinstance(t.shape[0], int)}
    free = any(t.shape and not isinstance(t.shape[0], int) for t in inputs)
    if any(size < 1 for size in wanted):
        raise InputError(f"a batch has at least 1 sample, not {min(wanted)}")
    if free:
        return list(wanted) or [1, 8]
    own = max((d for d in fixed if isinstance(d, int)), default=1)
    if wanted and list(wanted) != [own]:
        raise InputError(f"the model was exported for batches of {own}; leave --batch out, or export it with a free first axis")
    return [own]


def feeds_of(graph: Graph, size: int, given: Mapping[str, np.ndarray[Any, Any]] | None, extents: Mapping[str, int]) -> Arrays:
    """Input arrays for a batch.

    Args:
        graph: the model's graph.
        size: the number of samples, which becomes the extent of every free first axis.
        given: the user's arrays, whose samples are repeated in turn; None generates random arrays.
        extents: extents of other free axes, by symbol; the default is 8.

    Returns:
        Arrays by input name.

    Raises:
        InputError: a symbol is unknown, or no random input can be generated.
    """
    free = {t.name: t.shape[0] for t in graph.inputs if t.shape and isinstance(t.shape[0], str)}
    if given is not None:
        return {n: np.take(a, np.arange(size) % len(a), 0) if n in free and a.ndim else a for n, a in given.items()}
    symbols = {d for t in graph.inputs for d in t.shape or () if isinstance(d, str)}
    unknown = [name for name in extents if name not in symbols]
    if unknown:
        raise InputError(f"no axis of an input is called '{unknown[0]}'; free axes: {', '.join(sorted(symbols)) or 'none'}")
    return random_inputs(graph, extents={**dict.fromkeys(free.values(), size), **extents})
