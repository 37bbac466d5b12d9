"""The comparison of methods: its parts, and that the page's ranks are those of the scores beside it."""

from __future__ import annotations

import csv
import importlib.util
import re
import sys
from collections import defaultdict
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import methods
from tests.support.models import run
from tests.support.paths import ROOT

pytest.importorskip("sklearn", reason="the study's digits and tumours are scikit-learn's")

PAGE = ROOT / "docs" / "comparison.md"


@pytest.fixture(scope="module")
def study() -> Any:
    """The script, imported under a name of its own."""
    spec = importlib.util.spec_from_file_location("comparison_study", ROOT / "examples" / "comparison" / "study.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["comparison_study"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["comparison_study"]


@pytest.fixture(scope="module")
def scores() -> list[dict[str, str]]:
    with PAGE.with_suffix(".csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def block(name: str) -> list[list[str]]:
    """The cells of a table of the page, heads first."""
    found = re.search(rf"<!-- {name}: .*? -->\n(.*?)\n<!-- end -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines()]
    return [rows[0], *rows[2:]]


def test_a_series_laid_out_as_a_picture_scores_the_same(study: ModuleType) -> None:
    task = study.series()
    made = study.as_picture(task.model, task.x.shape[1:])
    onnx.checker.check_model(made, full_check=True)
    (want,) = run(onnx.load(task.model), {"signal": task.x}).values()
    (got,) = run(made, {"signal_picture": task.x[:, None]}).values()
    np.testing.assert_array_equal(got, want)


def test_every_method_is_ranked_or_left_out_for_a_reason(study: ModuleType) -> None:
    ranked = {row[0].strip("`") for row in block("whole")[1:]}
    others = {row[0].strip("`"): row[1] for row in block("others")[1:]}
    assert ranked | set(others) == set(methods())
    assert {name for name, on in others.items() if on == "any"} == set(methods()) - ranked
    assert all(row[2] for row in block("others")[1:])


def test_ranks_on_the_page_are_those_of_the_scores(study: ModuleType, scores: list[dict[str, str]]) -> None:
    ranks: dict[tuple[str, str], dict[str, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    subjects = defaultdict(set)
    for row in scores:
        if row["method"] != "random":
            ranks[row["model"], row["method"]][row["family"]].append((row["metric"], float(row["rank"])))
            subjects[row["model"]].add(row["method"])
    whole = defaultdict(set)  # the methods that a metric has a mean of
    for row in scores:
        if row["method"] != "random" and row["mean"] != "nan":
            whole[row["model"], row["metric"]].add(row["method"])
    head, *rows = block("whole")
    for row in rows:
        method = row[0].strip("`")
        for title, cell in zip(head[1:], row[1:], strict=True):
            model, what = title.split(": ")
            if not cell or what in ("beats random", "overall"):
                continue
            fair = [r for metric, r in ranks[model, method][what] if whole[model, metric] == subjects[model]]
            assert float(cell) == pytest.approx(np.mean(fair), abs=0.051), (method, title)


def test_ranks_follow_the_means(scores: list[dict[str, str]]) -> None:
    groups = defaultdict(list)
    for row in scores:
        if row["method"] != "random" and row["mean"] != "nan":
            groups[row["model"], row["metric"]].append((float(row["mean"]), float(row["rank"]), row["better"]))
    for found in groups.values():
        order = sorted(found, key=lambda f: f[1])
        means = [f[0] if f[2] == "lower" else -f[0] for f in order]
        assert (np.diff(means) >= -2e-3 * np.abs(means[1:])).all()  # four digits are on file


def test_winners_have_the_best_rank_of_the_table() -> None:
    head, *rows = block("whole")
    columns = {title: [row[i] for row in rows] for i, title in enumerate(head)}
    models, *lines = block("winners")
    for line in lines:
        for model, cell in zip(models[1:], line[1:], strict=True):
            if not cell:
                continue
            values = [float(v) for v in columns[f"{model}: {line[0]}"] if v]
            named = re.findall(r"`([^`]+)`", cell)
            best = re.search(r"\(([\d.]+);", cell)
            assert best is not None
            assert float(best[1]) == min(values)
            own = columns[f"{model}: {line[0]}"][columns["method"].index(f"`{named[0]}`")]
            assert float(own) == min(values)


@pytest.mark.slow
def test_the_quick_metrics_come_out_again(study: ModuleType, scores: list[dict[str, str]]) -> None:
    task = study.table()
    found, _ = study.subjects(task)
    chosen = {name: found[name] for name in ("input-x-gradient", "lrp-epsilon", "feature-ablation")}
    made = study.evaluate(
        task.model,
        task.x,
        chosen,
        ["selectivity", "sparseness"],
        baseline=task.baseline,
        providers="cpu",
        threads=1,
        seed=study.SEED,
    )
    for row in made.table():
        said = next(s for s in scores if (s["model"], s["metric"], s["method"]) == ("table", row["metric"], row["method"]))
        assert float(said["mean"]) == pytest.approx(row["mean"], rel=1e-2)
