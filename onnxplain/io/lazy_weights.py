"""Lazy weights: large initializers stay in the model file until the explained model is written.

Nearly all of a model file is the `raw_data` of its initializers. Only the rest is parsed. Each large initializer is turned into
external data that refers to the model file itself, so that passes treat it like any weight that they must not read. Writing the
explained model copies the values from file to file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

__all__ = ["WORTHWHILE", "Held", "all_tensors", "external_in", "read_past"]

WORTHWHILE = 1 << 24
"""Files of at least so many bytes are read without their weights; smaller ones are parsed as fast."""

BIG = 1 << 16
"""Tensors of more bytes stay in the file. No pass reads the values of tensors that large."""

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""The numbers of the fields ModelProto.graph, GraphProto.initializer and TensorProto.raw_data."""

DELIMITED = 2
"""The wire type of strings, bytes and messages: a length, then the contents."""


@dataclass(frozen=True)
class Held:
    """An open model file whose large weights were not read.

    Attributes:
        file: the open file.
        name: its name, which the weights give as the location of their external data.
    """

    file: IO[bytes]
    name: str

    def tensors(self, model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
        """The tensors whose values are in this file."""
        return (t for t in all_tensors(model) if external_in(t, self.name))

    def embed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Read the values and store them in the model, in place.

        Args:
            model: a model some of whose tensors refer to this file.

        Returns:
            The same model.
        """
        for tensor in self.tensors(model):
            start, length = _place(tensor)
            self.file.seek(start)
            tensor.raw_data = self.file.read(length)
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
        return model

    def pieces(self, model: onnx.ModelProto) -> list[bytes | tuple[int, int]]:
        """The serialized model, as pieces that are written one after the other.

        Weights of the main graph are copied from this file. Weights in subgraphs and attributes are stored in the model first.

        Args:
            model: a model some of whose tensors refer to this file.

        Returns:
            Bytes, and ranges of this file as (start, length).
        """
        graph = model.graph
        own = [t for t in graph.initializer if external_in(t, self.name)]
        ids = {id(t) for t in own}
        skeleton = onnx.ModelProto()
        skeleton.CopyFrom(model)
        del skeleton.graph.initializer[:]
        skeleton.graph.initializer.extend(t for t in graph.initializer if id(t) not in ids)
        self.embed(skeleton)
        inner: list[bytes | tuple[int, int]] = [skeleton.graph.SerializeToString()]
        for tensor in own:
            start, length = _place(tensor)
            rest = onnx.TensorProto()
            rest.CopyFrom(tensor)
            rest.ClearField("data_location")
            rest.ClearField("external_data")
            head = rest.SerializeToString() + _tag(RAW_DATA, length)
            inner += [_tag(INITIALIZER, len(head) + length) + head, (start, length)]
        skeleton.ClearField("graph")
        size = sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in inner)
        return [skeleton.SerializeToString() + _tag(GRAPH, size), *inner]


def read_past(path: Path) -> tuple[onnx.ModelProto, Held | None]:
    """Parse a model file without its large weights.

    Args:
        path: the file. Its name must be its real one, not that of a link.

    Returns:
        The model, and the open file with the weights; None instead of the file if all weights were read.

    Raises:
        OSError: the file cannot be read.
        DecodeError: the file is not a model, or is truncated.
    """
    file = open(path, "rb")  # noqa: SIM115 - stays open as long as the weights are wanted
    model = onnx.ModelProto()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            model.ParseFromString(_skeleton(data, path.name))
        except (IndexError, ValueError):
            raise DecodeError("not a message, or cut off") from None
    lazy_weights = Held(file, path.name)
    nodes = (*model.graph.node, *(n for f in model.functions for n in f.node))
    if any(n.op_type == "BatchNormalization" for n in nodes):  # it is folded into weights, which needs their values
        lazy_weights.embed(model)
    if next(lazy_weights.tensors(model), None) is None:
        file.close()
        return model, None
    return model, lazy_weights


def external_in(tensor: onnx.TensorProto, name: str) -> bool:
    """Whether a tensor's values are stored in the file of this name."""
    return uses_external_data(tensor) and ExternalDataInfo(tensor).location == name


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of a model: initializers of its graphs (for training, too) and their subgraphs, and tensors in attributes."""
    graphs = [model.graph, *(g for t in model.training_info for g in (t.initialization, t.algorithm))]
    nodes = [n for f in model.functions for n in f.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            yield from (t for t in (attribute.t, *attribute.tensors) if t.data_type)
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs


def _place(tensor: onnx.TensorProto) -> tuple[int, int]:
    """Start and length of a tensor's values in the file."""
    info = ExternalDataInfo(tensor)
    return info.offset or 0, info.length or 0


# -- the wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding ---------------------------


def _skeleton(data: mmap.mmap, name: str) -> bytes:
    """The serialized model with each large initializer turned into external data in the file `name`."""
    outer: list[bytes] = []
    inner: list[bytes] = []
    for number, at, start, end in _fields(data, 0, len(data)):
        if number != GRAPH:
            outer.append(data[at:end])
            continue
        for inner_number, inner_at, inner_start, inner_end in _fields(data, start, end):
            large = inner_number == INITIALIZER and inner_end - inner_start > BIG
            inner.append(_unread(data, inner_start, inner_end, name) if large else data[inner_at:inner_end])
    graph = b"".join(inner)
    return b"".join((*outer, _tag(GRAPH, len(graph)), graph))


def _unread(data: mmap.mmap, start: int, end: int, name: str) -> bytes:
    """The field of one initializer, with its raw data replaced by a reference to the file."""
    kept, place = [], None
    for number, at, inner_start, inner_end in _fields(data, start, end):
        if number == RAW_DATA and inner_end - inner_start > BIG:
            place = inner_start, inner_end - inner_start
        else:
            kept.append(data[at:inner_end])
    tensor = onnx.TensorProto.FromString(b"".join(kept))
    if place is not None:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", name), ("offset", str(place[0])), ("length", str(place[1]))):
            tensor.external_data.add(key=key, value=value)
    message = tensor.SerializeToString()
    return _tag(INITIALIZER, len(message)) + message


def _fields(data: mmap.mmap, at: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: the field's number, where its tag starts, and where its value starts and ends.

    Raises:
        ValueError, IndexError: the bytes are not a message, or are truncated.
    """
    while at < stop:
        tag, start = _varint(data, at)
        kind = tag & 7
        if kind == DELIMITED:
            length, start = _varint(data, start)
            end = start + length
        elif kind == 0:
            _, end = _varint(data, start)
        elif kind in (1, 5):
            end = start + (8 if kind == 1 else 4)
        else:
            raise ValueError(f"wire type {kind}")
        if end > stop:
            raise ValueError("cut off")
        yield tag >> 3, at, start, end
        at = end


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A variable-length integer (groups of seven bits, the lowest first), and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _tag(number: int, length: int) -> bytes:
    """The tag and length that precede a length-delimited field."""
    made = bytearray([number << 3 | DELIMITED])
    while length > 127:
        made.append(length & 127 | 128)
        length >>= 7
    return bytes([*made, length])
