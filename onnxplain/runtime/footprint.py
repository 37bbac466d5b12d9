"""Footprint: about how much memory a run takes, read from the shapes of a graph's tensors."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.ir.graph import Graph

__all__ = ["bytes_of_a_sample", "sizes_of_symbols"]

Array = np.ndarray[Any, Any]


def sizes_of_symbols(axes: SampleAxes, feeds: Mapping[str, Array]) -> dict[str, int]:
    """What the symbols in the shapes of inputs stand for, with 1 for the number of samples.

    Args:
        axes: which axes count samples.
        feeds: arrays by input name, as the model takes them.
    """
    known = {
        d: n
        for t in axes.inputs
        if t.name in feeds
        for d, n in zip(t.shape or (), feeds[t.name].shape, strict=False)
        if isinstance(d, str)
    }
    return known | ({axes.extent: 1} if isinstance(axes.extent, str) else {})


def bytes_of_a_sample(graph: Graph, axes: SampleAxes, symbols: Mapping[str, int]) -> int:
    """About how many bytes the tensors that nodes make take for one sample, all of them together.

    Args:
        graph: the model's graph.
        axes: which axes count samples; those of fixed extent share the bytes of a whole batch.
        symbols: what symbols in shapes stand for; others count as 1.
    """
    total = 0
    for node in graph.nodes:
        for made in node.outputs:
            if made is not None:
                extents = [d if isinstance(d, int) else symbols.get(d or "", 1) for d in made.shape or ()]
                total += (made.dtype.itemsize if made.dtype is not None else 4) * prod(extents)
    return total // ((axes.fixed or 1) if axes.batched else 1)
