"""Placing elements along axes: the linear maps that are the adjoints of taking elements out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Tensor

__all__ = ["add_elements", "add_rows", "along", "place", "sum_at", "widened"]


def place(b: Builder, m: Tensor, positions: Tensor | Sequence[int], extent: Tensor, axis: int) -> Tensor:
    """An axis of the given extent (int64 [1]), zero but for `m` at distinct positions: the adjoint of taking them out.

    `positions` count from the front, one for each element of m along the axis.
    """
    static = b.ints(positions) if isinstance(positions, Tensor) else [int(p) for p in positions]
    total = b.ints(extent)
    if static is not None and total is not None:
        if static == list(range(total[0])):
            return m
        if static and static == list(range(static[0], static[0] + len(static))):
            return b.Pad(m, [static[0], total[0] - static[-1] - 1], None, [axis])
        back = np.full(total[0], len(static), np.int64)
        back[static] = np.arange(len(static))
        source = b.const(back)
    else:
        taken = positions if isinstance(positions, Tensor) else b.const(np.array(positions, np.int64))
        length = b.Shape(taken)
        numbers = b.Range(0, b.Squeeze(length), 1)
        source = b.ScatterElements(b.Expand(length, extent), taken, numbers, axis=0)
    # The element behind the last is a zero: what no position names reads it.
    return b.Gather(b.Pad(m, [0, 1], None, [axis]), source, axis=axis)


def sum_at(b: Builder, m: Tensor, positions: Tensor, extent: Tensor, axis: int, rank: int) -> Tensor:
    """An axis of the given extent (int64 [1]) onto which `m` is added at positions [n]: the adjoint of taking them."""
    shape = b.Shape(m)
    before, after = b.Slice(shape, [0], [axis], [0]), b.Slice(shape, [axis + 1], [rank], [0])
    index = b.Expand(b.Reshape(positions, [-1 if a == axis else 1 for a in range(rank)]), shape)
    return add_elements(b, b.Concat(before, extent, after, axis=0), index, m, axis)


def add_elements(b: Builder, shape: Tensor, index: Tensor, values: Tensor, axis: int) -> Tensor:
    """Zeros of a shape, with values added where `index` says along an axis."""
    wide = widened(b, values)
    zeros = b.Expand(b.const(0, wide.dtype), shape)
    return b.cast(b.ScatterElements(zeros, index, wide, axis=axis, reduction="add"), values)


def add_rows(b: Builder, shape: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Zeros of a shape, with values added at the coordinates that the last axis of `index` holds."""
    wide = widened(b, values)
    zeros = b.Expand(b.const(0, wide.dtype), shape)
    index = index if index.dtype in (None, np.int64) else b.Cast(index, to=onnx.TensorProto.INT64)
    return b.cast(b.ScatterND(zeros, index, wide, reduction="add"), values)


def widened(b: Builder, x: Tensor) -> Tensor:
    """float16 as float32: ONNX Runtime's CPU kernels load scatters of float16 with a reduction, then raise."""
    if x.dtype is None or x.dtype.itemsize > 2:
        return x
    return b.Cast(x, to=onnx.TensorProto.FLOAT)


def along(b: Builder, m: Tensor, matrix: Tensor, axis: int, rank: int) -> Tensor:
    """A matrix [new, old] applied to one axis."""
    if axis == rank - 2:
        return b.MatMul(matrix, m)
    turned = b.Transpose(matrix, perm=[1, 0])
    if axis == rank - 1:
        return b.MatMul(m, turned)
    perm = [i for i in range(rank) if i != axis] + [axis]
    back = [perm.index(i) for i in range(rank)]
    return b.Transpose(b.MatMul(b.Transpose(m, perm=perm), turned), perm=back)
