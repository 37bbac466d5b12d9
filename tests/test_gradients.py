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

from onnxplain.errors import InputError, UnsupportedOperatorError
from onnxplain.finite_differences import Comparison, compare
from onnxplain.passes import prepare
from onnxplain.vjp import vjp
from tests.onnx_cases import Case, cases

SKIP: dict[str, str] = {
    "*bernoulli*": "drawn at random",
    "*-gradient_of_*": "the reference evaluator has no Gradient",
    "Dropout-training_dropout-*": "refused: dropout in training mode, its mask is no output",
    "Dropout-training_dropout_default-*": "refused: dropout in training mode, its mask is no output",
    "Dropout-training_dropout_zero_ratio-*": "refused: dropout in training mode, its mask is no output",
    "BatchNormalization-*_training_mode-*": "refused: batch normalization in training mode",
}
"""Cases without a number to compare with, by pattern, and why."""

LOOSE: dict[str, tuple[float, str]] = {}
"""Cases that need more than the usual tolerance of 1e-6, by pattern, and why."""

ORT_SKIP: dict[str, str] = {
    "Dropout-training_dropout_*": "drawn at random",
    "Cast*INT[24]_*": "ONNX Runtime's Python interface takes no such array",
    "Cast*_FLOAT8*_to_*": "ONNX Runtime's Python interface takes no such array",
    "Cast*_to_BFLOAT16-*": "ONNX Runtime's Python interface takes no such array",
    "Cast-cast_FLOAT_to_FLOAT16-*": "rounds its output to float16",
    "Resize-resize_downsample_scales_*_align_corners-*": "its forward differs: it rounds the extents before it aligns them",
}
"""Cases for which float32 in ONNX Runtime says nothing about the gradient, by pattern, and why."""

ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


def skip_known(case: Case, table: dict[str, str]) -> None:
    for pattern, reason in table.items():
        if fnmatchcase(case.id, pattern):
            pytest.skip(reason)


@lru_cache(maxsize=8)
def comparison(case: Case) -> Comparison:
    tolerance = next((t for pattern, (t, _) in LOOSE.items() if fnmatchcase(case.id, pattern)), 1e-6)
    try:
        return compare(case.model, case.inputs, case.varied, case.targets, tolerance=tolerance)
    except UnsupportedOperatorError as error:
        pytest.skip(str(error).splitlines()[0])
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in cases()])
def test_gradient(case: Case) -> None:
    skip_known(case, SKIP)
    found = comparison(case)
    assert found.smooth, f"the point is on a kink: {found}"
    assert found.ok, str(found)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.id) for c in cases()])
def test_gradient_in_onnxruntime(case: Case) -> None:
    """In float32, ONNX Runtime agrees with the reference evaluator in float64."""
    skip_known(case, SKIP | ORT_SKIP)
    if case.precision != {onnx.TensorProto.FLOAT}:
        pytest.skip("its inputs are not float32")
    expected = comparison(case)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    prepare(model)
    values = {k: np.asarray(v, np.float32 if k in case.varied else None) for k, v in case.inputs.items()}
    try:
        run_in_onnxruntime(model, values, case.targets)
    except ORT_ERRORS as error:
        pytest.skip(f"ONNX Runtime cannot run the forward: {str(error)[:150]}")
    vjp(model, case.varied, case.targets)
    types = {v.name: onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    seeds = {f"{t}_seed": u.astype(types[f"{t}_seed"]) for t, u in expected.seeds.items()}
    results = run_in_onnxruntime(model, {**values, **seeds}, [f"{s}_gradient" for s in case.varied])
    for source, result in zip(case.varied, results, strict=True):
        exact = expected.gradients[source]
        assert result.dtype == np.float32
        assert result.shape == exact.shape
        np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-4 * max(1, np.abs(exact).max(initial=0)))


def run_in_onnxruntime(model: onnx.ModelProto, inputs: dict[str, Any], outputs: Sequence[str]) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(list(outputs), inputs))
