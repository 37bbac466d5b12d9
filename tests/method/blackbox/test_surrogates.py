"""Surrogates and connection weights: derivatives against differences, exact cases, fidelity, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer
from onnxplain.errors import InputError, MethodError
from onnxplain.method.blackbox.connections import garson_shares
from onnxplain.method.blackbox.soft_tree import SoftTree, loss_and_slopes
from tests.support.models import model, node
from tests.support.paths import FIXTURES

IRIS = FIXTURES / "iris_sklearn" / "model.onnx"


def flowers(count: int = 300) -> np.ndarray:
    """Rows like those of iris, drawn from the extremes of its columns."""
    return np.random.default_rng(0).uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (count, 4)).astype(np.float32)


# -- soft trees ------------------------------------------------------------------------------------------------------------


def test_slopes_of_the_loss_agree_with_differences() -> None:
    random = np.random.default_rng(0)
    tree = SoftTree(random.normal(size=(7, 3)), random.normal(size=7), random.normal(size=(8, 4)), beta=1.5)
    x, said = random.normal(size=(20, 3)), random.dirichlet(np.ones(4), size=20)
    _, slopes = loss_and_slopes(tree, x, said, penalty=0.3)
    for part, slope in zip((tree.filters, tree.biases, tree.leaves), slopes, strict=True):
        for place in np.ndindex(part.shape):
            before = part[place]
            part[place] = before + 1e-6
            high, _ = loss_and_slopes(tree, x, said, penalty=0.3)
            part[place] = before - 1e-6
            low, _ = loss_and_slopes(tree, x, said, penalty=0.3)
            part[place] = before
            np.testing.assert_allclose(slope[place], (high - low) / 2e-6, atol=1e-7)


def test_arrivals_sum_to_one_on_every_level() -> None:
    random = np.random.default_rng(1)
    tree = SoftTree(random.normal(size=(7, 3)), random.normal(size=7), random.normal(size=(8, 2)), beta=1)
    arrive = tree.arrival(tree.right(random.normal(size=(5, 3))))
    for level in range(4):
        np.testing.assert_allclose(arrive[:, 2**level - 1 : 2 ** (level + 1) - 1].sum(axis=1), 1)


def test_nodes_that_no_sample_arrives_at_have_finite_slopes() -> None:
    rng = np.random.default_rng(0)
    tree = SoftTree(np.zeros((3, 2)), np.array([100.0, 0.0, 0.0]), rng.normal(size=(4, 3)), 1.0)  # all go right at the root
    x, said = rng.normal(size=(8, 2)), np.eye(3)[rng.integers(0, 3, 8)]
    assert tree.arrival(tree.right(x))[:, 1].max() == 0
    loss, slopes = loss_and_slopes(tree, x, said, penalty=0.1)
    assert np.isfinite(loss)
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert not slopes[1][1]


def test_a_soft_tree_imitates_a_perceptron() -> None:
    made = Explainer(IRIS, "soft-decision-tree", background=flowers(), epochs=100)(flowers(10))
    assert made.facts["agreement"][0] > 0.9
    assert made.facts["fidelity"][0] > 0.8
    assert made.facts["path"].shape == (10, 4)
    assert (made.facts["path"][:, 0] == 0).all()
    np.testing.assert_allclose(made.facts["leaf_classes"].sum(axis=1), 1)
    assert made.about["tree"].count("class") == 16
    again = Explainer(IRIS, "soft-decision-tree", background=flowers(), epochs=100)(flowers(10))
    np.testing.assert_array_equal(again.attribution, made.attribution)


# -- decision trees ------------------------------------------------------------------------------------------------------------


def test_a_tree_recovers_a_tree() -> None:
    """y = 3 where x1 > 0, else −1, plus 2 where x0 > 1: a tree of depth 2 is the model itself."""
    pytest.importorskip("sklearn", reason="decision trees need scikit-learn")
    nodes = [
        node("Split", "x", "a b", axis=1, num_outputs=2),
        node("Greater", "b zero", "right"),
        node("Greater", "a one", "far"),
        node("Where", "right three minus", "c"),
        node("Where", "far two zero", "d"),
        node("Add", "c d", "y"),
    ]
    weights = {"zero": np.float32(0), "one": np.float32(1), "two": np.float32(2), "three": np.float32(3), "minus": np.float32(-1)}
    made = model(nodes, {"x": ["n", 2]}, {"y": ["n", 1]}, weights)
    rows = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    found = Explainer(made, "decision-tree", depth=2, background=rows)(rows[:20])
    y = np.where(rows[:20, 1] > 0, 3, -1) + np.where(rows[:20, 0] > 1, 2, 0)
    np.testing.assert_allclose(found.facts["base_value"] + found.attribution.sum(axis=1), y, atol=1e-6)
    np.testing.assert_allclose(found.facts["fidelity"], 1)
    for row, rule in zip(rows[:20], found.facts["rule"], strict=True):
        assert ("x[1] >" in str(rule)) == (row[1] > 0)
    assert "x[0]" in found.about["tree"]


# -- connection weights --------------------------------------------------------------------------------------------------------


def test_olden_of_linear_layers_is_the_gradient() -> None:
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(5, 4)), "b": random.normal(size=4), "v": random.normal(size=(3, 4)), "c": np.ones(3)}
    nodes = [node("MatMul", "x w", "h"), node("Add", "h b", "i"), node("Gemm", "i v c", "y", transB=1, alpha=0.5)]
    made = model(nodes, {"x": ["n", 5]}, {"y": ["n", 3]}, {k: v.astype(np.float32) for k, v in weights.items()})
    x = random.normal(size=(2, 5)).astype(np.float32)
    for target in (0, [2, 1], {0: 1, 2: -1}, "all"):
        expected = Explainer(made, "gradient")(x, target).attribution
        np.testing.assert_allclose(Explainer(made, "olden")(x, target).attribution, expected, atol=1e-5)


def test_garson_by_hand() -> None:
    """Two hidden units: shares 1/4, 3/4 and 1/2, 1/2 of each; weights 1 and 3 of the output."""
    shares = garson_shares([np.array([[1.0, -2], [-3, 2]]), np.array([[-1.0], [3]])])
    np.testing.assert_allclose(shares[:, 0], [0.25 * 0.25 + 0.75 * 0.5, 0.25 * 0.75 + 0.75 * 0.5])


@pytest.mark.parametrize("name", ["iris_sklearn", "cancer", "cancer_sklearn", "wine_keras"])
def test_connection_weights_of_exported_perceptrons(name: str) -> None:
    data = dict(np.load(FIXTURES / name / "data.npz"))
    x = next(v for k, v in data.items() if k != "label")[:2]
    shares = Explainer(FIXTURES / name / "model.onnx", "garson")(x).attribution
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    signed = Explainer(FIXTURES / name / "model.onnx", "olden")(x, "all").attribution
    assert np.isfinite(signed).all()
    if name == "cancer_sklearn":  # one unit for two classes
        np.testing.assert_allclose(signed[:, 0], -signed[:, 1])


# -- refusals ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("decision-tree", {"depth": 0}, "at least 1"),
        ("decision-tree", {"holdout": 1}, "0 to 1"),
        ("soft-decision-tree", {"beta": 0}, "beta above 0"),
        ("soft-decision-tree", {"depth": 11}, "from 1 to 10"),
        ("decision-tree", {"background": np.zeros((3, 4))}, "at least 8 rows"),
    ],
)
def test_bad_options_are_refused(method: str, options: dict[str, Any], words: str) -> None:
    pytest.importorskip("sklearn", reason="decision trees need scikit-learn")
    with pytest.raises((MethodError, InputError), match=words):
        Explainer(IRIS, method, **options)(flowers(20))


def test_what_is_no_perceptron_is_refused() -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:1]
    with pytest.raises(MethodError, match="Conv"):
        Explainer(FIXTURES / "digits" / "model.onnx", "olden")(image)
    with np.load(FIXTURES / "blackbox" / "reference.npz") as known:
        x = {"city": known["mixed_city"], "age": known["mixed_age"], "income": known["mixed_income"]}
    with pytest.raises(InputError, match="'city'"):
        Explainer(FIXTURES / "blackbox" / "mixed.onnx", "soft-decision-tree")(x)
    one = model([node("ReduceSum", "x a", "y", keepdims=1)], {"x": ["n", 3]}, {"y": ["n", 1]}, {"a": np.array([1])})
    with pytest.raises(MethodError, match="use decision-tree"):
        Explainer(one, "soft-decision-tree")(np.eye(9, 3, dtype=np.float32))
