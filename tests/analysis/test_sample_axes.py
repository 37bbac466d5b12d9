"""Which axis counts samples: proven, told by symbols or a fixed batch, said by the user, none, or asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain.analysis.sample_axis import AUTO, SampleAxes, find_sample_axes, only_axis, shared_symbol
from onnxplain.analysis.score import Score, find_score
from onnxplain.errors import InputError
from onnxplain.explain.engine import count_samples
from onnxplain.io.reader import read
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.passes import prepared
from tests.support.models import model, node

FLOAT32 = np.dtype(np.float32)


def opaque(*shapes: tuple[Any, ...], output: Any, said: Any = AUTO) -> SampleAxes:
    """The sample axes of a model of an operator that nobody knows, with inputs and an output of these shapes."""
    inputs = {f"x{i}": list(shape) for i, shape in enumerate(shapes)}
    graph = Graph(model([node("Bend", " ".join(inputs), "y", domain="my.ops")], inputs, {"y": None}))
    y = Tensor("y", FLOAT32, output)
    return find_sample_axes(graph, Score(y, y, "y", "output"), said)


def known(nodes: list[Any], inputs: dict[str, Any], weights: dict[str, Any] | None = None, said: Any = AUTO) -> SampleAxes:
    """The sample axes of a model of standard operators."""
    graph = Graph(prepared(read(model(nodes, inputs, {"y": None}, weights)), load_registry()).model)
    return find_sample_axes(graph, find_score(graph, None), said)


class TestEvidence:
    """Where the dataflow says nothing, extents do."""

    @pytest.mark.parametrize(
        ("inputs", "output", "axis"),
        [
            (["n", 4], ["n", 6], 0), ([3, 4], [3, 6], 0), (["n", 4], ["n"], 0), (["t", "n", 4], ["n", 6], 0), (["n", 4], [6, "n"], 1),
            ([1, 4], [1, 6], 0), ([1, 4], ["k", 6], None), ([4], [6], None), (["n"], [6], None), (["n", 4], [6], None),
            (["tokens", 4], [1, 6], None), (["n"], ["n"], 0), ([784], [10], None), (["n", 4], [], None),
        ],
        ids=str,
    )  # fmt: skip
    def test_an_extent_that_input_and_output_share(self, inputs: list[Any], output: list[Any], axis: int | None) -> None:
        assert opaque(tuple(inputs), output=tuple(output)).axis == axis

    def test_inputs_with_the_extent_of_the_output(self) -> None:
        axes = opaque(("n", 3), ("k", 2), output=("n", 3))
        assert (axes.batched, dict(axes.of_inputs), axes.fixed) == (True, {"x0": 0}, None)
        assert (axes.of_input("x0"), axes.of_input("x1")) == (0, None)

    def test_a_fixed_batch(self) -> None:
        assert opaque((4, 3), output=(4, 3)).fixed == 4

    def test_what_is_not_known_is_asked_with_the_candidates(self) -> None:
        axes = opaque(("t", "n", 3), output=("k", 5))
        assert (axes.axis, axes.open) == (None, {"x0": (0, 1)})
        assert count_samples(axes, {"x0": np.zeros((1, 1, 3))}) == 1
        with pytest.raises(
            InputError,
            match=r"sample_axis={'x0': 0, 'y': 0}, sample_axis={'x0': 1, 'y': 0} \(or .* \[k, 5\]\), or sample_axis=None",
        ):
            count_samples(axes, {"x0": np.zeros((1, 4, 3))})

    def test_an_unknown_rank_is_asked_for(self) -> None:
        assert opaque(("n", 3), output=None).open == {"x0": (0,)}

    def test_nothing_counts_samples(self) -> None:
        axes = opaque((784,), output=(10,))
        assert (axes.batched, dict(axes.of_inputs), axes.fixed) == (False, {}, None)
        assert count_samples(axes, {"x0": np.zeros(784)}) == 1

    def test_samples_are_counted_where_they_are(self) -> None:
        axes = opaque(("k", 3), (5, "n"), output=("n", 3))
        assert count_samples(axes, {"x0": np.zeros((9, 3)), "x1": np.zeros((5, 4))}) == 4
        with pytest.raises(InputError, match="axis 1 of the input is empty"):
            count_samples(axes, {"x0": np.zeros((9, 3)), "x1": np.zeros((5, 0))})


class TestDataflow:
    def test_samples_behind_time_in_the_output(self) -> None:
        for batch, time in (("batch", "time"), ("a", "b"), (None, None), ("batch", 6), ("t", "n")):
            nodes = [node("Transpose", "x", "t", perm=[2, 0, 1]), node("MatMul", "t w", "y")]
            axes = known(nodes, {"x": [batch, 3, time]}, {"w": np.ones((3, 4), np.float32)})
            assert (axes.axis, dict(axes.of_inputs), axes.proven) == (1, {"x": 0}, True), (batch, time)

    def test_what_is_called_a_batch_goes_first(self) -> None:
        """Both axes are apart; the name decides."""
        axes = known([node("Tanh", "x", "y")], {"x": ["sequence", "batch", 3]})
        assert (axes.axis, axes.of_input("x")) == (1, 1)

    def test_sequences_first_with_fixed_extents(self) -> None:
        weights = {
            "w": np.ones((1, 8, 3), np.float32),
            "r": np.ones((1, 8, 2), np.float32),
            "i": np.int64(-1),
            "z": np.array([0]),
        }
        nodes = [node("LSTM", "x w r", "h", hidden_size=2), node("Squeeze", "h one", "s"), node("Gather", "s i", "y")]
        for shape, axis in (([5, 3, 3], 1), ([5, 1, 3], 1), (["T", 1, 3], 1), (["T", "N", 3], 1)):
            axes = known(nodes, {"x": shape}, {**weights, "one": np.array([1])})
            assert (axes.axis, axes.of_input("x"), axes.fixed) == (0, axis, shape[1] if isinstance(shape[1], int) else None)

    def test_a_state_and_settings_beside_the_samples(self) -> None:
        nodes = [node("MatMul", "x w", "a"), node("ReduceSum", "s zero", "b", keepdims=0), node("Add", "a b", "c"),
                 node("Mul", "c gain", "y")]  # fmt: skip
        weights = {"w": np.ones((4, 3), np.float32), "zero": np.array([0])}
        axes = known(nodes, {"x": ["n", 4], "s": [2, "n", 3], "gain": ["k"]}, weights)
        assert (axes.axis, dict(axes.of_inputs)) == (0, {"x": 0, "s": 1})

    def test_other_names_for_one_extent(self) -> None:
        axes = known([node("Mul", "x m", "y")], {"x": ["unk__1", 4], "m": ["unk__2", 4]})
        assert (axes.axis, dict(axes.of_inputs), axes.proven) == (0, {"x": 0, "m": 0}, True)

    def test_nodes_of_a_graph(self) -> None:
        nodes = [node("MatMul", "x w", "h"), node("MatMul", "adj h", "y")]
        axes = known(nodes, {"x": ["N", 3], "adj": ["N", "N"]}, {"w": np.ones((3, 2), np.float32)})
        assert (axes.axis, dict(axes.open)) == (None, {})
        assert "mixes what lies along axis 0 of 'x'" in axes.reason

    def test_nodes_of_a_graph_with_edges(self) -> None:
        """h_i = Σ over edges j → i of x_j · weight of the edge: the edges are no samples either."""
        nodes = [
            node("Gather", "x from", "g"), node("Mul", "g attr", "m"), node("Mul", "x zero", "z"),
            node("ScatterND", "z to m", "h", reduction="add"), node("MatMul", "h w", "y"),
        ]  # fmt: skip
        inputs = {"x": ["N", 3], "from": ["E"], "to": ["E", 1], "attr": ["E", 1]}
        made = model(
            nodes, inputs, {"y": None}, {"w": np.ones((3, 2), np.float32), "zero": np.float32(0)}, kinds={"from": 7, "to": 7}
        )
        graph = Graph(prepared(read(made), load_registry()).model)
        axes = find_sample_axes(graph, find_score(graph, None))
        assert (axes.axis, dict(axes.open)) == (None, {})

    def test_an_image_without_a_batch(self) -> None:
        nodes = [node("Unsqueeze", "x zero", "u"), node("Conv", "u w", "c"), node("GlobalAveragePool", "c", "y")]
        axes = known(nodes, {"x": [3, 8, 8]}, {"zero": np.array([0]), "w": np.ones((2, 3, 3, 3), np.float32)})
        assert (axes.axis, dict(axes.open)) == (None, {})

    def test_a_single_number(self) -> None:
        assert known([node("ReduceSum", "x", "y", keepdims=0)], {"x": ["n", 4]}).axis is None


class TestSaid:
    def test_the_rest_follows_from_one_input(self) -> None:
        axes = opaque((7, "n", 3), ("n", 2), (5,), output=("n", 4), said={"x0": 1})
        assert (axes.axis, dict(axes.of_inputs)) == (0, {"x0": 1, "x1": 0})

    def test_inputs_and_output(self) -> None:
        axes = opaque((7, 3), (3, 7), output=(4, 7), said={"x0": 0, "x1": -1, "y": 1})
        assert (axes.axis, dict(axes.of_inputs), axes.fixed) == (1, {"x0": 0, "x1": 1}, 7)

    def test_the_output_is_followed_to(self) -> None:
        nodes = [node("Transpose", "x", "y", perm=[1, 2, 0])]
        assert known(nodes, {"x": [4, 4, 4]}, said={"x": 1}).axis == 0
        assert known(nodes, {"x": [4, 4, 4]}, said=0).axis == 2

    def test_none(self) -> None:
        for said in (None, {"x0": None}, {"y": None}):
            axes = opaque(("n", 3), output=("n", 3), said=said)
            assert (axes.axis, dict(axes.open)) == (None, {})

    def test_an_input_that_all_samples_share(self) -> None:
        axes = known([node("MatMul", "x w", "y")], {"x": ["n", 4], "w": ["n", 3]}, said={"w": None})
        assert dict(axes.of_inputs) == {"x": 0}

    @pytest.mark.parametrize(
        ("said", "says"),
        [
            ({"x9": 0}, "no input or output 'x9' in the model; did you mean 'x0'"),
            ({"x0": 2}, r"'x0' \[n, 3\] is an axis from 0 to 1, got 2"),
            ({"x0": True}, "number of an axis, or None; got True"),
            ({"x0": 0}, r"output 'y' \[\?, 5\]: say so too, as one of sample_axis={…, 'y': 0}, {…, 'y': 1}, {…, 'y': None}"),
        ],
    )
    def test_what_decides_nothing(self, said: Any, says: str) -> None:
        with pytest.raises(InputError, match=says):
            opaque(("n", 3), output=(None, 5), said=said)


class TestSymbols:
    @pytest.mark.parametrize(
        ("shape", "axis"), [(("n", 3), 0), ((3, "n"), 1), ((3, 4), None), (("n", "n"), None), (None, None), ((), None)]
    )
    def test_the_only_axis_of_an_extent(self, shape: Any, axis: int | None) -> None:
        assert only_axis(Tensor("t", None, shape), "n") == axis

    @pytest.mark.parametrize(
        ("target", "inputs", "symbol"),
        [
            (("n", 2), [("n", 3)], "n"), (("n", 2), [("n", 3), (5, "n")], "n"), (("n", 2), [("n", 3), (5,)], "n"),
            (("n", 2), [("n", 3), ("k", 3)], None), (("n", 2), [("n", "n")], None), ((4, 2), [(4, 3)], None), ((), [("n",)], None),
        ],
    )  # fmt: skip
    def test_a_symbol_that_all_share(self, target: Any, inputs: Any, symbol: str | None) -> None:
        axes = opaque(*inputs, output=target)
        explained = axes.inputs[0]
        assert shared_symbol(axes, [(explained, axes.of(explained))]) == symbol

    def test_where_samples_are_proven_apart_another_first_extent_counts_none(self) -> None:
        axes = known([node("MatMul", "x w", "y")], {"x": ["n", 4], "w": [4, 3]})
        assert shared_symbol(axes, [(axes.inputs[0], 0)]) == "n"
        axes = known([node("Gemm", "x w", "y", transB=1)], {"x": ["n", 4], "w": ["k", 4]})
        assert shared_symbol(axes, [(axes.inputs[0], 0)]) == "n"
