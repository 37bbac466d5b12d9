"""scikit-learn's linear models written as a linear map and what their post_transform makes of it, for relevance: rules take the
weights apart, and the score is explained before a final softmax or sigmoid, as of any other model."""

from typing import Any

import numpy as np

from onnxplain import Builder, Call, RuleError, Tensor, expansion

ML = "ai.onnx.ml"

TRANSFORMS = ("NONE", "LOGISTIC", "SOFTMAX")


@expansion("LinearRegressor", domain=ML, on_demand=True, intercepts=None, post_transform="NONE", targets=1)
def linear_regressor(b: Builder, call: Call) -> Tensor:
    """Y = X·Cᵀ + b"""
    return transformed(b, call, scores(b, call, np.array(call["coefficients"]).reshape(call["targets"], -1)))


@expansion(
    "LinearClassifier", domain=ML, outputs=2, on_demand=True,
    intercepts=None, post_transform="NONE", multi_class=0, classlabels_ints=None, classlabels_strings=None,
)  # fmt: skip
def linear_classifier(b: Builder, call: Call) -> tuple[Tensor | None, ...]:
    """S = X·Cᵀ + b, transformed; the label is the operator's own. One score s of two classes is [−s, s]."""
    features = call.x.dim(-1)
    if not isinstance(features, int):
        raise RuleError("the number of its features is unknown; re-export the model with shape information")
    coefficients = np.array(call["coefficients"]).reshape(-1, features)
    labels = call.get("classlabels_ints") or call.get("classlabels_strings") or ()
    if len(coefficients) == 1 and (len(labels) != 2 or call["post_transform"] != "LOGISTIC"):
        raise RuleError(f"what post_transform {call['post_transform']} makes of a single score depends on the runtime")
    settings: dict[str, Any] = {k: v for k, v in call.attributes.items() if v is not None}
    label = None if call.outputs[0] is None else b.op("LinearClassifier", call.x, domain=ML, outputs=2, **settings)[0]
    return label, transformed(b, call, scores(b, call, coefficients))


def scores(b: Builder, call: Call, coefficients: np.ndarray[Any, Any]) -> Tensor:
    """X·Cᵀ + b"""
    intercepts = np.array(call.get("intercepts") or np.zeros(len(coefficients)))
    if "Classifier" in call.op and len(coefficients) == 1:
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]), np.concatenate([-intercepts, intercepts])
    x = b.Cast(call.x, to=1)
    made: Tensor = b.Gemm(x, b.const(coefficients, np.float32), b.const(intercepts, np.float32), transB=1)
    return made


def transformed(b: Builder, call: Call, y: Tensor) -> Tensor:
    """What post_transform makes of the scores."""
    how = call["post_transform"]
    if call.x.rank != 2 or how not in TRANSFORMS or ("Regressor" in call.op and how != "NONE"):
        raise RuleError(f"relevance goes through rows of features and post_transform {', '.join(TRANSFORMS)}; found {how}")
    return b.Softmax(y, axis=-1) if how == "SOFTMAX" else b.Sigmoid(y) if how == "LOGISTIC" else y
