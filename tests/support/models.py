"""Small models made by hand, and running them: what many tests share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

FLOAT = onnx.TensorProto.FLOAT


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, Sequence[Any] | None],
    weights: Mapping[str, Any] | None = None,
    *,
    opset: int = 18,
    kinds: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A model of the given nodes. `kinds` gives the element type of inputs and outputs that are not float32."""
    kinds = kinds or {}

    def info(name: str, shape: Sequence[Any] | None) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kinds.get(name, FLOAT), shape)

    graph = helper.make_graph(
        list(nodes),
        "graph",
        [info(n, s) for n, s in inputs.items()],
        [info(n, s) for n, s in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(w), n) for n, w in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs as words in one text."""
    return helper.make_node(op, inputs.split(), outputs.split(), name=name or outputs.split()[0], **attributes)


def run(made: onnx.ModelProto, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """All outputs by name, on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(feeds)), strict=True))


def slopes(
    made: onnx.ModelProto, feeds: Mapping[str, Any], source: str, output: str, seed: Any, step: float = 1e-2
) -> np.ndarray[Any, Any]:
    """Gradient of <seed, output> by central differences element by element, in float32 on ONNX Runtime.

    Exact up to rounding for models that are at most quadratic along each element.
    """
    x = np.asarray(feeds[source])
    result = np.zeros(x.size)
    for i in range(x.size):
        values = []
        for sign in (1, -1):
            moved = x.copy().ravel()
            moved[i] += sign * step
            values.append(float(np.sum(run(made, {**feeds, source: moved.reshape(x.shape)})[output].astype(np.float64) * seed)))
        result[i] = (values[0] - values[1]) / (2 * step)
    return result.reshape(x.shape)
