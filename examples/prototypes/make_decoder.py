"""Train a decoder of digits with scikit-learn and write it as ONNX: eight numbers in, a picture of 8×8 pixels out.

Any generator exported to ONNX will do in its place. This one is the second half of an autoencoder; its code is whitened, so that
codes of real digits have mean 0 and deviation 1 along every axis, and the ℓ2 penalty on a code means what it should.

Run: python examples/prototypes/make_decoder.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPRegressor

CODE = 8


def train(rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the decoder's two layers, on whitened codes."""
    network = MLPRegressor(hidden_layer_sizes=(128, CODE, 128), activation="tanh", max_iter=300, random_state=0)
    network.fit(rows, rows)
    weights, biases = network.coefs_, network.intercepts_
    codes = np.tanh(np.tanh(rows @ weights[0] + biases[0]) @ weights[1] + biases[1])
    spread, axes = np.linalg.eigh(np.cov(codes.T))
    unwhiten = (axes * np.sqrt(spread)).T  # code = z · unwhiten + mean
    first = unwhiten @ weights[2], codes.mean(axis=0) @ weights[2] + biases[2]
    return [first, (weights[3], biases[3])]


def decoder(layers: list[tuple[np.ndarray, np.ndarray]]) -> onnx.ModelProto:
    """picture = clip(tanh(z·W₁ + b₁)·W₂ + b₂), values in 0..1."""
    named = {f"{k}{i}": np.float32(v) for i, pair in enumerate(layers, 1) for k, v in zip("Wb", pair, strict=True)}
    named |= {"shape": np.array([-1, 1, 8, 8]), "low": np.float32(0), "high": np.float32(1)}
    nodes = [
        helper.make_node("Gemm", ["code", "W1", "b1"], ["hidden"], name="hidden"),
        helper.make_node("Tanh", ["hidden"], ["features"], name="features"),
        helper.make_node("Gemm", ["features", "W2", "b2"], ["pixels"], name="pixels"),
        helper.make_node("Clip", ["pixels", "low", "high"], ["clipped"], name="clipped"),
        helper.make_node("Reshape", ["clipped", "shape"], ["picture"], name="picture"),
    ]
    graph = helper.make_graph(
        nodes,
        "decoder",
        [helper.make_tensor_value_info("code", onnx.TensorProto.FLOAT, ["batch", CODE])],
        [helper.make_tensor_value_info("picture", onnx.TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in named.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


if __name__ == "__main__":
    made = decoder(train(load_digits().data / 16))
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, Path(__file__).parent / "decoder.onnx")
