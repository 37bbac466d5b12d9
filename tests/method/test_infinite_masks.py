"""Additive masks of the model's own that are infinite, where they are explained: what was masked had no part."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from onnxplain.errors import MethodError
from tests.support.models import model, node, run

RANDOM = np.random.default_rng(0)
WEIGHTS: dict[str, Any] = {name: RANDOM.standard_normal((4, 4)).astype(np.float32) for name in ("q", "k", "v")}
X = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)
DISTANCES = np.array([[[0, 1, 3], [2, 0, 1], [3, 1, 0]], [[0, 1, 2], [2, 0, 3], [1, 1, 0]]])
MASKED = DISTANCES == 3
NEAR = {"x": np.zeros((1, 3, 4), np.float32), "d": np.array([[[0, 3, 0], [0, 0, 0], [1, 0, 0]]])}


def attention(far: float, form: str = "table") -> onnx.ModelProto:
    """Attention with a bias that is looked up by distances, of which the last one is `far`."""
    bias: dict[str, list[onnx.NodeProto]] = {
        "table": [node("Gather", "table d", "rows"), node("Squeeze", "rows last", "bias")],
        "scaled": [node("Gather", "table d", "rows"), node("Squeeze", "rows last", "flat"), node("Mul", "flat half", "bias")],
        "flipped": [node("Gather", "table d", "rows"), node("Squeeze", "rows last", "flat"), node("Neg", "flat", "bias")],
    }
    table = np.array([[0.5], [-0.3], [0.2], [far]], np.float32)
    weights = {
        **WEIGHTS,
        "table": -table if form == "flipped" else table,
        "last": np.array([3]),
        "half": np.float32(0.5),
        "one": np.array([1]),
    }
    nodes = [
        node("MatMul", "x q", "queries"), node("MatMul", "x k", "keys"), node("Transpose", "keys", "turned", perm=[0, 2, 1]),
        node("MatMul", "queries turned", "scores"), *bias[form], node("Add", "scores bias", "biased"),
        node("Softmax", "biased", "p", axis=-1), node("MatMul", "x v", "values"), node("MatMul", "p values", "o"),
        node("ReduceSum", "o one", "y", keepdims=0),
    ]  # fmt: skip
    shapes = {"x": ["n", 3, 4], "d": ["n", 3, 3]}
    return model(nodes, shapes, {"y": ["n", 4]}, weights, kinds={"d": onnx.TensorProto.INT64})


@pytest.mark.parametrize("form", ["table", "scaled", "flipped"])
@pytest.mark.parametrize("method", ["gradient", "input-x-gradient", "lrp-epsilon", "lrp-zplus", "attnlrp"])
def test_as_a_mask_that_is_only_far(method: str, form: str) -> None:
    """−240, and half of it, is masked as well: its exponential is 0 in float32, and nothing is infinite."""
    feeds = {"x": X, "d": DISTANCES}
    found = Explainer(attention(-np.inf, form), method, progress=False)(feeds, 1)
    far = Explainer(attention(-240.0, form), method, progress=False)(feeds, 1)
    for name in ("x", "d"):
        np.testing.assert_allclose(found.attributions[name], far.attributions[name], rtol=1e-4, atol=1e-5)
    assert not found.attributions["d"][MASKED].any()
    assert np.abs(found.attributions["d"][~MASKED]).min() > 0


@pytest.mark.parametrize("form", ["table", "scaled"])
@pytest.mark.parametrize("quadrature", ["gauss-legendre", "riemann-middle"])
def test_paths_from_and_to_a_mask(quadrature: str, form: str) -> None:
    """All points between, an infinite number among them, are masked: the gap says what the ends change."""
    settings: dict[str, Any] = {"baseline": NEAR, "quadrature": quadrature, "steps": 20}
    made, feeds = attention(-np.inf, form), {"x": X, "d": DISTANCES}
    found = Explainer(made, "integrated-gradients", progress=False, **settings)(feeds, 1)
    at = {"x": np.repeat(NEAR["x"], 2, 0), "d": np.repeat(NEAR["d"], 2, 0)}
    change = (run(made, feeds)["y"] - run(made, at)["y"])[:, 1]
    total = sum(a.reshape(2, -1).sum(1) for a in found.attributions.values())
    assert np.isfinite(total).all()
    np.testing.assert_allclose(total - change, found.delta, rtol=1e-3, atol=1e-4)
    assert not found.attributions["d"][MASKED | (NEAR["d"] == 3)].any()


@pytest.mark.parametrize("method", ["integrated-gradients", "deeplift", "taylor", "deeplift-shap", "expected-gradients"])
def test_where_nothing_is_masked_nothing_changes(method: str) -> None:
    """At the input and the baseline alike: the infinite row is not looked up."""
    feeds = {"x": X, "d": np.minimum(DISTANCES, 2)}
    baseline = {"x": NEAR["x"], "d": np.zeros((1, 3, 3), np.int64)}
    settings: dict[str, Any] = {"baseline": baseline}
    found, plain = (Explainer(attention(far), method, progress=False, **settings)(feeds, 1) for far in (-np.inf, -1.0))
    for name in ("x", "d"):
        np.testing.assert_allclose(found.attributions[name], plain.attributions[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", ["smoothgrad", "vargrad", "gradient-shap", "deeplift", "deeplift-shap"])
def test_methods_at_many_points_are_finite(method: str) -> None:
    compares = method in ("gradient-shap", "deeplift", "deeplift-shap")
    baseline: dict[str, Any] = {"baseline": {"x": NEAR["x"], "d": np.zeros((1, 3, 3), np.int64)}} if compares else {}
    found = Explainer(attention(-np.inf), method, progress=False, **baseline)({"x": X, "d": DISTANCES}, 1)
    assert all(np.isfinite(a).all() for a in found.attributions.values())
    assert not found.attributions["d"][MASKED].any()
    assert np.abs(found.attributions["x"]).min() > 0


def test_there_is_no_blur_of_infinite_numbers() -> None:
    with pytest.raises(MethodError, match=r"'d'.* holds infinite numbers of the model's own, of which there is no blur"):
        Explainer(attention(-np.inf), "blur-integrated-gradients", sigma=1.0)


def test_layers_behind_a_mask() -> None:
    """A constant mask, explained at the scores that it was added to."""
    weights = {**WEIGHTS, "mask": np.where(np.tri(3), 0, -np.inf).astype(np.float32), "one": np.array([1])}
    nodes = [
        node("MatMul", "x q", "queries"), node("Transpose", "x", "turned", perm=[0, 2, 1]),
        node("MatMul", "queries turned", "scores"), node("Add", "scores mask", "masked"), node("Softmax", "masked", "p", axis=-1),
        node("MatMul", "p x", "o"), node("ReduceSum", "o one", "y", keepdims=0),
    ]  # fmt: skip
    made = model(nodes, {"x": ["n", 3, 4]}, {"y": ["n", 4]}, weights)
    for method in ("input-x-gradient", "lrp-epsilon"):
        found = Explainer(made, method, layer="masked", progress=False)(X, 2).attribution
        assert np.isfinite(found).all()
        assert not found[:, np.tri(3) == 0].any()
        assert np.abs(found[:, 2, 1]).min() > 0
