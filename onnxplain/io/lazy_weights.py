"""Weights that stay in the model's own file: read past, and copied from file to file when the explained model is written.

A model file is one protocol-buffer message, and nearly all of it is the `raw_data` of initializers. What is parsed is the rest,
in which those tensors name their own file as external data: every pass treats them as weights it must not read.
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
"""Bytes from which a file is read so; smaller ones are parsed as quickly."""

BIG = 1 << 16
"""Bytes from which values stay where they are; no pass looks at the values of as large a tensor."""

GRAPH, INITIALIZER, RAW_DATA = 7, 5, 9
"""Numbers of the fields of ModelProto, GraphProto and TensorProto on the way."""

DELIMITED = 2
"""The wire type of texts, bytes and messages: their length, then they."""


@dataclass(frozen=True)
class Held:
    """An open model file with the weights that were left in it."""

    file: IO[bytes]
    name: str

    def tensors(self, model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
        """The tensors whose values lie in this file."""
        return (t for t in all_tensors(model) if external_in(t, self.name))

    def embed(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """Put the values into the model, in place."""
        for tensor in self.tensors(model):
            start, length = _place(tensor)
            self.file.seek(start)
            tensor.raw_data = self.file.read(length)
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
        return model

    def pieces(self, model: onnx.ModelProto) -> list[bytes | tuple[int, int]]:
        """The file of a model with its values: bytes, and the places of bytes in this file as (start, length).

        Values that lie in subgraphs or attributes are put into the model.
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
    """A model without its large weights, and what holds them; None where they are in the model as usual.

    Raises:
        OSError: the file cannot be read.
        DecodeError: it is no model, or is cut off.
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
    if any(n.op_type == "BatchNormalization" for n in nodes):  # folded into weights, whose values that takes
        lazy_weights.embed(model)
    if next(lazy_weights.tensors(model), None) is None:
        file.close()
        return model, None
    return model, lazy_weights


def external_in(tensor: onnx.TensorProto, name: str) -> bool:
    """Whether a tensor's values lie in the file of that name."""
    return uses_external_data(tensor) and ExternalDataInfo(tensor).location == name


def all_tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model: initializers, those of subgraphs, and those in attributes."""
    graphs = [model.graph]
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
    info = ExternalDataInfo(tensor)
    return info.offset or 0, info.length or 0


# -- the wire format of protocol buffers: https://protobuf.dev/programming-guides/encoding ---------------------------


def _skeleton(data: mmap.mmap, name: str) -> bytes:
    """The message without large weights, which become external data in the file `name`."""
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
    """The field of an initializer with its raw data left where it is."""
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
    """The fields of a message: number, where its tag starts, where its value starts and ends.

    Raises:
        ValueError, IndexError: it is no message, or is cut off.
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
    """A number in groups of seven bits, the lowest first, and where the next thing starts."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _tag(number: int, length: int) -> bytes:
    """What comes before a delimited field."""
    made = bytearray([number << 3 | DELIMITED])
    while length > 127:
        made.append(length & 127 | 128)
        length >>= 7
    return bytes([*made, length])
