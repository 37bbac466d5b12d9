"""Messages that only move elements: what depends on an element alone is done before they are moved. Counted, and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.builder.lazy_scatter import Moves
from tests.support.models import model, node, run

CHANNELS, EXTENT = 4, 8
WINDOWS: list[dict[str, Any]] = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [1, 1]},
]


def network(**window: Any) -> onnx.ModelProto:
    """Convolution, Relu, max pooling, convolution, Relu, a largest pixel and a dense layer."""
    g = np.random.default_rng(0)
    made = {"w0": (CHANNELS, 3, 3, 3), "w1": (CHANNELS, CHANNELS, 1, 1), "out": (CHANNELS, 3)}
    weights = {k: g.standard_normal(s).astype(np.float32) for k, s in made.items()}
    nodes = [
        node("Conv", "x w0", "c0", pads=[1, 1, 1, 1]),
        node("Relu", "c0", "r0"),
        node("MaxPool", "r0", "p0", **window),
        node("Conv", "p0 w1", "c1"),
        node("Relu", "c1", "r1"),
        node("GlobalMaxPool", "r1", "g"),
        node("Flatten", "g", "f"),
        node("MatMul", "f out", "y"),
    ]
    return model(nodes, {"x": ["n", 3, EXTENT, EXTENT]}, {"y": ["n", 3]}, weights)


def read(made: onnx.ModelProto, op: str) -> set[str]:
    return {name for n in made.graph.node if n.op_type == op for name in n.input}


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("method", ["gradient", "guided-backprop", "lrp-epsilon", "lrp-epsilon-plus", "lrp-alpha2-beta1"])
def test_numbers_are_those_of_doing_it_afterwards(method: str, window: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).integers(-2, 3, (2, 3, EXTENT, EXTENT)).astype(np.float32)  # small integers: many ties
    made = run(rewrite(network(**window), method, target=1), {"x": x})["x_attribution"]
    monkeypatch.setattr(Moves, "before", lambda *_: None)
    afterwards = run(rewrite(network(**window), method, target=1), {"x": x})["x_attribution"]
    assert np.abs(afterwards).max() > 0
    np.testing.assert_allclose(made, afterwards, atol=1e-6 * np.abs(afterwards).max())


@pytest.mark.parametrize("window", WINDOWS)
def test_a_relu_before_a_pool_stops_its_message_at_the_pool(window: dict[str, Any]) -> None:
    made = rewrite(network(**window), target=1)
    assert "p0" in read(made, "Greater")
    assert not {"r0", "r1"} & read(made, "Greater")


def test_denominators_before_a_pool_are_those_of_its_maxima() -> None:
    made = rewrite(network(**WINDOWS[0]), "lrp-epsilon", target=1)
    assert "p0" in read(made, "Div")
    assert not {"r0", "r1"} & read(made, "Div")


@pytest.mark.parametrize("window", WINDOWS)
def test_of_equal_elements_the_first_takes_the_message(window: dict[str, Any]) -> None:
    """Against a loop over the windows."""
    shape = (1, 2, EXTENT, EXTENT)
    g = np.random.default_rng(2)
    x = g.integers(-3, 3, shape).astype(np.float32)
    nodes = [node("Relu", "x", "r"), node("MaxPool", "r", "y", **window)]
    forward = model(nodes, {"x": shape}, {"y": None})
    seed = g.standard_normal(run(forward, {"x": x})["y"].shape).astype(np.float32)
    wanted = np.zeros(shape)
    strides, kernel, pads = window["strides"], window["kernel_shape"], window.get("pads", [0] * 4)
    for (n, c, i, j), m in np.ndenumerate(seed):
        top, left = i * strides[0] - pads[0], j * strides[1] - pads[1]
        rows, columns = (range(max(at, 0), min(at + k, EXTENT)) for at, k in zip((top, left), kernel, strict=True))
        places = [(n, c, r, s) for r in rows for s in columns]
        first = max(places, key=lambda place: x[place])  # of equal ones max returns the first
        wanted[first] += m if x[first] > 0 else 0
    found = run(rewrite(forward, target="cotangent"), {"x": x, "seed": seed})["x_attribution"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_what_reads_the_relu_besides_gets_its_own_mask() -> None:
    """The sum of two messages did not only move."""
    nodes = [
        node("Relu", "x", "r"),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("ReduceSum", "p axes", "s"),
        node("ReduceSum", "r axes", "t"),
        node("Add", "s t", "y"),
    ]
    made = model(nodes, {"x": [1, 1, 2, 2]}, {"y": [1, 1, 1, 1]}, {"axes": np.array([2, 3])})
    x = np.array([[[[3, 0], [-1, 2]]]], np.float32)
    found = run(rewrite(made, target=(0, 0, 0)), {"x": x})["x_attribution"]
    np.testing.assert_array_equal(found, [[[[2, 0], [0, 1]]]])
