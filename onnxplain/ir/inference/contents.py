"""What small tensors of whole numbers hold: extents as they are read, taken apart, put together and used as a shape again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import onnx

from onnxplain.ir.inference.dims import numbers, product_of, quotient_of, shifted_by
from onnxplain.ir.tensor import Dim, Tensor

__all__ = ["Made", "contents"]

LONGEST = 64
"""Numbers up to which a tensor is looked at: no shape has more axes."""

DEEPEST = 16
"""Nodes up to which a tensor is followed backward."""


class Made(Protocol):
    """A node of the model or one that is emitted."""

    @property
    def op(self) -> str: ...
    @property
    def domain(self) -> str: ...
    @property
    def inputs(self) -> Sequence[Tensor | None]: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...


def contents(
    tensor: Tensor, maker: Callable[[Tensor], Made | None], values: Callable[[Tensor], Sequence[int] | None], depth: int = DEEPEST
) -> tuple[Dim, ...] | None:
    """The values of a small tensor, row by row, as extents: numbers, symbols, or None for one that is unknown.

    Args:
        tensor: the tensor.
        maker: the node that makes a tensor.
        values: the values of a small constant of whole numbers.
        depth: how many nodes to follow.

    Returns:
        One extent per element; None where nothing is known, not even how many there are.
    """
    found = values(tensor)
    if found is not None:
        return tuple(found) if len(found) <= LONGEST else None
    if tensor.shape is None or (len(tensor.shape) > 1 and not tensor.is_static):
        return None
    node = maker(tensor)
    rule = None if node is None or node.domain or not depth else RULES.get(node.op)
    rows = (tensor, *(() if node is None else filter(None, node.inputs)))
    if node is None or rule is None or (node.op not in ANY_RANK and any(t.shape is None or len(t.shape) > 1 for t in rows)):
        return _unknown(tensor)
    made = rule(_Reader(node, lambda t: contents(t, maker, values, depth - 1)))
    return _unknown(tensor) if made is None else made


def _unknown(tensor: Tensor) -> tuple[Dim, ...] | None:
    count = None if tensor.shape is None else product_of(tensor.shape)
    return (None,) * count if isinstance(count, int) and count <= LONGEST else None


class _Reader:
    """A node with the contents of what it reads."""

    def __init__(self, node: Made, follow: Callable[[Tensor], tuple[Dim, ...] | None]) -> None:
        self.node, self.follow = node, follow

    def tensor(self, index: int = 0) -> Tensor | None:
        found: Tensor | None = self.node.inputs[index] if index < len(self.node.inputs) else None
        return found

    def dims(self, index: int = 0) -> tuple[Dim, ...] | None:
        found = self.tensor(index)
        return None if found is None else self.follow(found)

    def rows(self) -> np.ndarray[Any, Any] | None:
        """The values of the first operand in its shape."""
        x, dims = self.tensor(), self.dims()
        if x is None or dims is None or (x.rank > 1 and not x.is_static):
            return None
        made = np.empty(len(dims), object)
        made[:] = dims
        return made.reshape(x.static_shape) if x.rank > 1 else made.reshape([-1] * x.rank)

    def ints(self, index: int) -> tuple[int, ...] | None:
        return numbers(self.dims(index))


def _shape(n: _Reader) -> tuple[Dim, ...] | None:
    x = n.tensor()
    return None if x is None or x.shape is None else x.shape[n.node.attributes.get("start") or 0 : n.node.attributes.get("end")]


def _size(n: _Reader) -> tuple[Dim, ...] | None:
    x = n.tensor()
    return None if x is None or x.shape is None else (product_of(x.shape),)


def _same(n: _Reader) -> tuple[Dim, ...] | None:
    return n.dims()


def _cast(n: _Reader) -> tuple[Dim, ...] | None:
    """Extents as integers of another width: those that are known to fit, and symbols, which are extents themselves."""
    x, to = n.tensor(), n.node.attributes["to"]
    if x is None or x.dtype not in (np.int32, np.int64) or to not in (onnx.TensorProto.INT32, onnx.TensorProto.INT64):
        return None
    widest, dims = np.iinfo(np.int32 if to == onnx.TensorProto.INT32 else np.int64), n.dims()
    return None if dims is None else tuple(None if isinstance(d, int) and not widest.min <= d <= widest.max else d for d in dims)


def _concat(n: _Reader) -> tuple[Dim, ...] | None:
    parts = [n.dims(i) for i in range(len(n.node.inputs))]
    known = [p for p in parts if p is not None]
    return tuple(d for part in known for d in part) if len(known) == len(parts) else None


def _gather(n: _Reader) -> tuple[Dim, ...] | None:
    dims, picked = n.dims(), n.ints(1)
    if dims is None or picked is None or not all(-len(dims) <= i < len(dims) for i in picked):
        return None
    return tuple(dims[i] for i in picked)


def _slice(n: _Reader) -> tuple[Dim, ...] | None:
    rows, starts, ends = n.rows(), n.ints(1), n.ints(2)
    if rows is None or starts is None or ends is None:
        return None
    axes = tuple(range(len(starts))) if n.tensor(3) is None else n.ints(3)
    steps = (1,) * len(starts) if n.tensor(4) is None else n.ints(4)
    if axes is None or steps is None:
        return None
    cut = [slice(None)] * rows.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(start, end, step)
    return tuple(rows[tuple(cut)].ravel())


def _transpose(n: _Reader) -> tuple[Dim, ...] | None:
    rows = n.rows()
    return None if rows is None else tuple(rows.transpose(n.node.attributes.get("perm")).ravel())


def _arithmetic(one: Callable[[Dim, Dim], Dim]) -> Callable[[_Reader], tuple[Dim, ...] | None]:
    def rule(n: _Reader) -> tuple[Dim, ...] | None:
        a, b = n.dims(0), n.dims(1)
        if a is None or b is None or len(n.node.inputs) != 2:
            return None
        a, b = (a * len(b) if len(a) == 1 else a), (b * len(a) if len(b) == 1 else b)
        return tuple(one(x, y) for x, y in zip(a, b, strict=True)) if len(a) == len(b) else None

    return rule


def _add(a: Dim, b: Dim) -> Dim:
    return shifted_by(a, b) if isinstance(b, int) else shifted_by(b, a) if isinstance(a, int) else None


def _subtract(a: Dim, b: Dim) -> Dim:
    return shifted_by(a, -b) if isinstance(b, int) else 0 if a is not None and a == b else None


def _divide(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a // b if a >= 0 and b > 0 else None
    return quotient_of([a], [b]) if b == 1 else None


def _maximum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a is not None and a == b else None


def _minimum(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a is not None and a == b else None


# operators: an implementation of each
RULES: dict[str, Callable[[_Reader], tuple[Dim, ...] | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _same,
    "Cast": _cast,
    "Squeeze": _same,
    "Unsqueeze": _same,
    "Reshape": _same,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Transpose": _transpose,
    "Add": _arithmetic(_add),
    "Sub": _arithmetic(_subtract),
    "Mul": _arithmetic(lambda a, b: product_of([a, b])),
    "Div": _arithmetic(_divide),
    "Max": _arithmetic(_maximum),
    "Min": _arithmetic(_minimum),
}
"""Operators that tensors of extents are made with."""

# operators: those whose implementation knows of several axes
ANY_RANK = ("Cast", "Identity", "Reshape", "Shape", "Size", "Slice", "Squeeze", "Transpose", "Unsqueeze")
