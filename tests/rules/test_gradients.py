"""Every gradient rule against finite differences, over ONNX's own backend cases and those of own_cases.py."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from onnxplain.errors import InputError, RuleError, UnsupportedOperatorError
from onnxplain.passes import prepare
from onnxplain.propagation.vjp import vjp
from onnxplain.verification.finite_differences import Comparison, compare
from tests.support.onnx_cases import Case, cases
from tests.support.own_case import Own

SKIP: dict[str, str] = {
    "MaxUnpool-maxunpool_export_with_output_shape-*": "refused: runtimes put the elements in different places",
    "*bernoulli*": "drawn at random",
    "*-gradient_of_*": "the reference evaluator has no Gradient",
    "Scan-scan_sum-*": "the reference evaluator cannot run Scan of opset 8",
    "Mod-mod_float_edge_cases_*": "operands that are infinite or no number",
    "Dropout-training_dropout-*": "refused: dropout in training mode, its mask is no output",
    "Dropout-training_dropout_default-*": "refused: dropout in training mode, its mask is no output",
    "Dropout-training_dropout_zero_ratio-*": "refused: dropout in training mode, its mask is no output",
    "graph-affine_grid_2d*_expanded-static": "refused: ranks that depend on run-time values",
    "graph-affine_grid_3d_align_corners_expanded-static": "refused: ranks that depend on run-time values",
    "BatchNormalization-*_training_mode-*": "refused: batch normalization in training mode",
}
"""Cases without a number to compare with, by pattern, and why."""

LOOSE: dict[str, tuple[float, str]] = {
    "LinearClassifier-own_linear_classifier_probit-*": (1e-3, "the forward approximates the inverse of the error function"),
    "HardSwish-*": (1e-7, "the reference evaluator takes 1/6 in float32"),
    "Attention-*": (1e-7, "its body computes the scale in float32"),
    "FlexAttention-*": (1e-7, "its body computes the scale in float32"),
    "LinearAttention-*": (1e-6, "its body computes in float32"),
    "CausalConvWithState-*": (1e-6, "its body computes the activation in float32"),
}
"""Cases that need more than the usual tolerance of 1e-8, by pattern, and why."""

ORT_SKIP: dict[str, str] = {
    "Dropout-training_dropout_*": "drawn at random",
    "Cast*INT[24]_*": "ONNX Runtime's Python interface takes no such array",
    "Cast*_FLOAT8*_to_*": "ONNX Runtime's Python interface takes no such array",
    "DequantizeLinear-dequantizelinear_*int[24]-*": "ONNX Runtime's Python interface takes no such array",
    "DequantizeLinear-dequantizelinear_e[45]m[23]*": "ONNX Runtime's Python interface takes no such array",
    "Cast*_to_BFLOAT16-*": "ONNX Runtime's Python interface takes no such array",
    "*attention_local_window_ext_cache_float16_*": "differences of nearly equal numbers, in float16",
    "Cast-cast_FLOAT_to_FLOAT16-*": "rounds its output to float16",
    "Split-own_split_unused-*": "it crashes where an output of Split is left out",
    "Resize-resize_downsample_scales_*_align_corners-*": "its forward differs: it rounds extents before it aligns them",
}
"""Cases for which float32 in ONNX Runtime says nothing about the gradient, by pattern, and why."""

TOLERANCE = {onnx.TensorProto.FLOAT: (1e-4, np.float32), onnx.TensorProto.FLOAT16: (2e-2, np.float16)}
"""How far ONNX Runtime may be off in each precision, relative to the largest element of the gradient."""

ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


@pytest.fixture(scope="module", params=[pytest.param(c, id=c.id) for c in cases()])
def case(request: pytest.FixtureRequest) -> Case:
    """Each case; the tests of one case run together, so that they share its comparison."""
    return request.param  # type: ignore[no-any-return]


def skip_known(case: Case, table: dict[str, str]) -> None:
    for pattern, reason in table.items():
        if fnmatchcase(case.id, pattern):
            pytest.skip(reason)


@lru_cache(maxsize=1)
def comparison(case: Case) -> Comparison:
    tolerance = next((t for pattern, (t, _) in LOOSE.items() if fnmatchcase(case.id, pattern)), 1e-8)
    try:
        return compare(case.model, case.inputs, case.varied, case.targets, tolerance=tolerance)
    except UnsupportedOperatorError as error:
        pytest.skip(str(error).splitlines()[0])
    except InputError as error:
        pytest.skip(str(error))


def test_gradient(case: Case) -> None:
    skip_known(case, SKIP)
    found = comparison(case)
    assert found.smooth, f"the point is on a kink: {found}"
    assert found.ok, str(found)


def test_gradient_in_onnxruntime(case: Case) -> None:
    """In single and half precision, ONNX Runtime agrees with the reference evaluator in float64."""
    skip_known(case, SKIP | ORT_SKIP)
    expected = comparison(case)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    prepare(model)
    forward, typed = model.SerializeToString(), type_error(model) is None
    vjp(model, case.varied, case.targets)
    assert not typed or type_error(model) is None
    if len(case.precision) > 1 or not case.precision <= set(TOLERANCE):
        pytest.skip("its inputs are neither float32 nor float16")
    tolerance, dtype = TOLERANCE[next(iter(case.precision))]
    values = {k: np.asarray(v, dtype if k in case.varied else None) for k, v in case.inputs.items()}
    try:
        run_in_onnxruntime(forward, values, case.targets)
    except ORT_ERRORS as error:
        pytest.skip(f"ONNX Runtime cannot run the forward: {str(error)[:150]}")
    types = {v.name: onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    seeds = {f"{t}_seed": u.astype(types[f"{t}_seed"]) for t, u in expected.cotangents.items()}
    gradients = [f"{s}_gradient" for s in case.varied]
    results = run_in_onnxruntime(model.SerializeToString(), {**values, **seeds}, gradients)
    for source, result in zip(case.varied, results, strict=True):
        exact = expected.gradients[source]
        assert result.dtype == dtype
        assert result.shape == exact.shape
        least = max(tolerance / 100, tolerance * np.abs(exact).max(initial=0))
        np.testing.assert_allclose(result, exact, rtol=tolerance, atol=least)


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("BatchNormalization", [(2, 3), (3,), (3,), (3,), (3,)], {"training_mode": 1}),
        ("Dropout", [(2, 3), np.array(0.5), np.array(True)], {}),
    ],
)
def test_training_mode_is_refused(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    own = Own("training", operator, inputs, attributes)
    model = own.model()
    prepare(model)
    with pytest.raises(RuleError, match="export the model in inference mode"):
        vjp(model, ["x0"], ["y"])


def type_error(model: onnx.ModelProto) -> str | None:
    """What the standard's checker says of the data types and shapes."""
    try:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        return str(error)
    return None


def run_in_onnxruntime(model: bytes, inputs: dict[str, Any], outputs: Sequence[str]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return list(session.run(list(outputs), inputs))
