"""Tensor: the name of a value in a graph, with what is known about it. An immutable value; it holds no data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from onnxplain.errors import RuleError

__all__ = ["Dim", "Shape", "Tensor", "is_float", "may_be_equal", "same_dim", "shown"]

Dim: TypeAlias = "int | str | None"
"""An extent: a number, a symbol (equal symbols are equal extents), or None where nothing is known."""
Shape: TypeAlias = "tuple[Dim, ...] | None"
"""The extents of a tensor, or None where not even the rank is known."""


@dataclass(frozen=True)
class Tensor:
    """A value in a graph: its name, and what is known about it. It holds no data. Two tensors are equal when their names are.

    Attributes:
        name: the name of the value in the graph.
        dtype: the type of its elements (of a sequence: of the elements of its tensors). None where it is unknown, and for values
            that are no tensors, such as maps.
        shape: its extents: numbers, symbols, or None for an extent nothing is known of. None where not even the rank is known.
        is_sequence: whether it is a sequence of tensors.

    Example:
        >>> import numpy as np
        >>> from onnxplain import Tensor
        >>> x = Tensor("image", np.dtype(np.float32), ("batch", 1, 8, 8))
        >>> x.rank, x.dim(0), x.static_shape, x.normal_axes([-1])
        (4, 'batch', None, [3])
    """

    name: str
    dtype: np.dtype[Any] | None = field(default=None, compare=False)
    shape: Shape = field(default=None, compare=False)
    is_sequence: bool = field(default=False, compare=False)

    @property
    def rank(self) -> int:
        """The number of axes.

        Raises:
            RuleError: it is unknown; the message names the tensor.
        """
        if self.shape is None:
            raise RuleError(f"the rank of tensor '{self.name}' is unknown; re-export the model with shape information")
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether this is a floating-point tensor. Unknown types count, so that nothing is lost silently."""
        return self.dtype is None or is_float(self.dtype)

    @property
    def message_dtype(self) -> np.dtype[Any] | None:
        """The type of messages on this tensor: its own, or None (any type) where that is too coarse: integers, 8-bit floats."""
        plain = self.dtype is not None and is_float(self.dtype) and self.dtype.itemsize > 1 and not self.is_sequence
        return self.dtype if plain else None

    @property
    def is_static(self) -> bool:
        """Whether every extent is a known number."""
        return self.shape is not None and all(isinstance(d, int) for d in self.shape)

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The extents as numbers, or None when one of them is unknown."""
        if self.shape is None:
            return None
        numbers = tuple(d for d in self.shape if isinstance(d, int))
        return numbers if len(numbers) == len(self.shape) else None

    def dim(self, axis: int) -> Dim:
        """The extent along one axis.

        Args:
            axis: the axis, counted from the front, or from the end when negative.

        Returns:
            A number, a symbol, or None where the extent is unknown.
        """
        return None if self.shape is None else self.shape[axis]

    def normal_axes(self, axes: Iterable[int]) -> list[int]:
        """Axes counted from the front.

        Args:
            axes: axes, negative ones counted from the end.

        Returns:
            The same axes, all counted from the front, in rising order.

        Raises:
            RuleError: the rank is unknown.
        """
        return sorted(axis % self.rank for axis in axes)


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether a NumPy (or ml_dtypes) type is a floating-point type."""
    return dtype.kind == "f" or dtype.name.startswith(("bfloat", "float"))


def same_dim(a: Dim, b: Dim) -> bool:
    """Whether two extents are provably equal."""
    return a is not None and a == b


def may_be_equal(a: Shape, b: Shape) -> bool:
    """Whether two shapes can be the same in some run. Symbols of different names may stand for one extent."""
    if a is None or b is None:
        return True
    known = (isinstance(x, int) and isinstance(y, int) and x != y for x, y in zip(a, b, strict=False))
    return len(a) == len(b) and not any(known)


def shown(shape: Shape) -> str:
    """A shape for people: `[batch, 3, ?]`; `?` where an extent is unknown."""
    return "[…]" if shape is None else "[" + ", ".join("?" if d is None else str(d) for d in shape) + "]"
