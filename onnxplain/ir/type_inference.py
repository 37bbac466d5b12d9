"""Data types of what an operator returns, as its schema and attributes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnxplain.ir.ops import claims
from onnxplain.ir.schema import Signature
from onnxplain.ir.tensor import Tensor

__all__ = ["FIXED", "RANDOM", "SEQUENCES", "output_dtype"]

RANDOM = claims("random")
"""Operators that give another result each time; never merged, never moved out of a loop."""

SEQUENCES = claims("makes_sequence")
"""Operators that make sequences."""

FIXED: dict[str, np.dtype[Any]] = {
    f"tensor({name})": np.dtype(dtype)
    for name, dtype in {
        "float": np.float32, "double": np.float64, "float16": np.float16, "bool": np.bool_, "int64": np.int64, "int32": np.int32,
        "int16": np.int16, "int8": np.int8, "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
    }.items()
}  # fmt: skip
"""Data types by the name a schema gives a fixed one."""


def output_dtype(
    op: str, known: Signature | None, index: int, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]
) -> np.dtype[Any] | None:
    if op in ("Cast", "EyeLike") or op in RANDOM:  # operators: an attribute of theirs names the type
        number = attributes.get("to", attributes.get("dtype"))
        if number is not None:
            return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
        return np.dtype(np.float32) if op in RANDOM and not inputs else _first_dtype(inputs)
    if op in SEQUENCES or op in ("SequenceAt", "ConcatFromSequence"):  # operators: what reads the elements of sequences
        element = attributes.get("dtype")
        return _first_dtype(inputs) if element is None else np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element))
    if op == "ConstantOfShape":
        value = attributes.get("value")
        return np.dtype(np.float32) if value is None else np.asarray(value).dtype
    if op == "LayerNormalization" and index:  # its statistics
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(attributes.get("stash_type") or onnx.TensorProto.FLOAT))
    if known is None:
        return _first_dtype(inputs)
    cls = known.output_class(index)
    if cls.startswith("tensor("):
        return FIXED.get(cls)
    for i, tensor in enumerate(inputs):
        if tensor is not None and tensor.dtype is not None and known.input_class(i) == cls:
            return tensor.dtype
    return None


def _first_dtype(inputs: Sequence[Tensor | None]) -> np.dtype[Any] | None:
    return next((t.dtype for t in inputs if t is not None and t.dtype is not None), None)
