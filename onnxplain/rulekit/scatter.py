"""Put elements at positions along axes: the linear maps that are adjoint to taking elements out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Tensor

__all__ = ["add_elements", "add_rows", "along", "place", "sum_at", "widened"]


def place(b: Builder, m: Tensor, positions: Tensor | Sequence[int], extent: Tensor, axis: int) -> Tensor:
    """Put elements at distinct positions along an axis, with zeros elsewhere. The adjoint of taking them out.

    Args:
        b: where nodes are emitted.
        m: the elements.
        positions: where each element along the axis goes, counted from the front.
        extent: the extent of the new axis, int64 [1].
        axis: the axis.

    Returns:
        A tensor with the new extent along the axis.

    Example:
        >>> from onnxplain.rulekit.scatter import place
        >>> run(place(b, b.const([7.0, 8.0]), [3, 1], b.const([5]), 0))
        array([0., 8., 0., 7., 0.], dtype=float32)
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
    """Add up elements at positions along an axis, which may repeat. The adjoint of taking them.

    Args:
        b: where nodes are emitted.
        m: the elements.
        positions: where each element along the axis goes, [n].
        extent: the extent of the new axis, int64 [1].
        axis: the axis.
        rank: the number of axes of `m`.

    Returns:
        A tensor with the new extent along the axis.

    Example:
        >>> from onnxplain.rulekit.scatter import sum_at
        >>> run(sum_at(b, b.const([1.0, 2.0, 3.0]), b.const([0, 2, 2]), b.const([4]), 0, 1))
        array([1., 0., 5., 0.], dtype=float32)
    """
    shape = b.Shape(m)
    before, after = b.Slice(shape, [0], [axis], [0]), b.Slice(shape, [axis + 1], [rank], [0])
    index = b.Expand(b.Reshape(positions, [-1 if a == axis else 1 for a in range(rank)]), shape)
    return add_elements(b, b.Concat(before, extent, after, axis=0), index, m, axis)


def add_elements(b: Builder, shape: Tensor, index: Tensor, values: Tensor, axis: int) -> Tensor:
    """Zeros with values added at an index along an axis, as in ScatterElements.

    Args:
        b: where nodes are emitted.
        shape: the extents of the result, int64 [rank].
        index: where each value goes along the axis, in the shape of the values.
        values: the values.
        axis: the axis.

    Returns:
        The sums.

    Example:
        >>> from onnxplain.rulekit.scatter import add_elements
        >>> run(add_elements(b, b.const([3]), b.const([1, 1]), b.const([1.0, 2.0]), 0))
        array([0., 3., 0.], dtype=float32)
    """
    wide = widened(b, values)
    zeros = b.Expand(b.const(0, wide.dtype), shape)
    return b.cast(b.ScatterElements(zeros, index, wide, axis=axis, reduction="add"), values)


def add_rows(b: Builder, shape: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """Zeros with values added at coordinates, as in ScatterND.

    Args:
        b: where nodes are emitted.
        shape: the extents of the result, int64 [rank].
        index: coordinates along its last axis.
        values: one value, or slice, per coordinate.

    Returns:
        The sums.

    Example:
        >>> from onnxplain.rulekit.scatter import add_rows
        >>> run(add_rows(b, b.const([2, 2]), b.const([[1], [1]]), b.const([[1.0, 2.0], [3.0, 4.0]])))
        array([[0., 0.],
               [4., 6.]], dtype=float32)
    """
    wide = widened(b, values)
    zeros = b.Expand(b.const(0, wide.dtype), shape)
    index = index if index.dtype in (None, np.int64) else b.Cast(index, to=onnx.TensorProto.INT64)
    return b.cast(b.ScatterND(zeros, index, wide, reduction="add"), values)


def widened(b: Builder, x: Tensor) -> Tensor:
    """A tensor in float32 where it is float16. ONNX Runtime loads scatters of float16 that add up, but fails when it runs them.

    Args:
        b: where nodes are emitted.
        x: the tensor.

    Returns:
        The tensor, in float32 or a wider type.

    Example:
        >>> from onnxplain.rulekit.scatter import widened
        >>> widened(b, b.const([1.0], np.float16)).dtype
        dtype('float32')
    """
    if x.dtype is None or x.dtype.itemsize > 2:
        return x
    return b.Cast(x, to=onnx.TensorProto.FLOAT)


def along(b: Builder, m: Tensor, matrix: Tensor, axis: int, rank: int) -> Tensor:
    """A matrix applied along one axis.

    Args:
        b: where nodes are emitted.
        m: the tensor.
        matrix: the matrix, [new extent, old extent].
        axis: the axis.
        rank: the number of axes of `m`.

    Returns:
        A tensor with the new extent along the axis.

    Example:
        >>> from onnxplain.rulekit.scatter import along
        >>> run(along(b, x, b.const([[1.0, 1.0, 1.0]]), 1, 2))
        array([[ 2.],
               [-5.]], dtype=float32)
    """
    if axis == rank - 2:
        return b.MatMul(matrix, m)
    turned = b.Transpose(matrix, perm=[1, 0])
    if axis == rank - 1:
        return b.MatMul(m, turned)
    perm = [i for i in range(rank) if i != axis] + [axis]
    back = [perm.index(i) for i in range(rank)]
    return b.Transpose(b.MatMul(b.Transpose(m, perm=perm), turned), perm=back)
