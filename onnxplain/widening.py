"""Relevance in float32 for models in half precision: rules see calls whose tensors are cast, weights included.

A share R / z needs more digits and a wider range than float16 has. The model's own forward pass stays as it is; what rules
replay runs in float32, and runtimes fold the casts of weights when they load the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain.builder import Builder
from onnxplain.call import Call
from onnxplain.tensor import Tensor

__all__ = ["Widening", "narrowed"]

LIKE = Tensor("", np.dtype(np.float32))


def is_half(tensor: Tensor) -> bool:
    """Whether this is a tensor of 16-bit floats."""
    return tensor.message_dtype is not None and tensor.message_dtype.itemsize == 2


def narrowed(b: Builder, message: Tensor, like: Tensor) -> Tensor:
    """A message in the type of a 16-bit tensor, for graphs that say so; any other as it is."""
    return replace(b.cast(message, like), shape=message.shape) if is_half(like) else message


class Widening:
    """Makes float32 twins of calls and messages; without `wanted` everything stays as it is."""

    def __init__(self, b: Builder, *, wanted: bool) -> None:
        self.b = b
        self.wanted = wanted
        self._origins: dict[str, Tensor] = {}

    def tensor(self, tensor: Tensor) -> Tensor:
        """A 16-bit tensor in float32; any other itself."""
        if not self.wanted or not is_half(tensor):
            return tensor
        made = replace(self.b.cast(tensor, LIKE), shape=tensor.shape)
        self._origins[made.name] = tensor
        return made

    def message_dtype(self, tensor: Tensor) -> np.dtype[Any] | None:
        """The type of a tensor's messages."""
        return LIKE.dtype if self.wanted and is_half(tensor) else tensor.message_dtype

    def call(self, call: Call) -> Call:
        """The call on float32 tensors. One that runs subgraphs stays: they name the types of what goes through them."""
        if not self.wanted or call.bodies:
            return call
        seen = [t for c in (call, *call.parts) for t in (*c.inputs, *c.outputs) if t is not None]
        values = {t: self.tensor(t) for t in dict.fromkeys(seen) if is_half(t)}
        return _moved(call, values) if values else call

    def known(self, fact: Callable[[Tensor], bool]) -> Callable[[Tensor], bool]:
        """What is known of a tensor holds for its twin."""
        return lambda tensor: fact(self._origins.get(tensor.name, tensor))


def _moved(call: Call, values: Mapping[Tensor, Tensor]) -> Call:
    """The call reading and making other tensors."""
    outputs = tuple(t if t is None else values.get(t, t) for t in call.outputs)
    return replace(call.reading(values), outputs=outputs, parts=tuple(_moved(part, values) for part in call.parts))
