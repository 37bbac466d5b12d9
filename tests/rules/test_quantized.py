"""Quantized models explained as deployed: rounding counts as the identity, saturation as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from onnxplain import Explainer, check
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io.reader import read
from onnxplain.verification.finite_differences import double
from onnxplain.verification.reference.evaluator import evaluate_reference
from tests.support.models import model, node
from tests.support.paths import FIXTURES
from tests.support.plain_runs import gradient, run

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
