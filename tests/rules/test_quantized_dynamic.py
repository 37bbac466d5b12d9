"""Dynamic quantization - an LSTM, convolutions and matrix products on 8 bits by their range - as the same network on real numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import rewrite
from tests.support.models import model, node
from tests.support.processor import exact_bytes

RANDOM = np.random.default_rng(0)
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "integrated-gradients": {"baseline": 0.1},
    "lrp-epsilon": {},
    "lrp-zplus": {},
    "deeplift": {"baseline": 0.1},
}


def outputs(made: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, Any]:
    """In one thread: ONNX Runtime's quantized LSTM gives every thread some samples, each with a range of their own."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


def quantized(w: np.ndarray, axes: tuple[int, ...], dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integers, scales and zero points, one for all that lies along `axes`."""
    low, high = np.minimum(w.min(axes, keepdims=True), 0), np.maximum(w.max(axes, keepdims=True), 0)
    limits, symmetric = np.iinfo(dtype), len(axes) == 1 and w.ndim == 3  # ONNX Runtime's LSTM asks it of scales by channel
    scale = np.maximum(high, -low) / 127 if symmetric else (high - low) / 255
    zero = np.zeros_like(low) if symmetric else np.round(limits.min - low / scale)
    whole = np.clip(np.round(w / scale) + zero, limits.min, limits.max)
    return whole.astype(dtype), scale.squeeze(axes).astype(np.float32), zero.squeeze(axes).astype(dtype)


def compare(own: onnx.ModelProto, real: onnx.ModelProto, feeds: dict[str, np.ndarray], method: str) -> None:
    """The prediction is the quantized model's own, and the attribution that of real numbers but for rounding."""
    settings = {"target": (1,), "sample_axis": {"x": 0, "y": 0}, **METHODS[method]}
    found, expected = (outputs(rewrite(m, method, **settings), feeds) for m in (own, real))
    np.testing.assert_allclose(found["y"], outputs(own, feeds)["y"], rtol=1e-5, atol=1e-6)
    size = np.abs(expected["x_attribution"]).max()
    np.testing.assert_allclose(found["x_attribution"], expected["x_attribution"], atol=0.05 * size)
    if "delta" in found:
        change = np.abs(expected["x_attribution"].sum(axis=tuple(range(1, expected["x_attribution"].ndim)))).max()
        assert np.abs(found["delta"]).max() < 0.02 * max(change, size)  # what rounding does


LSTMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "backwards, with a bias": {"direction": "reverse", "b": True},
    "both ways, by channel": {"direction": "bidirectional", "b": True, "channels": True, "dtype": np.int8},
    "from a state, signed": {"state": True, "dtype": np.int8},
    "lengths and peepholes": {"lengths": True, "peepholes": True, "b": True},
}


def lstms(direction: str = "forward", b: bool = False, channels: bool = False, state: bool = False, dtype: type = np.uint8,
          lengths: bool = False, peepholes: bool = False) -> tuple[onnx.ModelProto, onnx.ModelProto]:  # fmt: skip
    """[2, 5, 4] → [2, 3], on integers and on the numbers they stand for."""
    many, hidden = 2 if direction == "bidirectional" else 1, 3
    w, r = (RANDOM.standard_normal((many, size, 4 * hidden)).astype(np.float32) / 2 for size in (4, hidden))
    axes = (1,) if channels else (1, 2)
    parts = {n: quantized(v, axes, dtype) for n, v in (("W", w), ("R", r))}
    weights: dict[str, Any] = {f"{n}{end}": v for n, made in parts.items() for end, v in zip(("", "s", "z"), made, strict=True)}
    for n, (whole, scale, zero) in parts.items():
        wide = [np.expand_dims(t.astype(np.float32), axes) for t in (zero, scale)]
        weights[f"{n}f"] = ((whole.astype(np.float32) - wide[0]) * wide[1]).transpose(0, 2, 1)
    weights |= {"B": RANDOM.standard_normal((many, 8 * hidden)).astype(np.float32)} if b else {}
    weights |= {n: RANDOM.standard_normal((many, 2, hidden)).astype(np.float32) / 2 for n in ("h0", "c0")} if state else {}
    weights |= {"lens": np.array([5, 3], np.int32)} if lengths else {}
    weights |= {"P": RANDOM.standard_normal((many, 3 * hidden)).astype(np.float32)} if peepholes else {}
    weights |= {"first": np.array([0])}
    rest = ["B" if b else "", "lens" if lengths else "", *(["h0", "c0"] if state else ["", ""]), "P" if peepholes else ""]
    ends = [node("ReduceMean", "h first", "y", keepdims=0)]
    start, settings = node("Transpose", "x", "t", perm=[1, 0, 2]), {"hidden_size": hidden, "direction": direction}
    batch = 2 if state or lengths else "n"
    made = []
    for op, domain, given in (
        ("DynamicQuantizeLSTM", "com.microsoft", ["t", "W", "R", *rest, "Ws", "Wz", "Rs", "Rz"]),
        ("LSTM", "", ["t", "Wf", "Rf", *rest]),
    ):
        lstm = onnx.helper.make_node(op, given, ["", "h"], "lstm", domain=domain, **settings)
        read = {k: v for k, v in weights.items() if k in [*given, "first"]}
        one = model([start, lstm, *ends], {"x": [batch, 5, 4]}, {"y": [batch, hidden]}, read)
        one.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
        made.append(one)
    return made[0], made[1]


@exact_bytes
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", LSTMS)
def test_lstm(kind: str, method: str) -> None:
    x = RANDOM.standard_normal((2, 5, 4)).astype(np.float32)
    compare(*lstms(**LSTMS[kind]), {"x": x}, method)


def products(kind: str, bias: str = "") -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """[2, 3, 6, 6] → [2, 4], on integers scaled afterwards and on the numbers they stand for.

    A `bias` is rounded by an operator, as early quantizers do it, and added to the integers.
    """
    dense = kind == "matrix"
    shape, axes = ((108, 4), (0,)) if dense else ((4, 3, 3, 3), (0, 1, 2, 3) if kind == "convolution" else (1, 2, 3))
    w = RANDOM.standard_normal(shape).astype(np.float32)
    whole, scale, zero = quantized(w, axes, np.uint8)
    if kind == "filters":
        scale = np.abs(w).max(axes) / 127  # ONNX Runtime takes one zero point for all filters
        whole, zero = (np.round(w / scale[:, None, None, None]) + 128).astype(np.uint8), np.array(128, np.uint8)
    wide = [t if dense or not t.ndim else t.reshape(-1, 1, 1, 1) for t in (zero.astype(np.float32), scale)]
    flat = [node("Flatten", "x", "f")] if dense else [node("Identity", "x", "f")]
    ends = [node("Identity", "p", "y")] if dense else [node("ReduceMean", "p places", "y", keepdims=0)]
    own = [
        node("DynamicQuantizeLinear", "f", "q s z"), node("MatMulInteger" if dense else "ConvInteger", "q w z wz", "i"),
        node("Cast", "i", "c", to=1), node("Mul", "s ws", "b"), node("Mul", "c b", "p"),
    ]  # fmt: skip
    laid = scale if dense or not scale.ndim else scale.reshape(-1, 1, 1)
    integers = {"w": whole, "wz": zero, "ws": laid.astype(np.float32), "places": np.array([2, 3])}
    numbers = {"v": ((whole.astype(np.float32) - wide[0]) * wide[1]).astype(np.float32), "places": np.array([2, 3])}
    if dense:
        integers.pop("places"), numbers.pop("places")
    real = [node("MatMul" if dense else "Conv", "f v", "p")]
    if bias:
        numbers["a"] = integers["a"] = RANDOM.standard_normal(4).astype(np.float32)
        integers["wide"] = np.array([1, -1] if dense else [1, 4, 1, 1])
        steps = [node("Mul", "s ws", "t"), node("Div", "a t", "e"), node(bias, "e", "g"), node("Cast", "g", "h", to=6)]
        own[2:3] = [*steps, node("Reshape", "h wide", "r"), node("Add", "i r", "j"), node("Cast", "j", "c", to=1)]
        real = [node("MatMul", "f v", "u"), node("Add", "u a", "p")] if dense else [node("Conv", "f v a", "p")]
    shapes = {"x": [2, 3, 6, 6]}, {"y": [2, 4]}
    return model([*flat, *own, *ends], *shapes, integers), model([*flat, *real, *ends], *shapes, numbers)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["matrix", "convolution", "filters"])
def test_products_of_integers(kind: str, method: str) -> None:
    compare(*products(kind), {"x": RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32)}, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("kind", "bias"), [("convolution", "Floor"), ("convolution", "Round"), ("matrix", "Floor")])
def test_a_bias_that_is_added_as_integers(kind: str, bias: str, method: str) -> None:
    compare(*products(kind, bias), {"x": RANDOM.standard_normal((2, 3, 6, 6)).astype(np.float32)}, method)


@pytest.mark.parametrize("baseline", [0.0, 0.4, -3.0])
def test_deeplift_through_saturation(baseline: float) -> None:
    """Quantizing that cuts off what is negative, or large, is a clip: as one written before it."""
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"), node("MatMul", "d w", "y")]
    weights = {"s": np.float32(1 / 512), "z": np.uint8(0), "w": RANDOM.standard_normal((3, 2)).astype(np.float32)}
    clipped = [node("Clip", "x low high", "d"), node("MatMul", "d w", "y")]
    x = np.array([[0.3, -0.7, 2.0], [0.1, 0.2, -1.0]], np.float32)
    own = model(nodes, {"x": ["n", 3]}, {"y": ["n", 2]}, weights)
    plain = model(clipped, {"x": ["n", 3]}, {"y": ["n", 2]},
                  {"w": weights["w"], "low": np.float32(0), "high": np.float32(255 / 512)})  # fmt: skip
    found, expected = (outputs(rewrite(m, "deeplift", baseline=baseline, target=(1,)), {"x": x}) for m in (own, plain))
    np.testing.assert_allclose(found["x_attribution"], expected["x_attribution"], atol=0.01)
    np.testing.assert_allclose(found["delta"], 0, atol=0.01)
