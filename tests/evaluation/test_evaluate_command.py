"""`onnxplain evaluate` and `onnxplain metrics`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import onnxplain
from onnxplain.cli.main import main
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.subject import Subject
from tests.support.judged_models import DIGITS, ROWS, Array
from tests.support.models import FLOAT, model, node
from tests.support.paths import FIXTURES


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
