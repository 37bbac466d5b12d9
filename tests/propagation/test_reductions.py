"""LRP and DeepLIFT through products and logarithms of sums along axes: conservation, known values, and spellings of one function."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer

RANDOM = np.random.default_rng(0)
X = RANDOM.uniform(0.3, 1.5, (3, 2, 4)).astype(np.float32)
REDUCTIONS = ("ReduceProd", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare", "ReduceL1", "ReduceL2")


def reduced(op: str, axes: list[int] | None, keepdims: int = 0, *, named: bool = True, opset: int = 18) -> onnx.ModelProto:
    """A reduction of [n, 2, 4], over axes that are the opset's attribute or input; None reduces all but the samples."""
    h = onnx.helper
    weights = [onnx.numpy_helper.from_array(np.array(axes, np.int64), "axes")] if axes and opset >= 18 else []
    given = {"axes": axes} if axes and opset < 18 else {}
    extents = ["n" if named else 3, 2, 4]
    rank = 3 if keepdims else 3 - len(axes or [0, 1, 2])
    node = h.make_node(op, ["x", "axes"] if weights else ["x"], ["y"], keepdims=keepdims, **given)
    infos = h.make_tensor_value_info("x", 1, extents), h.make_tensor_value_info("y", 1, [None] * rank)
    graph = h.make_graph([node], "g", [infos[0]], [infos[1]], weights)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize(("axes", "keepdims"), [([2], 0), ([1, 2], 1), ([-1, 1], 0), ([1], 1)])
def test_relevance_is_conserved(op: str, axes: list[int], keepdims: int) -> None:
    target: Any = tuple(0 for _ in range(2 if keepdims else 2 - len(axes)))
    found = Explainer(reduced(op, axes, keepdims), "lrp-epsilon")(X, target or None)
    score = found.outputs["y"].reshape(3, -1)[:, 0]
    np.testing.assert_allclose(found.attribution.sum((1, 2)), score, rtol=1e-4)


def test_known_shares() -> None:
    shares = {"ReduceProd": lambda x: np.full_like(x, 0.25), "ReduceLogSum": lambda x: x / x.sum(-1, keepdims=True),
              "ReduceLogSumExp": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True),
              "ReduceSumSquare": lambda x: x**2 / (x**2).sum(-1, keepdims=True)}  # fmt: skip
    for op, share in shares.items():
        found = Explainer(reduced(op, [2]), "lrp-epsilon")(X, 1)
        np.testing.assert_allclose(found.attribution[:, 1], share(X[:, 1]) * found.outputs["y"][:, 1:], rtol=1e-4)
        np.testing.assert_array_equal(found.attribution[:, 0], 0)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize(("axes", "keepdims"), [([2], 0), ([1, 2], 1), ([-1, 1], 0), ([1], 0)])
def test_multipliers_add_up(op: str, axes: list[int], keepdims: int, opset: int) -> None:
    target: Any = tuple(0 for _ in range(2 if keepdims else 2 - len(axes)))
    baseline = RANDOM.uniform(0.3, 1.5, (1, 2, 4)).astype(np.float32)
    made = reduced(op, axes, keepdims, opset=opset)
    found = Explainer(made, "deeplift", baseline=baseline)(X, target or None)
    there = Explainer(made, "gradient")(np.repeat(baseline, 3, 0)).outputs["y"]
    change = (found.outputs["y"] - there).reshape(3, -1)[:, 0]
    np.testing.assert_allclose(found.attribution.sum((1, 2)), change, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("named", [False, True])
def test_two_factors_are_a_product(named: bool) -> None:
    """As Mul, also where factors are zero, here or at the baseline."""
    extents = "N" if named else "3"
    pairs = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[{extents},2,4] x) => (float[{extents},4] y) '
        "<int64[1] ax = {1}> { a, b = Split<axis = 1, num_outputs = 2>(x) p = Mul(a, b) y = Squeeze(p, ax) }"
    )
    x, baseline = X.copy(), np.full((1, 2, 4), 0.5, np.float32)
    x[0, :, 1] = x[1, 0, 1] = baseline[0, 1, 1] = 0
    found, plain = (
        Explainer(m, "deeplift", baseline=baseline)(x, 1).attribution for m in (reduced("ReduceProd", [1], named=named), pairs)
    )
    np.testing.assert_allclose(found, plain, atol=1e-6)


def test_a_product_does_not_depend_on_the_order_of_its_factors() -> None:
    """Changed from the front and from the back: turned round, the factors get the same."""
    made = reduced("ReduceProd", [2])
    found, turned = (Explainer(made, "deeplift", baseline=0.5)(x, 1).attribution for x in (X, X[..., ::-1].copy()))
    np.testing.assert_allclose(found, turned[..., ::-1], rtol=1e-5)
