"""A model repository for NVIDIA's Triton Inference Server, which batches requests by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.errors import OutputError
from onnxplain.io.lazy_weights import Held
from onnxplain.io.writer import write_file, write_model

__all__ = ["triton_config", "write_triton"]

TYPES = {
    **{kind: kind for kind in ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "STRING")},
    "FLOAT16": "FP16",
    "FLOAT": "FP32",
    "DOUBLE": "FP64",
    "BFLOAT16": "BF16",
}
"""Triton's names of ONNX's element types (its model configuration, "datatypes")."""

DELAY = 500
"""Microseconds that a request waits for others, at most."""


def write_triton(
    model: onnx.ModelProto,
    about: Mapping[str, Any],
    folder: Path,
    name: str,
    *,
    source: Path | None = None,
    lazy_weights: Held | None = None,
    most: int = 32,
    instances: int = 1,
) -> Path:
    """Write an explained model into a model repository: `<folder>/<name>/config.pbtxt` and `<folder>/<name>/1/model.onnx`.

    Args:
        model: the explained model.
        about: what its metadata says.
        folder: the repository; it is made where there is none.
        name: what the server calls the model.
        source: the folder of its external data.
        lazy_weights: as in `write_model`.
        most: requests that the server runs together, at most.
        instances: how many of the model the server runs at a time.

    Returns:
        The folder of the model.

    Raises:
        OutputError: an input or output is no tensor of a type that Triton has, or nothing can be written there.
    """
    config = triton_config(model, about, name, most, instances)
    made = folder / name
    try:
        (made / "1").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {made}: {error.strerror}") from None
    write_model(model, made / "1" / "model.onnx", source, lazy_weights)
    write_file(made / "config.pbtxt", config.encode())
    return made


def triton_config(model: onnx.ModelProto, about: Mapping[str, Any], name: str, most: int = 32, instances: int = 1) -> str:
    """The server's configuration of an explained model.

    Where the first axis of every input and output counts samples and is free, the server batches requests. It is then told
    the shape of one sample; `target`, one number per sample, is `[n, 1]` for clients and reshaped to the `[n]` of the file.

    Args:
        model: the explained model.
        about: what its metadata says.
        name, most, instances: as in `write_triton`.

    Raises:
        OutputError: an input or output is no tensor of a type that Triton has.
    """
    values = [*model.graph.input, *model.graph.output]
    batched = all(_free(v, about) for v in values)
    parts = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {most if batched else 0}"]
    parts += [_tensor("input", v, batched) for v in model.graph.input]
    parts += [_tensor("output", v, batched) for v in model.graph.output]
    if batched:
        parts.append(f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY} }}")
    parts.append(f"instance_group [ {{ count: {instances} kind: KIND_AUTO }} ]")
    warm = _warm_up(model.graph.input, about, batched)
    return "\n".join([*parts, *([warm] if warm else [])]) + "\n"


def _free(value: onnx.ValueInfoProto, about: Mapping[str, Any]) -> bool:
    """Whether the first axis of an input or output counts samples and takes any number."""
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and about["sample_axes"].get(value.name) == 0 and not dims[0].HasField("dim_value")


def _tensor(kind: str, value: onnx.ValueInfoProto, batched: bool) -> str:
    extents, type_name = _extents(value, batched), _type(value)
    flat = batched and not extents  # one number per sample: servers want an axis for it
    shape = ", ".join(map(str, [1] if flat else extents))
    reshape = " reshape { shape: [ ] }" if flat else ""
    return f'{kind} [ {{ name: "{value.name}" data_type: TYPE_{type_name} dims: [ {shape} ]{reshape} }} ]'


def _extents(value: onnx.ValueInfoProto, batched: bool) -> list[int]:
    dims = value.type.tensor_type.shape.dim
    return [d.dim_value if d.HasField("dim_value") else -1 for d in dims][int(batched) :]


def _type(value: onnx.ValueInfoProto) -> str:
    tensor = value.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape") or kind not in TYPES:
        raise OutputError(
            f"'{value.name}' is no tensor that Triton can serve; leave the model's own outputs out with only_attribution "
            "(--only-attribution), or drop what is no tensor from the model"
        )
    return TYPES[kind]


def _warm_up(inputs: Sequence[onnx.ValueInfoProto], about: Mapping[str, Any], batched: bool) -> str:
    """A run of zeros before the first request; "" where the extents of a sample are not known, or the model takes text."""
    parts = []
    chosen = about["run_time_inputs"].get("target")
    for value in inputs:
        extents, kind = _extents(value, batched), _type(value)
        if kind == "STRING" or (not batched and value.name == chosen):
            return ""
        if any(e < 0 for e in extents):
            return ""
        shape = ", ".join(map(str, extents or [1]))
        data = "zero_data: true" if np.prod(extents or [1]) else ""
        parts.append(f'inputs {{ key: "{value.name}" value {{ data_type: TYPE_{kind} dims: [ {shape} ] {data} }} }}')
    size = "batch_size: 1 " if batched else ""
    return f'model_warmup [ {{ name: "zeros" {size}{" ".join(parts)} }} ]'
