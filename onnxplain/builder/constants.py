"""Constants of a graph under construction: the model's initializers, and what the emitter adds to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxplain.ir.graph import Graph
from onnxplain.ir.schema import Signature
from onnxplain.ir.tensor import Tensor
from onnxplain.ir.type_inference import FIXED

__all__ = ["Constants", "Literal", "Operand"]

Literal: TypeAlias = "bool | int | float | Sequence[int] | Sequence[float] | np.ndarray[Any, Any]"
Operand: TypeAlias = "Tensor | Literal | None"
"""What an emitted operator takes: a tensor, a Python or NumPy value of fitting type, or None for "left out"."""


class Constants:
    """The constants of a graph: the part of a builder that makes and reads them.

    Args:
        graph: the graph to write into.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self._pool: dict[Any, Tensor] = {}
        self._copied: dict[str, Tensor] = {}

    def is_model_constant(self, tensor: Tensor) -> bool:
        """Whether a tensor is an initializer of the model, or a loop body's copy of one.

        Args:
            tensor: any tensor.

        Returns:
            False for inputs, results and the builder's own constants.

        Example:
            >>> b.is_model_constant(b.const([1.0]))
            False
        """
        return tensor.name in self._copied or self.graph.is_constant(tensor)

    def const(self, value: Literal, dtype: Any = None) -> Tensor:
        """A constant. Equal constants become one initializer.

        Args:
            value: a number, a list or an array.
            dtype: its type; None takes an array's own, float32 for other floats and int64 for integers.

        Returns:
            The constant.

        Example:
            >>> b.const([1.0, 2.0]).dtype, b.const([1, 2]).shape
            (dtype('float32'), (2,))
        """
        array = np.asarray(value)
        if dtype is None and array.dtype == np.float64 and not isinstance(value, np.ndarray):
            dtype = np.float32
        array = np.ascontiguousarray(array if dtype is None else array.astype(dtype)).reshape(array.shape)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._pool:
            name = self.graph.fresh("onnxplain/constant")
            self.constants[name] = array
            self._pool[key] = Tensor(name, array.dtype, array.shape)
        return self._pool[key]

    def value(self, tensor: Tensor | None) -> np.ndarray[Any, Any] | None:
        """The values of a small constant, the model's or the builder's.

        Args:
            tensor: any tensor, or None.

        Returns:
            The array; None for a large constant and for anything else.

        Example:
            >>> b.value(b.const([1, 2])), b.value(x)
            (array([1, 2]), None)
        """
        if tensor is None:
            return None
        tensor = self._copied.get(tensor.name, tensor)
        found = self.constants.get(tensor.name)
        return self.graph.value(tensor) if found is None else found

    def is_constant(self, tensor: Tensor | None) -> bool:
        """Whether a tensor is an initializer of the model or a constant of the builder.

        Args:
            tensor: any tensor, or None.

        Returns:
            True for constants.

        Example:
            >>> b.is_constant(b.const(1)), b.is_constant(x)
            (True, False)
        """
        return tensor is not None and (tensor.name in self.constants or self.is_model_constant(tensor))

    def ints(self, tensor: Tensor | None) -> list[int] | None:
        """The values of a small integer constant.

        Args:
            tensor: any tensor, or None.

        Returns:
            A flat list; None for anything that is no small constant.

        Example:
            >>> b.ints(b.const([[1, 2], [3, 4]]))
            [1, 2, 3, 4]
        """
        value = self.value(tensor)
        return None if value is None else [int(v) for v in value.ravel()]

    def _operands(self, op: str, inputs: Sequence[Operand], known: Signature | None) -> tuple[Tensor | None, ...]:
        """The inputs with literals made into constants of the types the schema asks for."""
        bound: dict[str, np.dtype[Any]] = {}
        first: np.dtype[Any] | None = None
        for i, operand in enumerate(inputs):
            if isinstance(operand, Tensor) and operand.dtype is not None:
                first = first if first is not None else operand.dtype
                if known is not None:
                    bound.setdefault(known.input_class(i), operand.dtype)

        def convert(index: int, operand: Operand) -> Tensor | None:
            if operand is None or isinstance(operand, Tensor):
                return operand
            cls = known.input_class(index) if known is not None else ""
            if cls.startswith("tensor("):
                return self.const(operand, FIXED[cls])
            if known is not None and cls in known.integer_classes:
                return self.const(operand, bound.get(cls, np.dtype(np.int64)))
            dtype = bound.get(cls, None if isinstance(operand, np.ndarray) else first)
            return self.const(operand, dtype)

        return tuple(convert(i, operand) for i, operand in enumerate(inputs))
