"""Networks with hard-swish and squeeze-and-excitation (MobileNetV3) in ONNX Runtime's blocked layout: the slopes, gates and
means of their backward pass stay there, and the numbers stay the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.explain import write as writing
from tests.passes.test_lowering import optimized
from tests.support.models import model, node, run

WIDE = 24
"""Channels that fill no whole number of blocks."""


def mobile(extent: Any = "batch", wide: int = WIDE) -> onnx.ModelProto:
    """One inverted bottleneck: hard-swish, a depthwise convolution with a stride, a gate per channel, hard-swish."""
    g = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray:
        return (2 * g.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    weights = {"stem": weight(16, 3, 3, 3), "up": weight(wide, 16, 1, 1), "deep": weight(wide, 1, 5, 5)}
    weights |= {"squeeze": weight(16, wide, 1, 1), "excite": weight(wide, 16, 1, 1), "down": weight(16, wide, 1, 1)}
    weights |= {"head": weight(32, 16, 1, 1), "out": weight(5, 32).T.copy()}
    nodes = [
        node("Conv", "x stem", "c0", pads=[1, 1, 1, 1]),
        node("HardSwish", "c0", "h0"),
        node("Conv", "h0 up", "c1"),
        node("HardSwish", "c1", "h1"),
        node("Conv", "h1 deep", "c2", pads=[2, 2, 2, 2], strides=[2, 2], group=wide),
        node("HardSwish", "c2", "h2"),
        node("ReduceMean", "h2 pixels", "m", keepdims=1),
        node("Conv", "m squeeze", "s0"),
        node("Relu", "s0", "s1"),
        node("Conv", "s1 excite", "s2"),
        node("HardSigmoid", "s2", "gate", alpha=1 / 6, beta=0.5),
        node("Mul", "h2 gate", "gated"),
        node("Conv", "gated down", "c3"),
        node("Conv", "c3 head", "c4"),
        node("HardSwish", "c4", "h4"),
        node("GlobalAveragePool", "h4", "p"),
        node("Flatten", "p", "f"),
        node("MatMul", "f out", "y"),
    ]
    return model(nodes, {"x": [extent, 3, 16, 16]}, {"y": [extent, 5]}, {**weights, "pixels": np.array([2, 3])})


def plainly(monkeypatch: pytest.MonkeyPatch, make: Callable[[], onnx.ModelProto]) -> onnx.ModelProto:
    """An explained model in the forms that rules write."""
    with monkeypatch.context() as patch:
        patch.setattr(writing, "lowered", lambda b, traits: b.nodes)
        return make()


@pytest.mark.parametrize("extent", ["batch", 2])
@pytest.mark.parametrize("wide", [WIDE, 32])
def test_slopes_and_gates_stay_in_blocks(extent: Any, wide: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> onnx.ModelProto:
        return rewrite(mobile(extent, wide), target=1)

    made, plain = optimized(make(), tmp_path), optimized(plainly(monkeypatch, make), tmp_path)
    # The target has one Where; sums over the pixels of channels that fill no block are plain, and so is the gate's slope.
    assert made["Where"] <= (2 if wide == WIDE else 1)
    assert made["GreaterOrEqual"] == made["LessOrEqual"] == 0
    assert made["Expand"] < plain["Expand"]
    # In: what the forward run reads plainly (mean, gated image), the mean's message, spread messages; out: the same and the end.
    reordered = [sum(found[op] for op in ("ReorderInput", "ReorderOutput")) for found in (made, plain)]
    assert reordered[0] <= 12
    assert reordered[0] < 0.6 * reordered[1]


def test_slopes_stay_in_blocks_within_loops() -> None:
    explained = rewrite(mobile(wide=32), "integrated-gradients", target=1, baseline=0)
    bodies = [a.g for n in explained.graph.node for a in n.attribute if a.type == onnx.AttributeProto.GRAPH]
    found = Counter(n.op_type for body in bodies for n in body.node)
    assert found["HardSigmoid"] >= 4 * 4  # of each hard-swish two steps, their sum and a ramp
    assert found["GreaterOrEqual"] == found["LessOrEqual"] == 0


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients"])
@pytest.mark.parametrize("wide", [WIDE, 32])
def test_numbers_are_those_of_the_plain_forms(method: str, wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> onnx.ModelProto:
        return rewrite(mobile(wide=wide), method, target=1, **({} if method == "gradient" else {"baseline": 0}))

    x = 2 * np.random.default_rng(1).standard_normal((3, 3, 16, 16)).astype(np.float32)
    made, plain = (run(m, {"x": x})["x_attribution"] for m in (make(), plainly(monkeypatch, make)))
    np.testing.assert_allclose(made, plain, atol=2e-6 * np.abs(plain).max())


def test_gradients_agree_with_finite_differences() -> None:
    net, g = mobile(), np.random.default_rng(2)
    x, v = (0.3 * g.standard_normal((2, 3, 16, 16)).astype(np.float32) for _ in range(2))
    found = run(rewrite(net, target=1), {"x": x})["x_attribution"]
    step = 3e-3  # so that few values cross a kink on the way
    ahead, behind = (run(net, {"x": x + d * v})["y"][:, 1] for d in (step, -step))
    np.testing.assert_allclose((found * v).sum((1, 2, 3)), (ahead - behind) / (2 * step), rtol=1e-3)


def swish(after: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A hard-swish between depthwise convolutions that change nothing: x itself meets it, infinite or not."""
    nodes = [node("Conv", "x one", "c", group=16), node("HardSwish", "c", "h"), *after]
    return model(nodes, {"x": ["n", 16, 2, 2]}, {"y": ["n", 16, 2, 2]}, {"one": np.ones((16, 1, 1, 1), np.float32)})


def test_slopes_are_exact_at_the_kinks_and_beyond(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kinks = np.array([-3, 3, 0, -0.0, 1.5, -1.5, np.inf, -np.inf, 3e38, -3e38, 1e-40], np.float32)
    near = [np.nextafter(np.float32(k), np.float32(to)) for k in (-3, 3) for to in (-9, 9)]
    x = np.resize(np.concatenate([kinks, near, np.linspace(-4, 4, 49)]).astype(np.float32), (2, 16, 2, 2))
    cotangent = np.random.default_rng(3).standard_normal(x.shape).astype(np.float32)

    def make() -> onnx.ModelProto:
        return rewrite(swish([node("Conv", "h one", "y", group=16)]), target="cotangent")

    assert not optimized(make(), tmp_path)["Where"]
    made, plain = (run(m, {"x": x, "seed": cotangent})["x_attribution"] for m in (make(), plainly(monkeypatch, make)))
    assert np.isfinite(plain).all()
    np.testing.assert_allclose(made, plain, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(made[np.abs(x) >= 3], plain[np.abs(x) >= 3])


@pytest.mark.parametrize("bounds", [(0, 6), (-1, 1), (0.1, None), (None, -2.5)])
def test_clips_are_exact_at_their_bounds(bounds: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    low, high = bounds
    names = f"c {'' if low is None else 'low'} {'' if high is None else 'high'}".rstrip(" ").split(" ")
    kinks = [np.float32(v) for v in bounds if v is not None]
    near = [np.nextafter(k, np.float32(to)) for k in kinks if k for to in (-9, 9)]
    x = np.resize(np.array([*kinks, *near, 0, -0.0, np.inf, -np.inf, 3e38, -3e38, *range(-5, 9)], np.float32), (1, 16, 2, 2))
    nodes = [node("Conv", "x one", "c", group=16), onnx.helper.make_node("Clip", names, ["k"], name="k")]
    constants = {n: np.float32(v) for n, v in (("low", low), ("high", high)) if v is not None}
    ones = np.ones((16, 1, 1, 1), np.float32)
    net = model(
        [*nodes, node("Conv", "k one", "y", group=16)], {"x": ["n", 16, 2, 2]}, {"y": ["n", 16, 2, 2]}, {"one": ones, **constants}
    )
    found = optimized(rewrite(net, target="cotangent"), tmp_path)
    assert not found["Where"]
    assert not found["Clip"]  # part of the convolution
    made = run(rewrite(net, target="cotangent"), {"x": x, "seed": ones.reshape(1, 16, 1, 1) + np.zeros_like(x)})["x_attribution"]
    inside = (x > (-np.inf if low is None else np.float32(low))) & (x < (np.inf if high is None else np.float32(high)))
    np.testing.assert_array_equal(made, (inside | ((x == np.inf) & (high is None)) | ((x == -np.inf) & (low is None))) * 1.0)


def test_an_infinite_slope_behind_a_hard_swish_is_no_message() -> None:
    """The root's slope at 0 is infinite; the hard-swish before it lets nothing through there."""
    x = np.full((1, 16, 2, 2), -4, np.float32)
    explained = rewrite(swish([node("Conv", "h one", "d", group=16), node("Sqrt", "d", "y")]), target="cotangent")
    found = run(explained, {"x": x, "seed": np.ones_like(x)})["x_attribution"]
    np.testing.assert_array_equal(found, np.zeros_like(x))


@pytest.mark.parametrize("low", [1e-35, -1e-35, 2e-38])
def test_bounds_of_nearly_zero_have_no_step(low: float) -> None:
    """No slope that float32 holds is steep enough there; an infinite one would make NaN of zeros."""
    x = np.resize(np.array([0, low / 2, 2 * low, -1, 1, low], np.float32), (1, 16, 2, 2))
    ones = np.ones((16, 1, 1, 1), np.float32)
    nodes = [node("Conv", "x one", "c", group=16), node("Clip", "c low", "k"), node("Conv", "k one", "y", group=16)]
    net = model(nodes, {"x": ["n", 16, 2, 2]}, {"y": ["n", 16, 2, 2]}, {"one": ones, "low": np.float32(low)})
    found = run(rewrite(net, target="cotangent"), {"x": x, "seed": np.ones_like(x)})["x_attribution"]
    np.testing.assert_array_equal(found, (x > np.float32(low)) * 1.0)
