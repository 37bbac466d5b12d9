"""Nodes that were emitted and do not lie in a file yet, and how they are written into one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from onnxplain.errors import ModelError
from onnxplain.ir.tensor import Tensor

__all__ = ["Body", "Emitted", "image_infos", "needed", "tensor_proto", "value_info", "written"]

SAME: Mapping[str, str] = {}
"""No tensor is called otherwise in the file."""


@dataclass(frozen=True, eq=False)
class Emitted:
    """An operator application made by the builder. One that `replaces` a node of the model also makes all that the node made,
    from what the node read."""

    op: str
    domain: str
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    attributes: Mapping[str, Any]
    replaces: str = ""


@dataclass(frozen=True, eq=False)
class Body:
    """A subgraph made by the builder: the value of a graph attribute."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    nodes: tuple[Emitted, ...]

    def captures(self) -> Iterable[Tensor]:
        """The tensors the body reads from outside, through bodies within it too."""
        own = {t.name for t in self.inputs} | {t.name for c in self.nodes for t in c.outputs}
        for node in self.nodes:
            nested = (t for a in node.attributes.values() if isinstance(a, Body) for t in a.captures())
            for tensor in (*node.inputs, *nested):
                if tensor is not None and tensor.name not in own:
                    yield tensor


def needed(nodes: Sequence[Emitted], outputs: Iterable[Tensor]) -> list[Emitted]:
    """The nodes that the outputs depend on, in their order.

    Args:
        nodes: in topological order.
        outputs: the tensors that are asked for.
    """
    wanted = {t.name for t in outputs}
    kept: list[Emitted] = []
    for node in reversed(nodes):
        if any(t.name in wanted for t in node.outputs):
            kept.append(node)
            wanted.update(t.name for t in node.inputs if t is not None)
            wanted.update(t.name for a in node.attributes.values() if isinstance(a, Body) for t in a.captures())
    return kept[::-1]


def written(node: Emitted, names: Mapping[str, str] = SAME) -> onnx.NodeProto:
    """The node as a file holds it, subgraphs with only what their outputs need.

    Args:
        node: what was emitted.
        names: what tensors are called in the file, where not as they were emitted.
    """
    made = onnx.NodeProto(
        op_type=node.op,
        domain=node.domain,
        name=node.name,
        input=["" if t is None else names.get(t.name, t.name) for t in node.inputs],
        output=[names.get(t.name, t.name) for t in node.outputs],
    )
    for name, value in node.attributes.items():
        if isinstance(value, Body):
            value = _graph(value, f"{node.name}/{name}", names)
        elif isinstance(value, np.ndarray):
            value = tensor_proto("", value)
        made.attribute.append(onnx.helper.make_attribute(name, value))
    return made


def _graph(body: Body, name: str, names: Mapping[str, str]) -> onnx.GraphProto:
    nodes = needed(body.nodes, body.outputs)
    inputs, outputs = ([value_info(t, names, typed=False) for t in tensors] for tensors in (body.inputs, body.outputs))
    images = image_infos(nodes, {t.name for t in body.outputs}, names)
    return onnx.helper.make_graph([written(node, names) for node in nodes], name, inputs, outputs, value_info=images)


def image_infos(nodes: Iterable[Emitted], ends: Iterable[str], names: Mapping[str, str] = SAME) -> list[onnx.ValueInfoProto]:
    """Types and extents of image tensors between emitted nodes.

    ONNX Runtime keeps its layout for convolutions only where extents are provably equal, and cannot follow the names of extents
    through everything that rules emit.

    Args:
        nodes: what was emitted.
        ends: names of tensors that the graph states as its outputs.
        names: as in `written`.
    """
    stated = set(ends)
    made = (t for node in nodes for t in node.outputs if t.name not in stated)
    return [value_info(t, names) for t in made if t.dtype is not None and t.shape is not None and len(t.shape) == 4]


def value_info(tensor: Tensor, names: Mapping[str, str] = SAME, *, typed: bool = True) -> onnx.ValueInfoProto:
    """What a graph says of its inputs and outputs.

    Args:
        tensor: the input or output.
        names: as in `written`.
        typed: whether its type must be known.

    Raises:
        ModelError: it is not.
    """
    name = names.get(tensor.name, tensor.name)
    if tensor.dtype is None:
        if typed:
            raise ModelError(f"the data type of '{name}' is unknown; re-export the model with type information")
        return onnx.helper.make_empty_tensor_value_info(name)
    element = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
    make = onnx.helper.make_tensor_sequence_value_info if tensor.is_sequence else onnx.helper.make_tensor_value_info
    return make(name, element, tensor.shape)


def tensor_proto(name: str, array: np.ndarray[Any, Any]) -> onnx.TensorProto:
    """A constant as a file holds it."""
    return onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
