"""Sets of models: all run and are explained, the table has a row for each, and what is refused says why. Nothing asserts a time."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from onnxplain import rewrite
from onnxplain.bench.report import BenchReport, Row
from onnxplain.bench.sets import SetReport, members
from onnxplain.cli.main import main
from onnxplain.errors import InputError
from tests.support.paths import ROOT

DIGITS = str(ROOT / "fixtures" / "digits" / "model.onnx")


@pytest.mark.parametrize("name", members(["A"]))
def test_every_network_is_explained(name: str) -> None:
    assert len(rewrite(members(["A"])[name]).graph.output) > 1


def test_means_are_geometric_and_name_the_greatest() -> None:
    def report(ratio: float) -> BenchReport:
        row = Row("gradient", 8, (1.0, 1.0), (ratio, ratio), 1, 1, 1, 1)
        return BenchReport("", {"threads": 1, "versions": {}, "processor": "p", "cores": 1, "date": "d", "rounds": 2}, (row,), {})

    found = SetReport({"a": report(2.0), "b": report(8.0)}, {})
    assert found.means()["gradient", 8] == (pytest.approx(4.0), 8.0, "b")
    assert found.table()[1][-1] == ["geometric mean", "8", "", "4"]


def test_the_command_measures_files_and_says_what_was_refused(tmp_path: Path) -> None:
    out = [str(tmp_path / f"report{ending}") for ending in (".md", ".json", ".csv")]
    options = ["--batch", "1", "--rounds", "1", "--seconds", "0", *(a for o in out for a in ("-o", o))]
    result = CliRunner().invoke(main, ["bench", "--set", DIGITS, "-m", "gradient,tree-shap", *options])
    assert result.exit_code == 0, result.output
    assert "geometric mean" in Path(out[0]).read_text()
    written = json.loads(Path(out[1]).read_text())
    assert [r["method"] for r in written["rows"]] == ["gradient"]
    assert [r["method"] for r in written["refused"]] == ["tree-shap"]
    assert np.isfinite(written["means"][0]["mean"])
    assert len(list(csv.DictReader(Path(out[2]).read_text().splitlines()))) == 1


def test_neither_a_set_nor_a_file() -> None:
    with pytest.raises(InputError, match="--set takes A or the path of a model, and 'B' is neither"):
        members(["B"])


@pytest.mark.parametrize("arguments", [[], [DIGITS, "--set", "A"]])
def test_one_model_or_a_set(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 2
    assert "give a MODEL, or models by --set" in result.output
