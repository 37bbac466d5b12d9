"""The graph toolbox: subgraphs, captures, names, new nodes, replaced uses and dead nodes, with If and Loop nested."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnxplain.ir.edit import (
    Names,
    NodeWriter,
    alive,
    captures,
    defined,
    graphs_in,
    names_in,
    reads,
    replace_uses,
    set_nodes,
    subgraphs,
)

FLOAT = TensorProto.FLOAT


def value(name: str, kind: int = FLOAT, shape: list[int] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [2] if shape is None else shape)


def node(op: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    """A node named after its first output; `_` stands for an input left out."""
    return helper.make_node(op, [i.strip("_") for i in inputs.split()], output.split(), output, **attributes)


def branch(name: str, *nodes: onnx.NodeProto, output: str) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [value(output)])


def loop_body(*nodes: onnx.NodeProto, output: str) -> onnx.GraphProto:
    """A body with the state `state`, which hides whatever outside has that name."""
    inputs = [value("step", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("state")]
    outputs = [value("go_on", TensorProto.BOOL, []), value(output)]
    return helper.make_graph([node("Identity", "go", "go_on"), *nodes], "body", inputs, outputs)


def nested() -> onnx.GraphProto:
    """An If whose first branch holds a Loop that reads x, a, and its own `state`; the second returns y as it is.

    The tensor `state` of the outside is 10 · x; the loop adds a · x three times to x.
    """
    body = loop_body(node("Mul", "a x", "product"), node("Add", "state product", "sum"), output="sum")
    loop = node("Loop", "trips _ x", "looped", body=body)
    chosen = node(
        "If", "yes", "result",
        then_branch=branch("then", loop, output="looped"),
        else_branch=branch("else", node("Identity", "state", "same"), output="same"),
    )  # fmt: skip
    constants = [
        helper.make_tensor("a", FLOAT, [2], [2.0, 3.0]),
        helper.make_tensor("ten", FLOAT, [1], [10.0]),
        helper.make_tensor("trips", TensorProto.INT64, [], [3]),
    ]
    inputs = [value("x"), value("yes", TensorProto.BOOL, [])]
    return helper.make_graph([node("Mul", "x ten", "state"), chosen], "outer", inputs, [value("result")], constants)


def run(graph: onnx.GraphProto, **feeds: Any) -> Any:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {k: np.asarray(v) for k, v in feeds.items()})[0]


X = np.array([1, 2], np.float32)


def test_graphs_are_found_at_every_depth_outer_ones_first() -> None:
    graph = nested()
    assert [g.name for g in graphs_in(graph)] == ["outer", "else", "then", "body"]
    assert [g.name for g in subgraphs(graph.node[1])] == ["else", "then"]
    assert subgraphs(graph.node[0]) == []


def test_lists_of_graphs_are_subgraphs_too() -> None:
    several = helper.make_node("Own", [], ["y"], domain="own", bodies=[branch(n, output="q") for n in "ab"])
    assert [g.name for g in subgraphs(several)] == ["a", "b"]
    assert captures(several) == ["q"], "a graph without nodes returns what it captures"


def test_a_node_captures_what_is_not_its_subgraphs_own() -> None:
    chosen = nested().node[1]
    assert captures(chosen) == ["state", "trips", "x", "a"], "`state` by the second branch; in the loop it is the body's own"
    assert reads(chosen) == ["yes", "state", "trips", "x", "a"]


def test_a_name_is_captured_where_it_is_read_before_the_graph_makes_its_own() -> None:
    inner = branch("then", node("Neg", "t", "u"), node("Neg", "u", "t"), output="t")
    assert captures(node("If", "c", "y", then_branch=inner)) == ["t"]


def test_inputs_left_out_are_not_read() -> None:
    assert reads(node("Clip", "x _ high", "y")) == ["x", "high"]
    assert reads(node("Add", "x x", "y")) == ["x"]


def test_defined_are_the_names_of_all_depths() -> None:
    found = defined(nested().node)
    assert set(found) == {"state", "result", "looped", "same", "step", "go", "go_on", "product", "sum"}
    assert defined([helper.make_node("Split", ["x"], ["a", ""])]) == ["a"]


def test_fresh_names_count_on() -> None:
    names = Names(["a", "a_3"])
    assert [names.fresh(n) for n in ("a", "a", "a", "b", "a_2")] == ["a_2", "a_4", "a_5", "b", "a_2_2"]
    names.take(["c"])
    assert "c" in names
    assert "d" not in names


def test_names_of_all_depths_are_taken() -> None:
    names = names_in(nested())
    assert all(name in names for name in ("x", "a", "state", "product", "step", "go_on", "same", "looped", "result"))


def test_nodes_that_make_nothing_wanted_leave() -> None:
    nodes = [
        node("Neg", "x", "dead"), node("Neg", "dead", "dead too"), node("Exp", "x", "captured"),
        helper.make_node("Dropout", ["x"], ["p", ""], "optional output"),
        node("If", "yes", "result", then_branch=branch("then", node("Abs", "captured", "q"), output="q")),
        node("Clip", "result _ high", "clipped"),
    ]  # fmt: skip
    assert [n.name for n in alive(nodes, ["clipped"])] == ["captured", "result", "clipped"]
    assert alive(nodes, []) == []


def test_nodes_that_are_set_may_be_the_graphs_own() -> None:
    graph = nested()
    set_nodes(graph, reversed(list(graph.node)))
    assert [n.name for n in graph.node] == ["result", "state"]
    set_nodes(graph, (n for n in reversed(graph.node)))
    np.testing.assert_allclose(run(graph, x=X, yes=True), X + 3 * np.array([2, 3]) * X)


@pytest.mark.parametrize("yes", [True, False])
def test_uses_are_replaced_where_the_outer_name_is_meant(yes: bool) -> None:
    """x becomes −x everywhere; `state` becomes 7 · x, but the loop's own stays what it is."""
    graph = nested()
    before = run(graph, x=X, yes=yes)
    np.testing.assert_allclose(before, X + 3 * np.array([2, 3]) * X if yes else 10 * X)
    new = NodeWriter(names_in(graph), "new/", constants=graph.initializer)
    minus = new.op("Neg", "x")
    seven = new.op("Mul", minus, np.array([7], np.float32))
    replace_uses(graph.node[1:], {"x": minus, "state": seven})
    set_nodes(graph, [*new.nodes, *graph.node])
    np.testing.assert_allclose(run(graph, x=X, yes=yes), -(X + 3 * np.array([2, 3]) * X) if yes else -7 * X)


def test_what_a_subgraph_returns_keeps_its_name() -> None:
    other = branch("else", node("Neg", "x", "minus"), output="minus")
    chosen = node("If", "yes", "result", then_branch=branch("then", output="t"), else_branch=other)
    inputs = [value("x"), value("yes", TensorProto.BOOL, [])]
    graph = helper.make_graph([node("Exp", "x", "e"), chosen], "outer", inputs, [value("result")])
    replace_uses([graph.node[1]], {"t": "e"})
    assert [g.output[0].name for g in subgraphs(graph.node[1])] == ["minus", "t"]
    np.testing.assert_allclose(run(graph, x=X, yes=True), np.exp(X), rtol=1e-6)
    np.testing.assert_allclose(run(graph, x=X, yes=False), -X)


def test_written_nodes_have_names_that_nothing_else_has() -> None:
    graph = helper.make_graph([node("Neg", "x", "new/Add")], "outer", [value("x")], [value("y")])
    new = NodeWriter(names_in(graph), "new/", graph.node, graph.initializer)
    total = new.op("Add", "new/Add", np.array([1, 2], np.float32))
    shown = new.op("ReduceSum", total, [0], hint="total", keepdims=1)
    clipped = new.op("Clip", shown, "", new.constant(np.array(5, np.float32), "high"))
    graph.node.append(helper.make_node("Expand", [clipped, new.constant(np.array([2]))], ["y"], "y"))
    assert (total, shown, clipped) == ("new/Add_2", "new/total", "new/Clip")
    assert all(n.name == n.output[0] for n in graph.node)
    assert [(t.name, t.data_type) for t in graph.initializer][1] == ("new/constant_2", TensorProto.INT64)
    np.testing.assert_allclose(run(graph, x=np.array([-1, -9], np.float32)), [5, 5])
    np.testing.assert_allclose(run(graph, x=X), [0, 0])
