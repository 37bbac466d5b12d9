"""Tensors that hold what they say: types that exist, extents that are none too small, as many numbers as these ask for."""

from __future__ import annotations

from math import prod
from pathlib import Path

import onnx
from onnx import TensorProto

from onnxplain.errors import ModelError
from onnxplain.io.lazy_weights import all_tensors

__all__ = ["check_tensors", "external_place"]

BITS: dict[int, int] = {
    TensorProto.FLOAT: 32, TensorProto.UINT8: 8, TensorProto.INT8: 8, TensorProto.UINT16: 16, TensorProto.INT16: 16,
    TensorProto.INT32: 32, TensorProto.INT64: 64, TensorProto.BOOL: 8, TensorProto.FLOAT16: 16, TensorProto.DOUBLE: 64,
    TensorProto.UINT32: 32, TensorProto.UINT64: 64, TensorProto.COMPLEX64: 64, TensorProto.COMPLEX128: 128,
    TensorProto.BFLOAT16: 16, TensorProto.FLOAT8E4M3FN: 8, TensorProto.FLOAT8E4M3FNUZ: 8, TensorProto.FLOAT8E5M2: 8,
    TensorProto.FLOAT8E5M2FNUZ: 8, TensorProto.UINT4: 4, TensorProto.INT4: 4, TensorProto.FLOAT4E2M1: 4,
}  # fmt: skip
"""Bits of an element, by data type. Types that are newer than these are left to onnx."""

FIELDS: dict[int, str] = {
    TensorProto.FLOAT: "float_data", TensorProto.COMPLEX64: "float_data", TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data", TensorProto.INT64: "int64_data", TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data", TensorProto.STRING: "string_data",
}  # fmt: skip
"""Where numbers lie that are not raw, by data type; `int32_data` for all others."""

DENSE_BYTES = 1 << 31
"""Bytes that a sparse tensor may take once its zeros are written out."""


def check_tensors(model: onnx.ModelProto, folder: Path | None, name: str) -> None:
    """Check every tensor of a model: initializers, and those in attributes.

    Raises:
        ModelError: a tensor is none; its name and what is wrong.
    """
    for tensor in all_tensors(model):
        problem = _problem(tensor)
        if problem:
            raise ModelError(f"{name} is damaged: the tensor '{tensor.name}' {problem}; export it again")
        if tensor.data_location == TensorProto.EXTERNAL and folder is not None:
            external_place(tensor, folder)
    for sparse in (*model.graph.sparse_initializer, *_sparse_attributes(model)):
        problem = _problem(sparse.values) or _problem(sparse.indices) or _sparse_problem(sparse)
        if problem:
            raise ModelError(f"{name} is damaged: the sparse tensor '{sparse.values.name}' {problem}; export it again")


def _problem(tensor: TensorProto) -> str:
    """What is wrong with a tensor, in words; "" where nothing is."""
    kind = tensor.data_type
    if kind == TensorProto.UNDEFINED or kind not in TensorProto.DataType.values():
        return f"has no data type that exists ({kind})"
    if any(d < 0 for d in tensor.dims):
        return f"has a negative extent: {list(tensor.dims)}"
    if tensor.HasField("segment"):
        return "is stored in segments, which nothing reads"
    if tensor.data_location == TensorProto.EXTERNAL:
        return "holds text, which cannot be external data" if kind == TensorProto.STRING else ""
    count, bits = prod(tensor.dims), BITS.get(kind)
    if tensor.HasField("raw_data"):
        if kind == TensorProto.STRING:
            return "holds text as raw data"
        wanted = None if bits is None else (count * bits + 7) // 8
        found = len(tensor.raw_data)
        return "" if wanted in (None, found) else f"{list(tensor.dims)} needs {wanted:,} bytes, it has {found:,}"
    if bits is None and kind != TensorProto.STRING:
        return ""
    wanted = 2 * count if kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128) else count
    wanted = (count + 1) // 2 if bits == 4 else wanted
    found = len(getattr(tensor, FIELDS.get(kind, "int32_data")))
    return "" if wanted == found else f"{list(tensor.dims)} needs {wanted:,} numbers, it has {found:,}"


def _sparse_attributes(model: onnx.ModelProto) -> list[onnx.SparseTensorProto]:
    nodes = [*model.graph.node, *(n for f in model.functions for n in f.node)]
    return [a.sparse_tensor for n in nodes for a in n.attribute if a.type == onnx.AttributeProto.SPARSE_TENSOR]


def _sparse_problem(sparse: onnx.SparseTensorProto) -> str:
    if any(d < 0 for d in sparse.dims):
        return f"has a negative extent: {list(sparse.dims)}"
    size, count, places = prod(sparse.dims), prod(sparse.values.dims), list(sparse.indices.dims)
    if size * BITS.get(sparse.values.data_type, 64) // 8 > DENSE_BYTES:
        return f"takes more than {DENSE_BYTES:,} bytes with its zeros: {list(sparse.dims)}"
    if len(sparse.values.dims) != 1 or places not in ([count], [count, len(sparse.dims)]):
        return f"has {count} values and places {places}"
    if sparse.indices.data_type != TensorProto.INT64:
        return "has places that are no int64"
    found = onnx.numpy_helper.to_array(sparse.indices)
    limits = size if found.ndim == 1 else list(sparse.dims)
    return "has places beyond its extents" if ((found < 0) | (found >= limits)).any() else ""


def external_place(tensor: TensorProto, folder: Path) -> tuple[Path, int, int]:
    """Where the values of a tensor lie in another file.

    Args:
        tensor: a tensor with external data.
        folder: the folder of the model.

    Returns:
        The file, where they start in it, and their length, in bytes.

    Raises:
        ModelError: the place is none, lies outside the folder once links are followed, or the file is missing or too short.
    """
    given = {entry.key: entry.value for entry in tensor.external_data}
    location, whose = given.get("location", ""), f"the external data of '{tensor.name}'"
    if not location or "\0" in location:
        raise ModelError(f"{whose} names no file: {location!r}; export the model again")
    start, length = (_number(given.get(key), key, whose) for key in ("offset", "length"))
    path = folder / location
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        size = path.stat().st_size if path.is_file() else None
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{whose} cannot be read: {error}") from None
    if not inside:
        raise ModelError(f"{whose} lies outside the folder of the model: '{location}'; keep a copy beside the model")
    if size is None:
        raise ModelError(f"{whose} is missing: no file at {path}; keep it beside the model")
    bits = BITS.get(tensor.data_type)
    wanted = None if bits is None else (prod(tensor.dims) * bits + 7) // 8
    if length and wanted not in (None, length):
        raise ModelError(f"{whose} has {length:,} bytes, {list(tensor.dims)} needs {wanted:,}; export the model again")
    length = length or wanted or 0
    if size < start + length:
        raise ModelError(
            f"the external data file {path} is cut off: '{tensor.name}' needs {start + length:,} bytes, it has {size:,}"
        )
    return path, start, length


def _number(text: str | None, key: str, whose: str) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{whose} has no number as {key}: {text[:40]!r}; export the model again")
    return int(text)
