"""SHAP interaction values of trees: against all coalitions run by the model itself, and against shap (fixtures/make_trees.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import MethodError
from tests.support.models import run
from tests.support.paths import FIXTURES
from tests.support.random_trees import ALL, Plan, draw, newer, older, rows

FOLDER = FIXTURES / "trees"
TABLES = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))["tables"]


def drawn(plan: Plan, seed: int, form: Any = older) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return form(draw(rng, plan), plan, rng), rows(rng, plan, 6), rows(rng, plan, 5)


@pytest.mark.parametrize("table", ["64MB", 200, 0])
@pytest.mark.parametrize("seed", range(3))
def test_as_all_coalitions_say(seed: int, table: int | str) -> None:
    plan = Plan(5, 4, 4, outputs=1 + seed, modes=ALL, missing=seed == 0, double=seed == 1)
    model, usual, x = drawn(plan, seed + 10, newer if seed == 1 else older)
    made = Explainer(model, "tree-shap", background=usual, pairs="all", table=table, providers="cpu")(x, target="all")
    every = Explainer(model, "k-sii", background=usual, providers="cpu")(x, target="all")
    expected = every.facts["interactions"]
    assert made.facts["interactions"].shape == (5, plan.outputs, 5, 5)
    assert np.abs(expected - expected * np.eye(5)).max() > 0.01
    assert made.facts["interactions"] == pytest.approx(expected, abs=1e-9 if plan.double else 2e-6)
    assert made.facts["interactions"].sum(axis=-1) == pytest.approx(made.attribution, abs=1e-6)


@pytest.mark.parametrize("name", ["gradient_boosting", "gradient_boosting_two", "forest", "forest_three", "lightgbm", "xgboost"])
def test_as_shap_says(name: str) -> None:
    with np.load(FOLDER / "reference.npz") as data:
        table, reference = data[f"{TABLES[name]}.data"], data[f"{name}.interactions"]
    explainer = Explainer(FOLDER / f"{name}.onnx", "tree-shap", data=table, pairs="all", providers="cpu")
    made = explainer(table[100:112], target="all").facts["interactions"]
    if made.shape[1] == 2:  # shap explains the second of two classes only
        assert made[:, 0] == pytest.approx(-made[:, 1], abs=1e-6)
        made = made[:, 1:]
    assert made == pytest.approx(reference, abs=1e-5 * float(np.abs(reference).max()))


def test_along_paths_without_tables() -> None:
    """Tables and quadrature are two ways to the same numbers."""
    plan = Plan(features=6, trees=4, depth=5, outputs=2)
    rng = np.random.default_rng(0)
    model = older(draw(rng, plan), plan, rng)
    data, x = rows(rng, plan, 20000), rows(rng, plan, 7)
    found = [
        Explainer(model, "tree-shap", data=data, pairs="all", table=t, providers="cpu")(x, target=1).facts["interactions"]
        for t in ("64MB", 0)
    ]
    assert found[0].shape == (7, 6, 6)
    assert found[1] == pytest.approx(found[0], abs=2e-6)


def test_chosen_pairs_make_small_files() -> None:
    model, usual, x = drawn(Plan(5, 6, 5), 1)
    plain, every, some = (rewrite(model, "tree-shap", background=usual, pairs=p) for p in (None, "all", [[3, 1], [0, 4]]))
    assert plain.ByteSize() < some.ByteSize() < every.ByteSize()
    whole, mine = (run(f, {"x": x})["interactions"] for f in (every, some))
    values = run(plain, {"x": x})["x_attribution"]
    for i, j in ((1, 3), (3, 1), (0, 4), (4, 0)):
        assert mine[:, i, j] == pytest.approx(whole[:, i, j], abs=1e-6)
    assert (mine[:, 0, [1, 2, 3]] == 0).all()
    assert (mine[:, 2, [0, 1, 3, 4]] == 0).all()
    assert mine.sum(axis=2) == pytest.approx(values, abs=2e-6)


@pytest.mark.parametrize("table", ["64MB", 0])
def test_trees_that_look_at_one_column_only(table: int | str) -> None:
    model, usual, x = drawn(Plan(1, 3, 2), 0)
    made = Explainer(model, "tree-shap", background=usual, pairs="all", table=table, providers="cpu")(x)
    assert made.facts["interactions"].shape == (5, 1, 1)
    assert made.facts["interactions"][:, :, 0] == pytest.approx(made.attribution, abs=1e-7)


def test_pairs_that_are_none() -> None:
    model, usual, _ = drawn(Plan(3, 2, 2), 0)
    with pytest.raises(MethodError, match=r"pairs names feature 3, but there are 3, counted from 0"):
        rewrite(model, "tree-shap", background=usual, pairs=[[0, 3]])


def test_pages_pictures_and_lists(tmp_path: Path) -> None:
    model, usual, x = drawn(Plan(4, 3, 3), 0)
    paths = {name: str(tmp_path / name) for name in ("m.onnx", "rows.npy", "x.npy", "out.html", "out.csv")}
    onnx.save(model, paths["m.onnx"])
    np.save(paths["rows.npy"], usual)
    np.save(paths["x.npy"], x)
    options = ("-m", "tree-shap", "--option", f"background={paths['rows.npy']}", "--option", "pairs=all")
    outs = ("-o", paths["out.html"], "-o", paths["out.csv"], "--interactions")
    for more in (outs, ()):
        shown = CliRunner().invoke(main, ["explain", paths["m.onnx"], paths["x.npy"], *options, *more])
        assert shown.exit_code == 0, shown.output
    assert "largest interactions" in shown.output
    lines = Path(paths["out.csv"]).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 5 * (4 + 6)
    found = Explainer(model, "tree-shap", background=usual, pairs="all", providers="cpu")(x)
    matrix = found.facts["interactions"]
    (first, value), *_ = found.interactions(1)[0]
    assert value == pytest.approx(2 * matrix[0][first], abs=1e-7)
    assert abs(value) == pytest.approx(2 * np.abs(matrix[0] - np.diag(np.diag(matrix[0]))).max(), abs=1e-7)
