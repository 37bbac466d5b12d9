"""Pooling with ceil_mode whose last window would begin behind the image: kernels leave it out, inference at loading counts it."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer
from onnxplain.passes.last_windows import settle_last_windows
from onnxplain.passes.shapes import infer_shapes
from tests.support.models import model, node, run

RANDOM = np.random.default_rng(1)
BEYOND = [
    (op, extent, kernel, stride, pads)
    for op, (extent, kernel, stride, pads) in product(
        ("MaxPool", "AveragePool", "LpPool"), [(5, 2, 2, (1, 1)), (6, 2, 3, (0, 0)), (6, 3, 3, (0, 1)), (7, 2, 3, (1, 1)), (5, 2, 3, (1, 0))]
    )
]  # fmt: skip


def pooled(op: str, shape: list[Any], *, before: str = "Identity", **settings: Any) -> onnx.ModelProto:
    """Squares of what is pooled."""
    nodes = [
        node(before, "x", "b"),
        node(op, "b", "p", ceil_mode=1, **settings),
        node("Mul", "p p", "q"),
        node("Flatten", "q", "y"),
    ]
    return model(nodes, {"x": shape}, {"y": None}, opset=18)


def slopes(made: onnx.ModelProto, x: Any, step: float = 1e-3) -> Any:
    """Central differences of the sum over all outputs."""
    found = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        above, below = (run(made, {"x": x + s * moved})["y"].astype(np.float64).sum() for s in (1, -1))
        found[place] = (above - below) / (2 * step)
    return found


@pytest.mark.parametrize(("op", "extent", "kernel", "stride", "pads"), BEYOND, ids=str)
def test_the_gradient_where_a_window_is_left_out(op: str, extent: int, kernel: int, stride: int, pads: tuple[int, int]) -> None:
    made = pooled(op, ["n", 2, extent], kernel_shape=[kernel], strides=[stride], pads=list(pads))
    x = RANDOM.permutation(np.arange(1, 1 + 4 * extent)).reshape(2, 2, extent).astype(np.float32) / 8
    y = run(made, {"x": x})["y"]
    found = Explainer(made, "gradient", progress=False)(x, cotangent=np.ones_like(y))
    np.testing.assert_array_equal(found.outputs["y"], y)
    np.testing.assert_allclose(found.attribution, slopes(made, x), rtol=1e-2, atol=1e-2)


def test_the_guard_of_a_pooling_of_what_may_not_be_finite() -> None:
    """Behind a logarithm NaN is looked for before the maxima."""
    made = pooled("MaxPool", ["n", 1, 5, 6], before="Log", kernel_shape=[2, 2], strides=[2, 3], pads=[1, 0, 1, 0])
    x = RANDOM.permutation(np.arange(1, 61)).reshape(2, 1, 5, 6).astype(np.float32) / 8
    y = run(made, {"x": x})["y"]
    found = Explainer(made, "gradient", progress=False)(x, cotangent=np.ones_like(y))
    np.testing.assert_allclose(found.attribution, slopes(made, x), rtol=2e-2, atol=2e-2)


def test_within_a_branch() -> None:
    inner = onnx.helper.make_graph(
        [node("MaxPool", "x", "p", kernel_shape=[2], strides=[2], pads=[1, 1], ceil_mode=1), node("Mul", "p p", "q")],
        "b", [], [onnx.helper.make_tensor_value_info("q", onnx.TensorProto.FLOAT, None)],
    )  # fmt: skip
    other = onnx.GraphProto()
    other.CopyFrom(inner)
    for each in other.node:
        each.input[:] = [f"{i}2" if i != "x" else i for i in each.input]
        each.output[:] = [f"{o}2" for o in each.output]
    other.output[0].name = "q2"
    nodes = [node("If", "c", "o", then_branch=inner, else_branch=other), node("Flatten", "o", "y")]
    made = model(nodes, {"x": ["n", 1, 5], "c": []}, {"y": ["n", 3]}, kinds={"c": onnx.TensorProto.BOOL})
    x = np.float32([[[1, 4, 2, 3, 5]]])
    found = Explainer(made, "gradient", progress=False)({"x": x, "c": np.array(True)}, cotangent=np.ones((1, 3), np.float32))
    np.testing.assert_array_equal(found.attributions["x"], [[[2, 8, 0, 0, 10]]])  # windows: 1 | 4 2 | 3 5


def test_what_is_left_alone() -> None:
    """Where no window is left out, where padding would be averaged, and where extents are known at run time only."""
    for op, shape, settings in (
        ("MaxPool", ["n", 2, 5], {"kernel_shape": [2], "strides": [2]}),
        (
            "AveragePool",
            ["n", 2, 5, 4],
            {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [1, 0, 1, 0], "count_include_pad": 1},
        ),
        ("MaxPool", ["n", 2, "length"], {"kernel_shape": [2], "strides": [2], "pads": [1, 1]}),
    ):
        made = pooled(op, shape, **settings)
        infer_shapes(made)
        assert not settle_last_windows(made)
