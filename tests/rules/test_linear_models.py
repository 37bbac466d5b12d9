"""Relevance through scikit-learn's linear models: their own weights, the label as it is, the score before the activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain import Explainer, rewrite
from onnxplain.errors import UnsupportedOperatorError
from tests.support.models import model, run

ML = "ai.onnx.ml"
C = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
B = np.array([0.1, 0.2, 0.3], np.float32)
X = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)


def linear(op: str, outputs: list[str], rows: int, **attributes: Any) -> onnx.ModelProto:
    """A linear model of `rows` scores."""
    weights: dict[str, Any] = {"coefficients": C[:rows].ravel().tolist(), "intercepts": B[:rows].tolist()}
    nodes = [helper.make_node(op, ["x"], outputs, name="linear", domain=ML, **weights, **attributes)]
    kind = onnx.TensorProto.STRING if "classlabels_strings" in attributes else onnx.TensorProto.INT64
    made = model(nodes, {"x": ["n", 4]}, dict.fromkeys(outputs), kinds={"label": kind})
    made.opset_import.append(helper.make_opsetid(ML, 3))
    return made


FORMS = {
    "regressor": ("LinearRegressor", ["y"], 3, {"targets": 3}),
    "softmax": ("LinearClassifier", ["label", "y"], 3, {"classlabels_ints": [4, 5, 6], "post_transform": "SOFTMAX"}),
    "none": ("LinearClassifier", ["label", "y"], 3, {"classlabels_strings": ["a", "b", "c"]}),
    "logistic": ("LinearClassifier", ["label", "y"], 3, {"classlabels_ints": [0, 1, 2], "post_transform": "LOGISTIC"}),
    "one-score": ("LinearClassifier", ["label", "y"], 1, {"classlabels_ints": [0, 1], "post_transform": "LOGISTIC"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_relevance_takes_the_weights_apart(form: str) -> None:
    op, outputs, rows, attributes = FORMS[form]
    made = linear(op, outputs, rows, **attributes)
    weights, intercepts = (C, B) if rows > 1 else (np.concatenate([-C[:1], C[:1]]), np.array([-B[0], B[0]]))
    z = X @ weights.T + intercepts
    cotangent = np.random.default_rng(2).standard_normal(z.shape).astype(np.float32)
    before = run(made, {"x": X})
    terms = X[:, None, :] * weights
    above, total = np.maximum(terms, 0), np.maximum(terms, 0).sum(2) + np.maximum(intercepts, 0) + 1e-6
    expected = {
        "lrp-epsilon": (terms / z[:, :, None] * (cotangent * z)[:, :, None]).sum(1),
        "lrp-zplus": (above / total[:, :, None] * (cotangent * z)[:, :, None]).sum(1),
    }
    for method, relevance in expected.items():
        found = run(rewrite(made, method, target="cotangent"), {"x": X, "seed": cotangent})
        np.testing.assert_allclose(found["x_attribution"], relevance, rtol=1e-3, atol=1e-4 * np.abs(relevance).max())
        np.testing.assert_allclose(found["y"], before["y"], rtol=1e-5, atol=1e-6)
        assert np.array_equal(found.get("label", 0), before.get("label", 0))


def test_a_softmax_within_the_operator_is_explained_at_its_input() -> None:
    op, outputs, rows, attributes = FORMS["softmax"]
    about = Explainer(linear(op, outputs, rows, **attributes), "lrp-epsilon").about
    assert (about["score"]["kind"], about["score"]["activation"], about["output"]) == ("logit", "Softmax", "y")


def test_what_runtimes_disagree_on_is_refused() -> None:
    made = linear("LinearClassifier", ["label", "y"], 1, classlabels_ints=[0, 1])
    with pytest.raises(UnsupportedOperatorError, match="post_transform NONE makes of a single score depends on the runtime"):
        rewrite(made, "lrp-epsilon")
