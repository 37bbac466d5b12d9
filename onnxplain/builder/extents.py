"""Extents: whole numbers that are known, or known only at run time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from onnxplain.builder.builder import Builder, Operand
from onnxplain.ir.tensor import Tensor

__all__ = ["Extents"]

Whole: TypeAlias = "Extents | Sequence[int] | int"


class Extents:
    """Whole numbers, one per axis: known ones, or an int64 tensor. Arithmetic emits nodes only where a number is unknown.

    +, -, * and // take extents, a sequence of numbers, or one number for all axes. Values have to be non-negative before a
    division, because ONNX rounds towards zero.

    Args:
        b: where nodes are emitted.
        value: the numbers, or an int64 tensor of them.

    Example:
        >>> from onnxplain import Extents
        >>> size = Extents(b, [8, 8])
        >>> ((size + [1, 2]) // 2).known
        (4, 5)
        >>> (Extents.of(b, x) * 2).known
        (4, 6)
    """

    def __init__(self, b: Builder, value: Tensor | Sequence[int]) -> None:
        self.b = b
        numbers = b.ints(value) if isinstance(value, Tensor) else [int(v) for v in value]
        self.known: tuple[int, ...] | None = None if numbers is None else tuple(numbers)
        self.tensor = value if isinstance(value, Tensor) else None

    @staticmethod
    def of(b: Builder, x: Tensor, start: int = 0) -> Extents:
        """The extents of a tensor.

        Args:
            b: where nodes are emitted.
            x: the tensor.
            start: the first axis to take.

        Returns:
            The extents from that axis on.
        """
        shape = None if x.shape is None else x.shape[start:]
        numbers = None if shape is None else [d for d in shape if isinstance(d, int)]
        if shape is not None and numbers is not None and len(numbers) == len(shape):
            return Extents(b, numbers)
        return Extents(b, b.Shape(x, start=start))

    @property
    def operand(self) -> Operand:
        """The numbers as an input of an operator."""
        return self.tensor if self.known is None else list(self.known)

    def as_tensor(self) -> Tensor:
        """The numbers as a tensor.

        Returns:
            int64 [axes].
        """
        return self.tensor if self.known is None and self.tensor is not None else self.b.const(list(self.known or ()))

    def at(self, n: int) -> Extents:
        """One of the numbers.

        Args:
            n: its position.

        Returns:
            Extents of that number alone.
        """
        if self.known is not None:
            return Extents(self.b, [self.known[n]])
        return Extents(self.b, self.b.Slice(self.operand, [n], [n + 1], [0]))

    def _with(self, op: str, other: Whole) -> Extents:
        other = other if isinstance(other, Extents) else Extents(self.b, [other] if isinstance(other, int) else other)
        if self.known is not None and other.known is not None:
            mine, theirs = np.array(self.known, np.int64), np.array(other.known, np.int64)
            # operators: the arithmetic on extents that is folded here
            numpy = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.floor_divide, "Max": np.maximum}
            return Extents(self.b, numpy[op](mine, theirs).tolist())
        # operators: neutral numbers of this arithmetic
        if other.known is not None and set(other.known) <= ({1} if op in ("Mul", "Div") else {0}) and op != "Max":
            return self
        return Extents(self.b, self.b.op(op, self.operand, other.operand))

    def __add__(self, other: Whole) -> Extents:
        return self._with("Add", other)

    def __sub__(self, other: Whole) -> Extents:
        return self._with("Sub", other)

    def __mul__(self, other: Whole) -> Extents:
        return self._with("Mul", other)

    def __floordiv__(self, other: Whole) -> Extents:
        return self._with("Div", other)

    def at_least(self, other: Whole) -> Extents:
        """The greater of two numbers, axis by axis.

        Args:
            other: extents, a sequence of numbers, or one number for all axes.

        Returns:
            The maxima.
        """
        return self._with("Max", other)

    def then(self, *others: Whole) -> Extents:
        """These numbers, then others.

        Args:
            *others: extents, sequences of numbers, or single numbers.

        Returns:
            All of them, one after the other.
        """
        rest = [o if isinstance(o, Extents) else Extents(self.b, [o] if isinstance(o, int) else o) for o in others]
        parts = [p for p in (self, *rest) if p.known != ()]
        if all(p.known is not None for p in parts):
            return Extents(self.b, [n for p in parts for n in p.known or ()])
        return Extents(self.b, self.b.Concat(*(p.operand for p in parts), axis=0))
