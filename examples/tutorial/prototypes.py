"""Prototypes of the tutorial study's network: by the class alone, with a density of the data, and through codes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from examples.tutorial.digits import SIDE, Digits
from onnxplain import GaussianRBM, Prototypes, prototype

CODE = 24
"""Numbers in a code."""
PENALTY, WEIGHT = 0.001, 0.005
"""Of ℓ2, and of the density: it counts 784 pixels, of which neighbours say nearly the same."""

Array = np.ndarray[Any, Any]


def search(digits: Digits, model: Path, classes: str | list[int] = "all") -> dict[str, Prototypes]:
    """Prototypes by the words that say how they were found."""
    expert = GaussianRBM.fit(digits.train[:5000])
    return {
        "class alone, ℓ2": prototype(model, classes, penalty={"l2": PENALTY}, bounds=(0, 1), starts=2),
        "density expert, RBM": prototype(model, classes, penalty=None, expert=expert, weight=WEIGHT, bounds=(0, 1), starts=2),
        "principal components": prototype(model, classes, penalty={"l2": 10 * PENALTY}, decoder=decoder(digits.train), starts=2),
    }


def decoder(x: Array) -> onnx.ModelProto:
    """picture = clip(mean + code · components), codes of deviation 1 along every axis."""
    rows = x.reshape(len(x), -1).astype(np.float64)
    mean = rows.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((rows - mean).T))
    kept = (axes[:, -CODE:] * np.sqrt(spread[-CODE:])).T
    values = {"components": np.float32(kept), "mean": np.float32(mean), "shape": np.array([-1, 1, SIDE, SIDE])}
    values |= {"low": np.float32(0), "high": np.float32(1)}
    nodes = [
        helper.make_node("Gemm", ["code", "components", "mean"], ["pixels"], name="pixels"),
        helper.make_node("Clip", ["pixels", "low", "high"], ["clipped"], name="clipped"),
        helper.make_node("Reshape", ["clipped", "shape"], ["picture"], name="picture"),
    ]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("code", onnx.TensorProto.FLOAT, ["batch", CODE])],
        [helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
