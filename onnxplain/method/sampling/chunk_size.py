"""Chunks: how many rows (samples × points) go through the model in one run."""

from __future__ import annotations

import re
from math import prod
from typing import TypeAlias

from onnxplain.analysis.liveness import liveness
from onnxplain.errors import MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext

__all__ = ["Chunk", "bytes_per_row", "memory_bytes", "row_count", "rows"]

Chunk: TypeAlias = "int | str | None"
"""Rows in one run, or the memory they may take ("500MB"), or None for a choice by size."""

BYTE_UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}

DEFAULT_MEMORY = 32 * 10**6
"""Bytes for one run where nothing is said: about what a processor's caches hold. Beyond it more rows only wait for memory (six
convolutions on 1 MB tensors: 50 points cost 50.5 gradients row by row, 57 by eight rows); a GPU gains from more."""

DEFAULT_ROWS = 64
"""Rows in one run, at most, where nothing is said."""

CAREFUL_ROWS = 16
"""Rows in one run where nothing is said and the sizes of tensors are not known before they are made."""


def rows(context: AttributionContext, chunk: Chunk) -> Tensor:
    """Rows in one run, int64 [1]. A run never takes less than the batch it is given, with one point for each sample.

    Raises:
        MethodError: `chunk` is neither a number of rows nor memory, or memory is given and sizes cannot be known.
    """
    b = context.b
    if chunk is None:
        size = bytes_per_row(context)
        return b.const([CAREFUL_ROWS]) if size is None else b.Min(b.Div([DEFAULT_MEMORY], size), [DEFAULT_ROWS])
    if isinstance(chunk, str):
        memory, size = memory_bytes(chunk), bytes_per_row(context)
        if size is None:
            raise MethodError("the sizes of this model's tensors are not known before it runs: give chunk as a number of rows")
        return b.Div([memory], size)
    return b.const([row_count(chunk)])


def memory_bytes(chunk: str) -> int:
    """The bytes that a chunk given as memory ("500MB") may take.

    Raises:
        MethodError: it is no amount of memory.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(kB|MB|GB)", chunk.strip())
    if found is None:
        raise MethodError(f"chunk is a number of rows in one run, or memory as '500MB'; got '{chunk}'")
    return int(float(found[1]) * BYTE_UNITS[found[2]])


def row_count(chunk: object) -> int:
    """A chunk given as a number of rows.

    Raises:
        MethodError: it is no positive integer.
    """
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise MethodError(f"chunk is a number of rows in one run, at least 1, or memory as '500MB'; got {chunk!r}")
    return chunk


def bytes_per_row(context: AttributionContext) -> Tensor | None:
    """Bytes that one sample takes, int64 [1]: activations and messages of all tensors between the explained ones and the target.

    Symbolic extents are looked up at run time. None where an extent has no symbol that an input has.
    """
    symbols = {
        d: (t, axis) for t in (*context.inputs, *context.sources) for axis, d in enumerate(t.shape or ()) if isinstance(d, str)
    }
    live = liveness(context.nodes, context.sources, [context.target], context.registry.role)
    sizes: dict[tuple[str, ...], int] = {}
    for node in live.nodes:
        for t in node.outputs:
            if t is None or t.name not in live.tensors:
                continue
            extents = (None,) if t.shape is None else t.shape
            named = tuple(sorted(d for d in extents if isinstance(d, str) and d != context.symbol))
            if None in extents or not symbols.keys() >= set(named):
                return None
            width = t.dtype.itemsize if t.dtype is not None else 4
            sizes[named] = sizes.get(named, 0) + 2 * width * prod(d for d in extents if isinstance(d, int))
    b = context.b
    total = b.const([max(sizes.pop((), 0), 1)])
    for symbols_of, size in sizes.items():
        term = b.const([size])
        for symbol in symbols_of:
            term = b.Mul(term, b.dim(*symbols[symbol]))
        total = b.Add(total, term)
    return total
