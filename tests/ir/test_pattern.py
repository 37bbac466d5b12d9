"""Patterns of nodes: commutation, alternatives, shared parts, numbers, products, depth, and why there is no match."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxplain.ir.pattern import Match, NoMatch, Pattern, match, number, op, product, var
from onnxplain.passes.view import FileView

X, Y = var("x"), var("y")


def view(*lines: str, outputs: str = "y", **constants: float | list[float]) -> FileView:
    """A graph of lines `Mul a b c`: the operator, what it reads (`_` for nothing), what it makes; a and b have two axes."""
    nodes = []
    for line in lines:
        name, *inputs, output = line.split()
        nodes.append(helper.make_node(name, ["" if i == "_" else i for i in inputs], [output], output))
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in "ab"]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 4]) for n in outputs.split()]
    made = [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in constants.items()]
    return FileView(helper.make_graph(nodes, "graph", inputs, ends, made))


def found(lines: list[str], pattern: Pattern, **constants: float | list[float]) -> Mapping[str, str] | str:
    """What the variables of a pattern stand for in the tensor y, or why it does not match."""
    made = match(view(*lines, **constants), pattern, "y")
    return made.reason if isinstance(made, NoMatch) else made.values


def test_variables_stand_for_tensors() -> None:
    assert found(["Sub a b y"], X - Y) == {"x": "a", "y": "b"}
    assert found(["Sub a a y"], X - X) == {"x": "a"}
    assert found(["Sub a b y"], X - X) == "'b' and 'a' are two tensors, both x"


@pytest.mark.parametrize("line", ["Mul t a y", "Mul a t y"])
def test_operands_may_change_places_where_the_operator_allows(line: str) -> None:
    assert found(["Exp b t", line], X * op.Exp(Y)) == {"x": "a", "y": "b"}
    assert found(["Exp b t", line.replace("Mul", "Sub")], op.Exp(Y) - X) == (
        {"x": "a", "y": "b"} if line == "Mul t a y" else "'a' is not made by Exp, nor by any node seen here"
    )


def test_a_choice_is_taken_back_where_the_rest_does_not_fit() -> None:
    """exp(a) · exp(b) − b: the first order of the factors gives x and y the wrong way round."""
    lines = ["Exp a p", "Exp b q", "Mul p q r", "Sub r b y"]
    assert found(lines, op.Exp(X) * op.Exp(Y) - X) == {"x": "b", "y": "a"}


def test_alternatives_are_tried_from_left_to_right() -> None:
    negative = -X | X * -1 | 0 - X
    for line in ("Neg a y", "Mul a c y", "Mul c a y", "Sub zero a y"):
        assert found([line], negative, c=-1, zero=0) == {"x": "a"}, line
    assert found(["Neg a y"], op.Neg(X) | Y) == {"x": "a"}
    assert found(["Neg a y"], Y | op.Neg(X)) == {"y": "y"}
    assert found(["Mul a c y"], negative, c=-2) == "'c' is -2, not -1"


def test_a_pattern_used_twice_is_one_tensor() -> None:
    e = op.Exp(X)
    share = e / op.ReduceSum(e, ...)
    assert found(["Exp a e", "ReduceSum e axes s", "Div e s y"], share) == {"x": "a"}
    assert found(["Exp a e", "ReduceSum e s", "Div e s y"], share) == {"x": "a"}
    twice = ["Exp a e", "Exp a f", "ReduceSum f s", "Div e s y"]
    assert found(twice, share) == "'f' is not 'e', made alike"
    assert found(twice, op.Exp(X) / op.ReduceSum(op.Exp(X))) == {"x": "a"}


@pytest.mark.parametrize(
    ("given", "fits"), [(2, True), ([2], True), ([[2]], True), ([[[2]]], False), ([2, 2], False), (3, False)]
)
def test_numbers_are_single_and_add_no_axes(given: float | list[float], fits: bool) -> None:
    assert (found(["Mul a c y"], X * 2, c=given) == {"x": "a"}) is fits


def test_numbers_count_in_the_precision_of_the_file() -> None:
    assert found(["Mul a c y"], X * (1 / 3), c=1 / 3) == {"x": "a"}
    named = match(view("Mul a c y", c=0.25), X * number("factor"), "y")
    assert isinstance(named, Match)
    assert dict(named.numbers) == {"factor": 0.25}


@pytest.mark.parametrize(
    ("lines", "factor"),
    [
        (["Exp b e", "Mul a e y"], None),
        (["Exp b e", "Mul e a p", "Mul p half y"], 0.5),
        (["Exp b e", "Mul a half p", "Mul e p q", "Div q four y"], 0.125),
        (["Exp b e", "Mul half e p", "Mul four p q", "Mul q a y"], 2.0),
    ],
)
def test_products_have_their_numbers_anywhere(lines: list[str], factor: float | None) -> None:
    made = match(view(*lines, half=0.5, four=4), product(op.Exp(Y), X, number="factor"), "y")
    assert isinstance(made, Match)
    # what the numbers belong to is settled by the variable: x is as large as it can be
    assert made.numbers.get("factor", 1.0) * {"a": 1.0, "p": 0.5}[made["x"]] == (factor or 1.0)
    assert made["y"] == "b"


def test_products_of_three() -> None:
    made = match(view("Exp a e", "Log a l", "Mul l a p", "Mul e p y"), product(op.Exp(X), op.Log(X), X, number="f"), "y")
    assert made
    assert made["x"] == "a"
    assert not match(view("Exp a e", "Mul e a y"), product(op.Exp(X), op.Log(X), X, number="f"), "y")


def test_nothing_else_may_read_what_is_only_used_here() -> None:
    lines = ["Exp a e", "Neg e y"]
    alone = -op.Exp(X).only_here()
    assert match(view(*lines), alone, "y")
    for other in (view(*lines, "Abs e z"), view(*lines, outputs="y e")):
        assert match(other, alone, "y") == NoMatch("'e' is read elsewhere too")


def test_reads_of_subgraphs_count() -> None:
    inner = helper.make_graph([helper.make_node("Abs", ["e"], ["q"])], "inner", [], [helper.make_empty_tensor_value_info("q")])
    chosen = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    nodes = [helper.make_node("Exp", ["a"], ["e"]), helper.make_node("Neg", ["e"], ["y"]), chosen]
    graph = helper.make_graph(nodes, "graph", [], [helper.make_empty_tensor_value_info("y")])
    assert not match(FileView(graph), -op.Exp(X).only_here(), "y")


def test_inputs_are_counted_but_for_those_left_out() -> None:
    assert found(["Clip a _ high y"], op.Clip(X, Y, 6), high=6) == "an input is left out"
    assert found(["Clip a low _ y"], op.Clip(X, 0), low=0) == {"x": "a"}
    assert found(["Clip a low high y"], op.Clip(X, 0), low=0, high=6) == "Clip that makes 'y' has 3 inputs, not 2"
    assert found(["Clip a low high y"], op.Clip(X, 0, ...), low=0, high=6) == {"x": "a"}


def test_reasons_are_those_of_the_attempt_that_came_furthest() -> None:
    sigmoid = op.Reciprocal(1 + op.Exp(X)) | 1 / (1 + op.Exp(X))
    assert found(["Sqrt a t", "Add t one s", "Div one s y"], sigmoid, one=1) == "'t' is made by Sqrt, not Exp"
    assert found(["Exp a t", "Add t two s", "Div one s y"], sigmoid, one=1, two=2) == "'two' is 2, not 1"
    assert found(["Div one a y"], sigmoid, one=1) == "'a' is not made by Add, nor by any node seen here"
    assert found(["Tanh a y"], sigmoid) == "'y' is made by Tanh, not Reciprocal"


def test_operators_of_other_domains_have_their_own_names() -> None:
    graph = helper.make_graph(
        [helper.make_node("Exp", ["a"], ["y"], domain="own")], "graph", [], [helper.make_empty_tensor_value_info("y")]
    )
    assert match(FileView(graph), op.Exp(X), "y") == NoMatch("'y' is made by own.Exp, not Exp")
    assert match(FileView(graph), op["Exp", "own.Exp"](X), "y")


def test_nodes_are_found_each_once() -> None:
    e = op.Exp(X).named("power")
    made = match(view("Exp a e", "Mul e e y"), e * e, "y")
    assert isinstance(made, Match)
    assert [n.name for n in made.nodes] == ["y", "e"]
    assert made.named["power"].op_type == "Exp"


def test_patterns_and_graphs_may_be_deep() -> None:
    """Deeper than Python lets functions call each other."""
    depth = 5000
    pattern: Pattern = X
    for _ in range(depth):
        pattern = op.Exp(pattern)
    lines = [f"Exp {'a' if i == 0 else f't{i}'} {'y' if i == depth - 1 else f't{i + 1}'}" for i in range(depth)]
    assert found(lines, pattern) == {"x": "a"}
    assert found(["Neg a t1", *lines[1:]], pattern) == "'t1' is made by Neg, not Exp"


@pytest.mark.parametrize("depth", [2, 3000])
def test_products_peel_short_chains_and_give_up_on_long_ones(depth: int) -> None:
    """A chain of numbers is gone through from each of its nodes: it must not be long."""
    lines = [f"Mul {'a' if i == 0 else f't{i}'} one {'y' if i == depth - 1 else f't{i + 1}'}" for i in range(depth)]
    made = match(view("Exp b e", "Mul e y z", *lines[:0], *lines, one=1), product(op.Exp(Y), op.Neg(X), number="f"), "z")
    assert isinstance(made, NoMatch)
    assert (made == NoMatch("'a' is not made by Neg, nor by any node seen here")) == (depth == 2)


def test_a_view_needs_no_more_than_the_graph() -> None:
    """Weights in external files stay unread."""
    weight = onnx.TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="nowhere")
    graph = helper.make_graph(
        [helper.make_node("Mul", ["a", "c"], ["y"])], "graph", [], [helper.make_empty_tensor_value_info("y")], [weight]
    )
    assert match(FileView(graph), X * number("c"), "y") == NoMatch("'c' is not a number")
