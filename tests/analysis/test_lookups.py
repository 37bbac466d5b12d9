"""Integer inputs are explained wherever their values enter: every look-up, ones made by comparing, arithmetic before the look-up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain import Explainer, OnnxplainError, rewrite
from onnxplain.analysis.explained import find_sources, left_out
from onnxplain.analysis.score import find_score
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.passes import prepare
from tests.support.models import node

RNG = np.random.default_rng(3)
TABLE = RNG.normal(size=(9, 5)).astype(np.float32)
OTHER = (100 * RNG.normal(size=(9, 5))).astype(np.float32)
DENSE = RNG.normal(size=(10, 3)).astype(np.float32)
TOKENS = np.array([[1, 2, 3, 4], [8, 0, 5, 5]])


def net(
    nodes: Sequence[onnx.NodeProto], weights: Mapping[str, np.ndarray[Any, Any]], inputs: Mapping[str, tuple[int, Sequence[Any]]]
) -> onnx.ModelProto:
    infos = [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    values = [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()]
    graph = helper.make_graph(list(nodes), "g", infos, [y], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


IDS = {"x": (TensorProto.INT64, ["n", 4])}
AXES = {"one": np.array([1]), "zero": np.array([0]), "two": np.array([2])}
SUM = [node("ReduceSum", "e one", "s", keepdims=0), node("MatMul", "s w", "y")]


def test_two_tables_have_an_attribution_each_and_their_sum_is_the_score() -> None:
    nodes = [
        node("Gather", "A x", "ea"),
        node("Gather", "B x", "eb"),
        helper.make_node("Concat", ["ea", "eb"], ["e"], axis=2),
        *SUM,
    ]
    made = net(nodes, {"A": TABLE, "B": OTHER, "w": DENSE, **AXES}, IDS)
    found = Explainer(made, "input-x-gradient")(TOKENS, 1)
    assert list(found.attributions) == ["x", "x_2"]
    np.testing.assert_allclose(found.attributions["x"], TABLE[TOKENS] * DENSE[:5, 1], rtol=1e-5)
    np.testing.assert_allclose(found.attributions["x_2"], OTHER[TOKENS] * DENSE[5:, 1], rtol=1e-5)
    total = sum(a.sum((1, 2)) for a in found.attributions.values())
    np.testing.assert_allclose(total, found.outputs["y"][:, 1], rtol=1e-4)
    paths = Explainer(made, "integrated-gradients", baseline=0.0, steps=4)(TOKENS, 1)
    assert paths.delta is not None
    assert np.abs(paths.delta).max() < 1e-2


def test_a_number_behind_a_name_is_never_that_of_another_input() -> None:
    nodes = [
        node("Gather", "A x", "ea"), node("Gather", "B x", "eb"), node("Gather", "A x_2", "ec"), node("Add", "ea eb", "e0"),
        node("Add", "e0 ec", "e"), node("ReduceSum", "e one", "s", keepdims=0), node("MatMul", "s w", "y"),
    ]  # fmt: skip
    made = net(nodes, {"A": TABLE, "B": OTHER, "w": DENSE[:5], **AXES}, {**IDS, "x_2": IDS["x"]})
    found = Explainer(made, "input-x-gradient")({"x": TOKENS, "x_2": TOKENS}, 0)
    assert list(found.attributions) == ["x", "x_3", "x_2"]


def test_a_look_up_that_only_gives_an_extent_hides_no_other() -> None:
    nodes = [
        node("Gather", "A x", "e0"), node("Shape", "e0", "extents"), helper.make_node("Transpose", ["x"], ["xt"], perm=[1, 0]),
        node("Gather", "A xt", "e1"), node("ReduceSum", "e1 zero", "s", keepdims=0), node("Gather", "extents zero", "n"),
        helper.make_node("Concat", ["n", "five"], ["shape"], axis=0), node("Reshape", "s shape", "q"), node("MatMul", "q w", "y"),
    ]  # fmt: skip
    made = net(nodes, {"A": TABLE, "w": DENSE[:5], "five": np.array([5]), **AXES}, IDS)
    found = Explainer(made, "input-x-gradient")(TOKENS, 2)
    np.testing.assert_allclose(found.attributions["x"], (TABLE[TOKENS] * DENSE[:5, 2]).transpose(1, 0, 2), rtol=1e-5)


def shifted(how: str) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """Integer arithmetic between the input and the look-up, as exporters write it."""
    if how == "negative ids":
        return [node("Add", "x count", "a"), node("Less", "x none", "l"), node("Where", "l a x", "i")], {"count": 9, "none": 0}
    if how == "negative ids by factors":  # as Keras 3 has it in its TensorFlow exports
        kept, moved = [node("Not", "l", "n"), node("Cast", "n", "k", to=7)], [node("Cast", "l", "m", to=7)]
        sums = [node("Add", "x count", "a"), node("Mul", "m a", "p"), node("Mul", "x k", "q"), node("Add", "p q", "i")]
        return [node("Cast", "x", "f", to=1), node("Less", "f zeros", "l"), *kept, *moved, *sums], {
            "count": 9, "zeros": np.zeros(1, np.float32),
        }  # fmt: skip
    if how == "offset":
        return [node("Sub", "x first", "i")], {"first": -1}
    if how == "clipped":
        return [node("Max", "x none", "a"), node("Min", "a last", "i")], {"none": 0, "last": 8}
    return [helper.make_node("Cast", ["x"], ["h"], to=6), helper.make_node("Cast", ["h"], ["i"], to=7)], {}


@pytest.mark.parametrize("how", ["negative ids", "negative ids by factors", "offset", "clipped", "cast"])
def test_arithmetic_before_the_look_up(how: str) -> None:
    nodes, numbers = shifted(how)
    made = net(
        [*nodes, node("Gather", "A i", "e"), *SUM],
        {"A": TABLE, "w": DENSE[:5], **AXES, **{k: np.array(v) for k, v in numbers.items()}},
        IDS,
    )
    tokens = np.where(TOKENS > 3, TOKENS - 9, TOKENS) if how.startswith("negative") else np.minimum(TOKENS, 7)
    rows = TABLE[tokens + 1 if how == "offset" else tokens]
    np.testing.assert_allclose(Explainer(made, "input-x-gradient")(tokens, 0).attribution, rows * DENSE[:5, 0], rtol=1e-5)


FLOATS = {"x": (TensorProto.FLOAT, ["n", 4])}


@pytest.mark.parametrize("how", ["cast", "offset", "rounded first"])
def test_tokens_that_come_as_floats(how: str) -> None:
    before = {
        "cast": [node("Cast", "x", "i", to=7)],
        "offset": [node("Add", "x step", "a"), node("Cast", "a", "i", to=7)],
        "rounded first": [node("Reshape", "x all", "r"), node("Cast", "r", "h", to=6), node("Reshape", "h back", "i")],
    }[how]
    weights = {
        "A": TABLE,
        "w": DENSE[:5],
        "step": np.array(1, np.float32),
        "all": np.array([-1]),
        "back": np.array([-1, 4]),
        **AXES,
    }
    made = net([*before, node("Gather", "A i", "e"), *SUM], weights, FLOATS)
    tokens = np.minimum(TOKENS, 7)
    rows = TABLE[tokens + 1 if how == "offset" else tokens]
    found = Explainer(made, "input-x-gradient")(tokens.astype(np.float32), 0)
    np.testing.assert_allclose(found.attribution, rows * DENSE[:5, 0], rtol=1e-5)
    change = Explainer(made, "integrated-gradients", baseline=0.0, steps=3)(tokens.astype(np.float32), 0)
    np.testing.assert_allclose(change.attribution, rows * DENSE[:5, 0], rtol=1e-4)


def test_an_input_with_a_derivative_is_explained_itself_though_it_is_looked_up_too() -> None:
    nodes = [
        node("Cast", "x", "i", to=7), node("Gather", "A i", "r"), node("Unsqueeze", "x two", "u"), node("Mul", "r u", "e"), *SUM,
    ]  # fmt: skip
    made = net(nodes, {"A": TABLE, "w": DENSE[:5], **AXES}, FLOATS)
    found = Explainer(made, "gradient")(TOKENS.astype(np.float32), 1)
    np.testing.assert_allclose(found.attribution, TABLE[TOKENS] @ DENSE[:5, 1], rtol=1e-5)


def test_rows_of_an_input_that_constants_choose() -> None:
    """Characters and syllables in one input."""
    nodes = [
        node("Gather", "x first", "c", axis=1), node("Gather", "x last", "t", axis=1), node("Gather", "A c", "ea"),
        node("Gather", "B t", "eb"), node("Concat", "ea eb", "e", axis=2), *SUM,
    ]  # fmt: skip
    weights = {"A": TABLE, "B": OTHER, "w": DENSE, "first": np.array(0), "last": np.array(1), **AXES}
    made = net(nodes, weights, {"x": (TensorProto.INT64, ["n", 2, 4])})
    found = Explainer(made, "input-x-gradient")(np.stack([TOKENS, TOKENS[::-1]], axis=1), 1)
    np.testing.assert_allclose(found.attributions["x"], TABLE[TOKENS] * DENSE[:5, 1], rtol=1e-5)
    np.testing.assert_allclose(found.attributions["x_2"], OTHER[TOKENS[::-1]] * DENSE[5:, 1], rtol=1e-5)


def test_tokens_times_another_input_are_other_numbers() -> None:
    nodes = [node("Mul", "x m", "i"), node("Gather", "A i", "e"), *SUM]
    made = net(nodes, {"A": TABLE, "w": DENSE[:5], **AXES}, {**IDS, "m": IDS["x"]})
    with pytest.raises(OnnxplainError, match="does not depend on"):
        rewrite(made)


@pytest.mark.parametrize("how", ["Equal", "OneHot", "Where"])
def test_ones_made_by_comparing(how: str) -> None:
    """The attribution of a one is its row's product; those of zeros vanish with the input."""
    classes = np.arange(9).reshape(1, 1, 9)
    nodes = {
        "Equal": [node("Unsqueeze", "x two", "u"), node("Equal", "u classes", "o"), helper.make_node("Cast", ["o"], ["h"], to=1)],
        "OneHot": [node("OneHot", "x depth values", "h")],
        "Where": [node("Unsqueeze", "x two", "u"), node("Equal", "u classes", "o"), node("Where", "o yes no", "h")],
    }[how]
    weights = {
        "A": TABLE, "w": DENSE[:5], "classes": classes, "depth": np.array(9), "values": np.array([0, 1], np.float32),
        "yes": np.array(1, np.float32), "no": np.array(0, np.float32), **AXES,
    }  # fmt: skip
    made = net([*nodes, node("MatMul", "h A", "e"), *SUM], weights, IDS)
    found = Explainer(made, "input-x-gradient")(TOKENS, 1)
    ones = np.eye(9, dtype=np.float32)[TOKENS]
    np.testing.assert_allclose(found.attribution, ones * (TABLE @ DENSE[:5, 1]), rtol=1e-5, atol=1e-6)


def test_a_comparison_with_one_number_is_a_mask_and_no_one_hot() -> None:
    nodes = [
        node("Equal", "x pad", "o"), helper.make_node("Cast", ["o"], ["f"], to=1), node("Unsqueeze", "f two", "m"),
        node("Gather", "A x", "r"), node("Mul", "r m", "e"), *SUM,
    ]  # fmt: skip
    made = net(nodes, {"A": TABLE, "w": DENSE[:5], "pad": np.array(5), **AXES}, IDS)
    assert list(Explainer(made)(TOKENS, 0).attributions) == ["x"]


def graph_network() -> onnx.ModelProto:
    nodes = [
        node("MatMul", "atoms v", "h"), node("Gather", "h src", "m"), node("Add", "m edges", "q"),
        node("ReduceSum", "q zero", "y", keepdims=1),
    ]  # fmt: skip
    inputs = {
        "atoms": (1, ["A", 4]),
        "edges": (1, ["E", 3]),
        "src": (TensorProto.INT64, ["E"]),
        "name": (TensorProto.STRING, ["E"]),
    }
    return net(nodes, {"v": RNG.normal(size=(4, 3)).astype(np.float32), **AXES}, inputs)


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "integrated-gradients", "deeplift"])
def test_positions_in_activations_are_no_look_ups(method: str) -> None:
    """Messages arrive at the atoms once; the edges' indices choose among them and get nothing of their own."""
    made = graph_network()
    del made.graph.input[-1]
    feeds = {
        "atoms": RNG.normal(size=(5, 4)).astype("f"),
        "edges": RNG.normal(size=(8, 3)).astype("f"),
        "src": RNG.integers(0, 5, 8),
    }
    options = {"baseline": 0.0} if method in ("integrated-gradients", "deeplift") else {}
    found = Explainer(made, method, **options)(feeds, (0, 1))
    assert list(found.attributions) == ["atoms", "edges"]
    if method != "gradient":
        total = sum(float(a.sum()) for a in found.attributions.values())
        assert total == pytest.approx(float(np.ravel(found.outputs["y"])[1]), rel=1e-4)


def test_inputs_left_out_are_named_with_the_reason() -> None:
    made = graph_network()
    prepare(made)
    graph, registry = Graph(made), load_registry()
    scored = find_score(graph, None)
    explained = find_sources(graph, scored.tensor, None, registry.role)
    reasons = left_out(graph, scored.tensor, explained, registry.role)
    assert list(reasons) == ["src", "name"]
    assert "says where to look in 'h'" in reasons["src"]
    assert "holds text" in reasons["name"]


def test_a_position_alone_has_no_derivative() -> None:
    with pytest.raises(OnnxplainError, match="'y' does not depend on 'src' by differentiable operators"):
        rewrite(graph_network(), inputs=["src"])
