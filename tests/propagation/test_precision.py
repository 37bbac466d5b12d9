"""Relevance of float16 models: propagated in float32, beside a forward pass that stays what it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from onnxplain import Explainer, check, rewrite
from onnxplain.io.reader import read
from onnxplain.method.registry import find_method
from onnxplain.passes import prepared
from onnxplain.propagation.composite import Composite
from onnxplain.propagation.vjp import vjp
from onnxplain.verification.reference.evaluator import evaluate_reference
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES


def halved(path: Path, *, keep: bool) -> onnx.ModelProto:
    """The model in float16; with `keep`, but for its inputs and outputs."""
    return convert_float_to_float16(onnx.load(path), keep_io_types=keep)


def rounded(path: Path) -> onnx.ModelProto:
    """The model in float32 with the weights that it has in float16."""
    made = onnx.load(path)
    for tensor in made.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            with np.errstate(over="ignore"):  # the mask of attention
                values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return made


def feeds_of(net: str) -> dict[str, Any]:
    with np.load(FIXTURES / net / "data.npz") as data:
        return {i.name: data[i.name] for i in onnx.load(FIXTURES / net / "model.onnx").graph.input}


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (np.asarray(v, np.float64).reshape(len(v), -1) for v in (a, b))
    return np.asarray(np.sum(a * b, 1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("net", "method", "tolerance"),
    [
        *((n, m, 5e-3) for n in ("digits", "resnet", "bert") for m in ("lrp-epsilon", "lrp-epsilon-plus", "attnlrp")),
        ("lstm", "lrp-epsilon", 2e-2),  # both its biases are added in float16, and z comes close to zero
        ("gru", "lrp-epsilon", 2e-2),
    ],
)
def test_relevance_is_that_of_the_float32_model_with_these_weights(net: str, method: str, tolerance: float, keep: bool) -> None:
    """The score it starts from is rounded, to 11 bits; all else is computed in float32."""
    made, feeds = halved(FIXTURES / net / "model.onnx", keep=keep), feeds_of(net)
    given = {
        i.name: feeds[i.name].astype(np.float16) if i.type.tensor_type.elem_type == TensorProto.FLOAT16 else feeds[i.name]
        for i in made.graph.input
    }
    same = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in given.items()}
    expected = Explainer(rounded(FIXTURES / net / "model.onnx"), method)(same)
    found = Explainer(made, method)(given, expected.target.tolist())
    for name, value in expected.attributions.items():
        np.testing.assert_allclose(found.attributions[name], value, atol=tolerance * float(np.abs(value).max()))
        assert cosine(found.attributions[name], value).min() > 0.9999
    before = run(made, given)
    for name, scores in found.outputs.items():
        assert scores.dtype == before[name].dtype
        np.testing.assert_allclose(scores.astype(np.float64), before[name], atol=4e-3 * float(np.abs(before[name]).max()))


def quotient(dtype: Any) -> onnx.ModelProto:
    """Products that nearly cancel: R / z is above what float16 holds, x · w · R / z is not."""
    w = np.array([[1, 1, 8], [-0.9375, -0.875, 8]]).astype(dtype)
    nodes = [node("MatMul", "x w", "h"), node("MatMul", "h v", "y")]
    weights = {"w": w, "v": np.array([[1], [2], [0.001]]).astype(dtype)}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return model(nodes, {"x": ["n", 2]}, {"y": ["n", 1]}, weights, kinds={"x": kind, "y": kind})


def test_where_a_walk_in_float16_overflows_one_in_float32_does_not() -> None:
    x = np.array([[0.03125, 0.03125], [0.0625, 0.0625], [0.001, 0.001]], np.float16)
    usual = find_method("lrp-epsilon").rules()

    def relevance(composite: Composite) -> np.ndarray:
        made = vjp(prepared(read(quotient(np.float16))).model, ["x"], ["y"], composite=composite)
        return np.asarray(evaluate_reference(made, {"x": x, "y_seed": np.full((3, 1), 1000, np.float16)}, ["x_gradient"])[0])

    # On the reference evaluator: ONNX Runtime's CPU computes float16 in float32 where it can, other hosts do not.
    assert not np.isfinite(relevance(replace(usual, float32=False))).all()
    found = relevance(usual)
    made = vjp(prepared(read(quotient(np.float32))).model, ["x"], ["y"], composite=usual)
    expected = run(made, {"x": x.astype(np.float32), "y_seed": np.full((3, 1), 1000, np.float32)})["x_gradient"]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=5e-3)


def test_bfloat16_models_are_walked_in_float32() -> None:
    """ONNX Runtime's CPU has no bfloat16 kernels: on the reference evaluator."""
    x = np.array([[1, 3], [2, -1]], np.float32)
    made = rewrite(quotient(ml_dtypes.bfloat16), "lrp-epsilon", target="cotangent")
    inside = {n.name for n in made.graph.node if n.op_type == "Cast"}
    assert inside
    cotangent = np.ones((2, 1), ml_dtypes.bfloat16)
    found = evaluate_reference(made, {"x": x.astype(ml_dtypes.bfloat16), "seed": cotangent}, ["x_attribution"])[0]
    rounded_weights = rewrite(quotient(np.float32), "lrp-epsilon", target=0)
    for tensor in rounded_weights.graph.initializer:
        if tensor.name in "wv":
            values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    expected = run(rounded_weights, {"x": x})["x_attribution"]
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)


def test_inner_tensors_and_every_target() -> None:
    made = halved(FIXTURES / "digits" / "model.onnx", keep=False)
    x = {"image": feeds_of("digits")["image"][:2].astype(np.float16)}
    every = run(rewrite(made, "lrp-epsilon-plus", target="all", layer=["relu", "relu_1"]), x)
    for name in ("relu", "relu_1"):
        assert np.isfinite(every[f"{name}_attribution"]).all()
        one = run(rewrite(made, "lrp-epsilon-plus", target=3, layer=[name]), x)[f"{name}_attribution"]
        np.testing.assert_allclose(every[f"{name}_attribution"][:, 3], one, rtol=1e-3, atol=1e-4)


def test_check_of_a_float16_norm() -> None:
    """Its statistics are float32, as the standard says, also where its rule reads them."""
    assert check(halved(FIXTURES / "bert" / "model.onnx", keep=True), x=feeds_of("bert")).ok
