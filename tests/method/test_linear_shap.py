"""linear-shap: exact values of additive models, on the columns that go in. The oracle runs all coalitions of columns."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import Explainer, OnnxplainError, plan, rewrite
from onnxplain.errors import InputError, MethodError
from tests.support.models import model as built
from tests.support.models import run

RNG = np.random.default_rng(0)
HEAD = '<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]>g '
Feeds = Mapping[str, np.ndarray[Any, Any]]


def model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(HEAD + text)


def numbers(rows: int, width: int = 3) -> np.ndarray[Any, Any]:
    return RNG.uniform(0, 4, (rows, width)).astype(np.float32)


def words(rows: int) -> np.ndarray[Any, Any]:
    return RNG.choice(np.array(["a", "b", "c"], object), (rows, 1))


LOGISTIC = """(float[n, 3] x) => (float[n, 2] y) {
    s = ai.onnx.ml.Scaler <offset = [1.0, 2.0, 3.0], scale = [2.0, 3.0, 4.0]> (x)
    l, p = ai.onnx.ml.LinearClassifier <coefficients = [1.0, -2.0, 0.5, -1.0, 2.0, -0.5], intercepts = [0.3, -0.3],
        classlabels_ints = [0, 1], post_transform = "LOGISTIC"> (s)
    y = Identity (p)
}"""
REGRESSOR = """(float[n, 3] x) => (float[n, 1] y) {
    i = ai.onnx.ml.Imputer <imputed_value_floats = [1.0, 2.0, 3.0]> (x)
    y = ai.onnx.ml.LinearRegressor <coefficients = [1.0, -2.0, 0.5], intercepts = [0.3], targets = 1> (i)
}"""
ADDITIVE = """(float[n, 3] x) => (float[n, 1] y) <float[5, 2] t = {1, 2, 0, -4, 5, 6, -7, 8, 9, 10},
    int64[2] last = {1, 2}, int64[1] axis = {1}> {
    q = Floor (x)  i = Cast <to = 7> (q)  g = Gather (t, i)  s = Sin (x)  e = ReduceSum <keepdims = 1> (g, last)
    f = Flatten (e)  r = ReduceSum (s, axis)  y = Sub (f, r)
}"""
MIXED = """(float[n, 1] a, string[n, 1] town, int64[n, 1] kids) => (float[n, 1] y)
<float[5, 1] w = {0.5, 1, -2, 3, 0.25}, int64[2] wide = {-1, 3}> {
    h = ai.onnx.ml.OneHotEncoder <cats_strings = ["a", "b", "c"]> (town)  f = Reshape (h, wide)
    k = Cast <to = 1> (kids)  c = Concat <axis = 1> (a, f, k)  y = MatMul (c, w)
}"""


def by_coalitions(made: onnx.ModelProto, feeds: Feeds, background: Feeds, target: int) -> dict[str, np.ndarray[Any, Any]]:
    """Shapley values of every column, by running the model on all coalitions."""
    session = ort.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    columns = [(name, i) for name, x in feeds.items() for i in range(x.shape[1])]
    count, p = len(next(iter(feeds.values()))), len(columns)
    score = np.zeros((2**p, count))
    for coalition in range(2**p):
        for row in range(count):
            mixed = {name: z.copy() for name, z in background.items()}
            for bit, (name, i) in enumerate(columns):
                if coalition >> bit & 1:
                    mixed[name][:, i] = feeds[name][row, i]
            score[coalition, row] = np.asarray(session.run(["y"], mixed)[0], np.float64)[:, target].mean()
    values = {name: np.zeros(x.shape) for name, x in feeds.items()}
    for order in range(2**p):
        for bit, (name, i) in enumerate(columns):
            if not order >> bit & 1:
                size = bin(order).count("1")
                weight = 1 / (p * comb(p - 1, size))
                values[name][:, i] += weight * (score[order | 1 << bit] - score[order])
    return values


CASES: dict[str, tuple[str, Feeds, Feeds, int]] = {
    "regressor": (REGRESSOR, {"x": numbers(4)}, {"x": numbers(9)}, 0),
    "additive": (ADDITIVE, {"x": numbers(4)}, {"x": numbers(9)}, 0),
    "text and counts": (
        MIXED,
        {"a": numbers(4, 1), "town": words(4), "kids": np.array([[0], [1], [2], [5]])},
        {"a": numbers(7, 1), "town": words(7), "kids": np.arange(7).reshape(7, 1)},
        0,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_values_are_those_of_all_coalitions(case: str) -> None:
    text, feeds, background, target = CASES[case]
    made = model(text)
    found = Explainer(made, "linear-shap", background=background)(dict(feeds), target)
    expected = by_coalitions(made, feeds, background, target)
    for name, values in expected.items():
        np.testing.assert_allclose(found.attributions[name], values, atol=2e-5)
    assert found.delta is not None
    np.testing.assert_allclose(found.delta, 0, atol=2e-5)
    total = sum(a.sum(1) for a in found.attributions.values())
    np.testing.assert_allclose(total + found.facts["base_value"], found.outputs["y"][:, target], rtol=1e-5, atol=1e-5)


def test_a_classifier_is_explained_at_its_logit() -> None:
    """The weights are known, so the values are too: wⱼ · (xⱼ − mean zⱼ) · scaleⱼ."""
    x, z = numbers(4), numbers(9)
    found = Explainer(model(LOGISTIC), "linear-shap", background=z)(x, 1)
    expected = np.array([-1.0, 2.0, -0.5]) * np.array([2.0, 3.0, 4.0]) * (x - z.mean(0))
    np.testing.assert_allclose(found.attribution, expected, rtol=1e-4, atol=1e-5)
    every = Explainer(model(LOGISTIC), "linear-shap", background=z)(x, "all")
    np.testing.assert_allclose(every.attribution, np.stack([-expected, expected], 1), rtol=1e-4, atol=1e-5)


def test_the_background_is_folded_when_the_file_is_written(tmp_path: Path) -> None:
    few, many = numbers(2), np.repeat(numbers(2), 500, 0)
    sizes = [len(rewrite(model(REGRESSOR), "linear-shap", background=z).SerializeToString()) for z in (few, many)]
    assert sizes[0] == sizes[1]
    table = tmp_path / "rows.csv"
    table.write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in few.tolist()))
    x = {"x": numbers(3)}
    found = [run(rewrite(model(REGRESSOR), "linear-shap", target=0, background=z), x) for z in (few, str(table))]
    np.testing.assert_array_equal(found[0]["x_attribution"], found[1]["x_attribution"])


PRODUCT = "(float[n, 3] x) => (float[n, 1] y) <int64[1] axis = {1}> { y = ReduceProd (x, axis) }"
TRUNCATED = """(float[n, 3] x) => (float[n, 1] y) <float[3, 1] w = {1, 2, 3}> {
    a = MatMul (x, w)  b = Cast <to = 7> (a)  y = Cast <to = 1> (b) }"""
VECTOR = "(float[3] x) => (float[1] y) <float[3, 1] w = {1, 2, 3}> { y = MatMul (x, w) }"
TURNED = """(float[n, 3] x) => (float[n, 1] y) <float[1, 3] w = {1, 2, 3}> {
    e = Sin (x)  a = Transpose (e)  b = MatMul (w, a)  y = Transpose (b) }"""
PLAIN = "(float[n, 3] x) => (float[n, 1] y) <float[3, 1] w = {1, 2, 3}> { y = MatMul (x, w) }"
HOLED = numbers(3) * np.array([[1], [np.nan], [1]], np.float32)
FREE = "(float[n, t] x) => (float[n, t] y) { y = Neg (x) }"


@pytest.mark.parametrize(
    ("text", "settings", "error", "message"),
    [
        (
            PRODUCT,
            {"background": numbers(3)},
            MethodError,
            "is not linear in what mixes column 0 of 'x', column 1 of 'x', column 2",
        ),
        (FREE, {"background": numbers(3)}, MethodError, "needs a table of known width"),
        (TRUNCATED, {"background": numbers(3)}, MethodError, "Cast 'Cast_2' is not linear in what mixes"),
        (VECTOR, {"background": numbers(4)}, MethodError, "rows of a table are expected along the first axis"),
        (VECTOR, {"background": np.ones(4, np.float32)}, MethodError, "rows of a table are expected along the first axis"),
        (TURNED, {"background": numbers(4)}, MethodError, "'a' [3, n] does not hold the samples along its first axis"),
        (PLAIN, {"background": HOLED}, InputError, "row 1 of background makes the model give NaN"),
        (REGRESSOR, {"background": np.full((2, 3), "a")}, InputError, "holds <U1, expected numbers (float32)"),
        (REGRESSOR, {}, InputError, "background is missing: rows of data to compare with, 'x' [rows, 3]"),
        (REGRESSOR, {"background": numbers(3, 2)}, InputError, "expected [m, 3] for 'x', got [3, 2]"),
        (REGRESSOR, {"background": numbers(3), "layer": "i"}, MethodError, "explains the columns of the inputs, no layers"),
    ],
)
def test_refused(text: str, settings: dict[str, Any], error: type[OnnxplainError], message: str) -> None:
    with pytest.raises(error) as raised:
        rewrite(model(text), "linear-shap", **settings)
    assert message in str(raised.value)


def test_plan_names_the_node_that_mixes() -> None:
    assert "ReduceProd" in plan(model(PRODUCT), "linear-shap").problem


@pytest.mark.parametrize("classes", [2, 3])
def test_support_vectors_with_a_linear_kernel_and_picked_scores(classes: int) -> None:
    """Distances from the planes of SVMClassifier, the order of which ArrayFeatureExtractor turns around."""
    rng = np.random.default_rng(0)
    vectors, pairs = 4 * classes, classes * (classes - 1) // 2
    machine = onnx.helper.make_node(
        "SVMClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", kernel_type="LINEAR", kernel_params=[0.25, 0.0, 3.0],
        classlabels_ints=list(range(classes)), vectors_per_class=[4] * classes, post_transform="NONE",
        support_vectors=rng.normal(size=vectors * 3).tolist(), rho=rng.normal(size=pairs).tolist(),
        coefficients=rng.normal(size=vectors * (classes - 1)).tolist(),
    )  # fmt: skip
    picked = onnx.helper.make_node("ArrayFeatureExtractor", ["scores", "order"], ["y"], domain="ai.onnx.ml")
    width = 2 if classes == 2 else pairs
    made = built([machine, picked], {"x": ["n", 3]}, {"y": ["n", width]}, {"order": np.arange(width)[::-1].copy()})
    made.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    usual, x = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(4, 3)).astype(np.float32)
    for target in range(width):
        found, every = (
            Explainer(made, m, background=usual, providers="cpu")(x, target=target) for m in ("linear-shap", "exact-shapley")
        )
        assert np.abs(every.attribution).max() > 0.1
        assert found.attribution == pytest.approx(every.attribution, abs=1e-5)
