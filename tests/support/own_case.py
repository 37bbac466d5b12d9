"""The form of a test point of our own: an operator, or a small graph, with its inputs.

An input is a shape (standard normal values), `positive(shape)`, an array, or None for "left out". Integer and boolean
arrays are parameters; every floating-point input gets its gradient checked. Values are moved a little off kinks unless
they are `exact`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx


@dataclass(frozen=True)
class positive:
    """Values between 0.5 and 1.5."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class Own:
    """One operator application; `outputs` names of the outputs to ask for, "" for those left out."""

    name: str
    op: str
    inputs: Sequence[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 21
    outputs: Sequence[str] = ("y",)
    domain: str = ""
    exact: bool = False

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The values of the inputs that are there."""
        generator = np.random.default_rng(zlib.crc32(self.name.encode()))
        return [_array(i, generator) for i in self.inputs if i is not None]

    def model(self) -> onnx.ModelProto:
        """The one-node model."""
        names = ["" if i is None else f"x{n}" for n, i in enumerate(self.inputs)]
        given = [n for n in names if n]
        inputs = [
            onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in zip(given, self.arrays(), strict=True)
        ]
        node = onnx.helper.make_node(self.op, names, list(self.outputs), domain=self.domain, **self.attributes)
        outputs = [onnx.helper.make_empty_tensor_value_info(o) for o in self.outputs if o]
        graph = onnx.helper.make_graph([node], self.name, inputs, outputs)
        imports = [onnx.helper.make_opsetid("", self.opset)]
        if self.domain:
            imports.append(onnx.helper.make_opsetid(self.domain, 1))
        model = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
        inferred = onnx.shape_inference.infer_shapes(model)
        for output in inferred.graph.output:
            if not output.type.HasField("tensor_type"):  # inference knows nothing: a float tensor
                output.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        return inferred


@dataclass(frozen=True)
class OwnGraph:
    """A graph of a few operators on inputs of standard normal values, in ONNX's text form."""

    name: str
    text: str
    opset: int = 18
    exact: bool = False

    def model(self) -> onnx.ModelProto:
        """The model."""
        header = f'<ir_version: 10, opset_import: ["" : {self.opset}]> graph '
        return onnx.shape_inference.infer_shapes(onnx.parser.parse_model(header + self.text))

    def arrays(self) -> list[np.ndarray[Any, Any]]:
        """The values of the inputs."""
        generator = np.random.default_rng(zlib.crc32(self.name.encode()))
        shapes = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in self.model().graph.input]
        return [_array(tuple(shape), generator) for shape in shapes]


def _array(given: Any, generator: np.random.Generator) -> np.ndarray[Any, Any]:
    if isinstance(given, positive):
        return generator.uniform(0.5, 1.5, given.shape).astype(np.float32)
    if isinstance(given, tuple):
        return generator.standard_normal(given).astype(np.float32)
    array = np.asarray(given)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def ints(*values: int) -> np.ndarray[Any, Any]:
    """A parameter: int64 [n]."""
    return np.array(values, np.int64)
