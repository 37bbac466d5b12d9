"""Evaluations that go on where they were stopped."""

from __future__ import annotations

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

from onnxplain import evaluate
from onnxplain.errors import OutputError
from onnxplain.evaluation.report.evaluation import Evaluation
from tests.support.judged_models import DIGITS, ROWS, WEIGHTS, data_of, linear
from tests.support.models import model, node
from tests.support.paths import FIXTURES

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
