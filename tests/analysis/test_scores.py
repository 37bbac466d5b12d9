"""The score is the logit in every spelling: whatever hands the probabilities on, however the classifier is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain import Explainer, plan, rewrite, verify
from tests.support.models import model, node

ML = "ai.onnx.ml"
WEIGHTS = (3 * np.random.default_rng(0).normal(size=(6, 3))).astype(np.float32)
X = np.random.default_rng(1).normal(size=(4, 6)).astype(np.float32)


def net(
    nodes: Sequence[onnx.NodeProto], output: onnx.ValueInfoProto | None = None, kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    values = {
        "w": WEIGHTS, "column": WEIGHTS[:, :1], "one": np.array([1]), "zero": np.array([0]), "two": np.array([2]), "flat": np.array([-1]),
        "rows": np.array([-1, 3]), "back": np.array([-1]), "unit": np.array(1, np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        list(nodes), "g", [helper.make_tensor_value_info("x", kind, ["n", 6])],
        [output or helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in values.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ML, 3)], ir_version=8)


def about(model: onnx.ModelProto) -> dict[str, Any]:
    return dict(json.loads(next(p.value for p in model.metadata_props if p.key == "onnxplain"))["score"])


TAILS = {
    "nothing": [node("Identity", "p", "y")],
    "cast and back": [helper.make_node("Cast", ["p"], ["h"], to=10), helper.make_node("Cast", ["h"], ["y"], to=1)],
    "bfloat16 and back": [helper.make_node("Cast", ["p"], ["h"], to=16), helper.make_node("Cast", ["h"], ["y"], to=1)],
    "reshape": [node("Reshape", "p rows", "y")],
    "flatten": [node("Flatten", "p", "y")],
    "unsqueeze and squeeze": [node("Unsqueeze", "p two", "u"), node("Squeeze", "u two", "y")],
    "transpose twice": [
        helper.make_node("Transpose", ["p"], ["t"], perm=[1, 0]),
        helper.make_node("Transpose", ["t"], ["y"], perm=[1, 0]),
    ],
    "dropout": [node("Dropout", "p", "y")],
    "reshape by its own shape": [node("Shape", "p", "s"), node("Reshape", "p s", "y")],
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("activation", ["Softmax", "LogSoftmax", "Sigmoid"])
@pytest.mark.parametrize("method", ["gradient", "exact-shapley"])
def test_what_hands_probabilities_on_hands_logits_on(activation: str, tail: str, method: str) -> None:
    """The logits are x·w: their gradient is w, their Shapley value against 0 is x·w by element."""
    made = net([node("MatMul", "x w", "z"), node(activation, "z", "p"), *TAILS[tail]])
    explainer = Explainer(made, method, **({"baseline": 0.0} if method == "exact-shapley" else {}))
    found = explainer(X, 1)
    expected = np.broadcast_to(WEIGHTS[:, 1], X.shape) * (X if method == "exact-shapley" else 1)
    half = tail.endswith("back")
    np.testing.assert_allclose(
        found.attribution,
        expected,
        rtol=(1e-2 if tail.startswith("b") else 2e-3) if half else 1e-5,
        atol=(8e-2 if tail.startswith("b") else 1e-2) if half else 1e-5,
    )
    assert (explainer.about["score"]["kind"], explainer.about["score"]["activation"]) == ("logit", activation)
    assert explainer.about["output"] == "y"


@pytest.mark.parametrize(
    "tail", [[node("Squeeze", "p one", "y")], [node("Reshape", "p flat", "y")], [node("Slice", "p zero one one", "y")]], ids=str
)
def test_one_column_is_explained_at_its_logit(tail: list[onnx.NodeProto]) -> None:
    made = net([node("MatMul", "x column", "z"), node("Sigmoid", "z", "p"), *tail])
    explained = rewrite(made, target=0)
    assert about(explained)["kind"] == "logit"
    np.testing.assert_allclose(Explainer(made)(X, 0).attribution, np.broadcast_to(WEIGHTS[:, 0], X.shape), rtol=1e-5)


def test_what_mixes_probabilities_is_explained_as_it_is() -> None:
    made = net(
        [
            node("MatMul", "x w", "z"),
            node("Softmax", "z", "p"),
            helper.make_node("ReduceMean", ["p"], ["y"], axes=[1], keepdims=1),
        ]
    )
    assert about(rewrite(made))["kind"] == "output"


def linear(labels: Sequence[Any], rows: np.ndarray[Any, Any], transform: str, **more: Any) -> onnx.NodeProto:
    kind = {"classlabels_strings": labels} if isinstance(labels[0], str) else {"classlabels_ints": labels}
    return helper.make_node(
        "LinearClassifier", ["x"], ["label", "s"], domain=ML, coefficients=rows.T.ravel().tolist(), intercepts=[0.5] * rows.shape[1],
        post_transform=transform, **kind, **more,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64])
@pytest.mark.parametrize("transform", ["SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "deeplift", "integrated-gradients", "exact-shapley"])
def test_linear_classifiers_are_explained_at_the_logit_by_every_method(method: str, transform: str, kind: int) -> None:
    if kind == TensorProto.INT64 and method != "exact-shapley":
        pytest.skip("integers have no derivative")
    made = net([linear([0, 1, 2], WEIGHTS, transform), node("Identity", "s", "y")], kind=kind)
    x = (4 * X).astype(helper.tensor_dtype_to_np_dtype(kind))
    options = {"baseline": 0.0} if method not in ("gradient", "lrp-epsilon") else {}
    explainer = Explainer(made, method, **options)
    found = explainer(x, 2)
    assert explainer.about["score"]["kind"] == "logit"
    expected = np.broadcast_to(WEIGHTS[:, 2], x.shape) * (1 if method == "gradient" else x)
    if method == "lrp-epsilon":  # relevance of a linear map with a bias: shares of the logit, the bias keeps its own
        assert np.corrcoef(found.attribution.ravel(), expected.ravel())[0, 1] > 0.9999
    else:
        np.testing.assert_allclose(found.attribution, expected, rtol=1e-4, atol=1e-4)


def test_the_log_odds_of_two_classes_behind_a_normalizer() -> None:
    """As scikit-learn's converter writes it: two opposite rows, probabilities normalized though they sum to one."""
    rows = np.stack([-WEIGHTS[:, 0], WEIGHTS[:, 0]], axis=1)
    classifier = linear([0, 1], rows, "LOGISTIC")
    for attribute in classifier.attribute:
        if attribute.name == "intercepts":
            attribute.floats[:] = [-0.5, 0.5]
    made = net([classifier, helper.make_node("Normalizer", ["s"], ["y"], domain=ML, norm="L1")])
    explainer = Explainer(made)
    np.testing.assert_allclose(explainer(X, 1).attribution, np.broadcast_to(WEIGHTS[:, 0], X.shape), rtol=1e-5)
    assert explainer.about["score"]["kind"] == "logit"


def test_two_classes_of_unrelated_scores_are_normalized_for_real() -> None:
    """Without intercepts too: nothing says then that the two scores are opposite."""
    classifier = linear([0, 1], WEIGHTS[:, :2], "LOGISTIC")
    kept = [a for a in classifier.attribute if a.name != "intercepts"]
    del classifier.attribute[:]
    classifier.attribute.extend(kept)
    made = net([classifier, helper.make_node("Normalizer", ["s"], ["y"], domain=ML, norm="L1")])
    assert about(rewrite(made))["kind"] == "output"


def test_the_logits_of_a_linear_classifier_are_added_once() -> None:
    explained = rewrite(net([linear([0, 1, 2], WEIGHTS, "SOFTMAX"), node("Identity", "s", "y")]))
    names = [t.name for t in explained.graph.initializer]
    assert len(names) == len(set(names))


def test_normalized_sigmoids_of_many_classes_are_explained_as_they_are() -> None:
    """One against the rest: dividing by the sum mixes the classes, and no logit says what that does."""
    made = net([linear([0, 1, 2], WEIGHTS, "LOGISTIC"), helper.make_node("Normalizer", ["s"], ["y"], domain=ML, norm="L1")])
    assert about(rewrite(made))["kind"] == "output"


# -- names of classes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [["zebra", "ant", "cow"], [30, 10, 20], ["a", "b", "c"]])
@pytest.mark.parametrize("method", ["gradient", "exact-shapley"])
def test_classes_of_a_zipmap_have_the_order_of_their_labels(labels: list[Any], method: str, tmp_path: Path) -> None:
    """ONNX Runtime returns maps sorted by key; columns are counted in the order of the labels."""
    key = TensorProto.STRING if isinstance(labels[0], str) else TensorProto.INT64
    named = {"classlabels_strings": labels} if isinstance(labels[0], str) else {"classlabels_int64s": labels}
    kind = helper.make_sequence_type_proto(helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, [])))
    zipped = helper.make_node("ZipMap", ["p"], ["y"], domain=ML, **named)
    made = net([node("MatMul", "x w", "p"), zipped], helper.make_value_info("y", kind))
    rows = np.linalg.pinv(WEIGHTS).astype(np.float32) * np.array([[1], [2], [3]], np.float32)  # column k wins for row k
    found = Explainer(made, method, **({"baseline": 0.0} if method == "exact-shapley" else {}))(rows)
    assert found.target is not None
    assert found.target.tolist() == [0, 1, 2]
    assert [found.label(i) for i in range(3)] == [str(v) for v in labels]
    if method == "gradient":
        np.testing.assert_allclose(found.attribution, WEIGHTS.T, rtol=1e-4, atol=1e-4)
        path = tmp_path / "m.onnx"
        onnx.save(made, path)
        assert verify(rewrite(made, target="input"), path, rows).ok
    text = json.loads(found.save(tmp_path / "e.json").read_text(encoding="utf-8"))
    assert text["labels"] == [str(v) for v in labels]
    assert list(text["outputs"]["y"][0]) == [str(v) for v in labels]


MIXED: dict[str, list[Any]] = {
    "an average over steps": [node("Softmax", "l", "p", axis=-1), node("ReduceMean", "p one", "y", keepdims=0)],
    "an ensemble": [
        node("Softmax", "l", "p", axis=-1), node("Sigmoid", "l", "q"), node("Add", "p q", "s"), node("Mul", "s half", "m"),
        node("ReduceMean", "m one", "y", keepdims=0),
    ],
    "turned afterwards": [
        node("Softmax", "l", "p", axis=-1), node("ReduceMean", "p one", "m", keepdims=1), node("Squeeze", "m one", "y"),
    ],
}  # fmt: skip
PLAIN: dict[str, list[Any]] = {
    "logits that are averaged": [node("ReduceMean", "l one", "y", keepdims=0)],
    "attention, whose weights are no prediction": [
        node("Softmax", "l", "p", axis=-1), node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "t p", "o"),
        node("ReduceMean", "o one", "y", keepdims=0),
    ],
    "probabilities themselves": [node("ReduceMean", "l one", "m", keepdims=0), node("Softmax", "m", "y", axis=-1)],
}  # fmt: skip


@pytest.mark.parametrize("name", [*MIXED, *PLAIN])
def test_probabilities_that_are_mixed_are_said_to_have_no_logit(name: str) -> None:
    weights = {"w": np.ones((4, 3), np.float32), "one": np.array([1]), "half": np.float32(0.5)}
    nodes = [node("MatMul", "x w", "l"), *(MIXED | PLAIN)[name]]
    found = plan(model(nodes, {"x": ["n", 5, 4]}, {"y": ["n", 3]}, weights)).score
    assert (found.mixes is not None) == (name in MIXED)
    if name in MIXED:
        assert found.kind == "output"
        assert found.mixes is not None
        assert found.mixes.op == "ReduceMean"
