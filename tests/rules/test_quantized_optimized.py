"""Quantized models and what ONNX Runtime's optimizer makes of them: two graphs, one function, one explanation.

The optimizer leaves out a Relu or Clip that the range of the integers implies, moves quantization across other operators and
puts integer kernels in the place of floating-point ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from onnxplain import Explainer
from tests.support.models import model, node
from tests.support.paths import FIXTURES
from tests.support.processor import exact_bytes

RANDOM = ("lrp_", "deeplift_", "layers_")
"""Nets that have random weights: rounded, their maxima tie."""
CLASSICAL = {"cancer_sklearn", "iris_sklearn"}
NETS = sorted(
    p.parent.name
    for p in FIXTURES.glob("*/model.onnx")
    if p.parent.name not in CLASSICAL and not p.parent.name.startswith(RANDOM)
)
FORMS = ["QDQ", "QOperator"]
MASKS = {"Where", "Add", "Softmax"}
"""Attention masks of −3e38 have a range without a finite scale: these operators of an attention stay in floating point."""

TIES = {(net, "QOperator"): ["QDQPropagationTransformer"] for net in ("resnet", "lrp_resnet", "lrp_vgg")}
"""Where the optimizer takes quantization to before a MaxPool, and which part of it does: see the last test."""


def feeds(net: str, path: Path) -> dict[str, np.ndarray]:
    names = {i.name for i in onnx.load(path).graph.input}
    with np.load(FIXTURES / net / "data.npz") as found:
        return {k: v[:4] for k, v in found.items() if k in names}


class Calibration(CalibrationDataReader):
    """All samples at once."""

    def __init__(self, samples: dict[str, np.ndarray]) -> None:
        self.batches: Iterator[dict[str, np.ndarray]] = iter([samples])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)


def optimized(path: Path, to: Path, without: list[str]) -> Path:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    options.optimized_model_filepath = str(to)
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=without)
    return to


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A fixture's model quantized by ONNX Runtime."""
    folder = tmp_path_factory.mktemp("quantized")

    @lru_cache
    def make(net: str, form: str) -> Path:
        path = FIXTURES / net / "model_legacy.onnx"
        path = path if path.exists() else FIXTURES / net / "model.onnx"
        left = [n.name for n in onnx.load(path).graph.node if n.op_type in MASKS and "att" in n.name]
        made = folder / f"{net}_{form}.onnx"
        path = Path(copy(path, folder / f"{net}.onnx"))  # the quantizer writes beside it
        data = Calibration(feeds(net, path))
        quantize_static(path, made, data, quant_format=QuantFormat[form], nodes_to_exclude=left, per_channel=net == "digits")
        return made

    return make


def both(path: Path, smaller: Path, given: dict[str, np.ndarray]) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], float]:
    """Attributions of two files, for the target of the first, and how far their own predictions lie apart."""
    first = Explainer(path)(given)
    second = Explainer(smaller)(given, first.target.tolist())
    apart = max(worst(y, second.outputs[name]) for name, y in first.outputs.items())
    return {name: (value, second.attributions[name]) for name, value in first.attributions.items()}, apart


def worst(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference relative to the largest value. Where one is infinite, the other has to be."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    assert finite.any()
    assert np.abs(expected[finite]).max() > 0
    return float(np.abs(found[finite] - expected[finite]).max() / np.abs(expected[finite]).max())


@exact_bytes
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("net", NETS)
def test_optimized_quantized_models_give_the_same_explanation(net: str, form: str, quantized: Any, tmp_path: Path) -> None:
    """Up to what ONNX Runtime's own kernels make of the two files, whose predictions differ where rounding tips over."""
    path = quantized(net, form)
    smaller = optimized(path, tmp_path / "optimized.onnx", TIES.get((net, form), []))
    made, apart = both(path, smaller, feeds(net, path))
    for expected, found in made.values():
        assert worst(expected, found) < max(1e-4, 3 * apart)


def test_rounding_before_a_max_pool_makes_ties() -> None:
    """The greatest of values that were rounded first is any of those that became equal: only this differs."""
    ends = [node("QuantizeLinear", "m s z", "q"), node("DequantizeLinear", "q s z", "y")]
    first = [node("QuantizeLinear", "x s z", "qx"), node("DequantizeLinear", "qx s z", "r")]
    weights = {"s": np.float32(0.1), "z": np.uint8(0)}
    x = np.random.default_rng(0).uniform(-0.5, 2, (1, 1, 32, 32)).astype(np.float32)
    cotangent = np.random.default_rng(1).standard_normal((1, 1, 8, 8)).astype(np.float32)
    found = []
    for nodes in ([], first):
        pool = node("MaxPool", "r" if nodes else "x", "m", kernel_shape=[4, 4], strides=[4, 4])
        made = model([*nodes, pool, *ends], {"x": x.shape}, {"y": cotangent.shape}, weights)
        found.append(Explainer(made, score="probability")({"x": x}, cotangent=cotangent).attribution)
    assert (found[0] != found[1]).any()
    windows = [a.reshape(8, 4, 8, 4).sum((1, 3)) for a in found]
    np.testing.assert_allclose(windows[1], windows[0], rtol=1e-6)
    rounded = [(np.rint(x / np.float32(0.1)) * (a != 0)).reshape(8, 4, 8, 4).sum((1, 3)) for a in found]
    np.testing.assert_array_equal(*rounded)


@pytest.mark.parametrize("between", ["Relu", "Clip"])
def test_quantizing_without_negative_numbers_is_the_relu_it_replaces(between: str) -> None:
    """At zero too, which sums of quantized values often are; an input that is zero has its derivative all the same."""
    ends = [node("DequantizeLinear", "q s z", "y")]
    first = [node("QuantizeLinear", "x s z", "qx"), node("DequantizeLinear", "qx s z", "r"), node("Sub", "r one", "d")]
    weights = {"s": np.float32(0.25), "z": np.uint8(0), "one": np.float32(1), "top": np.float32(255 * 0.25)}
    x = np.random.default_rng(0).integers(0, 8, (4, 6)).astype(np.float32) / 4
    x[0, 0] = 100
    cotangent = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    cut = node(between, "d" if between == "Relu" else "d zero top", "c")
    found = []
    for nodes in ([cut, node("QuantizeLinear", "c s z", "q")], [node("QuantizeLinear", "d s z", "q")]):
        made = model([*first, *nodes, *ends], {"x": x.shape}, {"y": x.shape}, {**weights, "zero": np.float32(0)})
        found.append(Explainer(made, score="probability")({"x": x}, cotangent=cotangent).attribution)
    np.testing.assert_array_equal(found[1], found[0])
    np.testing.assert_array_equal(found[0], np.where((x > 1) & (x < 64), cotangent, 0))
    alone = model([node("QuantizeLinear", "x s z", "q"), *ends], {"x": x.shape}, {"y": x.shape}, weights)
    passed = Explainer(alone, score="probability")({"x": x}, cotangent=cotangent).attribution
    np.testing.assert_array_equal(passed, np.where(x < 64, cotangent, 0))
