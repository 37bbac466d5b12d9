"""If, Loop, Scan and sequences in whole models: captures, nesting, data-dependent trip counts, directions and axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxplain import Explainer, rewrite
from onnxplain.passes import prepare
from onnxplain.propagation.vjp import vjp
from onnxplain.verification.finite_differences import compare
from tests.support.models import FLOAT, model, node, run, slopes

BOOL, INT = onnx.TensorProto.BOOL, onnx.TensorProto.INT64
RNG = np.random.default_rng(11)
W = (0.5 * RNG.normal(size=(3, 3))).astype(np.float32)


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def graph(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, int], outputs: Mapping[str, int]) -> onnx.GraphProto:
    """A subgraph that says nothing of shapes, as exporters write it."""

    def infos(names: Mapping[str, int]) -> list[onnx.ValueInfoProto]:
        # Step numbers and conditions are scalars: ONNX Runtime insists on knowing that.
        return [helper.make_tensor_value_info(n, kind, None if kind == FLOAT else []) for n, kind in names.items()]

    return helper.make_graph(list(nodes), "body", infos(inputs), infos(outputs))


def check(made: onnx.ModelProto, feeds: Mapping[str, Any]) -> None:
    """Against finite differences in float64, and the same numbers from ONNX Runtime in float32."""
    found = compare(made, feeds, tolerance=1e-7)
    assert abs(found.numeric) > 1e-6
    assert found.ok, found
    before = run(made, feeds)
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    prepare(copy)
    sources, targets = list(found.gradients), list(found.cotangents)
    after = run(
        vjp(copy, sources, targets), {**feeds, **{f"{t}_seed": s.astype(np.float32) for t, s in found.cotangents.items()}}
    )
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-5, atol=1e-6)
    for source, exact in found.gradients.items():
        np.testing.assert_allclose(after[f"{source}_gradient"], exact, rtol=1e-4, atol=1e-5)


def branches() -> onnx.ModelProto:
    """Two branches that read outer tensors and weights; one of them would fail if it ran on the other's data."""
    then = graph([node("MatMul", "x w", "m"), node("Tanh", "m", "t")], {}, {"t": FLOAT})
    other = graph([node("Reshape", "v shape", "r"), node("Mul", "r x", "e")], {}, {"e": FLOAT})
    return model(
        [node("If", "flag", "h", then_branch=then, else_branch=other), node("Mul", "h x", "y")],
        {"x": ["n", 3], "v": ["k"], "flag": []}, {"y": ["n", 3]}, {"w": W, "shape": np.array([-1, 3])}, kinds={"flag": BOOL},
    )  # fmt: skip


@pytest.mark.parametrize("flag", [True, False])
def test_if(flag: bool) -> None:
    # With five elements the branch that is not taken could not reshape v at all.
    check(branches(), {"x": floats(2, 3), "v": floats(5 if flag else 6), "flag": np.array(flag)})


def body(nodes: Sequence[onnx.NodeProto], states: Sequence[str], scans: Sequence[str] = ()) -> onnx.GraphProto:
    """A Loop body with states a, b, … → a_next, b_next, …"""
    return graph(
        [node("Identity", "go", "go_on"), *nodes],
        {"i": INT, "go": BOOL, **dict.fromkeys(states, FLOAT)},
        {"go_on": BOOL, **{f"{s}_next": FLOAT for s in states}, **dict.fromkeys(scans, FLOAT)},
    )


def recurrence() -> onnx.ModelProto:
    """a ← tanh(a W + x) · b, b ← b + c: two states, a captured input, a captured weight, a constant in the body."""
    inner = body(
        [
            node("MatMul", "a w", "m"), node("Add", "m x", "s"), node("Tanh", "s", "t"), node("Mul", "t b", "a_next"),
            helper.make_node("Constant", [], ["c"], value=onnx.numpy_helper.from_array(np.float32(0.5))), node("Add", "b c", "b_next"),
            node("Mul", "t t", "seen"),
        ],
        ["a", "b"],
        ["seen"],
    )  # fmt: skip
    return model(
        [helper.make_node("Loop", ["trips", "", "a0", "b0"], ["a1", "b1", "all"], name="loop", body=inner)],
        {"trips": [], "a0": ["n", 3], "b0": ["n", 3], "x": ["n", 3]}, {"a1": None, "b1": None, "all": None}, {"w": W}, kinds={"trips": INT},
    )  # fmt: skip


@pytest.mark.parametrize("trips", [1, 2, 7])
def test_loop(trips: int) -> None:
    check(recurrence(), {"trips": np.array(trips), "a0": floats(2, 3), "b0": floats(2, 3), "x": floats(2, 3)})


def test_loop_of_no_steps_passes_the_message_on() -> None:
    made = recurrence()
    prepare(made)
    explained = vjp(made, ["a0", "x"], ["a1"])
    x, cotangent = floats(2, 3), floats(2, 3)
    result = run(explained, {"trips": np.array(0), "a0": x, "b0": x, "x": x, "a1_seed": cotangent})
    np.testing.assert_array_equal(result["a0_gradient"], cotangent)
    np.testing.assert_array_equal(result["x_gradient"], np.zeros_like(x))


def test_loop_is_not_run_twice() -> None:
    """The states are recorded by the model's own loop; one further loop goes backward."""
    made = rewrite(recurrence(), output="a1")
    assert [n.op_type for n in made.graph.node].count("Loop") == 2
    assert {"a1", "b1", "all"} <= set(made.graph.node[0].output)


def test_trip_count_that_depends_on_the_data() -> None:
    """Doubles until the sum exceeds a limit."""
    inner = graph(
        [node("Mul", "a x", "p"), node("Add", "p a", "a_next"), node("ReduceSum", "a_next", "total", keepdims=0), node("Less", "total limit", "go_on")],
        {"i": INT, "go": BOOL, "a": FLOAT}, {"go_on": BOOL, "a_next": FLOAT},
    )  # fmt: skip
    made = model(
        [helper.make_node("Loop", ["", "start", "a0"], ["y"], name="loop", body=inner)],
        {"a0": [3], "x": [3]}, {"y": None}, {"limit": np.float32(50), "start": np.array(True)},
    )  # fmt: skip
    check(made, {"a0": np.abs(floats(3)) + 0.5, "x": np.abs(floats(3)) + 0.5})


def test_nested_loops_and_branches() -> None:
    """Each outer step runs an inner loop over the outer state, then an If on the step's number."""
    inner = body([node("Mul", "z x", "zx"), node("Sin", "zx", "z_next")], ["z"])
    inner.name = "inner"
    then = graph([node("Mul", "r u", "t")], {}, {"t": FLOAT})
    other = graph([node("Add", "r x", "e")], {}, {"e": FLOAT})
    outer = graph(
        [
            node("Identity", "go", "go_on"), helper.make_node("Loop", ["three", "", "u"], ["r"], name="inner", body=_renamed(inner)),
            node("Less", "i one", "first"), node("If", "first", "u_next", then_branch=then, else_branch=other),
        ],
        {"i": INT, "go": BOOL, "u": FLOAT}, {"go_on": BOOL, "u_next": FLOAT},
    )  # fmt: skip
    made = model(
        [helper.make_node("Loop", ["two", "", "u0"], ["y"], name="outer", body=outer)],
        {"u0": ["n", 3], "x": ["n", 3]}, {"y": None}, {"two": np.array(2), "three": np.array(3), "one": np.array(1)},
    )  # fmt: skip
    check(made, {"u0": floats(2, 3), "x": floats(2, 3)})


def _renamed(inner: onnx.GraphProto) -> onnx.GraphProto:
    """The inner loop's own names, which must differ from the outer ones."""
    names = {"i": "i2", "go": "go2", "go_on": "go_on2"}
    for value in (*inner.input, *inner.output):
        value.name = names.get(value.name, value.name)
    for n in inner.node:
        n.input[:] = [names.get(i, i) for i in n.input]
        n.output[:] = [names.get(o, o) for o in n.output]
    return inner


@pytest.mark.parametrize("in_direction", [0, 1])
@pytest.mark.parametrize("out_direction", [0, 1])
@pytest.mark.parametrize(("in_axis", "out_axis"), [(0, 0), (1, 2), (2, 1)])
def test_scan(in_direction: int, out_direction: int, in_axis: int, out_axis: int) -> None:
    inner = graph(
        [node("MatMul", "h w", "m"), node("Add", "m x", "s"), node("Tanh", "s", "h_next"), node("Mul", "h_next b", "seen")],
        {"h": FLOAT, "x": FLOAT}, {"h_next": FLOAT, "seen": FLOAT},
    )  # fmt: skip
    made = model(
        [node("Scan", "h0 xs", "h1 all", body=inner, num_scan_inputs=1, scan_input_axes=[in_axis], scan_output_axes=[out_axis],
              scan_input_directions=[in_direction], scan_output_directions=[out_direction])],
        {"h0": ["n", 3], "xs": ["p", "q", "r"], "b": ["n", 3]}, {"h1": None, "all": None}, {"w": W},
    )  # fmt: skip
    xs = np.moveaxis(floats(4, 2, 3), 0, in_axis)
    check(made, {"h0": floats(2, 3), "xs": np.ascontiguousarray(xs), "b": floats(2, 3)})


def test_scan_without_states() -> None:
    inner = graph([node("Mul", "x v", "p"), node("Exp", "p", "seen")], {"x": FLOAT}, {"seen": FLOAT})
    made = model([node("Scan", "xs", "all", body=inner, num_scan_inputs=1)], {"xs": ["t", 3], "v": [3]}, {"all": None})
    check(made, {"xs": floats(4, 3), "v": floats(3)})


def test_sequence_map() -> None:
    inner = graph([node("Mul", "e f", "p"), node("Sin", "p", "s")], {"e": FLOAT, "f": FLOAT}, {"s": FLOAT})
    made = model(
        [
            node("SplitToSequence", "x lengths", "parts", axis=1), node("SequenceMap", "parts v", "mapped", body=inner),
            node("ConcatFromSequence", "mapped", "y", axis=1),
        ],
        {"x": ["n", 6], "v": ["n", 1]}, {"y": None}, {"lengths": np.array([1, 2, 3])},
    )  # fmt: skip
    check(made, {"x": floats(2, 6), "v": floats(2, 1)})


def test_sequence_map_that_reads_outer_tensors() -> None:
    """On ONNX Runtime, as the reference evaluator shows no outer tensors to the body; linear in each input."""
    inner = graph([node("Mul", "e w", "m"), node("Mul", "m v", "p")], {"e": FLOAT}, {"p": FLOAT})
    made = model(
        [
            node("SplitToSequence", "x lengths", "parts", axis=0), node("SequenceMap", "parts", "mapped", body=inner),
            node("ConcatFromSequence", "mapped", "y", axis=0),
        ],
        {"x": [6, 3], "v": [1, 3], "w": [3]}, {"y": None}, {"lengths": np.array([1, 2, 3])},
    )  # fmt: skip
    feeds = {"x": floats(6, 3), "v": floats(1, 3), "w": floats(3)}
    cotangent, sources = floats(6, 3), list(feeds)
    expected = {name: slopes(made, feeds, name, "y", cotangent) for name in sources}
    prepare(made)
    found = run(vjp(made, sources, ["y"]), {**feeds, "y_seed": cotangent})
    for name in sources:
        np.testing.assert_allclose(found[f"{name}_gradient"], expected[name], rtol=1e-3, atol=1e-3)


def test_methods_at_another_point_go_into_subgraphs() -> None:
    """Taylor moves the input that a branch captures."""
    x, root = floats(2, 3), floats(2, 3)
    made = branches()
    feeds = {"x": x, "v": floats(6), "flag": np.array(False)}
    explained = run(rewrite(made, "taylor", target=1, inputs=["x"], baseline=root), feeds)
    slope = run(rewrite(made, "gradient", target=1, inputs=["x"]), {**feeds, "x": root})
    np.testing.assert_allclose(explained["x_attribution"], (x - root) * slope["x_attribution"], rtol=1e-4, atol=1e-5)


def test_all_targets_at_once_through_a_loop() -> None:
    made = recurrence()
    del made.graph.output[1:]
    feeds = {"trips": np.array(3), "a0": floats(2, 3), "b0": floats(2, 3), "x": floats(2, 3)}
    explainer = Explainer(made, inputs=["x"])
    everything = explainer(feeds, "all").attribution
    for i in range(3):
        np.testing.assert_allclose(everything[:, i], explainer(feeds, i).attribution, rtol=1e-4, atol=1e-6)


def test_memory_grows_with_the_steps_not_with_their_square() -> None:
    """What is recorded: one state per step, and the number of steps."""
    made = recurrence()
    prepare(made)
    explained = vjp(made, ["a0"], ["a1"])
    loop = explained.graph.node[0]
    assert len(loop.output) == 3 + 3
