"""Inputs of no elements, such as an empty cache, beside others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer
from onnxplain.errors import InputError
from tests.support.models import model, node

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
