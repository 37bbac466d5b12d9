"""Builder: what rules write with.

Every standard operator is a method, `b.MatMul(x, y)`. Shapes, sums over broadcast axes and other plumbing are here too, so that
no rule needs to know of them.

The examples use a builder `b` over a graph with the input `x`, float32 [2, 3], and `y = Relu(x)`, made by the node `relu`.
`run(t)` runs the graph with x = [[1, −2, 3], [−4, 5, −6]] and returns the value of a tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx

from onnxplain.builder.constants import Literal, Operand
from onnxplain.builder.factored_relevance import STABILIZER, Products
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Shape, Tensor, same_dim

__all__ = ["STABILIZER", "Builder", "Literal", "Operand"]


class Builder(Products):
    """Emits operators into a graph.

    Every standard operator is a method: `b.Conv(x, w, None, pads=[1, 1, 1, 1])`. Python numbers and lists take the type that the
    operator's schema asks for: in `b.Greater(x, 0)` the 0 has the type of x, in `b.ReduceSum(x, [1])` the list is int64. With
    `outputs=2` a call returns a tuple.

    Args:
        graph: the graph to write into.

    Example:
        >>> from onnxplain import Builder
        >>> from onnxplain.ir.graph import Graph
        >>> import onnx
        >>> graph = Graph(onnx.load("fixtures/digits/model.onnx"))
        >>> b = Builder(graph)
        >>> b.Mul(graph.inputs[0], 2).shape
        ('batch', 1, 8, 8)
    """

    def shape(self, tensor: Tensor) -> Tensor:
        """The extents of a tensor as a tensor.

        Args:
            tensor: any tensor.

        Returns:
            int64 [rank]: a constant where the extents are known, else the output of a Shape node.

        Example:
            >>> b.value(b.shape(x))
            array([2, 3])
        """
        static = tensor.static_shape
        made = self.const(np.array(static, np.int64)) if static is not None else self.Shape(tensor)
        assert isinstance(made, Tensor)
        return made

    def dim(self, tensor: Tensor, axis: int) -> Tensor:
        """One extent of a tensor as a tensor.

        Args:
            tensor: any tensor.
            axis: the axis; negative ones count from the end.

        Returns:
            int64 [1].

        Example:
            >>> b.value(b.dim(x, -1))
            array([3])
        """
        axis = axis if axis >= 0 else axis + tensor.rank
        extent = tensor.dim(axis)
        made = self.const([extent]) if isinstance(extent, int) else self.Shape(tensor, start=axis, end=axis + 1)
        assert isinstance(made, Tensor)
        return made

    def size(self, tensor: Tensor) -> Tensor:
        """The number of elements of a tensor.

        Args:
            tensor: any tensor.

        Returns:
            int64 [1].

        Example:
            >>> b.value(b.size(x))
            array([6])
        """
        static = tensor.static_shape
        made = self.Reshape(self.Size(tensor), [1]) if static is None else self.const([prod(static)])
        assert isinstance(made, Tensor)
        return made

    def reshape(self, x: Tensor, like: Tensor) -> Tensor:
        """A tensor in the shape of another one.

        Args:
            x: the tensor.
            like: a tensor with as many elements.

        Returns:
            The elements of `x` in the shape of `like`.

        Example:
            >>> b.reshape(b.Reshape(x, [-1]), x).shape
            (2, 3)
        """
        dynamic = [] if like.shape is None else [i for i, d in enumerate(like.shape) if not isinstance(d, int)]
        if like.shape is not None and len(dynamic) == 1 and 0 not in like.shape:
            target: Operand = [d if isinstance(d, int) else -1 for d in like.shape]  # one unknown extent: no Shape needed
        else:
            target = self.shape(like)
        empty = like.shape is None or 0 in like.shape or len(dynamic) > 1  # an extent is, or may turn out to be, zero
        return self.shaped(self.Reshape(x, target, allowzero=1 if empty else None), like.shape)  # -1 may be undecided

    def transpose(self, x: Tensor, perm: Sequence[int]) -> Tensor:
        """A tensor with its axes permuted.

        Args:
            x: the tensor.
            perm: for each axis of the result, which axis of `x` it is.

        Returns:
            The permuted tensor; `x` itself where nothing moves.

        Example:
            >>> b.transpose(x, [1, 0]).shape
            (3, 2)
        """
        if list(perm) == list(range(len(perm))):
            return x
        return self.Transpose(x, perm=list(perm))

    def swap_last(self, x: Tensor) -> Tensor:
        """A tensor with its last two axes exchanged.

        Args:
            x: a tensor with at least two axes.

        Returns:
            The transposed matrices.

        Example:
            >>> b.swap_last(x).shape
            (3, 2)
        """
        n = x.rank
        return self.transpose(x, [*range(n - 2), n - 1, n - 2])

    def zeros_like(self, tensor: Tensor) -> Tensor:
        """Zeros with the shape and type of a tensor.

        Args:
            tensor: a tensor, or a sequence of tensors.

        Returns:
            Zeros, or a sequence of zeros.

        Example:
            >>> run(b.zeros_like(x))
            array([[0., 0., 0.],
                   [0., 0., 0.]], dtype=float32)
        """
        if tensor.is_sequence:
            return self.each([tensor], lambda x: [self.zeros_like(x)], [tensor.dtype])[0]
        return self.full_like(tensor, 0)

    def each(
        self, sequences: Sequence[Tensor], make: Callable[..., Sequence[Tensor]], dtypes: Sequence[np.dtype[Any] | None]
    ) -> list[Tensor]:
        """Apply a function to the elements of sequences of equal length.

        Args:
            sequences: the sequences.
            make: gets one element of each sequence, and returns one result per data type.
            dtypes: the data types of the results; None stands for float32.

        Returns:
            One sequence per data type.

        Example:
            >>> pieces = b.SplitToSequence(x, [1, 2], axis=1)
            >>> (doubled,) = b.each([pieces], lambda e: [b.Mul(e, 2)], [x.dtype])
            >>> doubled.is_sequence
            True
        """
        kinds = [np.dtype(np.float32) if d is None else d for d in dtypes]
        empty = [self.SequenceEmpty(dtype=onnx.helper.np_dtype_to_tensor_dtype(d)) for d in kinds]

        def step(i: Tensor, go_on: Tensor, *done: Tensor) -> list[Tensor]:
            elements = [self.SequenceAt(s, i) for s in sequences]
            return [go_on, *(self.SequenceInsert(d, m) for d, m in zip(done, make(*elements), strict=True))]

        scalars = Tensor("step", np.dtype(np.int64), ()), Tensor("go_on", np.dtype(np.bool_), ())
        body = self.body([*scalars, *(Tensor("done", d, None, True) for d in kinds)], step)
        made = self.op("Loop", self.SequenceLength(sequences[0]), True, *empty, outputs=len(empty), body=body)
        return list(made) if isinstance(made, tuple) else [made]

    def full_like(self, tensor: Tensor, value: float) -> Tensor:
        """One number everywhere, in the shape and type of a tensor.

        Args:
            tensor: the tensor.
            value: the number.

        Returns:
            The filled tensor.

        Example:
            >>> run(b.full_like(x, 7))
            array([[7., 7., 7.],
                   [7., 7., 7.]], dtype=float32)
        """
        return self.Expand(self.const(value, tensor.dtype), self.shape(tensor))

    def expand(self, x: Tensor, like: Tensor) -> Tensor:
        """A tensor broadcast to the shape of another one.

        Args:
            x: the tensor.
            like: a tensor to whose shape it broadcasts.

        Returns:
            The tensor in the shape of `like`.

        Example:
            >>> run(b.expand(b.const([1.0, 2.0, 3.0]), x))
            array([[1., 2., 3.],
                   [1., 2., 3.]], dtype=float32)
        """
        return self.shaped(self.Expand(x, self.shape(like)), like.shape)  # only the caller knows that x is not the wider one

    def given(self, x: Tensor, like: Tensor) -> Tensor:
        """A tensor given at run time, in the shape of another one.

        It may have one row for all samples. Any other shape ends the run with an error: broadcasting in the other direction would
        silently change the shape of the results.

        Args:
            x: the given tensor.
            like: the tensor whose shape and type it has to have.

        Returns:
            The given values in the shape of `like`.

        Example:
            >>> b.given(b.const([[1.0, 2.0, 3.0]]), x).shape
            (2, 3)
        """
        shape = self.shape(like)
        spread = self.Expand(self.shaped(x, None), shape)  # what is given need not have the shape that it should
        return self.Reshape(spread, shape, allowzero=1)

    def Pad(
        self, x: Tensor, pads: Operand, value: Operand = None, axes: Sequence[int] | None = None, **attributes: Any
    ) -> Tensor:
        """Pad a tensor, naming every axis: ONNX Runtime's transpose optimizer overlooks the input `axes`.

        Args:
            x: the tensor.
            pads: the number of elements to add before each axis, then after each axis.
            value: what to fill with; None for 0.
            axes: the axes that `pads` is about; None for all.
            **attributes: further attributes, such as mode.

        Returns:
            The padded tensor.

        Example:
            >>> run(b.Pad(x, [1, 0], None, [1]))
            array([[ 0.,  1., -2.,  3.],
                   [ 0., -4.,  5., -6.]], dtype=float32)
        """
        if axes is not None and x.shape is not None:
            pads, axes = self._all_pads(x.rank, pads, [axis % x.rank for axis in axes]), None
        made = self.op("Pad", x, pads, value, axes, **attributes)
        assert isinstance(made, Tensor)
        return made

    def _all_pads(self, rank: int, pads: Operand, axes: Sequence[int]) -> Operand:
        places = [*axes, *(rank + axis for axis in axes)]
        known = self.ints(pads) if isinstance(pads, Tensor) else pads
        if known is not None:
            full = np.zeros(2 * rank, np.int64)
            full[places] = known
            return full
        pieces = self.Split(pads, num_outputs=len(places), outputs=len(places))
        parts: list[Operand] = [[0]] * (2 * rank)
        for place, piece in zip(places, pieces, strict=True):
            parts[place] = piece
        return self.Concat(*parts, axis=0)

    def keepdims(self, reduced: Tensor, node: Node) -> Tensor:
        """The output of a reduction with the reduced axes put back as extents of 1.

        Where all axes are reduced and none kept, the result is a scalar, which broadcasts as it is.

        Args:
            reduced: a tensor shaped like the node's output.
            node: the node that reduces.

        Returns:
            The tensor with the axes put back.

        Example:
            >>> from onnxplain.ir.node import Node
            >>> axes = b.const([1])
            >>> mean = b.ReduceMean(x, axes, keepdims=0)
            >>> node = Node("ReduceMean", "", 18, "mean", "", (x, axes), (mean,), {"keepdims": 0})
            >>> run(b.keepdims(mean, node)).shape
            (2, 1)
        """
        axes = node.inputs[1]
        if node["keepdims"] or axes is None:
            return reduced
        made = self.Unsqueeze(reduced, axes)
        assert isinstance(made, Tensor)
        return made

    def count(self, x: Tensor, axes: Sequence[int] | None, reduced: Tensor) -> Tensor | int:
        """How many elements of a tensor go into each element of its reduction.

        Args:
            x: the tensor.
            axes: the axes that are reduced; None where they are unknown.
            reduced: the result of the reduction.

        Returns:
            A number where the extents along the axes are known, else a tensor.

        Example:
            >>> b.count(x, [1], b.ReduceSum(x, [1]))
            3
        """
        extents = None if x.shape is None or not axes else [x.shape[axis] for axis in axes]
        if extents is not None and all(isinstance(n, int) for n in extents):
            return prod(n for n in extents if isinstance(n, int))
        sizes = (self.Cast(self.Size(t), to=onnx.TensorProto.DOUBLE) for t in (x, reduced))
        return self.cast(self.Div(*sizes), x)

    def total(self, tensors: Sequence[Tensor]) -> Tensor:
        """The sum of tensors of one shape, element by element where they are sequences.

        Args:
            tensors: at least one tensor.

        Returns:
            Their sum.

        Example:
            >>> run(b.total([x, x, x]))
            array([[  3.,  -6.,   9.],
                   [-12.,  15., -18.]], dtype=float32)
        """
        if tensors[0].is_sequence and len(tensors) > 1:
            return self.each(tensors, lambda *e: [self.total(e)], [tensors[0].dtype])[0]
        return self._sum(self.joined(tensors, self._sum))

    def _sum(self, tensors: Sequence[Tensor]) -> Tensor:
        joined = self._side_by_side(tensors) if len(tensors) > 1 else None
        if joined is not None:
            return joined
        result = tensors[0]
        for t in tensors[1:]:
            result = self.Add(result, t)
        return result

    def _side_by_side(self, tensors: Sequence[Tensor]) -> Tensor | None:
        """The sum of tensors that are zero but for pieces which fill an axis without overlap: the pieces, one after the other."""
        placed: list[tuple[int, int, Tensor]] = []
        axes: set[int] = set()
        for t in tensors:
            node = self.maker(t)
            pads = self.ints(node.inputs[1]) if node is not None and node.op == "Pad" and len(node.inputs) == 2 else None
            if node is None or pads is None or node.attributes.get("mode", "constant") != "constant":
                return None
            rank = len(pads) // 2
            axes.update(axis for axis in range(rank) if pads[axis] or pads[rank + axis])
            if len(axes) != 1 or node.inputs[0] is None:
                return None
            (axis,) = axes
            placed.append((pads[axis], pads[rank + axis], node.inputs[0]))
        placed.sort(key=lambda piece: piece[0])
        extent = tensors[0].dim(axis)
        starts = [begin for begin, _, _ in placed]
        ends = [extent - end if isinstance(extent, int) else None for _, end, _ in placed]
        if not isinstance(extent, int) or starts[0] != 0 or ends != [*starts[1:], extent]:
            return None
        made: Tensor = self.Concat(*(t for _, _, t in placed), axis=axis)
        return made

    def sum_to(self, message: Tensor, like: Tensor, shape: Shape) -> Tensor:
        """A message summed over the axes along which a tensor was broadcast.

        Extents are compared as numbers and as symbols. Only where neither proves anything is the reduction decided at run time.

        Args:
            message: the message.
            like: the tensor that was broadcast.
            shape: the extents of the message.

        Returns:
            The sum, in the shape of `like`.

        Example:
            >>> bias = b.const([1.0, 1.0, 1.0])
            >>> run(b.sum_to(x, bias, (2, 3)))
            array([-3.,  3., -3.], dtype=float32)
        """
        if like.shape is None or shape is None:
            return self._sum_to_at_run_time(message, like)
        lead = len(shape) - len(like.shape)
        stretched, unsure = [], False
        for axis, (mine, full) in enumerate(zip(like.shape, shape[lead:], strict=True), start=lead):
            if same_dim(mine, full) or (isinstance(mine, int) and mine != 1):
                continue
            if mine == 1:
                stretched.append(axis)
            else:
                unsure = True
        if unsure:
            return self._sum_to_at_run_time(message, like, lead)
        axes = [*range(lead), *stretched]
        if not axes:
            return message
        summed = self.ReduceSum(message, axes, keepdims=1 if stretched else 0)
        if stretched and lead:
            summed = self.Squeeze(summed, list(range(lead)))
        return summed

    def _sum_to_at_run_time(self, message: Tensor, like: Tensor, lead: int | None = None) -> Tensor:
        target, full = self.Shape(like), self.Shape(message)
        if lead is None:  # not even the ranks are known
            ones = self.Expand([1], self.Sub(self.Shape(full), self.Shape(target)))
            padded = self.Concat(ones, target, axis=0)
        else:
            padded = self.Concat([1] * lead, target, axis=0) if lead else target
        axes = self.Reshape(self.NonZero(self.Not(self.Equal(padded, full))), [-1])
        summed = self.ReduceSum(message, axes, keepdims=1, noop_with_empty_axes=1)
        return self.Reshape(summed, target, allowzero=1)

    def cast(self, x: Tensor, like: Tensor) -> Tensor:
        """A tensor with the type of another one.

        Args:
            x: the tensor.
            like: the tensor whose type to take.

        Returns:
            The converted tensor; `x` itself where the types are equal or one is unknown.

        Example:
            >>> b.cast(b.const([1, 2]), x).dtype
            dtype('float32')
        """
        if x.dtype is None or like.dtype is None or x.dtype == like.dtype:
            return x
        made = self.Cast(x, to=onnx.helper.np_dtype_to_tensor_dtype(like.dtype))
        assert isinstance(made, Tensor)
        return made
