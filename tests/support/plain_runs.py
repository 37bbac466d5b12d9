"""Models run without ONNX Runtime's optimizations, for numbers that fusion would round otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from onnxplain import rewrite


def run(made: onnx.ModelProto, feeds: dict[str, Any]) -> dict[str, Any]:
    """All outputs, every node computed as it stands."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def gradient(made: onnx.ModelProto, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """The message that a seed on the output becomes on the input."""
    explained = rewrite(made, target="cotangent", score="probability")
    name = made.graph.input[0].name
    return np.asarray(run(explained, {name: x, "seed": cotangent})[f"{name}_attribution"])
