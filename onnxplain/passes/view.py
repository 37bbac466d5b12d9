"""Nodes as they lie in a file, as patterns see them."""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from onnxplain.ir.edit import reads
from onnxplain.ir.tensor import Shape
from onnxplain.passes.tidy import constant_tensor

__all__ = ["FileView"]

SMALL = 4096
"""Elements up to which a constant is read."""


class FileView:
    """One graph of a file; tensors are their names.

    Args:
        graph: what is searched.
        outside: the initializers of the graphs around it, by name.

    Attributes:
        constants: by name; a pass that writes nodes on constants adds what these make, with extents and type alone.
        makers: the nodes by the first tensor that they make, which a pass keeps up to date.
    """

    def __init__(self, graph: onnx.GraphProto, outside: Mapping[str, onnx.TensorProto] | None = None) -> None:
        written = {n.output[0]: t for n in graph.node if (t := constant_tensor(n)) is not None}
        self.constants = ChainMap({**written, **{t.name: t for t in graph.initializer}}, dict(outside or {}))
        self.makers = {n.output[0]: n for n in graph.node if n.output}
        self._graph = graph

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        graph = self._graph
        values = (*graph.value_info, *graph.input, *graph.output)
        typed = {v.name: v.type.tensor_type for v in values if v.type.tensor_type.HasField("shape")}
        return {
            name: tuple(d.dim_param or None if not d.HasField("dim_value") else d.dim_value for d in kind.shape.dim)
            for name, kind in typed.items()
        }

    @cached_property
    def _readers(self) -> Counter[str]:
        """How often each tensor is read; an output of the graph once more than enough."""
        read = Counter(name for node in self._graph.node for name in reads(node))
        read.update({o.name: 2 for o in self._graph.output})
        return read

    def name(self, value: str) -> str:
        return value

    def maker(self, value: str) -> onnx.NodeProto | None:
        return self.makers.get(value)

    def operator(self, node: onnx.NodeProto) -> str:
        return f"{node.domain}.{node.op_type}" if node.domain else node.op_type

    def inputs(self, node: onnx.NodeProto) -> Sequence[str | None]:
        return [name or None for name in node.input]

    def constant(self, value: str) -> np.ndarray[Any, Any] | None:
        tensor = self.constants.get(value)
        if tensor is None or tensor.external_data or int(np.prod(tensor.dims)) > SMALL:
            return None
        return numpy_helper.to_array(tensor)

    def is_constant(self, value: str) -> bool:
        return value in self.constants

    def shape(self, value: str) -> Shape:
        constant = self.constants.get(value)
        return self._shapes.get(value) if constant is None else tuple(constant.dims)

    def attribute(self, node: onnx.NodeProto, name: str) -> Any:
        return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)

    def is_shared(self, value: str) -> bool:
        return self._readers[value] > 1
