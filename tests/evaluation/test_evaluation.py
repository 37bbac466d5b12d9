"""Evaluations as a whole: any model, methods and files alike, checks before the run, resuming, summaries, files, the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxplain
from onnxplain import evaluate
from onnxplain.errors import InputError, MethodError, MetricError, OutputError, TargetError
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.report.evaluation import Evaluation
from onnxplain.evaluation.study import DEFAULT_METRICS
from onnxplain.evaluation.subject import fitted_to_input
from tests.support.judged_models import DIGITS, ROWS, WEIGHTS, Array, data_of, linear
from tests.support.models import model, node
from tests.support.paths import FIXTURES


@pytest.fixture(scope="module")
def small(digits: Array) -> Evaluation:
    return evaluate(DIGITS, digits, ["gradient", "lrp-epsilon", "random"], ["deletion", "selectivity-gap", "infidelity"])


# -- any model, any method -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("digits", ["gradient", "occlusion", "rise(samples=20)"]),
        ("resnet", ["grad-cam", "lrp-epsilon-plus"]),
        ("cnn1d", ["integrated-gradients(steps=4)", "occlusion"]),
        ("cancer", ["kernel-shap(samples=100)", "deeplift"]),
        ("iris_sklearn", ["exact-shapley", "gradient"]),
        ("gru", ["gradient"]),
    ],
)
def test_every_kind_of_model_and_method(name: str, methods: list[str]) -> None:
    found = evaluate(FIXTURES / name / "model.onnx", data_of(name), [*methods, "random"])
    assert found.subjects == (*methods, "random")
    assert {c.label for c in found.columns} <= set(DEFAULT_METRICS)
    assert len(found.columns) >= 8
    for column in found.columns:
        for subject in methods:
            scores = found.scores(subject, column.label)
            assert scores.shape == (len(next(iter(data_of(name).values()))),)
            assert np.isfinite(scores).any(), (column.label, subject)


def test_a_forest_by_forward_passes_alone() -> None:
    x = data_of("iris_sklearn")["features"]
    found = evaluate(FIXTURES / "blackbox" / "forest.onnx", x, ["occlusion(window=1, stride=1)", "random"], ["comprehensiveness"])
    assert found.means["comprehensiveness"]["occlusion(window=1, stride=1)"].beats


def test_tokens_are_removed_by_their_number() -> None:
    """Attributions of embeddings are summed over their width; the other inputs stay beside."""
    found = evaluate(FIXTURES / "bert" / "model.onnx", data_of("bert"), ["gradient", "occlusion"], ["selectivity"])
    assert np.isfinite(found.scores("gradient", "selectivity")).all()
    with pytest.raises(MetricError, match="metric 'road' moves the input by small steps"):
        evaluate(FIXTURES / "bert" / "model.onnx", data_of("bert"), ["gradient"], ["road"])


@pytest.mark.parametrize("kind", ["free", "fixed", "unbatched"])
def test_batches_of_every_kind_give_the_same(kind: str) -> None:
    """One and the same network, exported with a free batch, for batches of four, and for single samples."""
    random = np.random.default_rng(2)
    weights = {"w": random.normal(size=(4, 5)).astype(np.float32), "v": random.normal(size=(5, 3)).astype(np.float32)}
    nodes = [node("MatMul", "x w", "m"), node("Tanh", "m", "t"), node("MatMul", "t v", "y")]
    lead: list[Any] = {"free": ["n"], "fixed": [4], "unbatched": []}[kind]
    made = model(nodes, {"x": [*lead, 4]}, {"y": [*lead, 3]}, weights)
    free = model(nodes, {"x": ["n", 4]}, {"y": ["n", 3]}, weights)
    x = ROWS[:1] if kind == "unbatched" else ROWS
    given = x[0] if kind == "unbatched" else x
    methods, metrics = ["integrated-gradients(steps=8)", "occlusion"], ["selectivity", "infidelity", "top-k-flips"]
    found, wanted = evaluate(made, given, methods, metrics), evaluate(free, x, methods, metrics)
    for key, result in wanted.results.items():
        np.testing.assert_allclose(found.results[key].score, result.score, atol=1e-5)


def test_attributions_from_a_file_are_judged_as_the_method_that_made_them(digits: Array) -> None:
    made = onnxplain.Explainer(DIGITS, "input-x-gradient")(digits).attribution
    found = evaluate(DIGITS, digits, ["input-x-gradient"], ["faithfulness"], attributions={"file": made})
    for column in found.columns:
        np.testing.assert_allclose(found.scores("file", column.label), found.scores("input-x-gradient", column.label), atol=1e-4)


def test_maps_lie_on_all_channels() -> None:
    x = np.zeros((2, 3, 4, 5), np.float32)
    plain = np.random.default_rng(3).normal(size=(2, 4, 5))
    for given in (plain, plain[:, None]):
        np.testing.assert_allclose(fitted_to_input(given, x).sum(axis=1), plain)
    np.testing.assert_allclose(fitted_to_input(np.ones((2, 3, 4, 5, 7)), x), 7)
    with pytest.raises(InputError, match=r"expected attributions of shape \[2, 3, 4, 5\], got \[2, 4, 4\]"):
        fitted_to_input(np.zeros((2, 4, 4)), x)


def test_methods_compare_with_the_baseline_of_the_evaluation() -> None:
    """Contributions are faultless where method and metric share a baseline, a number or a row for each sample."""
    for baseline in (0.7, ROWS[::-1].copy()):
        found = evaluate(linear(), ROWS, ["integrated-gradients(steps=2)"], ["infidelity"], baseline=baseline)
        np.testing.assert_allclose(found.scores("integrated-gradients(steps=2)", "infidelity"), 0, atol=1e-9)


def test_targets() -> None:
    top = (ROWS @ WEIGHTS).argmax(axis=1)
    assert Data(linear(), ROWS).target.tolist() == top.tolist()
    assert Data(linear(), ROWS, target="2").target.tolist() == [2] * 6
    assert Data(linear(), ROWS, target="labels", labels=[0, 1, 2, 0, 1, 2]).target.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(InputError, match="target 7 is out of range"):
        Data(linear(), ROWS, target=7)
    with pytest.raises(TargetError, match="one element of the output per sample"):
        Data(linear(), ROWS, target="0-1")


# -- refused before the run --------------------------------------------------------------------------------------------------


def test_all_that_is_wrong_with_data_is_said_at_once() -> None:
    with pytest.raises(InputError) as caught:
        Data(linear(), ROWS, masks=np.ones((6, 5)), labels=[0, 1], baseline=np.zeros(3), target=9)
    text = str(caught.value)
    for said in (
        "masks of shape [6, 5] do not fit the explained input [6, 4]", "labels are one class number per sample (int [6])",
        "the baseline of shape [3] does not broadcast to 'x' [6, 4]", "target 9 is out of range",
    ):  # fmt: skip
        assert said in text


def test_masks_that_hold_nothing_or_all_are_refused() -> None:
    masks = np.zeros((6, 4))
    masks[0] = 1
    masks[1, 2] = 1
    with pytest.raises(InputError, match=r"masks are empty for samples 2, 3, 4, 5.*masks cover everything for samples 0"):
        Data(linear(), ROWS, masks=masks)


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 1, 6, 5), (4, 3, 6, 5)])
def test_masks_lie_on_all_channels(shape: tuple[int, ...]) -> None:
    made = model([node("ReduceMean", "x", "m", axes=[2, 3], keepdims=0)], {"x": ["n", 3, 6, 5]}, {"m": ["n", 3]}, opset=17)
    masks = np.zeros(shape)
    masks[..., 2, 1] = 255
    found = Data(made, np.ones((4, 3, 6, 5), np.float32), masks=masks).masks
    assert found is not None
    assert np.argwhere(found[3]).tolist() == [[c, 2, 1] for c in range(3)]


def test_all_that_is_wrong_with_metrics_and_methods_is_said_at_once(digits: Array) -> None:
    with pytest.raises(MetricError) as caught:
        evaluate(DIGITS, digits, ["gradient"], ["deletoin", "deletion(patch=9)", "selectivity(replace=x)", "road(noise=-1)"])
    for said in ("no metric 'deletoin'", "patch 9 is larger", "replace='x' is unknown", "noise is a number not below 0"):
        assert said in str(caught.value)
    with pytest.raises(MethodError, match=r"no method 'gradeint'.*; .*has no option 'steps'"):
        evaluate(DIGITS, digits, ["gradeint", "gradient(steps=3)"])


@pytest.mark.parametrize(
    ("methods", "more", "says"),
    [
        ([], {}, "nothing to evaluate"),
        (["gradient", "gradient"], {}, "several methods are called gradient"),
        ("gradient", {}, "methods is a list of names"),
        ({"mine": np.zeros((3, 1, 8, 8))}, {}, r"attributions 'mine': expected attributions of shape \[20, 1, 8, 8\]"),
        ({"mine": np.full((20, 1, 8, 8), np.nan)}, {}, "not finite"),
        (["gradient(layer=Conv:-1)"], {}, "explains a layer here"),
        (["conductance(layer=Conv:-1)"], {}, "explains a layer here"),
        (["partial-dependence"], {}, "speaks of all samples together"),
        (["kernel-shap(samples=20)"], {}, "at least two coalitions per feature"),
        (["permutation(overall=true)"], {}, "speaks of all samples together"),
        (["gradient"], {"masks": np.ones((20, 4, 4))}, "masks of shape"),
    ],
)
def test_what_cannot_be_judged_is_refused(digits: Array, methods: Any, more: dict[str, Any], says: str) -> None:
    with pytest.raises(onnxplain.OnnxplainError, match=says):
        evaluate(DIGITS, digits, methods, ["deletion"], **more)


def test_families_take_what_applies_and_say_what_not() -> None:
    found = evaluate(linear(), ROWS, ["gradient", "random"], ["faithfulness"])
    assert {"deletion", "infidelity"} <= {c.label for c in found.columns}
    (said,) = [text for text in found.skipped if text.startswith("metric 'road':")]
    assert "replace='inpainting' needs neighbours" in said
    assert "random" not in said
    assert "road" not in {c.label for c in found.columns}


def test_one_class_only_is_refused_where_classes_are_compared() -> None:
    same = np.tile(ROWS[:1], (4, 1)) * np.array([[1.0], [1.1], [1.2], [1.3]], np.float32)
    with pytest.raises(MetricError, match="the model decides the same of all samples"):
        evaluate(linear(), same, ["gradient"], ["sufficiency"])
    assert "sufficiency" not in {c.label for c in evaluate(linear(), same, ["gradient"], ["faithfulness"]).columns}


def test_progress_says_what_is_done(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich draws bars on terminals only
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    evaluate(linear(), ROWS, ["gradient"], ["deletion"], progress=True)
    shown = capsys.readouterr()
    assert "deletion" in shown.err
    assert not shown.out
    evaluate(linear(), ROWS, ["gradient"], ["deletion"], progress=False)
    assert not capsys.readouterr().err


# -- what comes out ------------------------------------------------------------------------------------------------------------


def test_the_control_comes_last(small: Evaluation) -> None:
    assert list(small.ranks)[-1] == "random"
    assert small.controls == ("random",)
    assert np.isnan(small.ranks["random"]["overall"])
    assert small.scores("random", "deletion").mean() > small.scores("lrp-epsilon", "deletion").mean()
    assert "has the best mean rank" in small.verdict or "share the best mean rank" in small.verdict


def test_results_are_asked_for_by_name(small: Evaluation) -> None:
    curve = small.curve("gradient", "selectivity-gap", "lerf")
    assert curve.at[0] == 0
    assert curve.at[-1] == 1
    assert ((curve.low <= curve.mean) & (curve.mean <= curve.high)).all()
    with pytest.raises(InputError, match="no method 'gradeint' in this evaluation; did you mean 'gradient'"):
        small.scores("gradeint", "deletion")
    with pytest.raises(InputError, match="metric 'infidelity' has no curve"):
        small.curve("gradient", "infidelity")


def test_files(small: Evaluation, tmp_path: Path) -> None:
    table = list(csv.DictReader(small.save(tmp_path / "t.csv").open()))
    assert len(table) == 9
    assert float(table[0]["mean"]) == pytest.approx(small.scores("gradient", "deletion").mean())
    found = json.loads(small.save(tmp_path / "t.json").read_text())
    assert found["results"][0]["score"] == pytest.approx(small.scores("gradient", "deletion").tolist())
    assert found["ranks"] == {s: r if s != "random" else {"overall": None} for s, r in small.ranks.items()}
    text = small.save(tmp_path / "t.md").read_text()
    assert "| `deletion` ↓ |" in text
    with pytest.raises(OutputError, match="unknown ending"):
        small.save(tmp_path / "t.doc")
    with pytest.raises(OutputError, match="there is no folder"):
        small.save(tmp_path / "nowhere" / "t.csv")


def test_long_tables(small: Evaluation, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas", reason="tables need pandas, from the extra 'table'")
    frame = small.to_pandas()
    assert list(frame.columns) == ["method", "metric", "sample", "score"]
    assert len(frame) == 3 * 3 * 20
    pd.testing.assert_frame_equal(pd.read_parquet(small.save(tmp_path / "t.parquet")), frame)


def test_the_page_and_the_picture(small: Evaluation, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    page = small.save(tmp_path / "t.html").read_text()
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    for said in (small.verdict, "heat map of gradient", "deletion", "95 % confidence"):
        assert said in page
    figure = small.plot(["deletion"])
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(small.ranks)
    assert small.save(tmp_path / "t.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="no metric 'deletoin'"):
        small.plot(["deletoin"])
