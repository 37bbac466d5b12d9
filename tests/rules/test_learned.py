"""Operators of ai.onnx.ml in models as scikit-learn exports them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain import Explainer, RuleError, rewrite
from tests.support.models import run

ML = "ai.onnx.ml"
X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32) * 2
MATRIX = np.array([[0.7, -0.4, 0.3], [0.6, -0.5, 0.2], [0.9, -0.8, 0.1]], np.float32)


def model(nodes: list[tuple[str, str, str, dict[str, Any]]], *, outputs: dict[str, int], kind: int = 1) -> onnx.ModelProto:
    made = [helper.make_node(op, i.split(), o.split(), domain=ML, name=op, **attributes) for op, i, o, attributes in nodes]
    values = [helper.make_tensor_value_info(n, 1, ["n", width]) for n, width in outputs.items()]
    graph = helper.make_graph(made, "learned", [helper.make_tensor_value_info("x", kind, ["n", 3])], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(ML, 1)], ir_version=8)


def normalized(x: np.ndarray, norm: str) -> np.ndarray:
    size = x.max(1, keepdims=True) if norm == "MAX" else np.linalg.norm(x, int(norm[1]), 1, keepdims=True)
    return np.asarray(x / np.where(size == 0, 1, size))


def slopes(function: Any, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """Central differences in float64, for functions of each row alone."""
    h, result = 1e-6, np.zeros(x.shape)
    for j, e in enumerate(np.eye(x.shape[1])):
        result[:, j] = np.sum((function(x + h * e) - function(x - h * e)) * cotangent, 1) / (2 * h)
    return result


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(norm: str) -> None:
    made = model([("Normalizer", "x", "y", {"norm": norm})], outputs={"y": 3})
    cotangent = np.random.default_rng(1).standard_normal(X.shape).astype(np.float32)
    explained = rewrite(made, target="cotangent")
    found = run(explained, {"x": X, "seed": cotangent})
    np.testing.assert_allclose(found["y"], run(made, {"x": X})["y"], rtol=1e-5)
    expected = slopes(lambda x: normalized(x, norm), X.astype(np.float64), cotangent)
    np.testing.assert_allclose(found["x_attribution"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_a_row_of_zeros_stays(norm: str) -> None:
    made = model([("Normalizer", "x", "y", {"norm": norm})], outputs={"y": 3})
    found = run(rewrite(made, target="cotangent"), {"x": np.zeros((2, 3), np.float32), "seed": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(found["y"], np.zeros((2, 3)))
    assert np.isfinite(found["x_attribution"]).all()


def test_normalizer_between_tensors_of_known_shapes() -> None:
    """There ONNX Runtime's own kernel overwrites its input and loses the signs."""
    chain = [
        ("Scaler", "x", "scaled", {"offset": [0.1, 0.2, -0.3], "scale": [1.5, 0.5, 2.0]}),
        ("Normalizer", "scaled", "unit", {"norm": "L2"}),
        ("LinearRegressor", "unit", "y", {"coefficients": MATRIX.ravel().tolist(), "targets": 3}),
    ]
    made = model(chain, outputs={"y": 3})

    def forward(x: np.ndarray) -> np.ndarray:
        scaled = (x - np.array([0.1, 0.2, -0.3])) * np.array([1.5, 0.5, 2.0])
        return np.asarray(normalized(scaled, "L2") @ MATRIX.T.astype(np.float64))

    cotangent = np.random.default_rng(1).standard_normal(X.shape).astype(np.float32)
    found = run(rewrite(made, target="cotangent"), {"x": X, "seed": cotangent})
    np.testing.assert_allclose(found["y"], forward(X), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["x_attribution"], slopes(forward, X.astype(np.float64), cotangent), rtol=1e-3, atol=1e-4)


def test_a_classifier_explains_its_top_score() -> None:
    attributes = {"coefficients": MATRIX.ravel().tolist(), "intercepts": [0.1, 0.2, 0.3], "classlabels_strings": ["a", "b", "c"]}
    made = model([("LinearClassifier", "x", "label scores", attributes)], outputs={"scores": 3})
    made.graph.output.insert(0, helper.make_tensor_value_info("label", onnx.TensorProto.STRING, ["n"]))
    explanation = Explainer(made)(X)
    np.testing.assert_allclose(explanation.attribution, MATRIX[explanation.target], rtol=1e-5)


def test_a_single_transformed_score_is_refused() -> None:
    attributes = {"coefficients": [0.1, 0.2, 0.3], "intercepts": [0.0], "targets": 1, "post_transform": "LOGISTIC"}
    made = model([("LinearRegressor", "x", "y", attributes)], outputs={"y": 1})
    with pytest.raises(RuleError, match="runtimes differ"):
        rewrite(made)
