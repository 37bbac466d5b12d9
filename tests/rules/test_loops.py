"""Loops whose states are sequences, or tensors that change their shape from step to step, against finite differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain import Explainer
from onnxplain.passes import prepare
from onnxplain.propagation.vjp import vjp
from tests.rules.test_control_flow import BOOL, INT, W, check, floats
from tests.support.models import FLOAT, model, node, run

SEQUENCE = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
KINDS = {"i": helper.make_tensor_type_proto(INT, []), "go": helper.make_tensor_type_proto(BOOL, [])}


def looped(nodes: Sequence[onnx.NodeProto], states: Mapping[str, str], results: str, scans: Sequence[str] = ()) -> onnx.NodeProto:
    """A Loop over states by their names (those that start with "s" are sequences) and what they start from.

    The body makes `<state>_next` of each.
    """

    def info(name: str) -> onnx.ValueInfoProto:
        plain = helper.make_tensor_type_proto(FLOAT, None)
        return helper.make_value_info(name, KINDS.get(name, SEQUENCE if name.startswith("s") else plain))

    go_on = helper.make_value_info("go_on", KINDS["go"])
    body = helper.make_graph(
        [node("Identity", "go", "go_on"), *nodes],
        "body",
        [info(n) for n in ("i", "go", *states)],
        [go_on, *(info(f"{n}_next") for n in states), *(info(n) for n in scans)],
    )
    return helper.make_node("Loop", ["trips", "", *states.values()], results.split(), name="loop", body=body)


def made(
    nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, Sequence[Any]], output: str = "y", **weights: Any
) -> onnx.ModelProto:
    return model(
        nodes,
        {**inputs, "trips": []},
        {output: None},
        {"w": W, "zero": np.array(0), "axis": np.array([0]), **weights},
        kinds={"trips": INT},
    )


EMPTY = helper.make_node("SequenceEmpty", [], ["s0"], name="empty", dtype=FLOAT)
JOINED = node("ConcatFromSequence", "s1", "y", axis=0)


@pytest.mark.parametrize("trips", [1, 4])
def test_a_state_that_grows(trips: int) -> None:
    """a ← [a; tanh(last row of a · W) · x]"""
    nodes = [
        node("Slice", "a minus none axis", "last"), node("MatMul", "last w", "m"), node("Tanh", "m", "t"), node("Mul", "t x", "p"),
        node("Concat", "a p", "a_next", axis=0),
    ]  # fmt: skip
    grown = made([looped(nodes, {"a": "a0"}, "y")], {"a0": ["n", 3], "x": [1, 3]}, minus=np.array([-1]), none=np.array([1 << 60]))
    check(grown, {"trips": np.array(trips), "a0": floats(2, 3), "x": floats(1, 3)})


def test_a_state_that_shrinks_beside_one_that_keeps_its_shape() -> None:
    """b ← b · Σ a², a ← sin of all but the first row of a"""
    nodes = [
        node("ReduceSumSquare", "a axis", "r", keepdims=1), node("Mul", "b r", "b_next"), node("Slice", "a one many axis", "rest"),
        node("Sin", "rest", "a_next"),
    ]  # fmt: skip
    loop = looped(nodes, {"a": "a0", "b": "b0"}, "a1 y")
    shrunk = made([loop], {"a0": ["n", 3], "b0": [1, 3]}, one=np.array([1]), many=np.array([1 << 60]))
    check(shrunk, {"trips": np.array(3), "a0": floats(5, 3), "b0": floats(1, 3)})


def test_a_state_that_gains_axes() -> None:
    nodes = [node("Sin", "a", "t"), node("Mul", "t x", "p"), node("Unsqueeze", "p axis", "a_next")]
    deeper = made([looped(nodes, {"a": "a0"}, "y")], {"a0": ["n", 3], "x": []})
    check(deeper, {"trips": np.array(3), "a0": floats(2, 3), "x": floats()})


@pytest.mark.parametrize("trips", [1, 5])
def test_a_sequence_that_collects(trips: int) -> None:
    """h ← tanh(h W) · x, put behind what was collected."""
    nodes = [
        node("MatMul", "h w", "m"),
        node("Tanh", "m", "t"),
        node("Mul", "t x", "h_next"),
        node("SequenceInsert", "s h_next", "s_next"),
    ]
    loop = looped(nodes, {"h": "h0", "s": "s0"}, "h1 s1")
    collecting = made([EMPTY, loop, JOINED], {"h0": [1, 3], "x": [1, 3]})
    check(collecting, {"trips": np.array(trips), "h0": floats(1, 3), "x": floats(1, 3)})


def test_a_sequence_that_is_read_while_it_grows() -> None:
    """The next element is made of the one before and of the first; elements grow too."""
    nodes = [
        node("SequenceAt", "s i", "before"), node("SequenceAt", "s zero", "first"), node("Tanh", "before", "t"), node("Mul", "t x", "p"),
        node("Concat", "p first", "e", axis=0), node("SequenceInsert", "s e", "s_next"),
    ]  # fmt: skip
    start = node("SequenceConstruct", "h0", "s0")
    growing = made([start, looped(nodes, {"s": "s0"}, "s1"), JOINED], {"h0": ["n", 3], "x": [1, 3]})
    check(growing, {"trips": np.array(4), "h0": floats(2, 3), "x": floats(1, 3)})


def test_a_queue() -> None:
    """The first element leaves, what is made of it enters at the end: the sequence is made again for each step."""
    nodes = [
        node("SequenceAt", "s zero", "first"), node("SequenceErase", "s zero", "rest"), node("Mul", "first x", "m"), node("Sin", "m", "e"),
        node("SequenceInsert", "rest e", "s_next"), node("Identity", "e", "kept"),
    ]  # fmt: skip
    start = node("SequenceConstruct", "a b", "s0")
    queue = made([start, looped(nodes, {"s": "s0"}, "s1 all", ["kept"]), JOINED], {"a": ["n", 3], "b": ["n", 3], "x": [1, 3]})
    queue.graph.output.append(helper.make_tensor_value_info("all", FLOAT, None))
    check(queue, {"trips": np.array(3), "a": floats(2, 3), "b": floats(2, 3), "x": floats(1, 3)})


def test_a_sequence_from_outside() -> None:
    """Elements of an outer sequence, of different extents, are read one after the other."""
    nodes = [node("SequenceAt", "parts i", "e"), node("ReduceSumSquare", "e axis", "r", keepdims=1), node("Mul", "a r", "a_next")]
    split = node("SplitToSequence", "x lengths", "parts", axis=0)
    reading = made([split, looped(nodes, {"a": "a0"}, "y")], {"x": [6, 3], "a0": [1, 3]}, lengths=np.array([1, 3, 2]))
    check(reading, {"trips": np.array(3), "x": floats(6, 3), "a0": floats(1, 3)})


def test_a_sequence_in_a_branch_of_a_loop() -> None:
    """Every other step collects."""
    then = helper.make_graph([node("SequenceInsert", "s h_next", "t")], "then", [], [helper.make_value_info("t", SEQUENCE)])
    other = helper.make_graph([node("Identity", "s", "e")], "else", [], [helper.make_value_info("e", SEQUENCE)])
    nodes = [
        node("MatMul", "h w", "m"), node("Tanh", "m", "t0"), node("Mul", "t0 x", "h_next"), node("Mod", "i two", "odd"),
        node("Cast", "odd", "flag", to=BOOL), helper.make_node("If", ["flag"], ["s_next"], name="if", then_branch=then, else_branch=other),
    ]  # fmt: skip
    loop = looped(nodes, {"h": "h0", "s": "s0"}, "h1 s1")
    every = made([EMPTY, loop, JOINED], {"h0": [1, 3], "x": [1, 3]}, two=np.array(2))
    check(every, {"trips": np.array(5), "h0": floats(1, 3), "x": floats(1, 3)})


def test_relevance_is_conserved_through_a_loop_that_collects() -> None:
    """It reaches the state, and the tensor that the body reads from outside: together as much as the output."""
    nodes = [
        node("MatMul", "h w", "m"),
        node("Tanh", "m", "t"),
        node("Mul", "t x", "h_next"),
        node("SequenceInsert", "s h_next", "s_next"),
    ]
    ends = [node("ReduceSum", "y axis", "sum", keepdims=1), node("Reshape", "sum shape", "z")]
    loop = looped(nodes, {"h": "h0", "s": "s0"}, "h1 s1")
    collecting = made([EMPTY, loop, JOINED, *ends], {"h0": [1, 3], "x": [1, 3]}, "z", shape=np.array([1, 3]))
    generator = np.random.default_rng(5)  # of its own: other tests draw from the module's in any order
    feeds = {"trips": np.array(3), **{name: generator.normal(size=(1, 3)).astype(np.float32) for name in ("h0", "x")}}
    found = Explainer(collecting, "lrp-epsilon", inputs=["h0", "x"])(feeds, 0)
    total = sum(float(a.sum()) for a in found.attributions.values())
    assert abs(total - found.outputs["z"][0, 0]) < 1e-4 * abs(total)
    assert all(np.abs(a).max() > 0 for a in found.attributions.values())


def test_a_sequence_that_grows_is_not_recorded() -> None:
    """Beside what the model makes: the other state and the number of steps, one each per step."""
    nodes = [node("Tanh", "h", "h_next"), node("SequenceInsert", "s h_next", "s_next")]
    collecting = made([EMPTY, looped(nodes, {"h": "h0", "s": "s0"}, "h1 s1"), JOINED], {"h0": [1, 3]})
    prepare(collecting)
    explained = vjp(collecting, ["h0"], ["y"])
    first = next(n for n in explained.graph.node if n.op_type == "Loop")
    assert len(first.output) == 2 + 2
    cotangent = floats(3, 3)
    h = floats(1, 3)
    found = run(explained, {"trips": np.array(3), "h0": h, "y_seed": cotangent})["h0_gradient"]
    t1 = np.tanh(h)
    t2 = np.tanh(t1)
    t3 = np.tanh(t2)
    slope = (1 - t1**2) * (cotangent[:1] + (1 - t2**2) * (cotangent[1:2] + (1 - t3**2) * cotangent[2:]))
    np.testing.assert_allclose(found, slope, rtol=1e-5)


def test_a_scan_over_constants_alone() -> None:
    """s ← sin(s) · k for constants k: no slice has a message to return."""
    body = helper.make_graph(
        [node("Sin", "s", "t"), node("Mul", "t k", "after")],
        "body",
        [helper.make_tensor_value_info("s", FLOAT, ["n", 3]), helper.make_tensor_value_info("k", FLOAT, [3])],
        [helper.make_tensor_value_info("after", FLOAT, ["n", 3])],
    )
    factors = np.float32([[1, 2, 3], [2, 1, 0.5]])
    scanned = model([node("Scan", "x ks", "y", body=body, num_scan_inputs=1)], {"x": ["n", 3]}, {"y": ["n", 3]}, {"ks": factors})
    x = np.float32([[0.3, -0.2, 1], [0.1, 0.7, -1.2]])
    inner = np.sin(x) * factors[0]
    expected = np.cos(inner) * factors[1] * np.cos(x) * factors[0]
    found = Explainer(scanned, "gradient")(x, 1).attribution
    np.testing.assert_allclose(found, expected * [0, 1, 0], rtol=1e-5, atol=1e-7)


def test_a_state_whose_shape_the_file_states() -> None:
    """What the loop returns has that shape where every step keeps it, and none where a step does not."""
    nodes = [node("Sin", "a", "t"), node("Mul", "t x", "a_next")]
    for shape, known in (([2, 3], True), ([3], False)):
        loop = looped(nodes, {"a": "a0"}, "y")
        body = helper.get_node_attr_value(loop, "body")
        body.input[2].CopyFrom(helper.make_tensor_value_info("a", FLOAT, shape))
        loop.attribute[0].g.CopyFrom(body)
        held = made([loop], {"a0": shape, "x": [2, 3]})
        prepare(held)
        result = next(v for v in (*held.graph.value_info, *held.graph.output) if v.name == "y").type.tensor_type
        assert (result.HasField("shape") and len(result.shape.dim) == 2) is known
