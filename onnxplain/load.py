"""Reading a model: from a path, bytes or a ModelProto, with external weights left unread."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from onnxplain.errors import ModelError

__all__ = ["ModelLike", "Source", "external_tensors", "read"]

ModelLike: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto"
"""What the user may hand over as a model."""


@dataclass(frozen=True)
class Source:
    """A model as it was handed over.

    `model` is our own copy, `folder` where its external data lies (None when unknown), `sha256` the digest of the file's
    bytes (of the serialized message for a ModelProto). `passes` names those of the preparation that changed something,
    None before it ran.
    """

    model: onnx.ModelProto
    folder: Path | None
    sha256: str
    name: str
    passes: tuple[str, ...] | None = None

    def copy(self) -> Source:
        """The same source with a model of its own."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        return replace(self, model=model)


def read(model: ModelLike) -> Source:
    """Read a model.

    Raises:
        ModelError: the file does not exist, is no ONNX model or is cut off, or its external data is missing or cut off.
    """
    if isinstance(model, onnx.ModelProto):
        data = model.SerializeToString(deterministic=True)
        return _parsed(data, None, model.graph.name or "model")
    if isinstance(model, bytes):
        return _parsed(model, None, "model")
    path = Path(model)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"no file at {path}") from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    return _parsed(data, path.resolve().parent, path.name)


def _parsed(data: bytes, folder: Path | None, name: str) -> Source:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise ModelError(f"{name} is no ONNX model, or is cut off ({len(data):,} bytes cannot be decoded)") from None
    if not model.HasField("graph") or not model.opset_import or not (model.graph.node or model.graph.output):
        raise ModelError(f"{name} is no ONNX model: it holds no graph ({len(data):,} bytes)")
    _check_whole(model, name)
    if folder is not None:
        _check_external(model, folder)
    return Source(model, folder, hashlib.sha256(data).hexdigest(), name)


def _check_whole(model: onnx.ModelProto, name: str) -> None:
    """A file cut at a message boundary still decodes: everything that is read must be there."""
    graph = model.graph
    known = {v.name for v in graph.input} | {i.name for i in graph.initializer}
    known |= {i.values.name for i in graph.sparse_initializer} | {o for n in graph.node for o in n.output}
    lost = [o.name for o in graph.output if o.name not in known]
    lost += [i for n in graph.node for i in n.input if i and i not in known]
    if lost or not graph.output:
        what = f"'{lost[0]}' is used but nothing makes it" if lost else "it has no outputs"
        raise ModelError(f"{name} is damaged or cut off: {what}; export it again")


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The initializers whose data lies in other files."""
    return (t for t in model.graph.initializer if uses_external_data(t))


def _check_external(model: onnx.ModelProto, folder: Path) -> None:
    for tensor in external_tensors(model):
        info = ExternalDataInfo(tensor)
        path = folder / info.location
        if not path.is_file():
            raise ModelError(f"the external data of '{tensor.name}' is missing: no file at {path}; keep it beside the model")
        end = (info.offset or 0) + (info.length or 0)
        size = path.stat().st_size
        if size < end:
            raise ModelError(f"the external data file {path} is cut off: '{tensor.name}' needs {end:,} bytes, it has {size:,}")
