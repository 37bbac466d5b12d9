"""Methods of many points on models that compute extents: crops, interpolations and folds of the input to another tensor's size."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, rewrite
from tests.support.models import model, node, run

RANDOM = np.random.default_rng(0)
NUMBERS: dict[str, Any] = {
    "zeros": [0, 0], "places": [2, 3], "i0": [0], "i1": [1], "i2": [2], "i4": [4], "five": [5, 5], "minus": [-1], "rest": [2, 5, 5],
}  # fmt: skip
FITTED = {
    "crop": [node("Shape", "a", "s", start=2, end=4), node("Slice", "x zeros s places", "c")],
    "interpolation": [
        node("Shape", "a", "s"), node("Slice", "s i2 i4", "hw"), node("Shape", "x", "sx"), node("Slice", "sx i0 i2", "nc"),
        node("Concat", "nc hw", "size", axis=0), onnx.helper.make_node("Resize", ["x", "", "", "size"], ["c"], mode="linear"),
    ],
    "fold": [
        node("Slice", "x zeros five places", "x5"), node("Shape", "x5", "s"), node("Slice", "s i0 i1", "n1"),
        node("Concat", "n1 minus", "flat", axis=0), node("Reshape", "x5 flat", "f"), node("Concat", "n1 rest", "back", axis=0),
        node("Reshape", "f back", "c"),
    ],
    "expansion": [
        node("ReduceMean", "x i1", "mean", keepdims=1), node("Slice", "mean zeros five places", "m5"), node("Shape", "a", "s"),
        node("Slice", "s i2 i4", "hw"), node("Shape", "x", "sx"), node("Slice", "sx i0 i2", "nc"), node("Concat", "nc hw", "size", axis=0),
        node("Expand", "m5 size", "c"),
    ],
}  # fmt: skip
"""How the input, [n, 2, 7, 7], comes to the size of its convolution, 5×5."""
METHODS: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"baseline": 0.0},
    "expected-gradients": {"baseline": np.zeros((2, 2, 7, 7), np.float32)},
    "smoothgrad": {"samples": 4},
    "vargrad": {"samples": 4},
    "conductance": {"baseline": 0.0, "layer": "p"},
    "blur-integrated-gradients": {},
}


def network(kind: str) -> onnx.ModelProto:
    nodes = [
        node("Conv", "x v", "a"),
        *FITTED[kind],
        node("Conv", "c w", "d"),
        node("Relu", "a", "ra"),
        node("Relu", "d", "rd"),
        node("Mul", "ra rd", "m"),
        node("ReduceMean", "m places", "p", keepdims=0),
        node("MatMul", "p u", "y"),
    ]
    weights = {"v": (4, 2, 3, 3), "w": (4, 2, 1, 1), "u": (4, 3)}
    return model(
        nodes,
        {"x": ["batch", 2, 7, 7]},
        {"y": ["batch", 3]},
        {k: np.random.default_rng(1).standard_normal(s).astype(np.float32) for k, s in weights.items()}
        | {k: np.array(v, np.int64) for k, v in NUMBERS.items()},
    )


X = RANDOM.standard_normal((3, 2, 7, 7)).astype(np.float32)


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_numbers(kind: str, method: str) -> None:
    found = Explainer(network(kind), method, progress=False, **METHODS[method])(X, 1)
    assert np.isfinite(found.attribution).all()
    assert (found.attribution != 0).any()


@pytest.mark.parametrize("kind", FITTED)
@pytest.mark.parametrize("batch_size", [None, 2])
def test_integrated_gradients_are_the_mean_gradient_on_the_line(kind: str, batch_size: int | None) -> None:
    """Against gradients at the points, made one by one; a run takes some samples or all."""
    made = rewrite(
        network(kind), "integrated-gradients", baseline=0.0, target=1, steps=3, quadrature="riemann-middle", batch_size=batch_size
    )
    gradient = rewrite(network(kind), target=1)
    expected = X * np.mean([run(gradient, {"x": (X * a).astype(np.float32)})["x_attribution"] for a in (1 / 6, 3 / 6, 5 / 6)], 0)
    np.testing.assert_allclose(run(made, {"x": X})["x_attribution"], expected, rtol=1e-4, atol=1e-5)
