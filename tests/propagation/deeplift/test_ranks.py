"""DeepLIFT of TopK, and of scatters that keep the greatest or the least: contributions sum to the change, and none exceeds its
element's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from onnxplain.errors import RuleError
from tests.support.models import model, node, run

RANDOM = np.random.default_rng(2)
INT64 = onnx.TensorProto.INT64


def top(k: int, *, axis: int = -1, largest: int = 1, in_order: int = 1, weights: Any = None) -> onnx.ModelProto:
    """A weighted sum of the k greatest of [n, 3, 5], or of the least."""
    shape = [k if i == axis % 3 else d for i, d in enumerate((1, 3, 5))]
    w = RANDOM.standard_normal(shape).astype(np.float32) if weights is None else weights
    nodes = [
        node("TopK", "x k", "v i", axis=axis, largest=largest, sorted=in_order),
        node("Mul", "v w", "p"),
        node("Flatten", "p", "f"),
    ]
    nodes.append(node("ReduceSum", "f one", "y"))
    return model(nodes, {"x": ["n", 3, 5]}, {"y": ["n", 1]}, {"k": np.array([k]), "w": w, "one": np.array([1])})


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize(("k", "axis"), [(1, -1), (3, -1), (5, -1), (2, 1)])
def test_contributions_sum_to_the_change(k: int, axis: int, largest: int) -> None:
    made = top(k, axis=axis, largest=largest)
    for _ in range(5):
        x, base = (RANDOM.standard_normal((n, 3, 5)).astype(np.float32) for n in (4, 1))
        found = Explainer(made, "deeplift", baseline=base, progress=False)(x, 0)
        change = (run(made, {"x": x})["y"] - run(made, {"x": base})["y"])[:, 0]
        np.testing.assert_allclose(found.attribution.sum((1, 2)), change, rtol=1e-4, atol=1e-5)
        assert found.delta is not None
        assert np.abs(found.delta).max() < 1e-4


def test_no_element_has_more_than_its_own_change_for_each_result() -> None:
    """With the weight 1 for each result, and the sum of all of them in the end: every element then has exactly its change."""
    made = top(5, weights=np.ones((1, 3, 5), np.float32))
    x, base = RANDOM.standard_normal((2, 3, 5)).astype(np.float32), RANDOM.standard_normal((1, 3, 5)).astype(np.float32)
    found = Explainer(made, "deeplift", baseline=base, progress=False)(x, 0).attribution
    np.testing.assert_allclose(found.sum(2), (x - base).sum(2), rtol=1e-4, atol=1e-5)
    one = top(1, weights=np.ones((1, 3, 1), np.float32))
    found = Explainer(one, "deeplift", baseline=base, progress=False)(x, 0).attribution
    assert (np.abs(found) <= np.abs(x - base) + 1e-6).all()


def test_by_hand() -> None:
    """The second greatest of (1, 4, 3) was 2 of (5, 0, 2): it grew by 1. 4 is above 3 now and was 0, which is not above 2; 3 was 2.
    The greater change is that of the 4. The greatest fell from 5 to 4: only the 1 was the 5."""
    nodes = [node("TopK", "x k", "v i"), node("Gather", "v which", "y", axis=1)]
    made = model(nodes, {"x": ["n", 3]}, {"y": ["n", 1]}, {"k": np.array([2]), "which": np.array([1])})
    x, base = np.float32([[1, 4, 3]]), np.float32([[5, 0, 2]])
    found = Explainer(made, "deeplift", baseline=base, progress=False)(x, 0).attribution
    np.testing.assert_allclose(found, [[0, 1, 0]], atol=1e-6)
    made.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.array([0]), "which"))
    found = Explainer(made, "deeplift", baseline=base, progress=False)(x, 0).attribution
    np.testing.assert_allclose(found, [[-1, 0, 0]], atol=1e-6)


def test_no_order_is_refused() -> None:
    with pytest.raises(RuleError, match="have no order, so that none stands for one at the baseline; export it with sorted=1"):
        Explainer(top(2, in_order=0), "deeplift", baseline=0.0)


@pytest.mark.parametrize("reduction", ["max", "min"])
@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND"])
def test_scatters(op: str, reduction: str) -> None:
    """Both what is written onto and what is written, several to one place."""
    places = np.array([[0, 1, 1], [1, 1, 0]]) if op == "ScatterElements" else np.array([[[0, 0], [1, 2], [1, 2]]])
    updates = {"ScatterElements": ["u", 2, 3], "ScatterND": ["u", 1, 3]}[op]
    nodes = [
        node("Reshape", "x whole", "data"), node("Reshape", "z written", "updates"), node(op, "data i updates", "s", reduction=reduction),
        node("Mul", "s w", "p"), node("Reshape", "p flat", "f"), node("ReduceSum", "f one", "y"),
    ]  # fmt: skip
    weights = {
        "i": places, "w": RANDOM.standard_normal((2, 3)).astype(np.float32), "one": np.array([1]), "whole": np.array([2, 3]),
        "written": np.array(updates[1:]), "flat": np.array([1, 6]),
    }  # fmt: skip
    count = int(np.prod(updates[1:]))
    made = model(nodes, {"x": [1, 6], "z": [1, count]}, {"y": [1, 1]}, weights)
    for _ in range(5):
        feeds = {
            "x": RANDOM.standard_normal((1, 6)).astype(np.float32),
            "z": RANDOM.standard_normal((1, count)).astype(np.float32),
        }
        base = {n: RANDOM.standard_normal(a.shape).astype(np.float32) for n, a in feeds.items()}
        found = Explainer(made, "deeplift", baseline=base, progress=False)(feeds, 0)
        change = (run(made, feeds)["y"] - run(made, base)["y"]).item()
        np.testing.assert_allclose(sum(a.sum() for a in found.attributions.values()), change, rtol=1e-4, atol=1e-5)


def test_products_of_a_scatter_are_refused() -> None:
    nodes = [node("ScatterElements", "x i u", "y", reduction="mul", axis=1)]
    made = model(nodes, {"x": ["n", 3], "u": ["n", 1]}, {"y": ["n", 3]}, {"i": np.array([[1]])})
    with pytest.raises(RuleError, match="DeepLIFT has no rule for its reduction 'mul'"):
        Explainer(made, "deeplift", baseline=0.0)
