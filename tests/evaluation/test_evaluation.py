"""Evaluations as a whole: any model, methods and files alike, checks before the run, resuming, summaries, files, the command."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import onnxplain
from onnxplain import evaluate
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError, MetricError, OutputError, TargetError
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.report.evaluation import Evaluation
from onnxplain.evaluation.report.summary import bootstrap, mean_ranks, summarised
from onnxplain.evaluation.spec import read_spec, split_specs
from onnxplain.evaluation.study import DEFAULT_METRICS
from onnxplain.evaluation.subject import Subject, fitted_to_input
from tests.support.models import FLOAT, model, node
from tests.support.paths import FIXTURES

Array = np.ndarray[Any, Any]

DIGITS = FIXTURES / "digits" / "model.onnx"
ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def data_of(name: str) -> dict[str, Array]:
    with np.load(FIXTURES / name / "data.npz") as found:
        return {k: v for k, v in found.items() if k != "label"}


def linear() -> Any:
    return model([node("MatMul", "x w", "y")], {"x": ["n", 4]}, {"y": ["n", 3]}, {"w": WEIGHTS})


@pytest.fixture(scope="module")
def digits() -> Array:
    return data_of("digits")["image"]


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


# -- resuming ------------------------------------------------------------------------------------------------------------------

KILLED = """
import numpy as np, sys
from onnxplain import evaluate
x = np.tile(np.load("fixtures/digits/data.npz")["image"], (8, 1, 1, 1))
evaluate("fixtures/digits/model.onnx", x, ["gradient", "lrp-epsilon", "random"], ["deletion", "sensitivity-n", "infidelity"],
         journal=sys.argv[1], threads=1)
"""


def resumed(journal: Path) -> Evaluation:
    x = np.tile(data_of("digits")["image"], (8, 1, 1, 1))
    methods, metrics = ["gradient", "lrp-epsilon", "random"], ["deletion", "sensitivity-n", "infidelity"]
    return evaluate(DIGITS, x, methods, metrics, journal=journal, threads=1)


def keys(journal: Path) -> list[tuple[str, str, int]]:
    lines = [json.loads(line) for line in journal.read_bytes().split(b"\n")[:-1]]
    return [(e["subject"], e["metric"], e["sample"]) for e in lines if "sample" in e]


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process by a signal")
def test_a_killed_run_goes_on_without_repeating_or_losing_a_sample(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(journal)], cwd=FIXTURES.parent)
    deadline = time.monotonic() + 300
    while not (journal.exists() and journal.stat().st_size > 60_000):
        assert child.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = journal.read_bytes()
    assert 0 < len(keys(journal)) < 9 * 160
    found = resumed(journal)
    after = keys(journal)
    assert len(after) == len(set(after)) == 9 * 160
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    fresh = resumed(tmp_path / "fresh.jsonl")
    for key, result in fresh.results.items():
        np.testing.assert_allclose(found.results[key].score, result.score, rtol=1e-6, atol=1e-6, err_msg=str(key))
        np.testing.assert_allclose(found.results[key].curves.get("deletion", 0), result.curves.get("deletion", 0), atol=1e-6)


def test_a_line_cut_off_is_computed_again(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    first = evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=journal)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-9])
    second = evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=journal)
    assert journal.read_bytes() == whole
    np.testing.assert_array_equal(first.scores("gradient", "deletion"), second.scores("gradient", "deletion"))


def test_a_finished_journal_is_read_not_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = tmp_path / "j"
    evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=journal)
    monkeypatch.setattr("onnxplain.evaluation.metric.Metric.compute", lambda *a, **k: pytest.fail("computed again"))
    evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=journal)


def test_a_journal_takes_more_methods_and_metrics(tmp_path: Path) -> None:
    journal = tmp_path / "j"
    evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=journal)
    count = len(keys(journal))
    evaluate(linear(), ROWS, ["gradient", "occlusion"], ["deletion", "infidelity"], journal=journal)
    assert (count, len(keys(journal))) == (6, 24)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": ROWS + 1}, "it differs in data"),
        (
            {"model": model([node("MatMul", "x w", "y")], {"x": ["n", 4]}, {"y": ["n", 3]}, {"w": -WEIGHTS})},
            "it differs in model",
        ),
        ({"seed": 1}, "it differs in seed"),
        ({"baseline": 1}, "it differs in data"),
        ({"methods": {"gradient": "occlusion"}}, "holds results of another subject 'gradient'"),
        ({"metrics": {"deletion": "deletion(steps=2)"}}, "holds results of another metric 'deletion'"),
    ],
)
def test_the_journal_of_another_evaluation_is_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    given: dict[str, Any] = {"model": linear(), "x": ROWS, "methods": ["gradient"], "metrics": ["deletion"]}
    evaluate(**given, journal=tmp_path / "j")
    with pytest.raises(OutputError, match=says):
        evaluate(**{**given, **change}, journal=tmp_path / "j")


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    for text in ("my notes\n", '{"a": 1}\n', "[1]\n"):
        path = tmp_path / "notes"
        path.write_text(text)
        with pytest.raises(OutputError, match=r"no journal|no line of a journal"):
            evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=path)
        assert path.read_text() == text
    with pytest.raises(OutputError, match="cannot write the journal"):
        evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=tmp_path / "nowhere" / "j")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="locks on files are of Unix")
def test_two_runs_do_not_share_a_journal(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "j").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another evaluation is writing the journal"):
            evaluate(linear(), ROWS, ["gradient"], ["deletion"], journal=tmp_path / "j")


# -- summaries -----------------------------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_the_central_limit() -> None:
    values = np.random.default_rng(4).normal(3, 2, size=400)
    low, high = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert [low, high] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.03)
    lows, highs = bootstrap(np.stack([values, -values], axis=1))
    assert lows[0] == pytest.approx(low)
    assert highs[0] == pytest.approx(high)
    assert [lows[1], highs[1]] == pytest.approx([-high, -low], abs=0.02)


def test_ranks_follow_what_is_better_and_ties_share() -> None:
    random = np.random.default_rng(5).normal(size=100)
    scores = {"a": random, "b": random + 1e-9, "c": random + 1, "d": np.full(100, np.nan)}
    up, down = summarised(scores, "higher"), summarised(scores, "lower")
    assert [up[s].rank for s in "abc"] == [2.5, 2.5, 1]
    assert [down[s].rank for s in "abc"] == [1.5, 1.5, 3]
    assert [up[s].ties for s in "abcd"] == [False, False, True, False]
    assert np.isnan(up["d"].rank)
    assert (up["d"].count, up["d"].undefined) == (0, 100)


def test_a_difference_within_noise_ties() -> None:
    random = np.random.default_rng(6)
    scores = {"a": random.normal(size=50), "b": random.normal(size=50)}
    assert all(m.ties for m in summarised(scores, "higher").values())


def test_families_count_alike_and_metrics_that_some_lack_do_not() -> None:
    def row(a: float, b: float) -> dict[str, Any]:
        return summarised({"a": np.array([a, a]), "b": np.array([b, b])}, "higher")

    table = {
        "m1": row(1, 0),
        "m2": row(1, 0),
        "m3": row(1, 0),
        "n": row(0, 1),
        "lacking": summarised({"b": np.ones(2)}, "higher"),
    }
    found = mean_ranks(table, {"m1": "m", "m2": "m", "m3": "m", "n": "n", "lacking": "n"})
    assert found["a"] == {"m": 1, "n": 2, "overall": 1.5}
    assert found["b"] == {"m": 2, "n": 1, "overall": 1.5}


def test_a_control_has_no_rank_and_marks_what_is_no_better() -> None:
    random = np.random.default_rng(7)
    noise = random.normal(size=200)
    scores = {"good": noise + 1, "same": noise + random.normal(size=200), "control": noise}
    found = summarised(scores, "higher", ["control"])
    assert [found[s].rank for s in ("good", "same")] == [1, 2]
    assert np.isnan(found["control"].rank)
    assert [found[s].beats for s in scores] == [True, False, None]
    assert summarised(scores, "lower", ["control"])["good"].beats is False
    assert summarised(scores, "higher")["good"].beats is None
    families = {"m": "m", "n": "n"}
    without = {"m": found, "n": {s: m for s, m in found.items() if s != "control"}}
    assert mean_ranks(without, families, ["control"])["good"] == {"m": 1, "n": 1, "overall": 1}


def test_specs() -> None:
    spec = read_spec('ig=integrated-gradients(steps=20, quadrature="trapezoid", multiply=false, noise-level=[1, 2])')
    assert (spec.label, spec.name) == ("ig", "integrated-gradients")
    assert spec.options == {"steps": 20, "quadrature": "trapezoid", "multiply": False, "noise_level": [1, 2]}
    assert read_spec("deletion(replace=mean)").label == "deletion(replace=mean)"
    assert split_specs("a, b(c=1, d=[2, 3]),e") == ["a", "b(c=1, d=[2, 3])", "e"]
    for wrong in ("a(b", "a b", "(a)", "a(b)", ""):
        with pytest.raises(InputError):
            read_spec(wrong)


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


# -- the command ---------------------------------------------------------------------------------------------------------------


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(*arguments: object) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1, result.output
    return lines[0]


def test_the_command_writes_and_prints(tmp_path: Path, digits: Array) -> None:
    np.save(tmp_path / "mine.npy", np.abs(digits))
    np.savez(tmp_path / "more.npz", masks=digits > 0.5, label=np.arange(20) % 10)
    x = FIXTURES / "digits" / "data.npz"
    np.save(tmp_path / "x.npy", digits)
    result = invoke(
        "evaluate", DIGITS, tmp_path / "x.npy", "-m", "gradient,sg=smoothgrad(samples=2)", "-a", f"mine={tmp_path / 'mine.npy'}",
        "-q", "deletion(steps=5)", "-q", "top-k-flips", "--masks", f"{tmp_path / 'more.npz'}:masks", "-t", "labels",
        "--labels", f"{x}:label", "-o", tmp_path / "t.csv", "-o", tmp_path / "t.md", "--journal", tmp_path / "j",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output.count("wrote") == 2
    found = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert {r["method"] for r in found} == {"gradient", "sg", "mine"}
    printed = invoke("evaluate", DIGITS, tmp_path / "x.npy", "-m", "gradient", "-m", "random", "-q", "deletion")
    assert "nothing to rank. All beat the control on every metric." in printed.output
    machine = invoke("evaluate", DIGITS, tmp_path / "x.npy", "-m", "gradient", "-q", "deletion", "--json")
    assert json.loads(machine.output)["about"]["samples"] == 20


def test_the_command_refuses_in_one_line(tmp_path: Path, digits: Array) -> None:
    np.save(tmp_path / "x.npy", digits)
    x = tmp_path / "x.npy"
    assert "nothing to evaluate" in refused("evaluate", DIGITS, x)
    assert "no metric 'foo'" in refused("evaluate", DIGITS, x, "-m", "gradient", "-q", "foo")
    assert "unknown ending" in refused("evaluate", DIGITS, x, "-m", "gradient", "-o", tmp_path / "t.doc")
    assert "NAME=FILE" in refused("evaluate", DIGITS, x, "-a", "file.npy")
    assert "holds no array 'mask'" in refused(
        "evaluate", DIGITS, x, "-m", "gradient", "--masks", f"{FIXTURES / 'digits' / 'data.npz'}:mask"
    )
    assert "needs labels" in refused("evaluate", DIGITS, x, "-m", "gradient", "-t", "labels")


def test_metrics_are_listed() -> None:
    assert "deletion" in invoke("metrics").output
    assert "Petsiuk" in invoke("metrics", "deletion").output
    assert "did you mean 'deletion'" in refused("metrics", "deletoin")


def test_a_model_with_several_inputs_asks_which() -> None:
    made = model([node("Add", "a b", "y")], {"a": ["n", 3], "b": ["n", 3]}, {"y": ["n", 3]}, kinds={"a": FLOAT})
    x = {"a": ROWS[:, :3], "b": ROWS[:, 1:]}
    with pytest.raises(onnxplain.OnnxplainError, match="several inputs that may be explained: a, b; choose one with input="):
        Data(made, x)
    data = Data(made, x, input="b")
    assert (data.name, Subject("g", data, method="gradient").attribution(np.arange(6)).shape) == ("b", (6, 3))
