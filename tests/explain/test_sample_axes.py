"""Explanations of models that do not have their samples first, or have none: every sample's own derivative, or a question."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, check, evaluate, plan, rewrite, verify
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError, TargetError
from onnxplain.io.contract import metadata_problems
from onnxplain.io.metadata import read_metadata
from tests.support.models import model, node, run, slopes

FIXTURES = Path(__file__).parents[2] / "fixtures"
RANDOM = np.random.default_rng(5)


def draw(*shape: int) -> np.ndarray[Any, Any]:
    return RANDOM.standard_normal(shape).astype(np.float32)


LSTM = {
    "w": draw(1, 16, 3),
    "r": draw(1, 16, 4),
    "o": draw(4, 2),
    "one": np.array([1]),
    "last": np.int64(-1),
    "zero": np.array([0]),
}
"""Weights of a small LSTM and of a linear map of its last step."""


def sequences_first(time: Any = "T", batch: Any = "N", *, all_steps: bool = False) -> onnx.ModelProto:
    """x [time, samples, 3] to scores [samples, 2] of the last step, or of every step [time, samples, 2]."""
    nodes = [node("LSTM", "x w r", "h", hidden_size=4), node("Squeeze", "h one", "s")]
    nodes += [node("MatMul", "s o", "y")] if all_steps else [node("Gather", "s last", "g"), node("MatMul", "g o", "y")]
    return model(nodes, {"x": [time, batch, 3]}, {"y": [time, batch, 2] if all_steps else [batch, 2]}, LSTM)


def with_states() -> onnx.ModelProto:
    """x [samples, time, 3] to scores [samples, 2] and the states [1, samples, 4], with a total over the batch beside them."""
    nodes = [
        node("Transpose", "x", "t", perm=[1, 0, 2]), node("LSTM", "t w r", "h hn cn", hidden_size=4), node("Squeeze", "h one", "s"),
        node("Gather", "s last", "g"), node("MatMul", "g o", "y"), node("ReduceSum", "y", "total", keepdims=0),
        node("Identity", "o", "table"),
    ]  # fmt: skip
    outputs = {"y": ["N", 2], "hn": [1, "N", 4], "cn": [1, "N", 4], "total": [], "table": [4, 2]}
    return model(nodes, {"x": ["N", "T", 3]}, outputs, LSTM)


def time_major(batch: Any = "batch", time: Any = "time") -> onnx.ModelProto:
    """x [samples, 3, time] to scores of every step, [time, samples, 4]."""
    nodes = [node("Transpose", "x", "t", perm=[2, 0, 1]), node("MatMul", "t m", "h"), node("Tanh", "h", "y")]
    return model(nodes, {"x": [batch, 3, time]}, {"y": [time, batch, 4]}, {"m": draw(3, 4)})


def detector() -> onnx.ModelProto:
    """One picture to the rows [k, 5] of what is found in it."""
    nodes = [
        node("Conv", "x c", "f", strides=[4, 4]), node("Reshape", "f rows", "r"), node("Transpose", "r", "t", perm=[0, 2, 1]),
        node("Squeeze", "t zero", "all"), node("Slice", "all four five one", "score"), node("Squeeze", "score one", "flat"),
        node("TopK", "flat k", "best which"), node("Gather", "all which", "y"),
    ]  # fmt: skip
    constants = {"c": draw(5, 3, 4, 4), "rows": np.array([0, 5, -1]), "zero": np.array([0]), "one": np.array([1]),
                 "four": np.array([4]), "five": np.array([5]), "k": np.array([3])}  # fmt: skip
    return model(nodes, {"x": [1, 3, 16, 16]}, {"y": ["k", 5]}, constants)


def of_nodes() -> onnx.ModelProto:
    """Scores of a graph's nodes, each of which sees its neighbours."""
    nodes = [node("MatMul", "x w", "a"), node("MatMul", "adj a", "b"), node("Tanh", "b", "h"), node("MatMul", "adj h", "y")]
    return model(nodes, {"x": ["N", 3], "adj": ["N", "N"]}, {"y": ["N", 2]}, {"w": draw(3, 2)})


def of_unknown_rank() -> onnx.ModelProto:
    nodes = [node("Tanh", "x", "t"), node("MatMul", "t v", "m"), node("Squeeze", "m", "y")]
    return model(nodes, {"x": ["N", 4]}, {"y": None}, {"v": np.float32([[1], [2], [-1], [0.5]])})


def stateful() -> onnx.ModelProto:
    """x [n, 4] and a state [2, n, 3] to scores [n, 3] and the next state."""
    nodes = [node("MatMul", "x a", "p"), node("ReduceSum", "s zero", "q", keepdims=0), node("Add", "p q", "y"),
             node("Identity", "s", "next")]  # fmt: skip
    weights = {"a": draw(4, 3), "zero": np.array([0])}
    return model(nodes, {"x": ["n", 4], "s": [2, "n", 3]}, {"y": ["n", 3], "next": [2, "n", 3]}, weights)


def seed(shape: tuple[int, ...], axis: int, target: Any) -> np.ndarray[Any, Any]:
    """1 at one element of every sample."""
    made = np.zeros(shape)
    np.moveaxis(made, axis, 0)[(slice(None), *np.atleast_1d(target))] = 1
    return made


class TestSequencesFirst:
    @pytest.mark.parametrize(("time", "batch"), [("T", "N"), ("T", 1), (5, 1), (5, 3), ("T", 3)])
    def test_gradient_of_every_sample(self, time: Any, batch: Any) -> None:
        made, x = sequences_first(time, batch), draw(5, 3, 3)
        expected = slopes(sequences_first(), {"x": x}, "x", "y", seed((3, 2), 0, 1))
        for batch_size in (None, 1, 2):
            found = Explainer(made, batch_size=batch_size)(x, 1)
            np.testing.assert_allclose(found.attribution, expected, atol=2e-4)
            assert (len(found), found.outputs["y"].shape) == (3, (3, 2))
            np.testing.assert_array_equal(found[1].attribution, found.attribution[:, 1:2])

    def test_scores_of_every_step(self) -> None:
        made, x = sequences_first(all_steps=True), draw(4, 2, 3)
        found = Explainer(made)(x, [(3, 1), (0, 0)])
        cotangent = np.zeros((4, 2, 2))
        cotangent[3, 0, 1] = cotangent[0, 1, 0] = 1
        np.testing.assert_allclose(found.attribution, slopes(made, {"x": x}, "x", "y", cotangent), atol=2e-4)
        assert found.target is not None
        assert found.target.tolist() == [7, 0]

    @pytest.mark.parametrize("method", ["integrated-gradients", "deeplift", "exact-shapley"])
    def test_changes_of_every_sample_add_up(self, method: str) -> None:
        made, x = sequences_first(), draw(3, 2, 3)
        options: dict[str, Any] = {"groups": "segments", "parts": 3} if method == "exact-shapley" else {}
        found = Explainer(made, method, baseline=0.0, **options)(x, [1, 0])
        change = (run(made, {"x": x})["y"] - run(made, {"x": 0 * x})["y"])[[0, 1], [1, 0]]
        totals = found.facts["group_values"].sum(1) if options else found.attribution.sum((0, 2))
        np.testing.assert_allclose(totals, change, atol=1e-4)

    def test_forward_only_methods_and_their_axes(self) -> None:
        """Covering single steps of time by hand."""
        made, x = sequences_first(), draw(4, 3, 3)
        found = Explainer(made, "occlusion", baseline=0.0, axes=[0], window=1, stride=1)(x, 1)
        for step in range(4):
            covered = x.copy()
            covered[step] = 0
            lost = (run(made, {"x": x})["y"] - run(made, {"x": covered})["y"])[:, 1]
            np.testing.assert_allclose(found.attribution[step], np.repeat(lost[:, None], 3, 1), atol=1e-5)

    def test_run_time_baselines_and_draws(self) -> None:
        made, x = sequences_first(), draw(4, 3, 3)
        each = draw(4, 3, 3)
        given = Explainer(made, "integrated-gradients")(x, 1, baseline=each).attribution
        alone = Explainer(made, "integrated-gradients")
        for i in range(3):
            one = alone(x[:, i : i + 1], 1, baseline=each[:, i : i + 1]).attribution
            np.testing.assert_allclose(given[:, i : i + 1], one, atol=1e-5)
        shared = Explainer(made, "deeplift-shap")(x, 1, baseline=each.swapaxes(0, 1))
        mean = np.mean([Explainer(made, "deeplift", baseline=each[:, i : i + 1])(x, 1).attribution for i in range(3)], 0)
        np.testing.assert_allclose(shared.attribution, mean, atol=1e-5)

    def test_the_file_runs_a_few_samples_at_a_time(self) -> None:
        made, x = sequences_first(), draw(4, 5, 3)
        for method, options in (("gradient", {}), ("smoothgrad", {"samples": 5}), ("deeplift", {"baseline": 0.0})):
            whole = run(rewrite(made, method, target=1, **options), {"x": x})
            parts = run(rewrite(made, method, target=1, batch_size=2, **options), {"x": x})
            np.testing.assert_allclose(parts["x_attribution"], whole["x_attribution"], atol=1e-5)

    def test_other_hosts_read_the_axes(self) -> None:
        about = read_metadata(rewrite(sequences_first(), "integrated-gradients", target="input", baseline="input"))
        assert about is not None
        assert about["sample_axes"] == {"x": 1, "target": 0, "baseline": 1, "y": 0, "x_attribution": 1, "delta": 0}
        assert metadata_problems(about) == []

    def test_checks(self) -> None:
        x = draw(4, 3, 3)
        for method, options in (("gradient", {}), ("integrated-gradients", {"baseline": 0.0}), ("deeplift", {"baseline": 0.0})):
            assert check(sequences_first(), method, x, progress=False, **options).ok, method
        assert verify(rewrite(sequences_first(), "deeplift", baseline=0.0), sequences_first(), x).ok

    def test_evaluation(self) -> None:
        found = evaluate(sequences_first(), draw(4, 3, 3), ["gradient", "occlusion"], ["sparseness", "deletion"], progress=False)
        assert np.isfinite(found.scores("gradient", "deletion")).all()
        assert len(found.scores("occlusion", "sparseness")) == 3

    def test_tables_and_the_largest(self) -> None:
        x = draw(4, 3, 3)
        found = Explainer(sequences_first())(x, 1)
        rows = np.moveaxis(found.attribution, 1, 0)
        assert [found.top(1)[i][0][0] for i in range(3)] == [tuple(np.argwhere(np.abs(r) == np.abs(r).max())[0]) for r in rows]
        np.testing.assert_array_equal(found.to_pandas()["attribution"], rows.ravel())


class TestTimeFirstInTheOutput:
    @pytest.mark.parametrize(("batch", "time"), [("batch", "time"), (None, None), ("batch", 6), (2, 6)])
    def test_top_prediction_of_every_sample(self, batch: Any, time: Any) -> None:
        made, x = time_major(batch, time), draw(2, 3, 6)
        y = run(made, {"x": x})["y"]
        top = y.swapaxes(0, 1).reshape(2, -1).argmax(1)
        cotangent = np.zeros((2, 24))
        cotangent[[0, 1], top] = 1
        expected = slopes(made, {"x": x}, "x", "y", cotangent.reshape(2, 6, 4).swapaxes(0, 1))
        found = Explainer(made)(x)
        np.testing.assert_allclose(found.attribution, expected, atol=1e-3)
        assert found.target is not None
        assert found.target.tolist() == top.tolist()

    @pytest.mark.parametrize("target", [(2, 3), (5, "top"), (":", 1), {(2, 3): 1, (0, 1): -2}])
    def test_targets_by_the_axes_of_a_sample(self, target: Any) -> None:
        made, x = time_major(), draw(2, 3, 6)
        y = run(made, {"x": x})["y"]
        cotangent = np.zeros_like(y)
        if target == (5, "top"):
            cotangent[5, [0, 1], y[5].argmax(1)] = 1
        elif isinstance(target, dict):
            cotangent[2, :, 3], cotangent[0, :, 1] = 1, -2
        else:
            cotangent[target[0] if target[0] != ":" else slice(None), :, target[1]] = 1
        expected = slopes(made, {"x": x}, "x", "y", cotangent)
        for method in ("gradient", "smoothgrad"):
            options = {"noise_level": 0.0, "samples": 3} if method == "smoothgrad" else {}
            np.testing.assert_allclose(Explainer(made, method, **options)(x, target).attribution, expected, atol=2e-3)

    @pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "feature-ablation"])
    def test_all_targets(self, method: str) -> None:
        made, x = time_major(time=3), draw(2, 3, 3)
        options = {} if method == "gradient" else {"baseline": 0.0}
        explainer = Explainer(made, method, **options)
        every = explainer(x, "all").attribution
        assert every.shape == (2, 12, 3, 3)
        for number, place in enumerate(np.ndindex(3, 4)):
            np.testing.assert_allclose(every[:, number], explainer(x, place).attribution, atol=1e-5)

    def test_a_cotangent_has_the_shape_of_the_output(self) -> None:
        made, x, cotangent = time_major(), draw(2, 3, 6), draw(6, 2, 4)
        found = Explainer(made)(x, cotangent=cotangent)
        np.testing.assert_allclose(found.attribution, slopes(made, {"x": x}, "x", "y", cotangent), atol=2e-3)
        both = Explainer(made, "feature-ablation", baseline=0.0)(x, cotangent=seed((6, 2, 4), 1, (2, 3)))
        alone = Explainer(made, "feature-ablation", baseline=0.0)(x, (2, 3))
        np.testing.assert_allclose(both.attribution, alone.attribution, atol=1e-6)

    def test_an_index_beyond_the_last_of_a_sample(self) -> None:
        made = run(rewrite(time_major(), target="input"), {"x": draw(2, 3, 6), "target": np.array([3, 24])})["x_attribution"]
        assert np.isfinite(made[0]).all()
        assert np.isnan(made[1]).all()


class TestSideOutputs:
    @pytest.mark.parametrize("method", ["gradient", "feature-ablation", "kernel-shap"])
    def test_outputs_of_other_kinds_stop_nothing(self, method: str) -> None:
        made, x = with_states(), draw(6, 4, 3)
        options: dict[str, Any] = {} if method == "gradient" else {"baseline": 0.0}
        whole = Explainer(made, method, **options)(x, 1)
        for name, value in run(made, {"x": x}).items():
            np.testing.assert_allclose(whole.outputs[name], value, atol=1e-6)
        assert evaluate(made, x, [method], ["sparseness"], progress=False).scores(method, "sparseness").shape == (6,)

    def test_runs_are_joined_along_the_axis_of_each(self) -> None:
        made, x = with_states(), draw(6, 4, 3)
        with pytest.warns(UserWarning, match="'total' has no axis that counts samples and differs from run to run"):
            found = Explainer(made, batch_size=4)(x, 1)
        expected = run(made, {"x": x})
        for name in ("y", "hn", "cn", "table"):
            np.testing.assert_allclose(found.outputs[name], expected[name], atol=1e-6)
        assert "total" not in found.outputs
        assert found[2].outputs["hn"].shape == (1, 1, 4)


class TestStates:
    METHODS: Mapping[str, Mapping[str, Any]] = {
        "occlusion": {"window": 1, "axes": [-1]},
        "feature-ablation": {},
        "exact-shapley": {},
    }

    @pytest.mark.parametrize("method", METHODS)
    def test_states_are_samples_too(self, method: str) -> None:
        """A linear map: the share of an element is its weight times its value."""
        made, feeds = stateful(), {"x": draw(3, 4), "s": draw(2, 3, 3)}
        a = onnx.numpy_helper.to_array(made.graph.initializer[0])
        options = dict(self.METHODS[method])
        if method == "occlusion":
            options = {"inputs": ["x"], "window": 1, "stride": 1}
        found = Explainer(made, method, baseline=0.0, progress=False, **options)(feeds, 1)
        np.testing.assert_allclose(found.attributions["x"], feeds["x"] * a[:, 1], atol=1e-5)
        if "s" in found.attributions:
            np.testing.assert_allclose(found.attributions["s"], feeds["s"] * [0, 1, 0], atol=1e-5)


class TestNoSamples:
    def test_one_detection(self) -> None:
        made, x = detector(), draw(1, 3, 16, 16)
        expected = slopes(made, {"x": x}, "x", "y", seed((1, 3, 5), 0, (1, 4))[0])
        for method in ("gradient", "input-x-gradient"):
            found = Explainer(made, method)(x, (1, 4)).attribution
            np.testing.assert_allclose(found, expected * (x if method != "gradient" else 1), atol=5e-3)
        with pytest.raises(TargetError, match=r"target 4 has 1 axes, but output 'y' .* has 2, none of which counts samples"):
            Explainer(made)(x, 4)

    def test_detections_are_explained_one_picture_at_a_time(self) -> None:
        with pytest.raises(InputError, match=r"got \[2, 3, 16, 16\]; the output does not count samples: give one at a time"):
            Explainer(detector())(draw(2, 3, 16, 16), (1, 4))

    def test_forward_only_methods_perturb_one_picture(self) -> None:
        made, x = detector(), draw(1, 3, 16, 16)
        found = Explainer(made, "feature-ablation", baseline=0.0, groups="segments", parts=4)(x, (0, 4))
        first = found.facts["groups"] == 0
        lost = run(made, {"x": x})["y"][0, 4] - run(made, {"x": np.where(first, 0, x).astype(np.float32)})["y"][0, 4]
        assert found.attribution[first] == pytest.approx(lost, abs=1e-4)

    def test_nodes_of_a_graph_are_no_samples(self) -> None:
        made = of_nodes()
        feeds = {"x": draw(4, 3), "adj": np.abs(draw(4, 4))}
        expected = slopes(made, feeds, "x", "y", seed((1, 4, 2), 0, (2, 1))[0], step=1e-3)
        explainer = Explainer(made, inputs=["x"])
        np.testing.assert_allclose(explainer(feeds, (2, 1)).attribution, expected, atol=5e-3)
        with pytest.raises(TargetError, match=r"expected one index per sample.*mixes what lies along axis 0 of 'x'"):
            explainer(feeds, [1, 1, 1, 1])
        total = Explainer(made, "exact-shapley", inputs=["x"], baseline=0.0, groups="inputs")(feeds, (2, 1)).attribution
        change = run(made, feeds)["y"] - run(made, {**feeds, "x": 0 * feeds["x"]})["y"]
        assert total == pytest.approx(np.full((4, 3), change[2, 1]), abs=1e-5)

    def test_batch_size_says_why_not(self) -> None:
        with pytest.raises(MethodError, match=r"no axis of 'y' .* counts samples .*mixes"):
            rewrite(of_nodes(), batch_size=2)


class TestAsked:
    def test_a_batch_of_a_model_that_proves_nothing(self) -> None:
        made, x = of_unknown_rank(), draw(3, 4)
        with pytest.raises(InputError, match=r"axis of 'x' \[N, 4\] counts samples .*pass sample_axis={'x': 0, 'y': 0}"):
            Explainer(made, "exact-shapley", baseline=0.0)(x)
        found = Explainer(made, "exact-shapley", baseline=0.0, sample_axis={"x": 0, "y": 0})(x)
        np.testing.assert_allclose(found.attribution, np.tanh(x) * [1, 2, -1, 0.5], atol=1e-5)
        for ask in (check, lambda made, method, x, **rest: evaluate(made, x, [method], ["sparseness"], **rest)):
            with pytest.raises(InputError, match="pass sample_axis="):
                ask(made, "gradient", x, progress=False)

    def test_the_user_decides(self) -> None:
        """Rows of pictures as samples, or the picture as one."""
        made = model([node("Tanh", "x", "y")], {"x": [3, 4]}, {"y": [3, 4]})
        x = draw(3, 4)
        slope = 1 - np.tanh(x) ** 2
        rows = Explainer(made)(x, [0, 1, 2]).attribution
        np.testing.assert_allclose(rows, slope * np.eye(3, 4), atol=1e-5)
        columns = Explainer(made, sample_axis=1)(x, [0, 1, 2, 0]).attribution
        np.testing.assert_allclose(columns, slope * np.eye(3)[:, [0, 1, 2, 0]], atol=1e-5)
        whole = Explainer(made, sample_axis=None)(x, (1, 2)).attribution
        np.testing.assert_allclose(whole, slope * seed((1, 3, 4), 0, (1, 2))[0], atol=1e-5)

    def test_plan_tells(self) -> None:
        found = plan(sequences_first()).axes
        assert found is not None
        assert (found.axis, dict(found.of_inputs), found.reason) == (0, {"x": 1}, "the dataflow keeps them apart")
        assert plan(sequences_first(), sample_axis={"x": None}).axes.axis is None  # type: ignore[union-attr]

    def test_from_the_shell(self, tmp_path: Path) -> None:
        onnx.save(sequences_first(5, 3), tmp_path / "m.onnx")
        x = draw(5, 3, 3)
        np.save(tmp_path / "x.npy", x)
        paths = [str(tmp_path / "m.onnx"), str(tmp_path / "x.npy")]
        for said in (["--sample-axis", "x=1"], ["--sample-axis", "1"], ["--sample-axis", "x=-2", "--sample-axis", "y=0"], []):
            done = CliRunner().invoke(main, ["explain", *paths, *said, "-t", "1", "--force", "-o", str(tmp_path / "e.npz")])
            assert done.exit_code == 0, done.output
            with np.load(tmp_path / "e.npz") as made:
                np.testing.assert_allclose(made["x_attribution"], Explainer(sequences_first())(x, 1).attribution, atol=1e-5)
        done = CliRunner().invoke(main, ["explain", *paths, "--sample-axis", "none", "-t", "2,1"])
        assert done.exit_code == 0, done.output
        assert CliRunner().invoke(main, ["explain", *paths, "--sample-axis", "x:1"]).exit_code == 2


class TestElementsPerSample:
    def test_positions_and_tokens(self) -> None:
        with np.load(FIXTURES / "gpt2" / "data.npz") as data:
            x = {name: data[name] for name in data}
        explainer = Explainer(FIXTURES / "gpt2" / "model.onnx", "attnlrp")
        width = explainer.about["score"]["shape"][2]
        expected = explainer(x, [7 * width + 3, 6 * width + 5]).attribution
        for target in ([(7, 3), (6, 5)], np.array([(7, 3), (6, 5)]), [(-1, 3), (-2, 5)], "7,3;6,5"):
            found = explainer(x, target)
            np.testing.assert_array_equal(found.attribution, expected)
            assert found.target is not None
            assert found.target.tolist() == [7 * width + 3, 6 * width + 5]
        with pytest.raises(TargetError, match=r"target \(8, 3\) is out of range: a sample's output has the extents \[8, "):
            explainer(x, [(8, 3), (6, 5)])
        with pytest.raises(TargetError, match=r"int \[2\], or one for each axis, \[2, 2\]"):
            explainer(x, [(7, 3, 1), (6, 5, 1)])

    def test_forward_only_methods_and_evaluations_take_them(self) -> None:
        made, x = time_major(time=3), draw(2, 3, 3)
        found = Explainer(made, "feature-ablation", baseline=0.0)(x, [(2, 3), (0, 1)])
        for i, place in enumerate([(2, 3), (0, 1)]):
            alone = Explainer(made, "feature-ablation", baseline=0.0)(x, place)
            np.testing.assert_allclose(found.attribution[i], alone.attribution[i], atol=1e-6)
        result = evaluate(made, x, ["gradient"], ["sparseness"], target=[(2, 3), (0, 1)], progress=False)
        assert np.isfinite(result.scores("gradient", "sparseness")).all()


@pytest.mark.parametrize("method", ["gradient", "integrated-gradients", "deeplift", "lrp-epsilon-plus", "occlusion"])
def test_a_recording_is_one_sample_however_many_parts_it_has(method: str) -> None:
    """Parts [parts, 3] go one by one through an LSTM, with a score for each. The top one is explained, by all parts before it."""
    nodes = [
        node("Unsqueeze", "x one", "u"), node("LSTM", "u w r", "h", hidden_size=4), node("Squeeze", "h middle", "s"),
        node("ReduceSum", "s one", "z", keepdims=0), node("Sigmoid", "z", "y"),
    ]  # fmt: skip
    made = model(nodes, {"x": ["parts", 3]}, {"y": ["parts"]}, {**LSTM, "middle": np.array([1, 2])})
    x = 3 * draw(5, 3)
    given = {"occlusion": {"window": 1}, "integrated-gradients": {"baseline": 0.0}, "deeplift": {"baseline": 0.0}}
    explainer = Explainer(made, method, **given.get(method, {}))
    assert explainer.about["sample_axes"]["x"] is None
    top = int(run(made, {"x": x})["y"].argmax())
    for target in (None, "top"):
        found = explainer(x, target)
        assert found.target == [top]
        assert found.attribution == pytest.approx(explainer(x, top).attribution, abs=1e-6)
        assert found.attribution.shape == (5, 3)
        assert not found.attribution[top + 1 :].any()
    assert np.abs(explainer(x, 4).attribution[0]).max() > 0
