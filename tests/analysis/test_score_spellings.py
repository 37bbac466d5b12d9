"""The logit behind probabilities, however these are written, moved, rounded or quantized, and in every twin of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from onnxplain import Explainer
from tests.support.linear_cases import random
from tests.support.models import run
from tests.support.spellings.functions import ACTIVATIONS
from tests.support.spellings.kinds import Spelling
from tests.support.spellings.scores import SOFTMAX
from tests.support.writer import Writer

WEIGHTS = random(5, 7, seed=1)
KINDS = {"Softmax": SOFTMAX["softmax"], "LogSoftmax": SOFTMAX["log-softmax"], "Sigmoid": ACTIVATIONS["sigmoid"]}

TAILS: Mapping[str, tuple[Any, Any]] = {
    "nothing": (lambda w, p: p, (1, 2)),
    "a slice": (lambda w, p: w.Slice(p, [1], [4], [-1]), (1, 1)),
    "rows": (lambda w, p: w.Reshape(p, np.array([-1, 21])), 9),
    "flattened": (lambda w, p: w.Flatten(p), 9),
    "an axis more and less": (lambda w, p: w.Squeeze(w.Unsqueeze(p, np.array([1])), np.array([1])), (1, 2)),
    "double precision": (lambda w, p: w.Cast(w.Cast(p, to=11), to=1), (1, 2)),
    "turned": (lambda w, p: w.Transpose(p, perm=[0, 2, 1]), (2, 1)),
    "dropout": (lambda w, p: w.Dropout(p), (1, 2)),
}
"""What follows probabilities of three tokens, and where class 2 of token 1 is then."""


@pytest.mark.parametrize("tail", [pytest.param(t, marks=() if i < 3 else pytest.mark.slow) for i, t in enumerate(TAILS)])
@pytest.mark.parametrize("kind", KINDS)
def test_the_logit_in_every_spelling(kind: str, tail: str) -> None:
    """Logits are x · w: the gradient is a column of the weights at its token."""
    follow, target = TAILS[tail]
    x = random(2, 3, 5, seed=5).astype(np.float32)
    expected = np.zeros_like(x)
    expected[:, 1] = WEIGHTS[:, 2]
    for how, spelt in KINDS[kind].items():
        w = Writer()
        explainer = Explainer(w.model(follow(w, spelt(w, w.MatMul("x", WEIGHTS))), {"x": ("n", 3, 5)}), progress=False)
        score = explainer.about["score"]
        assert (score["kind"], score["activation"]) == ("logit", kind), how
        np.testing.assert_allclose(explainer(x, target).attribution, expected, rtol=1e-5, err_msg=how)


# -- twins -----------------------------------------------------------------------------------------------------------------

X = random(8, 5, seed=5).astype(np.float32)


class Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.batches: Iterator[dict[str, Any]] = iter([{"x": X}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.batches, None)


def twins(made: onnx.ModelProto, folder: Path) -> dict[str, onnx.ModelProto]:
    """A model in half precision, as ONNX Runtime's optimizer leaves it, and quantized in three ways."""
    plain, twin = str(folder / "plain.onnx"), str(folder / "twin.onnx")
    onnx.save(made, plain)
    found = {"float16": convert_float_to_float16(onnx.load(plain), keep_io_types=True)}
    options = ort.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, twin
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(plain, options, providers=["CPUExecutionProvider"])
    found["optimized"] = onnx.load(twin)
    quantize_dynamic(plain, twin)
    found["dynamically quantized"] = onnx.load(twin)
    for kind in (QuantFormat.QDQ, QuantFormat.QOperator):
        quantize_static(plain, twin, Calibration(), quant_format=kind)
        found[str(kind)] = onnx.load(twin)
    return found


TWINS: Mapping[str, tuple[Spelling, Any]] = {
    "softmax": (KINDS["Softmax"]["Softmax"], lambda w, p: p),
    "softmax, moved": (KINDS["Softmax"]["Softmax"], lambda w, p: w.Reshape(p, np.array([-1, 7]))),
    "softmax in parts": (KINDS["Softmax"]["in parts"], lambda w, p: p),
    "sigmoid, moved twice": (KINDS["Sigmoid"]["Sigmoid"], lambda w, p: w.Squeeze(w.Unsqueeze(p, np.array([1])), np.array([1]))),
    "log-softmax": (KINDS["LogSoftmax"]["LogSoftmax"], lambda w, p: p),
}


@pytest.mark.parametrize("name", TWINS)
def test_twins_of_a_model_explain_the_same_score(name: str, tmp_path: Path) -> None:
    """Rounding to 8 bits moves some of the ReLUs, no more: the directions agree, and the sizes."""
    spelt, follow = TWINS[name]
    w = Writer()
    hidden = w.Relu(w.MatMul("x", WEIGHTS))
    made = w.model(follow(w, spelt(w, w.MatMul(hidden, 0.3 * random(7, 7, seed=2)))), {"x": ("n", 5)})
    plain = Explainer(made, progress=False)
    wanted, kind = plain(X, 1).attribution, plain.about["score"]["activation"]
    for how, twin in twins(made, tmp_path).items():
        explainer = Explainer(twin, progress=False)
        assert (explainer.about["score"]["kind"], explainer.about["score"]["activation"]) == ("logit", kind), how
        found = explainer(X, 1).attribution
        lengths = np.linalg.norm(found), np.linalg.norm(wanted)
        assert np.sum(found * wanted) > (0.98 if "quant" in how.lower() or "Q" in how else 0.9999) * lengths[0] * lengths[1], how
        assert 0.95 < lengths[0] / lengths[1] < 1.05, how


# -- trees -----------------------------------------------------------------------------------------------------------------


def trees(transform: str, classes: int, ids: list[int], weights: list[float]) -> onnx.ModelProto:
    """Two stumps over two features."""
    node = helper.make_node(
        "TreeEnsembleClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml", post_transform=transform,
        classlabels_int64s=list(range(classes)), nodes_treeids=[0, 0, 0, 1, 1, 1], nodes_nodeids=[0, 1, 2] * 2,
        nodes_featureids=[0, 0, 0, 1, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"] * 2, nodes_values=[0.5, 0, 0, 0.0, 0, 0],
        nodes_truenodeids=[1, 0, 0] * 2, nodes_falsenodeids=[2, 0, 0] * 2, class_treeids=[0, 0, 1, 1],
        class_nodeids=[1, 2, 1, 2], class_ids=ids, class_weights=weights,
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]),
         helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", classes])],
    )  # fmt: skip
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8
    )


@pytest.mark.parametrize("weights", [[0.5, -0.7, 1.0, -0.2], [0.5, 0.7, 1.0, 0.2]], ids=["signs", "positive"])
@pytest.mark.parametrize(
    ("transform", "classes", "ids"),
    [("LOGISTIC", 2, [0] * 4), ("LOGISTIC", 2, [1] * 4), ("LOGISTIC", 3, [0, 1, 2, 0]), ("SOFTMAX", 3, [0, 1, 2, 0])],
)
def test_boosted_trees_are_explained_before_their_last_activation(
    transform: str, classes: int, ids: list[int], weights: list[float]
) -> None:
    """Shapley values sum to the change of the log odds, which ONNX Runtime's probabilities give; of softmax, differences do."""
    made, x = trees(transform, classes, ids, weights), np.array([[0.2, 1], [0.8, -1], [0.6, 0.3]], np.float32)
    here, there = run(made, {"x": x})["p"], run(made, {"x": np.zeros((1, 2), np.float32)})["p"]
    change = np.log(here) - np.log(there)
    if transform == "LOGISTIC":
        change -= np.log1p(-here) - np.log1p(-there)
    explainer = Explainer(made, "exact-shapley", baseline=0.0, progress=False)
    sums = np.stack([explainer(x, k).attribution.sum(1) for k in range(classes)], axis=1)
    if transform == "SOFTMAX":
        change, sums = change - change[:, :1], sums - sums[:, :1]
    np.testing.assert_allclose(sums, change, atol=1e-5)
    assert explainer.about["score"]["kind"] == "logit"


def test_trees_whose_scores_mean_something_else_from_sample_to_sample_are_explained_as_they_are() -> None:
    explainer = Explainer(
        trees("SOFTMAX", 2, [0, 1, 1, 0], [0.5, -0.7, 1.0, -0.2]), "exact-shapley", baseline=0.0, progress=False
    )
    assert explainer.about["score"]["kind"] == "output"
