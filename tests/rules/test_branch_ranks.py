"""If whose branches return different ranks, as exporters guard a squeeze, at the top and within other branches and loops."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper as h
from onnx import numpy_helper as nh

from onnxplain import Explainer
from tests.support.models import run

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w": RANDOM.standard_normal((3, 4, 1)),
    "W": RANDOM.standard_normal((1, 12, 4)) / 2,
    "R": RANDOM.standard_normal((1, 12, 3)) / 2,
}
NUMBERS = {"last": [2], "first": [0], "two": 2, "one": 1, "shape": [1, -1, 3]}


def squeezed(x: str, y: str) -> list[onnx.NodeProto]:
    """y is x without its last axis, if that has an extent of 1."""

    def branch(op: str, inputs: list[str]) -> onnx.GraphProto:
        name = f"{y}_{op}"
        return h.make_graph([h.make_node(op, inputs, [name])], name, [], [h.make_tensor_value_info(name, 1, None)])

    return [
        h.make_node("Shape", [x], [f"{y}_s"]),
        h.make_node("Gather", [f"{y}_s", "two"], [f"{y}_d"]),
        h.make_node("Equal", [f"{y}_d", "one"], [f"{y}_c"]),
        h.make_node("If", [f"{y}_c"], [y], then_branch=branch("Squeeze", [x, "last"]), else_branch=branch("Identity", [x])),
    ]


def convolved(x: str, y: str) -> list[onnx.NodeProto]:
    """The weight alone says of what rank the squeezed tensor is."""
    return [
        *squeezed(x, f"{y}_q"),
        h.make_node("Unsqueeze", [f"{y}_q", "last"], [f"{y}_u"]),
        h.make_node("Tanh", [f"{y}_u"], [f"{y}_t"]),
        h.make_node("Conv", [f"{y}_t", "w"], [f"{y}_z"]),
        h.make_node("ReduceMean", [f"{y}_z"], [y], axes=[2], keepdims=0),
    ]


def recurrent(x: str, y: str) -> list[onnx.NodeProto]:
    """The operator alone says of what rank the squeezed tensors are; one is a state that it starts from."""
    return [
        *squeezed(x, f"{y}_q"),
        h.make_node("Unsqueeze", [f"{y}_q", "first"], [f"{y}_u"]),
        h.make_node("Slice", [x, "first", "last3", "axis"], [f"{y}_part"]),
        *squeezed(f"{y}_part", f"{y}_p"),
        h.make_node("Unsqueeze", [f"{y}_p", "first"], [f"{y}_h"]),
        h.make_node("LSTM", [f"{y}_u", "W", "R", "", "", f"{y}_h", f"{y}_h"], ["", f"{y}_n"], hidden_size=3),
        h.make_node("Squeeze", [f"{y}_n", "first"], [y]),
    ]


def within(nodes: list[onnx.NodeProto], y: str) -> list[onnx.NodeProto]:
    """The nodes in a branch that an input chooses."""
    result = h.make_tensor_value_info(y, 1, None)
    other = h.make_graph([h.make_node("Slice", ["x0", "first", "last3", "axis"], ["o"]), h.make_node("Squeeze", ["o", "last"], ["oo"])],
                         "other", [], [h.make_tensor_value_info("oo", 1, None)])  # fmt: skip
    return [h.make_node("If", ["on"], ["y"], then_branch=h.make_graph(nodes, "then", [], [result]), else_branch=other)]


def repeated(nodes: list[onnx.NodeProto], y: str) -> list[onnx.NodeProto]:
    """The nodes in every step of a loop."""
    info = h.make_tensor_value_info
    body = h.make_graph(
        [*nodes, h.make_node("Add", ["s", y], ["sn"]), h.make_node("Identity", ["go"], ["on_"])], "body",
        [info("i", 7, []), info("go", 9, []), info("s", 1, None)], [info("on_", 9, []), info("sn", 1, None)],
    )  # fmt: skip
    return [
        h.make_node("Slice", ["x0", "first", "last3", "axis"], ["o"]), h.make_node("Squeeze", ["o", "last"], ["start"]),
        h.make_node("Loop", ["two", "", "start"], ["y"], body=body),
    ]  # fmt: skip


LAYERS = {"convolution": convolved, "lstm": recurrent}
PLACES = {"top": lambda nodes, y: [*nodes, h.make_node("Identity", [y], ["y"])], "branch": within, "loop": repeated}


def network(layer: str, place: str) -> onnx.ModelProto:
    nodes = [h.make_node("Identity", ["x"], ["x0"]), *PLACES[place](LAYERS[layer]("x0", "made"), "made")]
    weights = [nh.from_array(v.astype(np.float32), k) for k, v in WEIGHTS.items()]
    weights += [nh.from_array(np.array(v, np.int64), k) for k, v in {**NUMBERS, "last3": [3], "axis": [1]}.items()]
    inputs = [h.make_tensor_value_info("x", 1, ["n", 4, "t"])]
    inputs += [h.make_tensor_value_info("on", 9, [])] if place == "branch" else []
    graph = h.make_graph(nodes, "g", inputs, [h.make_tensor_value_info("y", 1, ["n", 3])], weights)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 16)], ir_version=8)


X = {"x": RANDOM.standard_normal((2, 4, 1)).astype(np.float32)}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LAYERS)
def test_gradient_against_finite_differences(layer: str, place: str) -> None:
    made = network(layer, place)
    feeds = {**X, "on": np.array(True)} if place == "branch" else X
    found = Explainer(made, "gradient")(feeds, 1)
    np.testing.assert_array_equal(found.outputs["y"], run(made, feeds)["y"])
    step = 1e-2
    for k in range(4):
        moved = np.zeros((2, 4, 1), np.float32)
        moved[:, k] = step
        up, down = (run(made, {**feeds, "x": feeds["x"] + sign * moved})["y"][:, 1] for sign in (1, -1))
        np.testing.assert_allclose(found.attribution[:, k, 0], (up - down) / (2 * step), atol=2e-3)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("method", ["lrp-epsilon", "deeplift", "integrated-gradients"])
def test_sums(layer: str, place: str, method: str) -> None:
    """Without a bias, and for paths from zero, attributions add up to the score."""
    feeds = {**X, "on": np.array(True)} if place == "branch" else X
    found = Explainer(network(layer, place), method, **({} if method == "lrp-epsilon" else {"baseline": 0.0}))(feeds, 1)
    expected = found.outputs["y"][:, 1]
    tolerance = 5e-3 if method == "lrp-epsilon" else 1e-4  # ε takes its share
    np.testing.assert_allclose(found.attribution.sum((1, 2)), expected, rtol=tolerance, atol=tolerance)


def test_the_other_branch_is_explained_where_it_is_taken() -> None:
    """Both branches of a choice by input return the same rank: nothing is settled before the run."""
    found = Explainer(network("convolution", "branch"), "gradient")({**X, "on": np.array(False)}, 1).attribution
    np.testing.assert_array_equal(found, np.eye(4, dtype=np.float32)[1].reshape(1, 4, 1).repeat(2, 0))
