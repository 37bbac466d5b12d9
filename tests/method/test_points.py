"""What methods at many points emit, counted: one loop, weights once, and nothing in it that need not be there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import rewrite
from onnxplain.method.sampling import linear_ends
from onnxplain.passes.lowering import scope
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
METHODS: dict[str, dict[str, Any]] = {"integrated-gradients": {"baseline": 0.25, "steps": 7}, "smoothgrad": {"samples": 7}}
RANDOM = np.random.default_rng(3)


def digits(count: int = 3) -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        return {"image": data["image"][:count]}


def bodies(made: onnx.ModelProto) -> list[onnx.GraphProto]:
    return [a.g for n in made.graph.node if n.op_type == "Loop" for a in n.attribute if a.name == "body"]


def weight(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).standard_normal(shape).astype(np.float32)


def operators(nodes: Iterable[onnx.NodeProto]) -> Counter[str]:
    return Counter(n.op_type for n in nodes)


@pytest.mark.parametrize("method", METHODS)
def test_weights_stand_in_the_file_once_and_are_laid_out_in_the_loop(method: str, tmp_path: Path) -> None:
    made = rewrite(DIGITS, method, **METHODS[method])
    (body,) = bodies(made)
    assert not body.initializer
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx")
    if not any(n.domain == "com.microsoft.nchwc" for n in optimized.graph.node):
        pytest.skip("ONNX Runtime has no blocked layout on this processor")
    (body,) = bodies(optimized)
    assert [n.domain for n in body.node if n.op_type == "Conv"] == ["com.microsoft.nchwc"] * 3
    weights = {t.name for t in body.initializer}
    assert all(n.input[1] in weights for n in body.node if n.op_type == "Conv")


def test_nodes_of_one_chunk() -> None:
    """A loop's nodes run once per chunk, and in a small network they are what a run costs."""
    path, noise = (rewrite(DIGITS, method, **settings) for method, settings in METHODS.items())
    computed = {"Concat"}  # of one input: a weight, laid out when the file is loaded

    def per_chunk(made: onnx.ModelProto) -> int:
        (body,) = bodies(made)
        return sum(n.op_type not in computed or len(n.input) > 1 for n in body.node)

    gradient = len(rewrite(DIGITS).graph.node) - len(onnx.load(DIGITS).graph.node)
    assert per_chunk(path) <= gradient + 22
    assert per_chunk(noise) <= gradient + 20
    # Random numbers of few elements, and steps, are computed when rewriting.
    assert not operators(n for made in (path, noise) for g in (made.graph, *bodies(made)) for n in g.node)["Mod"]


@pytest.mark.parametrize("method", METHODS)
def test_linear_ends_are_differentiated_once(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"target": 3, "chunk": 6, **METHODS[method]}
    made = rewrite(DIGITS, method, **settings)
    (body,) = bodies(made)
    assert operators(body.node)["ConvTranspose"] == operators(body.node)["Gemm"] == 0
    assert operators(made.graph.node)["ConvTranspose"] == 1
    found = run(made, digits())
    monkeypatch.setattr(linear_ends, "linear_ends", lambda context, sums: None)
    plain = rewrite(DIGITS, method, **settings)
    assert operators(bodies(plain)[0].node)["ConvTranspose"] == operators(bodies(plain)[0].node)["Gemm"] == 1
    for name, values in run(plain, digits()).items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=2e-6 * np.abs(values).max() + 1e-6)


def branched(*, square: bool, batch: str | int) -> onnx.ModelProto:
    """A normalized input through a matrix and beside it; with `square` the input is also multiplied with itself."""
    nodes = [
        node("Sub", "x mean", "s"),
        node("Div", "s scale", "d"),
        node("MatMul", "d w", "m"),
        node("Concat", "m d", "c", axis=1),
        node("Sigmoid", "c", "g"),
        node("Mul", "x x", "q") if square else node("Identity", "d", "q"),
        node("Concat", "g q", "e", axis=1),
        node("MatMul", "e v", "y"),
    ]
    weights = {
        "mean": np.float32([0.1, 0.2, 0.3]),
        "scale": np.float32([2, 3, 4]),
        "w": weight(3, 4),
        "v": weight(10, 2),
    }
    return model(nodes, {"x": [batch, 3]}, {"y": [batch, 2]}, weights)


@pytest.mark.parametrize("batch", ["n", 4])
@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize("method", [*METHODS, "vargrad"])
def test_linear_ends_of_several_branches(method: str, square: bool, batch: str | int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages arrive at the input itself too, where something reads it that is not linear."""
    settings = {"target": 1, **METHODS.get(method, {})}
    x = {"x": RANDOM.standard_normal((4, 3)).astype(np.float32)}
    found = run(rewrite(branched(square=square, batch=batch), method, **settings), x)["x_attribution"]
    monkeypatch.setattr(linear_ends, "linear_ends", lambda context, sums: None)
    plain = run(rewrite(branched(square=square, batch=batch), method, **settings), x)["x_attribution"]
    np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op", ["Div", "Gather", "MatMul"])
def test_what_depends_on_the_point_is_no_linear_end(op: str) -> None:
    """A quotient by the input, elements chosen by the input, a product of the input with itself: differentiated at every point."""
    nodes = {
        "Div": [node("MatMul", "x w", "m"), node("Div", "one m", "z")],
        "Gather": [node("MatMul", "x w", "m"), node("ArgMax", "x", "k", axis=1, keepdims=0), node("Gather", "m k", "z", axis=1)],
        "MatMul": [node("MatMul", "x w", "m"), node("MatMul", "m m", "z")],
    }[op]
    made = model([*nodes, node("Exp", "z", "y")], {"x": [3, 3]}, {"y": [3, 3]},
                 {"w": np.eye(3, dtype=np.float32) + 0.5, "one": np.float32(1)})  # fmt: skip
    x = (RANDOM.random((3, 3)) + 0.5).astype(np.float32)
    target = (":", 1) if op == "MatMul" else 1  # whose rows depend on each other: they are no samples
    settings: dict[str, Any] = {"target": target, "baseline": 0.4, "steps": 3, "quadrature": "riemann-middle"}
    found = run(rewrite(made, "integrated-gradients", **settings), {"x": x})["x_attribution"]
    gradient = rewrite(made, target=target)
    step = x - np.float32(0.4)
    each = [run(gradient, {"x": np.float32(0.4) + np.float32(a) * step})["x_attribution"] for a in (1 / 6, 3 / 6, 5 / 6)]
    np.testing.assert_allclose(found, np.mean(each, 0) * step, rtol=1e-4, atol=1e-5)


def pooling(kernel: int, stride: int, channels: int) -> onnx.ModelProto:
    settings = {"kernel_shape": [kernel, kernel], "strides": [stride, stride]}
    extent = (9 - kernel) // stride + 1
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("MaxPool", "r", "p", **settings),
        node("Conv", "p v", "d", pads=[1, 1, 1, 1]),
        node("Tanh", "d", "y"),
    ]
    weights = {"w": np.ones((channels, 1, 3, 3), np.float32), "v": weight(2, channels, 3, 3)}
    weights["w"][::2] *= -1
    return model(nodes, {"x": ["n", 1, 9, 9]}, {"y": ["n", 2, extent, extent]}, weights)


@pytest.mark.parametrize("channels", [4, 32])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_max_pooling_behind_a_relu(kernel: int, stride: int, channels: int) -> None:
    """The mask is on the windows, and the model's own pooling stays; numbers with many ties are those of the windows' first maxima."""
    made = rewrite(pooling(kernel, stride, channels), target="cotangent")
    order = [n.op_type for n in made.graph.node]
    tiled = kernel == stride  # winners are found by comparing, in the maxima that are there
    assert order.count("MaxPool") == (1 if tiled else 2)
    assert order.count("ScatterElements") == (0 if tiled else 1)
    if channels == 32:  # in the blocked layout
        assert order.count("HardSigmoid") == 1
    if not tiled and channels == 32:
        assert order.index("HardSigmoid") < order.index("ScatterElements")
    elif not tiled:
        assert order.count("Where") == 1
        assert order.index("Where") < order.index("ScatterElements")
    x = RANDOM.integers(-1, 2, (3, 1, 9, 9)).astype(np.float32)
    extent = (9 - kernel) // stride + 1
    cotangent = RANDOM.standard_normal((3, 2, extent, extent)).astype(np.float32)
    found = run(made, {"x": x, "seed": cotangent})
    np.testing.assert_array_equal(found["y"], run(pooling(kernel, stride, channels), {"x": x})["y"])
    messages = run(rewrite(pooling(kernel, stride, channels), target="cotangent", layer="p"), {"x": x, "seed": cotangent})
    expected = by_first_maxima(x, messages["p_attribution"], kernel, stride)
    np.testing.assert_allclose(found["x_attribution"], expected, rtol=0, atol=1e-5)


def by_first_maxima(x: np.ndarray, messages: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """The messages on the windows of `pooling`, brought back by hand: to the first maximum, through the Relu and ±1 · 3×3 sums."""
    made, padded = np.zeros_like(x), np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    sums = sum(padded[:, 0, i : i + 9, j : j + 9] for i in range(3) for j in range(3))
    for n, c, p, q in np.ndindex(messages.shape):
        sign = 1 if c % 2 else -1
        window = np.maximum(sign * sums[n, p * stride :, q * stride :][:kernel, :kernel], 0)
        i, j = np.unravel_index(window.argmax(), window.shape)
        row, column = p * stride + i, q * stride + j
        if window.max() > 0:
            made[n, 0, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] += sign * messages[n, c, p, q]
    return made


@pytest.mark.parametrize(("channels", "pools"), [(4, 1), (32, 2)])
def test_one_pooling_at_each_point(channels: int, pools: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds the winners at the points of a path finds the maxima too, where images are in plain layout."""
    x = RANDOM.integers(-1, 2, (3, 1, 9, 9)).astype(np.float32)

    def explained() -> tuple[int, np.ndarray]:
        made = rewrite(pooling(3, 2, channels), "integrated-gradients", baseline=0.0, target=(1, 0, 0), steps=3)
        (loop,) = [n for n in made.graph.node if n.op_type == "Loop"]
        body = next(a.g for a in loop.attribute if a.name == "body")
        return operators(body.node)["MaxPool"], run(made, {"x": x})["x_attribution"]

    count, found = explained()
    assert count == pools
    monkeypatch.setattr(scope, "pooled", lambda b, nodes, fits: nodes)
    count, plain = explained()
    assert count == 2
    np.testing.assert_allclose(found, plain, rtol=0, atol=1e-5)


def test_a_shared_baseline_of_a_small_network_is_no_work_at_run_time(tmp_path: Path) -> None:
    """Its score depends on no input, so it is there once the file is loaded; the gap is that of a baseline given at run time."""
    made = rewrite(DIGITS, "integrated-gradients", baseline=0.25, target=3)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(tmp_path / "optimized.onnx")
    assert operators(optimized.graph.node)["Conv"] == 2
    x = digits()
    given = rewrite(DIGITS, "integrated-gradients", baseline="input", target=3)
    found, expected = run(made, x), run(given, {**x, "baseline": np.full((1, 1, 8, 8), 0.25, np.float32)})
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-5)
    apart = np.full((3, 1, 8, 8), 0.25, np.float32)  # one for each sample
    for name, values in run(given, {**x, "baseline": apart}).items():
        np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_no_samples_at_all(method: str) -> None:
    found = run(rewrite(DIGITS, method, target=1, **METHODS[method]), digits(0))
    assert found["logits"].shape == (0, 10)
    assert found["image_attribution"].shape == (0, 1, 8, 8)
