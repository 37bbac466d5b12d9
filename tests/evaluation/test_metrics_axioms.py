"""Metrics of axioms: methods that keep them, models where the gap is known, and shifted models that say the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.evaluation.metrics._shifting import shifted_model
from onnxplain.evaluation.metrics.axioms import influence, parts_of
from onnxplain.runtime.scorer import Array
from tests.support.judged import explained, from_array, linear, measured, one_by_one, random, refusals, score, squares
from tests.support.models import model, node, run
from tests.support.networks import cnn, mlp

METRICS = ("completeness", "conservation", "dummy", "non-sensitivity", "input-invariance")


# -- sums ----------------------------------------------------------------------------------------------------------------


def test_sums_of_a_linear_model_are_known() -> None:
    w, x = random(5, 2), random(4, 5, seed=1)
    batch = explained(linear(w, [3, -2]), x, "input-x-gradient", target=1, baseline=0.5)
    whole, base = x.astype(np.float64) @ w[:, 1] - 2, 0.5 * w[:, 1].sum() - 2
    total = (x.astype(np.float64) * w[:, 1]).sum(axis=1)
    gap = np.abs(total - (whole - base))
    np.testing.assert_allclose(score(batch, "completeness", relative=False), gap, atol=1e-5)
    np.testing.assert_allclose(score(batch, "completeness"), gap / np.abs(whole - base), rtol=1e-4)
    np.testing.assert_allclose(score(batch, "conservation", relative=False), 2, atol=1e-5)  # the bias
    np.testing.assert_allclose(score(batch, "conservation"), 2 / np.abs(whole), rtol=1e-4)
    np.testing.assert_allclose(measured(batch, "conservation").facts["sum"], total, atol=1e-5)


def test_methods_that_promise_completeness_keep_it() -> None:
    made, x = mlp(biased=True), random(3, 24)
    assert (score(explained(made, x, "kernel-shap"), "completeness") < 1e-5).all()
    grouped = {"groups": np.arange(24) // 3}  # every element has its whole group's value
    assert (score(explained(made, x, "exact-shapley", grouped), "completeness") < 1e-5).all()
    assert (score(explained(made, x, "deeplift"), "completeness") < 1e-5).all()
    assert (score(explained(made, x, "integrated-gradients", {"steps": 400}), "completeness") < 1e-2).all()
    assert (score(explained(mlp(), x, "lrp-zplus"), "conservation") < 1e-5).all()  # without biases
    assert (score(explained(mlp(), x, "input-x-gradient"), "conservation") < 1e-5).all()
    assert (score(explained(made, x, "gradient"), "completeness") > 0.01).all()


def test_a_score_of_zero_has_no_share() -> None:
    batch = from_array(squares((3,)), np.zeros((2, 3), np.float32), np.ones((2, 3)), target=0)
    assert np.isnan(score(batch, "completeness")).all()
    np.testing.assert_allclose(score(batch, "conservation", relative=False), 3)


# -- influence -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "most", "side"), [((6,), 6, 1), ((7,), 3, 3), ((5, 8), 40, 1), ((5, 8), 12, 2), ((4, 4), 1, 4)]
)
def test_parts_are_even_tiles(places: tuple[int, ...], most: int, side: int) -> None:
    parts = parts_of(places, most)
    assert parts.shape == places
    assert len(np.unique(parts)) == parts.max() + 1 <= most
    for index in np.ndindex(places):
        corner = tuple(i // side * side for i in index)
        assert parts[index] == parts[corner]


def test_influence_by_brute_force() -> None:
    made, x = mlp(biased=True), random(3, 24)
    batch = explained(made, x, baseline=0.1)
    found = influence(batch, np.arange(24), draws=2)
    everything = np.zeros((3, 24))
    for row in range(3):
        others = [np.full(24, 0.1, np.float32)]
        others += [x[i] for i in batch.random(row, "other samples").integers(3, size=2)]
        for column in range(24):
            rows = np.stack([x[row]] * 3)
            rows[:, column] = [o[column] for o in others]
            scores = run(made, {"x": rows})[made.graph.output[0].name][:, batch.target[row]]
            everything[row, column] = np.abs(scores - batch.scores[row]).max()
    np.testing.assert_allclose(found, everything, atol=1e-5)


def test_what_lies_on_dummies_is_what_was_put_there() -> None:
    w = random(6, 2)
    w[[1, 4]] = 0
    x, a = random(5, 6, seed=1), random(5, 6, seed=2)
    batch = from_array(linear(w), x, a, target=0)
    wanted = np.abs(a[:, [1, 4]]).sum(axis=1) / np.abs(a).sum(axis=1)
    made = measured(batch, "dummy")
    np.testing.assert_allclose(made.score, wanted, rtol=1e-6)
    np.testing.assert_array_equal(made.facts["dummies"], 2)
    np.testing.assert_array_equal(score(explained(linear(w), x), "dummy"), 0)


def test_dummies_of_pictures_are_tiles_with_all_channels() -> None:
    """f = Σ x²/2 of the left half only; x is 0 nowhere."""
    keep = np.zeros((1, 2, 8, 8), np.float32)
    keep[..., :4] = 1
    nodes = [
        node("Mul", "x keep", "k"),
        node("Mul", "k k", "s"),
        node("ReduceSum", "s axes", "y", keepdims=0),
        node("Unsqueeze", "y one", "z"),
    ]
    held = {"keep": keep, "axes": np.array([1, 2, 3]), "one": np.array([1])}
    made = model(nodes, {"x": ("batch", 2, 8, 8)}, {"z": ("batch", 1)}, held)
    a = random(3, 2, 8, 8)
    for most, dummies in ((64, 32), (16, 8)):
        found = measured(from_array(made, random(3, 2, 8, 8, seed=1), a), "dummy", most=most)
        np.testing.assert_allclose(found.score, np.abs(a[..., 4:]).sum((1, 2, 3)) / np.abs(a).sum((1, 2, 3)), rtol=1e-6)
        np.testing.assert_array_equal(found.facts["dummies"], dummies)


def test_non_sensitivity_counts_what_one_has_and_the_other_has_not() -> None:
    w = np.array([[1.0], [0], [2], [0], [3]])
    a = np.array([[1.0, 1, 0, 0, 2]])
    batch = from_array(linear(w), np.ones((1, 5), np.float32), a)
    made = measured(batch, "non-sensitivity")
    assert (made.score[0], made.facts["share"][0]) == (2, 0.4)  # columns 1 and 2
    assert score(batch, "non-sensitivity", eps=1.5, relative=False) == 1  # only the last two weights and the last 2 remain


# -- shifted models ------------------------------------------------------------------------------------------------------


def conv(**attributes: Any) -> onnx.ModelProto:
    group = attributes.get("group", 1)
    nodes = [node("Conv", "x w b", "y", **attributes)]
    held = {"w": random(4, 4 // group, 3, 3), "b": random(4)}
    return model(nodes, {"x": ("batch", 4, 9, 9)}, {"y": ("batch", None, None, None)}, held)


def table(*nodes: onnx.NodeProto, **held: Any) -> onnx.ModelProto:
    return model(nodes, {"x": ("batch", 6)}, {"y": ("batch", None)}, held)


SHIFTED = {
    "conv": conv(),
    "padded": conv(pads=[1, 1, 1, 1]),
    "uneven": conv(pads=[2, 0, 1, 1], strides=[2, 1], dilations=[1, 2]),
    "grouped": conv(group=2, pads=[1, 1, 1, 1]),
    "same": conv(auto_pad="SAME_UPPER"),
    "biasless": model([node("Conv", "x w", "y")], {"x": ("batch", 2, 7)}, {"y": ("batch", None, None)}, {"w": random(3, 2, 4)}),
    "gemm": table(node("Gemm", "x w b", "y", alpha=0.5, beta=2.0), w=random(6, 3), b=random(3)),
    "transposed": table(node("Gemm", "x w", "y", transB=1), w=random(3, 6)),
    "matmul": table(node("MatMul", "x w", "y"), w=random(6, 3)),
    "left": model([node("MatMul", "w x", "y")], {"x": ("batch", 6, 2)}, {"y": ("batch", 3, 2)}, {"w": random(3, 6)}),
    "sub": table(node("Sub", "x c", "y"), c=random(6)),
    "from": table(node("Sub", "c x", "y"), c=random(1)),
    "add": table(node("Add", "c x", "y"), c=random(6)),
    "product": table(node("Mul", "x c", "y"), c=random(6)),
    "square": table(node("Mul", "x x", "y")),
    "readers": table(
        node("MatMul", "x w", "m"), node("Relu", "x", "r"), node("Sub", "x c", "s"), node("Sum", "m r s", "y"),
        w=random(6, 6), c=random(6),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "columns"), [(n, c) for n, m in SHIFTED.items() for c in (False, True) if not c or m.graph.node[0].op_type != "Conv"]
)
def test_a_shifted_model_says_the_same_of_shifted_inputs(name: str, columns: bool) -> None:
    made = SHIFTED[name]
    shape = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim][1:]
    x, shift = random(3, *shape, seed=5), random(*shape, seed=6) if columns else np.float32(0.7)
    other = onnx.ModelProto.FromString(made.SerializeToString())
    shifted_model(other, "x", np.asarray(shift))
    onnx.checker.check_model(other)
    np.testing.assert_allclose(run(other, {"x": x + shift})["y"], run(made, {"x": x})["y"], atol=3e-5)


@pytest.mark.parametrize(
    ("name", "absorbed"), [("padded", True), ("gemm", True), ("matmul", True), ("sub", True), ("product", False)]
)
def test_the_shift_goes_into_the_bias_where_there_is_one(name: str, absorbed: bool) -> None:
    other = onnx.ModelProto.FromString(SHIFTED[name].SerializeToString())
    shifted_model(other, "x", np.asarray(0.5))
    assert any(n.name == "x_unshifted" for n in other.graph.node) != absorbed


@pytest.mark.parametrize("made", [mlp(biased=True), cnn(biased=True)], ids=["mlp", "cnn"])
def test_the_gradient_is_invariant_and_contributions_are_not(made: onnx.ModelProto) -> None:
    shape = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim][1:]
    x = random(3, *shape)
    kept = measured(explained(made, x), "input-invariance")
    assert (kept.score < 1e-4).all()
    assert kept.facts["invariant"].all()
    lost = measured(explained(made, x, "input-x-gradient"), "input-invariance")
    assert (lost.score > 0.1).all()
    assert not lost.facts["invariant"].any()


def test_what_contributions_to_a_linear_model_gain_is_known() -> None:
    """x · w becomes (x + s) · w."""
    w, x = random(5, 2), random(3, 5, seed=1)
    batch = explained(linear(w), x, "input-x-gradient", target=0)
    wanted = 2 * np.linalg.norm(w[:, 0]) / np.linalg.norm(x * w[:, 0], axis=1)
    np.testing.assert_allclose(score(batch, "input-invariance", shift=2.0), wanted, rtol=1e-5)
    each: Array = np.linalg.norm(x.std(axis=0) * w[:, 0]) / np.linalg.norm(x * w[:, 0], axis=1)
    np.testing.assert_allclose(score(batch, "input-invariance"), each, rtol=1e-4)


def test_a_shift_too_large_for_float32_is_refused() -> None:
    batch = explained(linear(random(5, 2)), random(3, 5))
    assert "choose a smaller" in refusals(batch, "input-invariance", shift=1e9)
    assert np.isnan(score(batch, "input-invariance", shift=1e9)).all()
    assert not refusals(batch, "input-invariance")


# -- all -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_results_do_not_depend_on_the_batch(name: str) -> None:
    batch = explained(mlp(biased=True), random(4, 24), "input-x-gradient")
    np.testing.assert_allclose(one_by_one(batch, name), score(batch, name), rtol=1e-3, atol=1e-6)


def test_bad_options_are_refused() -> None:
    batch = explained(linear(random(4, 2)), np.ones((2, 4), np.float32))
    assert "do not vary" in refusals(batch, "input-invariance")
    assert "other than 0" in refusals(batch, "input-invariance", shift=0)
    text = refusals(batch, "dummy", draws=-1, eps=-1, most=0)
    for words in ("draws is a whole number from 0", "eps is a number above 0", "most is a whole number from 1"):
        assert words in text
    mine = from_array(linear(random(4, 2)), random(2, 4), random(2, 4))
    assert "changes the model's weights" in refusals(mine, "input-invariance")
    assert not refusals(mine, "completeness")
