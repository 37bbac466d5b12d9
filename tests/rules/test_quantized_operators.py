"""Quantizing operators and integer kernels one by one: rounding counts as the identity, saturation as what it is."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer, rewrite
from tests.support.models import model, node
from tests.support.plain_runs import gradient, run
from tests.support.processor import exact_bytes

# -- single operators ----------------------------------------------------------------------------------------------------

SCALE = np.random.default_rng(0).uniform(0.01, 0.03, 12).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "scale", "zero", "attributes"),
    [
        (np.int8, SCALE[0], 3, {}),
        (np.uint8, SCALE[0], 100, {}),
        (np.uint8, SCALE[0], None, {}),
        (np.int8, SCALE[:1], 0, {}),
        (np.int16, SCALE[0] / 200, -7, {}),
        (np.int8, SCALE[:4], -5, {"axis": 0}),
        (np.uint8, SCALE[:6], 128, {"axis": -1}),
        (np.int8, SCALE[:12].reshape(4, 3), 1, {"axis": 1, "block_size": 2}),
        (np.int8, SCALE[:8].reshape(4, 2), 1, {"axis": 1, "block_size": 4}),
        (np.int8, SCALE[:12].reshape(2, 6), 1, {"axis": 0, "block_size": 3}),
        (ml_dtypes.int4, SCALE[0] * 16, -1, {}),
        (ml_dtypes.uint4, SCALE[0] * 16, 7, {}),
    ],
)
@pytest.mark.parametrize("symbolic", [False, True])
def test_rounding_is_the_identity_and_saturation_is_not(
    kind: Any, scale: Any, zero: int | None, attributes: dict[str, int], symbolic: bool
) -> None:
    """dx = dy · [x does not saturate] for x → QuantizeLinear → DequantizeLinear; the message on s is that of the rounding."""
    dtype, scale = np.dtype(kind), np.asarray(scale)
    points = None if zero is None else np.full(scale.shape, zero).astype(dtype)
    x = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32) * 3
    weights = {} if points is None else {"z": points}
    z = "" if points is None else "z"
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", z], ["q"], name="quantize", **attributes),
        helper.make_node("DequantizeLinear", ["q", "s", z], ["y"], name="dequantize", **attributes),
    ]
    shape = ["rows", "columns"] if symbolic else x.shape
    made = model(nodes, {"x": shape, "s": scale.shape}, {"y": shape}, weights, opset=21)
    made.ir_version = 10
    cotangent = np.random.default_rng(2).standard_normal(x.shape).astype(np.float32)
    found = run(
        rewrite(made, target="cotangent", inputs=["x", "s"], score="probability"), {"x": x, "s": scale, "seed": cotangent}
    )
    wide = scale
    if scale.ndim == 1:
        wide = scale.reshape([-1 if a == attributes.get("axis", 1) % 2 else 1 for a in range(2)])
    if scale.ndim == 2:
        axis = attributes["axis"]
        wide = np.repeat(scale, attributes["block_size"], axis).take(np.arange(x.shape[axis]), axis)
    limits = ml_dtypes.iinfo(dtype)
    steps = np.rint(x / wide) + (zero or 0)
    inside = (x / wide + (zero or 0) >= int(limits.min)) & (x / wide + (zero or 0) <= int(limits.max))
    assert 0 < inside.mean() < 1
    np.testing.assert_allclose(found["x_attribution"], cotangent * inside, rtol=1e-5)
    rounded = np.clip(steps, int(limits.min), int(limits.max)) - (zero or 0)
    share = np.where(inside, 0, cotangent * rounded)  # what scales do to rounded values is undone by reading them
    owner = np.broadcast_to(np.arange(scale.size).reshape(scale.shape), scale.shape)
    owners = owner if scale.ndim != 1 else owner.reshape(wide.shape)
    if scale.ndim == 2:
        owners = np.repeat(owner, attributes["block_size"], attributes["axis"]).take(np.arange(x.shape[axis]), axis)
    expected = np.bincount(np.broadcast_to(owners, x.shape).ravel(), share.ravel(), scale.size).reshape(scale.shape)
    np.testing.assert_allclose(found["s_attribution"], expected, rtol=1e-4, atol=1e-2)


def test_weights_of_four_bits_in_blocks() -> None:
    generator = np.random.default_rng(0)
    numbers = generator.integers(-8, 8, (32, 5)).astype(ml_dtypes.int4)
    scale = generator.uniform(0.01, 0.1, (2, 5)).astype(np.float32)
    nodes = [node("DequantizeLinear", "q s", "w", axis=0, block_size=16), node("MatMul", "x w", "y")]
    made = model(nodes, {"x": ["n", 32]}, {"y": ["n", 5]}, {"q": numbers, "s": scale}, opset=21)
    made.ir_version = 10
    w = numbers.astype(np.float32) * np.repeat(scale, 16, 0)
    cotangent = generator.standard_normal((3, 5)).astype(np.float32)
    found = gradient(made, generator.standard_normal((3, 32)).astype(np.float32), cotangent)
    np.testing.assert_allclose(found, cotangent @ w.T, rtol=1e-5, atol=1e-6)


def test_messages_pass_operators_that_move_quantized_values() -> None:
    """Reshape, Transpose, Concat and MaxPool between QuantizeLinear and DequantizeLinear."""
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("MaxPool", "q", "pooled", kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", "pooled", "turned", perm=[0, 1, 3, 2]),
        node("Concat", "turned pooled", "both", axis=1),
        node("Reshape", "both shape", "flat"),
        node("DequantizeLinear", "flat s z", "y"),
    ]
    weights = {"s": np.float32(0.02), "z": np.uint8(9), "shape": np.array([1, -1])}
    made = model(nodes, {"x": [1, 1, 4, 4]}, {"y": [1, 8]}, weights)
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) / 8
    cotangent = np.arange(8, dtype=np.float32)[None]
    expected = np.zeros((4, 4), np.float32)
    expected[1::2, 1::2] = cotangent[0, :4].reshape(2, 2).T + cotangent[0, 4:].reshape(2, 2)
    np.testing.assert_allclose(gradient(made, x, cotangent)[0, 0], expected, rtol=1e-6)


HALF = {"coordinate_transformation_mode": "half_pixel"}
MOVED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "resize-nearest": ("Resize", "x _ scales", {"mode": "nearest", **HALF}),
    "resize-linear": ("Resize", "x _ scales", {"mode": "linear", **HALF}),
    "gather": ("Gather", "x at", {"axis": 2}),
    "gather-elements": ("GatherElements", "x places", {"axis": 1}),
    "gather-nd": ("GatherND", "x points", {}),
    "slice": ("Slice", "x starts ends", {}),
    "pad": ("Pad", "x pads", {"mode": "reflect"}),
    "pad-constant": ("Pad", "x pads z", {}),
    "tile": ("Tile", "x repeats", {}),
    "expand": ("Expand", "x larger", {}),
    "space-to-depth": ("SpaceToDepth", "x", {"blocksize": 2}),
    "depth-to-space": ("DepthToSpace", "x", {"blocksize": 2}),
    "top-k": ("TopK", "x k", {"axis": 3}),
    "unsqueeze": ("Unsqueeze", "x one", {}),
    "flatten": ("Flatten", "x", {}),
    "where": ("Where", "mask x z", {}),
    "max-pool": ("MaxPool", "x", {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [1, 1, 0, 1]}),
    "reduce-max": ("ReduceMax", "x one", {}),
    "max": ("Max", "x other", {}),
    "scatter-elements": ("ScatterElements", "x places x", {"axis": 1}),
    "split": ("Split", "x", {"axis": 1, "num_outputs": 2}),
    "concat": ("Concat", "x other x", {"axis": 2}),
}
"""Operators that move integers as well as real numbers, with their inputs."""


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("case", MOVED)
def test_quantized_values_are_moved_as_real_ones(case: str, kind: Any) -> None:
    """Between QuantizeLinear and DequantizeLinear as without them, at values that are multiples of the scale."""
    op, names, attributes = MOVED[case]
    generator = np.random.default_rng(0)
    numbers = generator.permutation(96).reshape(1, 4, 4, 6)
    x, other = (numbers * np.float32(0.5)).astype(np.float32), generator.integers(0, 96, (1, 4, 4, 6))
    weights = {
        "s": np.float32(0.5), "zero": np.array(0, kind), "scales": np.array([1, 1, 2, 1.5], np.float32), "at": np.array([0, 3, 3]),
        "places": generator.permuted(np.tile(np.arange(4)[:, None, None], (1, 4, 6))[None], axis=1),
        "points": generator.integers(0, (1, 4, 4), (5, 3)), "starts": np.array([0, 1, 1, 2]), "ends": np.array([1, 4, 3, 6]),
        "pads": np.array([0, 0, 1, 2, 0, 1, 1, 0]), "repeats": np.array([2, 1, 1, 3]), "larger": np.array([3, 4, 4, 6]),
        "k": np.array([2]), "one": np.array([1]), "mask": generator.random((1, 4, 4, 6)) < 0.5,
    }  # fmt: skip
    inputs = ["" if n == "_" else n for n in names.split()]
    outputs = ["y", "rest"] if op in ("Split", "TopK") else ["y"]
    plain = [helper.make_node(op, inputs, outputs, name="moved", **attributes)]
    wrapped = [
        node("QuantizeLinear", "x s zero", "q"),
        helper.make_node(op, ["q" if n == "x" else n for n in inputs], ["r", *outputs[1:]], name="moved", **attributes),
        node("DequantizeLinear", "r s zero", "y"),
    ]
    real = weights | {"z": np.float32(4), "other": other.astype(np.float32) / 2}
    integers = weights | {"z": np.array(8, kind), "other": other.astype(kind)}
    models = (model(n, {"x": x.shape}, {"y": None}, w) for n, w in ((wrapped, integers), (plain, real)))
    first, second = models
    y = run(second, {"x": x})["y"]
    seed = generator.standard_normal(y.shape).astype(np.float32)
    found, expected = gradient(first, x, seed), gradient(second, x, seed)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_rounds_to_integers_without_a_scale_has_no_derivative() -> None:
    nodes = [node("Cast", "x", "i", to=TensorProto.INT32), node("Cast", "i", "f", to=1), node("Mul", "f x", "y")]
    made = model(nodes, {"x": [1, 3]}, {"y": [1, 3]})
    x = np.array([[1.2, -2.7, 0.4]], np.float32)
    np.testing.assert_allclose(gradient(made, x, np.ones((1, 3), np.float32)), [[1, -2, 0]])


@pytest.mark.parametrize("zeros", ["tensor", "columns"])
def test_products_of_integers(zeros: str) -> None:
    """DynamicQuantizeLinear, MatMulInteger and the scaling after it: dx = dy · s_B · (B − z_B)ᵀ, both scales' shares cancelled."""
    generator = np.random.default_rng(0)
    numbers, zero = generator.integers(0, 255, (6, 4)), generator.integers(100, 150, 4)
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("MatMulInteger", "q b z zb", "i"),
        node("Cast", "i", "f", to=1),
        node("Mul", "s sb", "scale"),
        node("Mul", "f scale", "y"),
    ]
    point = zero.astype(np.uint8) if zeros == "columns" else np.uint8(120)
    weights = {"b": numbers.astype(np.uint8), "zb": point, "sb": np.float32(0.01)}
    made = model(nodes, {"x": ["n", 6]}, {"y": ["n", 4]}, weights)
    cotangent = generator.standard_normal((3, 4)).astype(np.float32)
    found = gradient(made, generator.standard_normal((3, 6)).astype(np.float32), cotangent)
    np.testing.assert_allclose(found, cotangent @ (0.01 * (numbers - point.astype(np.float32))).T, rtol=1e-4, atol=1e-5)


BIAS = np.array([300, -200, 100, 50], np.int32)

PRODUCTS = {
    "matrices": ("MatMul", (2, 3, 5), (5, 4), {}, None),
    "batches": ("MatMul", (2, 3, 5), (2, 5, 4), {}, None),
    "batch-and-matrix": ("MatMul", (3, 5), (2, 5, 4), {}, None),
    "columns": ("MatMul", (3, 5), (5, 4), {}, 1),
    "convolution": ("Conv", (2, 3, 6, 5), (4, 3, 3, 2), {"pads": [1, 0, 1, 0], "strides": [2, 1]}, None),
    "filters": ("Conv", (2, 4, 6, 5), (4, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}, 0),
}


@pytest.mark.parametrize("score", ["logit", "probability"])
@pytest.mark.parametrize("kernel", ["QLinear", "QLinear-bias", "Integer"])
@pytest.mark.parametrize("case", PRODUCTS)
def test_products_of_quantized_operands(case: str, kernel: str, score: str) -> None:
    """QLinearMatMul, QLinearConv, MatMulInteger and ConvInteger as the product of what the operands stand for, by both.

    By default the scores are explained as they are before they are rounded: the greatest does not stop at the end of a range.
    """
    op, x_shape, w_shape, attributes, axis = PRODUCTS[case]
    integer, bias = kernel == "Integer", kernel == "QLinear-bias" and op == "Conv"
    if integer and op == "Conv":
        axis = None  # ConvInteger takes one zero point for all filters
    generator = np.random.default_rng(3)
    each = 1 if axis is None else w_shape[axis]
    s_w = np.float32(0.02) if axis is None else generator.uniform(0.01, 0.03, each).astype(np.float32)
    z_w = np.zeros_like(s_w, np.int8)
    weights = {
        "sx": np.float32(0.02),
        "zx": np.uint8(120),
        "sw": s_w,
        "zw": z_w,
        "sy": np.float32(0.03),
        "zy": np.uint8(100),
        "b": BIAS,
    }
    weights |= {"scale": np.asarray(0.02 * s_w, np.float32), "real": (BIAS * 0.02 * s_w).astype(np.float32)}
    where = {} if axis is None else {"axis": axis}
    first = [node("QuantizeLinear", "x sx zx", "xq"), node("QuantizeLinear", "w sw zw", "wq", **where)]
    real = [node("DequantizeLinear", "xq sx zx", "xr"), node("DequantizeLinear", "wq sw zw", "wr", **where)]
    real += [node(op, "xr wr real" if bias else "xr wr", "p", **attributes)]
    if integer:
        real[-1].output[0] = "y"
        own = [node(f"{op}Integer", "xq wq zx zw", "i", **attributes), node("Cast", "i", "f", to=1), node("Mul", "f scale", "y")]
    else:
        real += [node("QuantizeLinear", "p sy zy", "pq"), node("DequantizeLinear", "pq sy zy", "y")]
        ends = "xq sx zx wq sw zw sy zy"
        own = [node(f"QLinear{op}", f"{ends} b" if bias else ends, "q", **attributes), node("DequantizeLinear", "q sy zy", "y")]
    x = (generator.standard_normal(x_shape) * 0.8).astype(np.float32)
    w = (generator.standard_normal(w_shape) * 0.5).astype(np.float32)
    inputs, found = {"x": x_shape, "w": w_shape}, []
    y = run(model([*first, *real], inputs, {"y": None}, weights), {"x": x, "w": w})["y"]
    seed = generator.standard_normal(y.shape).astype(np.float32)
    for nodes in (real, own):
        made = rewrite(model([*first, *nodes], inputs, {"y": None}, weights), target="cotangent", score=score)
        found.append(run(made, {"x": x, "w": w, "seed": seed}))
    assert np.abs(found[0]["y"] - found[1]["y"]).max() < 0.04  # a step
    for name in ("x_attribution", "w_attribution"):
        assert np.abs(found[0][name]).max() > 0
        np.testing.assert_allclose(found[1][name], found[0][name], rtol=1e-3, atol=1e-4)


def test_a_score_beyond_the_range_is_explained() -> None:
    """What it is the rounding of has a derivative; the rounded score itself has none."""
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("QLinearMatMul", "xq sx zx wq sw zx sy zx", "yq"),
        node("DequantizeLinear", "yq sy zx", "y"),
    ]
    weights = {"sx": np.float32(0.1), "zx": np.int8(0), "sw": np.float32(1), "sy": np.float32(0.01)}
    weights["wq"] = np.array([[1, 2], [3, -4]], np.int8)
    made = model(nodes, {"x": ["n", 2]}, {"y": ["n", 2]}, weights)
    x = np.array([[2, 1]], np.float32)
    found = Explainer(made)(x, 0)
    np.testing.assert_allclose(found.outputs["y"][0, 0], 1.27)  # of 5
    np.testing.assert_allclose(found.attribution, [[1, 3]], rtol=1e-6)
    np.testing.assert_array_equal(Explainer(made, score="probability")(x, 0).attribution, [[0, 0]])


@exact_bytes
@pytest.mark.parametrize("axis", [None, 0])
def test_relevance_through_integer_kernels_is_that_of_dequantized_products(axis: int | None) -> None:
    """QLinearConv with one scale and with scales by filter; QLinearMatMul."""
    generator = np.random.default_rng(5)
    each = 1 if axis is None else 4
    s_w = np.float32(0.02) if axis is None else generator.uniform(0.01, 0.03, each).astype(np.float32)
    weights = {
        "sx": np.float32(0.02), "zx": np.uint8(120), "sw": s_w, "zw": np.zeros_like(s_w, np.int8), "sy": np.float32(0.05),
        "zy": np.uint8(100), "b": BIAS, "w": generator.integers(-120, 120, (4, 3, 3, 2)).astype(np.int8),
        "m": generator.integers(-120, 120, (3, 6)).astype(np.int8), "sm": np.float32(0.01), "zm": np.int8(0),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x sx zx", "xq"),
        node("QLinearConv", "xq sx zx w sw zw sy zy b", "c", pads=[1, 1, 1, 1]),
        node("QLinearMatMul", "c sy zy m sm zm sy zy", "q"),
        node("DequantizeLinear", "q sy zy", "y"),
    ]
    x = (generator.standard_normal((1, 3, 4, 2)) * 0.8).astype(np.float32)
    made = model(nodes, {"x": x.shape}, {"y": [1, 4, 4, 6]}, weights)
    cotangent = generator.standard_normal((1, 4, 4, 6)).astype(np.float32)
    found = run(rewrite(made, "lrp-epsilon", target="cotangent", epsilon=0.1), {"x": x, "seed": cotangent})

    def divided(relevance: np.ndarray, z: np.ndarray) -> np.ndarray:
        return relevance / (z + np.where(z < 0, -0.1, 0.1))

    xr = (np.clip(np.rint(x / 0.02) + 120, 0, 255) - 120) * 0.02
    filters = (weights["w"] * np.reshape(s_w, (-1, 1, 1, 1) if axis == 0 else ())).astype(np.float64)
    padded = np.pad(xr, ((0, 0), (0, 0), (1, 1), (1, 1)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 2), (2, 3))  # [1, 3, rows, columns, 3, 2]
    conv = np.einsum("nchwij,fcij->nfhw", patches, filters) + (BIAS * 0.02 * s_w).reshape(1, -1, 1, 1)
    c = (np.clip(np.rint(conv / 0.05) + 100, 0, 255) - 100) * 0.05
    assert c.shape == (1, 4, 4, 3)
    m = weights["m"] * 0.01
    r = c * (divided(cotangent * (c @ m), c @ m) @ m.T)  # the score is explained as it is before it is rounded
    share, sent = divided(r, conv), np.zeros_like(padded, np.float64)
    for h in range(4):
        for w in range(3):
            sent[:, :, h : h + 3, w : w + 2] += np.einsum("nf,fcij->ncij", share[:, :, h, w], filters)
    expected = xr * sent[:, :, 1:-1, 1:-1]
    np.testing.assert_allclose(found["x_attribution"], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
