"""The stations a model passes on its way to an explained model, each alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.analysis.target import Target
from onnxplain.builder.builder import Builder
from onnxplain.errors import InputError, LayerError, MethodError, TargetError
from onnxplain.explain.emit import Emission, emit
from onnxplain.explain.prepare import Prepared, prepare_source
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.select import select
from onnxplain.explain.write import Lowered, lower, tell, write
from onnxplain.io.metadata import read_metadata
from onnxplain.io.reader import read
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Rule
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext, Outputs, Point
from onnxplain.propagation.rule import RelevanceRule
from tests.support.models import model, node, run

W = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0]], np.float32)
BIAS = np.array([0.25, -0.75], np.float32)
X = np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 2.0]], np.float32)


def dense() -> onnx.ModelProto:
    """relu(x) W + β, three features and two scores."""
    nodes = [node("Relu", "x", "h"), node("Gemm", "h w b", "y")]
    return model(nodes, {"x": ["batch", 3]}, {"y": ["batch", 2]}, {"w": W, "b": BIAS})


def convolution() -> onnx.ModelProto:
    """A convolution with a batch normalization behind it."""
    ones = np.ones(2, np.float32)
    weights = {"k": np.ones((2, 1, 3, 3), np.float32), "s": 2 * ones, "b": ones, "m": ones, "v": ones}
    nodes = [
        node("Conv", "x k", "c"),
        node("BatchNormalization", "c s b m v", "n"),
        node("Relu", "n", "r"),
        node("GlobalMaxPool", "r", "y"),
    ]
    return model(nodes, {"x": ["batch", 1, 5, 5]}, {"y": ["batch", 2, 1, 1]}, weights)


def station(made: onnx.ModelProto, **settings: Any) -> Prepared:
    return prepare_source(read(made), Request.for_graph(**settings))


def emitted(made: onnx.ModelProto, observer: Any = None, **settings: Any) -> tuple[Prepared, Emission]:
    prepared = station(made, **settings)
    return prepared, emit(prepared.request, select(prepared), observer)


class TestRequest:
    def test_what_users_write_is_read_once(self) -> None:
        made = Request.of("gradient", layer="Relu:-1", target="3-5", expose=["score"])
        assert made.layer == ("Relu:-1",)
        assert made.target == Target("contrast", (), ((1.0, (3,)), (-1.0, (5,))))
        assert made.expose == ("score",)
        assert made.method.name == "gradient"

    def test_options_are_complete(self) -> None:
        made = Request.of("integrated-gradients", options={"steps": 7}, baseline=0)
        assert made.options["steps"] == 7
        assert made.options["quadrature"] == "gauss-legendre"

    def test_it_is_frozen(self) -> None:
        made = Request.of()
        with pytest.raises(FrozenInstanceError):
            made.output = "y"  # type: ignore[misc]

    def test_what_does_not_fit_is_refused_at_the_door(self) -> None:
        with pytest.raises(MethodError, match="has no option 'steps'"):
            Request.of("gradient", options={"steps": 3})
        with pytest.raises(MethodError, match="compares with no baseline"):
            Request.of("gradient", baseline=0)
        with pytest.raises(TargetError, match="is no target"):
            Request.of("gradient", target="cat")
        with pytest.raises(MethodError, match="no method 'gradeint'"):
            Request.of("gradeint")

    def test_forward_passes_are_no_graph(self) -> None:
        assert Request.of("lime").method.forward_only
        with pytest.raises(MethodError, match="needs many forward passes"):
            Request.for_graph("lime")

    def test_another_method_on_the_same_model(self) -> None:
        first = Request.of("integrated-gradients", output="y", inputs=["x"], score="probability", baseline=0, layer="h")
        made = first.for_method("gradient", expose=["score"])
        assert (made.output, made.inputs, made.score) == ("y", ["x"], "probability")
        assert (made.baseline, made.layer, made.options, made.expose) == (None, (), {}, ("score",))

    def test_other_options(self) -> None:
        made = Request.of("integrated-gradients", options={"steps": 7}, baseline=0).with_options(steps=9)
        assert made.options["steps"] == 9
        with pytest.raises(MethodError, match="no option"):
            made.with_options(stepps=9)


class TestPrepared:
    def test_addresses_become_tensors(self) -> None:
        made = station(dense(), layer="Relu:-1", output="Gemm:0", expose=["score", "Relu:0"], mask={"Relu:0": [1]})
        assert (made.request.layer, made.request.output, made.request.expose) == (("h",), "y", ("score", "h"))
        assert made.masked == {"Relu:0": "h"}

    def test_a_norm_is_folded_unless_what_it_norms_is_named(self) -> None:
        folded, named = station(convolution()), station(convolution(), layer="Conv:0")
        assert "BatchNormalization" not in [n.op_type for n in folded.source.model.graph.node]
        assert "BatchNormalization" in [n.op_type for n in named.source.model.graph.node]
        assert "fold-batch-norm" in (folded.source.passes or ())

    def test_an_explained_model_is_refused(self) -> None:
        with pytest.raises(MethodError, match="is an explained model already"):
            station(rewrite(dense()))

    def test_the_prediction_is_kept(self) -> None:
        x = np.random.default_rng(0).standard_normal((2, 1, 5, 5)).astype(np.float32)
        made = station(convolution()).source.model
        np.testing.assert_allclose(run(made, {"x": x})["y"], run(convolution(), {"x": x})["y"], rtol=1e-5)


class TestSelection:
    def test_what_is_explained(self) -> None:
        made = select(station(dense()))
        assert [(e.name, e.kind) for e in made.explained] == [("x", "input")]
        assert made.score.tensor.name == "y"
        assert made.layers == ()
        assert [t.name for t in made.origins] == ["x"]
        assert (made.axes.axis, dict(made.axes.of_inputs)) == (0, {"x": 0})

    def test_a_layer_with_the_inputs_it_comes_from(self) -> None:
        made = select(station(dense(), layer="h"))
        assert [(e.name, e.kind) for e in made.explained] == [("h", "layer")]
        assert [e.name for e in made.layer_inputs] == ["x"]

    def test_a_layer_beside_the_inputs(self) -> None:
        made = select(station(dense(), method="conductance", layer="h", baseline=0))
        assert [e.name for e in made.explained] == ["x"]
        assert [e.name for e in made.layers] == ["h"]
        with pytest.raises(MethodError, match="needs a layer"):
            select(station(dense(), method="conductance", baseline=0))

    def test_nothing_is_assigned_later(self) -> None:
        made = select(station(dense()))
        for field in fields(made):
            with pytest.raises(FrozenInstanceError):
                setattr(made, field.name, None)

    @pytest.mark.parametrize(("size", "error"), [(0, InputError), (True, InputError), (2.0, InputError)])
    def test_batch_sizes_are_checked_before_anything_is_emitted(self, size: Any, error: type[Exception]) -> None:
        with pytest.raises(error, match="batch_size is the number of samples per run"):
            select(station(dense(), batch_size=size))

    def test_samples_take_turns_along_their_symbol(self) -> None:
        assert select(station(dense(), batch_size=2)).symbol == "batch"
        assert select(station(dense())).symbol == ""
        fixed = model([node("Relu", "x", "y")], {"x": [4, 3]}, {"y": [4, 3]})
        with pytest.raises(MethodError, match="exported for batches of 4"):
            select(station(fixed, batch_size=2))

    def test_a_mask_lies_between_what_is_explained_and_the_score(self) -> None:
        assert {k: t.name for k, t in select(station(dense(), mask={"Relu:0": [0]})).masked.items()} == {"Relu:0": "h"}
        two = [node("Relu", "x", "h"), node("Relu", "z", "g"), node("Add", "h g", "y")]
        made = model(two, {"x": ["n", 3], "z": ["n", 3]}, {"y": ["n", 3]})
        with pytest.raises(InputError, match="nothing that is explained passes 'g'"):
            select(station(made, inputs=["x"], mask={"g": [0]}))
        with pytest.raises(LayerError):
            select(station(dense(), mask={"nowhere": [0]}))


class TestEmission:
    def test_results_have_names_and_lie_on_what_they_explain(self) -> None:
        _, made = emitted(dense())
        assert {name: e.name for name, e in made.attributions.items()} == {"x_attribution": "x"}
        assert [t.name for t in made.results] == ["x_attribution"]
        assert (made.run_time, made.run_time_inputs, made.reports) == ({}, {}, {})

    def test_the_model_itself_is_left_alone(self) -> None:
        prepared = station(dense())
        before = prepared.source.model.SerializeToString()
        emit(prepared.request, select(prepared))
        assert prepared.source.model.SerializeToString() == before

    def test_what_is_given_at_run_time(self) -> None:
        _, made = emitted(dense(), method="integrated-gradients", target="input", baseline="input", options={"steps": 2})
        assert list(made.run_time) == ["target"]
        assert list(made.run_time_inputs) == [("baseline", "x")]
        assert list(made.reports) == ["delta"]

    def test_a_selection_serves_twice(self) -> None:
        prepared = station(dense(), method="lrp-epsilon-plus")
        selection = select(prepared)
        first, second = (emit(prepared.request, selection) for _ in range(2))
        assert [(node.op, node.attributes) for node in first.b.nodes] == [(node.op, node.attributes) for node in second.b.nodes]
        assert not {t.name for t in first.results} & {t.name for t in second.results}  # names are given once only
        assert len(first.b.nodes) > 3

    def test_rows_per_sample_do_not_take_turns(self) -> None:
        with pytest.raises(InputError, match="holds a row for every sample"):
            emitted(dense(), method="deeplift", baseline=np.ones((2, 3)), batch_size=1)

    def test_exposed_tensors_come_last_and_once(self) -> None:
        _, made = emitted(dense(), expose=["h", "score", "h"])
        assert [t.name for t in made.results] == ["x_attribution", "h"]  # the score is an output already
        _, alone = emitted(dense(), expose=["h", "score", "h"], only_attribution=True)
        assert [t.name for t in alone.results] == ["x_attribution", "h", "y"]


class TestLoweredAndWritten:
    def test_lowering_keeps_the_numbers(self) -> None:
        x = np.random.default_rng(1).standard_normal((2, 1, 5, 5)).astype(np.float32)
        prepared, made = emitted(convolution(), method="lrp-epsilon-plus")
        plain = write(Lowered(made, made.b.nodes), prepared).model
        prepared, made = emitted(convolution(), method="lrp-epsilon-plus")
        quick = write(lower(made), prepared).model
        found, expected = run(quick, {"x": x}), run(plain, {"x": x})
        np.testing.assert_allclose(found["x_attribution"], expected["x_attribution"], rtol=1e-5, atol=1e-6)

    def test_the_slope_of_a_linear_map_is_its_weights(self) -> None:
        prepared, made = emitted(dense(), target=1)
        found = run(write(lower(made), prepared).model, {"x": X})
        np.testing.assert_array_equal(found["x_attribution"], np.where(X > 0, W[:, 1], 0))
        np.testing.assert_allclose(found["y"], np.maximum(X, 0) @ W + BIAS)

    def test_the_prediction_may_be_left_out(self) -> None:
        prepared, made = emitted(dense(), target=1, only_attribution=True)
        written = write(lower(made), prepared).model
        assert [o.name for o in written.graph.output] == ["x_attribution"]
        np.testing.assert_array_equal(run(written, {"x": X})["x_attribution"], np.where(X > 0, W[:, 1], 0))

    def test_a_written_model_says_nothing_of_itself_until_it_is_told(self) -> None:
        prepared, made = emitted(dense())
        written = write(lower(made), prepared)
        assert read_metadata(written.model) is None
        done = tell(written, prepared.request)
        assert read_metadata(done.model) == done.about
        assert done.about["method"] == "gradient"

    def test_the_list_of_stations_is_rewrite(self) -> None:
        prepared, made = emitted(dense(), method="lrp-epsilon", target=0)
        by_hand = tell(write(lower(made), prepared), prepared.request).model
        assert by_hand == rewrite(dense(), "lrp-epsilon", target=0)


class Told:
    """Keeps the calls it is told of, and reports what biases absorb."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.kept: list[Tensor] = []

    def observe(
        self, b: Builder, node: Node, rule: Rule, incoming: Sequence[Tensor | None], sent: Sequence[tuple[int, Tensor]]
    ) -> None:
        self.calls.append(node.operator)
        if isinstance(rule, RelevanceRule):
            self.kept += rule.bias_relevance(b, node, *incoming)

    def reports(self, b: Builder) -> Mapping[str, Tensor]:
        return {"bias": b.ReduceSum(b.total(self.kept), [1], keepdims=0)} if self.kept else {}


class TestObserver:
    def test_it_is_told_of_every_call_from_the_score_backward(self) -> None:
        told = Told()
        emitted(dense(), told)
        assert told.calls == ["Gemm", "Relu"]

    @pytest.mark.parametrize("method", ["lrp-epsilon", "lrp-zplus", "lrp-alpha2-beta1"])
    def test_biases_keep_what_does_not_arrive(self, method: str) -> None:
        """What a dense layer's bias absorbs is the score less all that arrives at the inputs."""
        x = np.array([[1.0, 2.0, 3.0]], np.float32)
        done = rewrite_source(read(dense()), Request.for_graph(method, target=0), observer=Told())
        found = run(done.model, {"x": x})
        lost = found["y"][:, 0] - found["x_attribution"].sum(axis=1)
        np.testing.assert_allclose(found[done.about["reports"]["bias"]], lost, rtol=1e-5, atol=1e-6)

    def test_a_bias_that_is_spread_keeps_nothing(self) -> None:
        told = Told()
        emitted(dense(), told, method="lrp-epsilon", options={"bias": "distribute"})
        assert told.kept == []

    def test_it_changes_no_attribution(self) -> None:
        request = Request.for_graph("lrp-epsilon", target=0)
        seen, plain = (rewrite_source(read(dense()), request, observer=o).model for o in (Told(), None))
        np.testing.assert_array_equal(run(seen, {"x": X})["x_attribution"], run(plain, {"x": X})["x_attribution"])


class TestContext:
    def context(self) -> AttributionContext:
        selection = select(station(dense()))
        return AttributionContext(selection, Builder(selection.graph), Point.of(selection))

    def test_another_point_leaves_the_first_as_it_was(self) -> None:
        here = self.context()
        before = here.point
        seeded = here.with_point(cotangent=here.b.full_like(here.target, 1))
        there = seeded.at({here.sources[0]: here.b.zeros_like(here.sources[0])})
        assert here.point is before
        assert there.target != here.target
        assert there.became[here.target] == there.target
        assert there.origin is not None
        assert there.origin[0] is seeded

    def test_reports_of_other_points_are_no_results(self) -> None:
        here = self.context()
        seeded = here.with_point(cotangent=here.b.full_like(here.target, 1))
        there = seeded.at({here.sources[0]: here.b.zeros_like(here.sources[0])})
        there.report("delta", here.target)
        assert here.outputs.reports == {}
        here.report("delta", here.target)
        assert here.outputs.reports == {"delta": here.target}

    def test_a_run_time_input_is_made_once_for_all_points(self) -> None:
        outputs, made = Outputs(), []

        def make() -> Tensor:
            made.append(Tensor(f"noise{len(made)}", np.dtype(np.float32), ("draws",)))
            return made[-1]

        first = outputs.run_time_input("noise", "x", make)
        assert outputs.without_reports().run_time_input("noise", "x", make) is first
        assert outputs.run_time_input("noise", "z", make) is not first
        assert len(made) == 2

    def test_there_is_no_single_seed_of_all_targets(self) -> None:
        here = self.context()
        with pytest.raises(AssertionError, match="over_targets"):
            _ = replace(here, point=replace(here.point, identity_cotangents=here.target)).cotangent
