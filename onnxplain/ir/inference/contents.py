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
    """The values of a tensor with at most one axis, as extents: numbers, symbols, or None for one that is unknown.

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
    if tensor.shape is None or len(tensor.shape) > 1:
        return None
    node = maker(tensor)
    rule = None if node is None or node.domain or not depth else RULES.get(node.op)
    if node is None or rule is None:
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
    x = n.tensor()
    return n.dims() if x is not None and x.dtype == np.int32 and n.node.attributes["to"] == onnx.TensorProto.INT64 else None


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
    dims, starts, ends = n.dims(), n.ints(1), n.ints(2)
    steps = (1,) if n.tensor(4) is None else n.ints(4)
    if dims is None or starts is None or ends is None or not steps or steps[0] < 1:
        return None
    return dims[starts[0] : ends[0] : steps[0]]


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
    "Add": _arithmetic(_add),
    "Sub": _arithmetic(_subtract),
    "Mul": _arithmetic(lambda a, b: product_of([a, b])),
    "Div": _arithmetic(_divide),
    "Max": _arithmetic(_maximum),
    "Min": _arithmetic(_minimum),
}
"""Operators that tensors of extents are made with. Their results have at most one axis, or they are not asked for."""
