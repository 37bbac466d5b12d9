"""Reading a model from a path, bytes or a ModelProto. External weights are not read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from onnxplain.errors import ModelError
from onnxplain.io.border import check_border
from onnxplain.io.lazy_weights import WORTHWHILE, Held, all_tensors, read_past
from onnxplain.io.no_model import no_model_in_words
from onnxplain.io.origin import Origin

__all__ = ["ModelLike", "Source", "external_tensors", "read", "read_bytes"]

ModelLike: TypeAlias = "str | os.PathLike[str] | bytes | onnx.ModelProto"
"""A model: a path, the bytes of a file, or a ModelProto."""


@dataclass(frozen=True)
class Source:
    """A model as the user passed it.

    Attributes:
        model: a copy that belongs to us.
        folder: the folder of its external data; None if unknown.
        digest: computes the SHA-256, or waits until it is computed.
        name: the file's name, or the graph's.
        passes: the passes of the preparation that changed something; None before the preparation ran.
        lazy_weights: the model's file, if large weights were left in it.
        origin: what the user passed: the bytes of a small file, the path of a large one.
    """

    model: onnx.ModelProto
    folder: Path | None
    digest: Callable[[], str]
    name: str
    passes: tuple[str, ...] | None = None
    lazy_weights: Held | None = None
    origin: Origin | None = None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file's bytes; for a ModelProto, of the serialized message."""
        return self.digest()

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: the digest in place of what computes it, and weights that were left in a file."""
        whole = self if self.lazy_weights is None else self.copy()
        if self.lazy_weights is not None:
            self.lazy_weights.embed(whole.model)
        return {**vars(whole), "digest": partial(str, self.sha256), "lazy_weights": None}

    def copy(self) -> Source:
        """The same source with a copy of the model."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        return replace(self, model=model)


def read(model: ModelLike, *, hold: bool = False) -> Source:
    """Read a model.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        hold: whether to leave the weights of a large file unread; `Source.lazy_weights` then has them.

    Returns:
        The model with its name, folder and digest.

    Raises:
        ModelError: the file does not exist, is not an ONNX model, is truncated, or its external data is missing or truncated; or
            what is given is none of these.
    """
    if isinstance(model, onnx.ModelProto):
        data = model.SerializeToString(deterministic=True)
        return read_bytes(data, None, model.graph.name or "model")
    if isinstance(model, bytes):
        return read_bytes(model, None, "model")
    if not isinstance(model, str | os.PathLike):
        raise ModelError(no_model_in_words(model))
    path = Path(model)
    try:
        if hold and path.stat().st_size >= WORTHWHILE:
            return _held(path)
        origin = Origin.of_file(path.resolve())
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"no file at {path}") from None
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    return read_bytes(data, path.resolve().parent, path.name, origin if len(data) >= WORTHWHILE else None)


def read_bytes(data: bytes, folder: Path | None, name: str, origin: Origin | None = None) -> Source:
    """Read a model from the bytes of its file.

    Args:
        data: the bytes.
        folder: the folder of its external data; None if unknown.
        name: what errors call it.
        origin: what the user passed; None for these bytes.

    Raises:
        ModelError: as `read`.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        raise _no_model(name, len(data)) from None
    _check(model, folder, name, len(data))
    digest = hashlib.sha256(data).hexdigest()
    return Source(model, folder, lambda: digest, name, origin=origin or Origin(data))


def _held(path: Path) -> Source:
    """A model whose large weights stay in its file. A thread computes the file's digest meanwhile."""
    size, folder, origin = path.stat().st_size, path.resolve().parent, Origin.of_file(path.resolve())
    pool = ThreadPoolExecutor(1)
    digest = pool.submit(_digest, path).result
    pool.shutdown(wait=False)
    try:
        model, lazy_weights = read_past(path.resolve())  # a link may have another name than the file, which the weights name
    except DecodeError:
        raise _no_model(path.name, size) from None
    _check(model, folder, path.name, size)
    return Source(model, folder, digest, path.name, lazy_weights=lazy_weights, origin=origin)


def _digest(path: Path) -> str:
    computed = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            computed.update(part)
    return computed.hexdigest()


def _no_model(name: str, size: int) -> ModelError:
    return ModelError(f"{name} is no ONNX model, or is cut off ({size:,} bytes cannot be decoded)")


def _check(model: onnx.ModelProto, folder: Path | None, name: str, size: int) -> None:
    """Check that nothing is missing: a file that was cut off between two fields still decodes."""
    if not model.HasField("graph") or not model.opset_import or not (model.graph.node or model.graph.output):
        raise ModelError(f"{name} is no ONNX model: it holds no graph ({size:,} bytes)")
    check_border(model, folder, name)


def external_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The initializers whose values are stored in other files."""
    return (t for t in all_tensors(model) if uses_external_data(t))
