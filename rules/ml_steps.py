"""scikit-learn's linear models written as a linear map and what their post_transform makes of it, for relevance: rules take the
weights apart, and the score is explained before a final softmax or sigmoid, as of any other model."""

from typing import Any

import numpy as np

from onnxplain import Builder, Node, RuleError, Tensor, expansion

ML = "ai.onnx.ml"

TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX")


@expansion("LinearRegressor", domain=ML, on_demand=True, intercepts=None, post_transform="NONE", targets=1)
def linear_regressor(b: Builder, node: Node) -> Tensor:
    """Y = X·Cᵀ + b"""
    return transformed(b, node, scores(b, node, np.array(node["coefficients"]).reshape(node["targets"], -1)))


@expansion(
    "LinearClassifier", domain=ML, outputs=2, on_demand=True,
    intercepts=None, post_transform="NONE", multi_class=0, classlabels_ints=None, classlabels_strings=None,
)  # fmt: skip
def linear_classifier(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """S = X·Cᵀ + b, transformed; the label is the operator's own. One score s of two classes is [−s, s]."""
    features = node.x.dim(-1)
    if not isinstance(features, int):
        raise RuleError("the number of its features is unknown; re-export the model with shape information")
    coefficients = np.array(node["coefficients"]).reshape(-1, features)
    labels = node.get("classlabels_ints") or node.get("classlabels_strings") or ()
    if len(coefficients) == 1 and (len(labels) != 2 or node["post_transform"] != "LOGISTIC"):
        raise RuleError(f"what post_transform {node['post_transform']} makes of a single score depends on the runtime")
    settings: dict[str, Any] = {k: v for k, v in node.attributes.items() if v is not None}
    label = None if node.outputs[0] is None else b.op("LinearClassifier", node.x, domain=ML, outputs=2, **settings)[0]
    return label, transformed(b, node, scores(b, node, coefficients))


def scores(b: Builder, node: Node, coefficients: np.ndarray[Any, Any]) -> Tensor:
    """X·Cᵀ + b"""
    intercepts = np.array(node.get("intercepts") or np.zeros(len(coefficients)))
    if "Classifier" in node.op and len(coefficients) == 1:
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]), np.concatenate([-intercepts, intercepts])
    x = b.Cast(node.x, to=1)
    made: Tensor = b.Gemm(x, b.const(coefficients, np.float32), b.const(intercepts, np.float32), transB=1)
    return made


def transformed(b: Builder, node: Node, y: Tensor) -> Tensor:
    """What post_transform makes of the scores."""
    how = node["post_transform"]
    if node.x.rank != 2 or how not in TRANSFORMS or ("Regressor" in node.op and how != "NONE"):
        raise RuleError(f"relevance goes through rows of features and post_transform {', '.join(TRANSFORMS)}; found {how}")
    return b.Softmax(y, axis=-1) if how == "SOFTMAX" else b.Sigmoid(y) if how == "LOGISTIC" else y
