"""Quantized models explained as deployed: rounding counts as the identity, saturation as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from shutil import copy
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from onnxplain import Explainer, check, rewrite
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io.reader import read
from onnxplain.verification.finite_differences import double
from onnxplain.verification.reference.evaluator import evaluate_reference
from tests.support.models import model, node
from tests.support.paths import FIXTURES

NETS = ["digits", "cancer"]
FORMS = ["QDQ", "QOperator", "dynamic"]


def samples(net: str) -> np.ndarray:
    with np.load(FIXTURES / net / "data.npz") as found:
        return np.asarray(found["image" if net == "digits" else "features"])


class Calibration(CalibrationDataReader):
    """The samples, eight at a time."""

    def __init__(self, net: str, name: str) -> None:
        x = samples(net)
        self.batches: Iterator[dict[str, np.ndarray]] = iter([{name: x[i : i + 8]} for i in range(0, len(x), 8)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fixture's model quantized by ONNX Runtime, without a softmax at its end."""
    folder = tmp_path_factory.mktemp("quantized")

    @lru_cache
    def make(net: str, form: str) -> onnx.ModelProto:
        path, made = folder / f"{net}.onnx", folder / f"{net}_{form}.onnx"
        onnx.save(logits(onnx.load(FIXTURES / net / "model_legacy.onnx")), path)
        if form == "float":
            return onnx.load(path)
        if form == "dynamic":
            quantize_dynamic(path, made, weight_type=QuantType.QUInt8)
        else:
            name = onnx.load(path).graph.input[0].name
            quantize_static(path, made, Calibration(net, name), quant_format=QuantFormat[form], per_channel=net == "digits")
        return onnx.load(made)

    return make


def logits(made: onnx.ModelProto) -> onnx.ModelProto:
    """The model without its last Softmax."""
    last = made.graph.node[-1]
    if last.op_type == "Softmax":
        del made.graph.node[-1]
        made.graph.output[0].name = last.input[0]
    return made


def run(made: onnx.ModelProto, feeds: dict[str, Any]) -> dict[str, Any]:
    """All outputs, every node computed as it stands."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def gradient(made: onnx.ModelProto, x: np.ndarray, cotangent: np.ndarray) -> np.ndarray:
    """The message that a seed on the output becomes on the input."""
    explained = rewrite(made, target="cotangent", score="probability")
    name = made.graph.input[0].name
    return np.asarray(run(explained, {name: x, "seed": cotangent})[f"{name}_attribution"])


# -- the independent oracle ----------------------------------------------------------------------------------------------


def frozen(made: onnx.ModelProto, x: np.ndarray) -> onnx.ModelProto:
    """The QDQ model in floating point, with everything that rounding and saturation do at x kept as it is there.

    A pair of QuantizeLinear and DequantizeLinear becomes `x · inside + rest`, weights become what they stand for, and a
    MaxPool takes the elements it takes at x: there are ties among quantized values.
    """
    shown = onnx.ModelProto()
    shown.CopyFrom(made)
    own = {o.name for o in shown.graph.output}
    shown.graph.output.extend(helper.make_empty_tensor_value_info(n.output[0]) for n in made.graph.node if n.output[0] not in own)
    values = run(shown, {made.graph.input[0].name: x})
    constants = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    values |= {made.graph.input[0].name: x, **constants}
    makers = {n.output[0]: n for n in made.graph.node}
    nodes, weights = [], dict(constants)
    for n in made.graph.node:
        y = n.output[0]
        if n.op_type == "DequantizeLinear" and n.input[0] in makers:
            inner = makers[n.input[0]]
            real, scale, zero = (values[i] for i in inner.input)
            limits = np.iinfo(zero.dtype)
            steps = real / scale + zero
            inside = ((steps >= limits.min) & (steps <= limits.max)).astype(np.float64)
            weights |= {f"{y}/inside": inside, f"{y}/rest": values[y] - inside * real}
            nodes += [node("Mul", f"{inner.input[0]} {y}/inside", f"{y}/kept"), node("Add", f"{y}/kept {y}/rest", y)]
        elif n.op_type == "DequantizeLinear":
            weights[y] = values[y].astype(np.float64)
        elif n.op_type == "MaxPool":
            settings = {a.name: helper.get_attribute_value(a) for a in n.attribute}
            image = values[n.input[0]]
            pool = model([node("MaxPool", "x", "y at", **settings)], {"x": image.shape}, {"y": None, "at": None}, kinds={"at": 7})
            at = run(pool, {"x": image})["at"]
            weights |= {f"{y}/at": at.ravel(), f"{y}/flat": np.array([-1]), f"{y}/shape": np.array(at.shape)}
            nodes += [node("Reshape", f"{n.input[0]} {y}/flat", f"{y}/list"), node("Gather", f"{y}/list {y}/at", f"{y}/taken")]
            nodes += [node("Reshape", f"{y}/taken {y}/shape", y)]
        elif n.op_type != "QuantizeLinear":
            nodes.append(n)
    outputs = {made.graph.output[0].name: None}
    return double(model(nodes, {made.graph.input[0].name: x.shape}, outputs, weights, opset=17))


@pytest.mark.parametrize("net", NETS)
def test_qdq_models_are_straight_through(net: str, quantized: Any) -> None:
    """Against finite differences, in float64, of the model with its roundings frozen."""
    made = quantized(net, "QDQ")
    for i, x in enumerate(samples(net)[:3]):
        x = x[None]
        smooth = frozen(made, x)
        name, output = smooth.graph.input[0].name, smooth.graph.output[0].name
        seed = np.random.default_rng(i).standard_normal(run(made, {name: x})[output].shape).astype(np.float32)

        def outputs(at: np.ndarray, smooth: onnx.ModelProto = smooth, name: str = name, cotangent: np.ndarray = seed) -> float:
            return float(np.sum(evaluate_reference(smooth, {name: at})[0] * cotangent))

        step = 2.0**-10
        moves = step * np.eye(x.size).reshape(x.size, *x.shape)
        slopes = np.array([outputs(x + m) - outputs(x - m) for m in moves]).reshape(x.shape) / (2 * step)
        found = gradient(made, x, seed)
        np.testing.assert_allclose(found, slopes, rtol=1e-4, atol=1e-5 * np.abs(slopes).max())


@pytest.mark.parametrize("net", NETS)
def test_qlinear_operators_give_what_qdq_gives(net: str, quantized: Any) -> None:
    x = samples(net)
    pairs, operators = Explainer(quantized(net, "QDQ")), Explainer(quantized(net, "QOperator"))
    first = pairs(x)
    second = operators(x, first.target.tolist())
    close = np.isclose(first.attribution, second.attribution, rtol=1e-3, atol=1e-5 * np.abs(first.attribution).max())
    assert close.reshape(len(x), -1).all(1).mean() >= 0.9  # the kernels may round an element the other way


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("net", NETS)
def test_quantized_models_are_explained_as_the_float_model(net: str, form: str, quantized: Any) -> None:
    """Not quite: quantization turns some Relu and MaxPool over. The typical sample has a cosine above 0.99."""
    x = samples(net)
    plain = Explainer(quantized(net, "float"))(x)
    other = Explainer(quantized(net, form))(x, plain.target.tolist())
    a, b = plain.attribution.reshape(len(x), -1), other.attribution.reshape(len(x), -1)
    cosines = np.sum(a * b, 1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    assert np.median(cosines) > 0.99
    assert cosines.min() > 0.95


@pytest.mark.parametrize("form", FORMS)
def test_a_quantized_softmax_is_explained_at_its_input(form: str, tmp_path: Path) -> None:
    path, made = Path(copy(FIXTURES / "cancer" / "model_legacy.onnx", tmp_path)), tmp_path / "model.onnx"
    if form == "dynamic":
        quantize_dynamic(path, made, weight_type=QuantType.QUInt8)
    else:
        quantize_static(path, made, Calibration("cancer", "features"), quant_format=QuantFormat[form])
    explainer = Explainer(made)
    assert explainer.about["score"]["activation"] == "Softmax"
    explanation = explainer(samples("cancer"))
    assert np.abs(explanation.attribution).max(1).min() > 0


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


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_check_says_that_finite_differences_see_steps(form: str, quantized: Any) -> None:
    report = check(quantized("digits", form), x=samples("digits")[:1])
    assert report.ok
    assert "straight through" in str(report)


# -- relevance -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-epsilon-plus", "lrp-epsilon-gamma-box"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("net", NETS)
def test_relevance_is_close_to_that_of_the_float_model(net: str, form: str, method: str, quantized: Any) -> None:
    """Products of integers are linear maps of what the integers stand for. The typical sample has a cosine above 0.99."""
    x = samples(net)
    plain = Explainer(quantized(net, "float"), method)(x)
    other = Explainer(quantized(net, form), method)(x, plain.target.tolist())
    a, b = plain.attribution.reshape(len(x), -1), other.attribution.reshape(len(x), -1)
    assert np.isfinite(b).all()
    cosines = np.sum(a * b, 1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    assert np.median(cosines) > 0.99
    assert cosines.min() > 0.95
    before = Explainer(quantized(net, form))(x).outputs
    for name, value in before.items():  # a product may round to the next step
        np.testing.assert_allclose(other.outputs[name], value, atol=0.03 * float(np.abs(value).max()))


@pytest.mark.parametrize("form", FORMS)
def test_relevance_is_conserved_through_rounding(form: str, quantized: Any) -> None:
    """z⁺ on non-negative inputs with the biases left out: everything arrives, to float32's accuracy."""
    made = rewrite_source(
        read(quantized("digits", form)), Request.for_graph("lrp-zplus", options={"bias": "ignore"}, expose=["score"])
    )
    found = run(made.model, {"image": samples("digits")})
    scores = found[made.about["score"]["tensor"]].max(1)
    np.testing.assert_allclose(found["image_attribution"].sum((1, 2, 3)), scores, rtol=1e-5)


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
