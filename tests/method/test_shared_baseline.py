"""A baseline that all samples share is a batch of one, computed when the file is loaded: the numbers are those of one given at run time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import rewrite
from onnxplain.bench.sets import members
from tests.support.models import model, node, run

SET = members(["A"])
RANDOM = np.random.default_rng(5)
FOLDED = ("cnn", "lenet", "unet", "mobilenet", "efficientnet", "densenet", "convnext", "vit", "cnn_int8", "mlp", "cnn1d", "tcn")
"""The networks whose reference is folded; recurrent ones step through theirs, half precision is widened first."""


def sample(made: Any, count: int = 2) -> np.ndarray[Any, Any]:
    shape = [d.dim_value or count for d in made.graph.input[0].type.tensor_type.shape.dim]
    kind = onnx.helper.tensor_dtype_to_np_dtype(made.graph.input[0].type.tensor_type.elem_type)
    return RANDOM.standard_normal(shape).astype(kind)


@pytest.mark.parametrize("name", [*FOLDED, "lstm", "cnn_float16"])
def test_equals_the_same_baseline_at_run_time(name: str) -> None:
    made = SET[name]
    x = sample(made)
    fixed = run(rewrite(made, "deeplift", baseline=0.3, target=1), {"x": x})
    free = run(rewrite(made, "deeplift", baseline="input", target=1), {"x": x, "baseline": np.full_like(x, 0.3)})
    largest = np.abs(free["x_attribution"]).max()
    np.testing.assert_allclose(fixed["x_attribution"], free["x_attribution"], rtol=0, atol=2e-5 * largest)
    np.testing.assert_allclose(fixed["delta"], free["delta"], rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", ["cnn", "densenet", "vit", "mlp"])
def test_the_reference_is_no_work_at_run_time(name: str, tmp_path: Path) -> None:
    """All that is left once the file is loaded depends on the input, and there are no more linear maps than in both passes."""
    made = rewrite(SET[name], "deeplift", baseline=0.3, target=1)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    loaded, live = onnx.load(tmp_path / "loaded.onnx"), {"x"}
    for each in loaded.graph.node:
        assert any(i in live for i in each.input), f"{each.op_type} '{each.name}' does not depend on the input"
        live.update(each.output)


def test_a_baseline_of_every_samples_own_is_none_that_they_share() -> None:
    made = SET["mlp"]
    x, rows = sample(made), sample(made)
    fixed = run(rewrite(made, "deeplift", baseline=rows, target=1), {"x": x})["x_attribution"]
    free = run(rewrite(made, "deeplift", baseline="input", target=1), {"x": x, "baseline": rows})["x_attribution"]
    np.testing.assert_allclose(fixed, free, rtol=1e-5, atol=1e-6)


def test_another_input_that_samples_differ_in() -> None:
    """What depends on it is no constant, although it is not explained itself."""
    nodes = [node("MatMul", "x w", "m"), node("Add", "m z", "s"), node("Tanh", "s", "t"), node("MatMul", "t w", "y")]
    made = model(nodes, {"x": ["n", 3], "z": ["n", 3]}, {"y": ["n", 3]}, {"w": RANDOM.standard_normal((3, 3)).astype(np.float32)})
    x, z = (RANDOM.standard_normal((2, 3)).astype(np.float32) for _ in "xz")
    fixed = run(rewrite(made, "deeplift", inputs=["x"], baseline=0.3, target=1), {"x": x, "z": z})
    free = rewrite(made, "deeplift", inputs=["x"], baseline="input", target=1)
    found = run(free, {"x": x, "z": z, "baseline": np.full_like(x, 0.3)})
    np.testing.assert_allclose(fixed["x_attribution"], found["x_attribution"], rtol=1e-5, atol=1e-6)


def test_samples_along_another_axis() -> None:
    nodes = [node("Relu", "x", "r"), node("ReduceSum", "r axes", "y", keepdims=0)]
    made = model(nodes, {"x": [5, "n", 3]}, {"y": ["n", 3]}, {"axes": np.array([0])})
    x = RANDOM.standard_normal((5, 2, 3)).astype(np.float32)
    found = run(rewrite(made, "deeplift", baseline=-0.5, target=1), {"x": x})["x_attribution"]
    wanted = np.zeros_like(x)
    wanted[:, :, 1] = np.maximum(x[:, :, 1], 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_rows_that_nothing_has_stretched() -> None:
    """No tensor of the baseline is stretched to all samples where the operator that reads it broadcasts."""
    made = rewrite(SET["mlp"], "deeplift", baseline=0.3, target=1)
    known = {t.name for t in made.graph.initializer}
    stretched = {n.output[0] for n in made.graph.node if n.op_type == "Expand" and n.input[1] not in known}
    read = [n.op_type for n in made.graph.node if stretched & set(n.input)]
    assert not {"Sub", "Mul", "Where", "Equal", "Div", "Greater"} & set(read)
