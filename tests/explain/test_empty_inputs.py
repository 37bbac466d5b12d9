"""Inputs of no elements, such as an empty cache, beside others."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, rewrite
from onnxplain.errors import InputError
from onnxplain.method.registry import all_methods
from tests.support.models import model, node, run

AT_ZERO: dict[str, Any] = {"baseline": 0.0}
METHODS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("exact-shapley", "kernel-shap", "lime", "feature-ablation", "occlusion", "deeplift", "gradient-shap"), AT_ZERO),
    "integrated-gradients": {"baseline": {"x": 0.0, "past": 0.0}}, "gradient": {}, "smoothgrad": {"samples": 3},
}  # fmt: skip


class TestEmptyInputs:
    @pytest.mark.parametrize(
        "method", ["gradient", "exact-shapley", "kernel-shap", "lime", "feature-ablation", "occlusion", "deeplift"]
    )
    def test_an_empty_cache_beside_the_input(self, method: str) -> None:
        nodes = [node("Tanh", "x", "t"), node("MatMul", "t v", "a"), node("ReduceSum", "past one", "s"), node("Add", "a s", "y")]
        weights = {"v": np.float32([[1], [2], [-1], [0.5]]), "one": np.array([1])}
        made = model(nodes, {"x": ["N", 4], "past": ["N", "P"]}, {"y": ["N", 1]}, weights)
        feeds = {"x": np.ones((3, 4), np.float32), "past": np.zeros((3, 0), np.float32)}
        found = Explainer(made, method, progress=False, **METHODS[method])(feeds, 0)
        assert {n: v.shape for n, v in found.attributions.items()} == {"x": (3, 4), "past": (3, 0)}
        if method in ("exact-shapley", "integrated-gradients", "deeplift"):
            np.testing.assert_allclose(found.attributions["x"], np.tanh(1) * np.tile([1, 2, -1, 0.5], (3, 1)), atol=1e-4)

    def test_nothing_to_explain(self) -> None:
        made = model([node("ReduceSum", "x one", "y")], {"x": ["N", "P"]}, {"y": ["N", 1]}, {"one": np.array([1])})
        for method in ("feature-ablation", "smoothgrad"):
            with pytest.raises(InputError, match="there is nothing to explain: 'x' has no elements"):
                Explainer(made, method)(np.zeros((3, 0), np.float32))

    def test_a_baseline_may_leave_out_what_has_no_elements(self) -> None:
        nodes = [node("ReduceSum", "past one", "s"), node("MatMul", "x v", "a"), node("Add", "a s", "y")]
        weights = {"v": np.float32([[1], [2]]), "one": np.array([1])}
        made = model(nodes, {"x": ["N", 2], "past": ["N", "P"]}, {"y": ["N", 1]}, weights)
        feeds = {"x": np.float32([[3, 4]]), "past": np.zeros((1, 0), np.float32)}
        explainer = Explainer(made, "integrated-gradients", progress=False)
        found = explainer(feeds, 0, baseline={"x": 1.0})
        np.testing.assert_allclose(found.attributions["x"], [[2, 6]], rtol=1e-5)
        with pytest.raises(InputError, match="the baseline of 'past' must be a number or an array"):
            explainer({**feeds, "past": np.ones((1, 1), np.float32)}, 0, baseline={"x": 1.0})


AT_POINTS = sorted(
    name for name, m in all_methods().items() if m.multi_point and not m.forward_only and m.attributes_to not in ("column", "map")
)
"""Methods that evaluate the model at several points in one run."""


def language(*, past: bool, half: bool = False) -> Any:
    """Tokens looked up, after what a cache holds of earlier ones; all are squared, added up and mapped to three scores."""
    random = np.random.default_rng(0)
    kind = np.float16 if half else np.float32
    weights = {"E": random.normal(size=(9, 4)).astype(kind), "W": random.normal(size=(4, 3)).astype(kind), "one": np.array([1])}
    nodes = [node("Gather", "E ids", "x"), node("Concat", "past x", "k", axis=1)] if past else [node("Gather", "E ids", "k")]
    nodes += [node("Tanh", "k", "t"), node("Mul", "t k", "kk"), node("ReduceSum", "kk one", "s", keepdims=0)]
    inputs = {"ids": ["b", "s"], "past": ["b", "p", 4]} if past else {"ids": ["b", "s"]}
    kinds = {"ids": onnx.TensorProto.INT64, **(dict.fromkeys(("past", "y"), onnx.TensorProto.FLOAT16) if half else {})}
    return model([*nodes, node("MatMul", "s W", "y")], inputs, {"y": ["b", 3]}, weights, kinds=kinds)


def settings_of(method: str) -> dict[str, Any]:
    """What a method cannot do without here."""
    used = all_methods()[method]
    given: dict[str, Any] = {"baseline": 0.25} if used.needs_baseline else {}
    if used.attributes_to != "explained":
        given["layer"] = "s"
    if method == "blur-integrated-gradients":
        given |= {"axes": [1], "sigma": 1.0}
    if method == "path-integrated-gradients":
        given["path"] = np.linspace(0, 1, 3)[:, None, None, None]
    return given


class TestFilesOfMethodsAtManyPoints:
    """As any host runs them: with nothing but the file."""

    @pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
    @pytest.mark.parametrize("method", AT_POINTS)
    def test_an_empty_past_is_as_none(self, method: str, half: bool) -> None:
        given = settings_of(method)
        ids, kind = {"ids": np.array([[1, 2, 3], [4, 5, 6]])}, np.float16 if half else np.float32
        with_past = rewrite(language(past=True, half=half), method, target=1, **given)
        found = run(with_past, {**ids, "past": np.zeros((2, 0, 4), kind)})
        alone = run(rewrite(language(past=False, half=half), method, target=1, **given), ids)
        attributions = [name for name in alone if name.endswith("_attribution")]
        assert attributions
        for name in attributions:
            assert np.abs(alone[name]).max() > 0
            np.testing.assert_allclose(found[name], alone[name], rtol=2e-2 if half else 1e-5, atol=2e-2 if half else 1e-6)
        assert found.get("past_attribution", np.zeros((2, 0, 4))).shape == (2, 0, 4)
