"""Black-box methods against SHAP, Captum and LIME, and on models without a derivative (fixtures/make_blackbox.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from onnxplain import Explainer
from onnxplain.cli.main import main
from onnxplain.errors import InputError, LayerError, MethodError
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.kernel import regression
from onnxplain.method.blackbox.lime import euclidean, kernel, local_fit
from onnxplain.method.blackbox.sampling import along_orders
from onnxplain.method.blackbox.task import PlayerValues
from onnxplain.runtime.scorer import Array
from tests.support.paths import FIXTURES

FOLDER = FIXTURES / "blackbox"
DIGITS = FIXTURES / "digits" / "model.onnx"


@pytest.fixture(scope="module")
def known() -> dict[str, Array]:
    with np.load(FOLDER / "reference.npz") as file:
        return dict(file)


def mixed(known: dict[str, Array]) -> dict[str, Array]:
    return {"city": known["mixed_city"], "age": known["mixed_age"], "income": known["mixed_income"]}


# -- peers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact-shapley", "kernel-shap"])
def test_shapley_values_of_a_forest_agree_with_the_walk_through_its_trees(method: str, known: dict[str, Array]) -> None:
    """SHAP's TreeExplainer knows the trees; we know the ONNX file only."""
    made = Explainer(FOLDER / "forest.onnx", method, background=known["iris_background"])(known["iris"], "all")
    np.testing.assert_allclose(made.attribution, np.moveaxis(known["forest_shapley"], 1, 2), atol=1e-6)
    np.testing.assert_allclose(made.attribution, np.moveaxis(known["shap_forest"], 1, 2), atol=1e-6)


def test_shapley_values_of_a_forest_that_takes_float64(known: dict[str, Array]) -> None:
    made = Explainer(FOLDER / "double.onnx", "exact-shapley", background=known["diabetes_background"])(known["diabetes"], 1)
    assert made.inputs["features"].dtype == np.float64
    np.testing.assert_allclose(made.attribution, known["double_shapley"][..., 1], atol=1e-5)


def test_kernel_shap_on_the_coalitions_of_shap(known: dict[str, Array]) -> None:
    scores, ends = known["shap_scores"][:, None, None], known["shap_ends"][:, None, None]
    made = regression(known["shap_masks"], known["shap_weights"], scores, ends)
    np.testing.assert_allclose(made.values[0, 0], known["shap_phi"], atol=1e-9)


@pytest.mark.parametrize(
    ("method", "options", "key"),
    [
        ("feature-ablation", {"groups": "captum_groups"}, "captum_ablation"),
        ("occlusion", {"window": (3, 2), "stride": (2, 1)}, "captum_occlusion"),
    ],
)
def test_captum(method: str, options: dict[str, Any], key: str, known: dict[str, Array]) -> None:
    given = {k: known[v] if isinstance(v, str) else v for k, v in options.items()}
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:4]
    made = Explainer(DIGITS, method, baseline=0.2, **given)(image, 3)
    np.testing.assert_allclose(made.attribution, known[key], atol=2e-5)


def test_shapley_sampling_along_the_orders_of_captum(known: dict[str, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:4]

    def given(game: Game, orders: Array, together: int = 1) -> PlayerValues:
        assert orders.shape == known["captum_orders"].shape
        return along_orders(game, known["captum_orders"], together)

    monkeypatch.setattr("onnxplain.method.blackbox.sampling.along_orders", given)
    settings: dict[str, Any] = {"groups": known["captum_groups"], "samples": 12}
    made = Explainer(DIGITS, "shapley-sampling", baseline=0.2, **settings)(image, 3)
    np.testing.assert_allclose(made.attribution, known["captum_sampling"], atol=2e-5)


@pytest.mark.parametrize(("name", "keep"), [("all", None), ("five", 5)])
def test_lime_on_the_copies_of_lime(name: str, keep: int | None, known: dict[str, Array]) -> None:
    z, scores = known[f"lime_z_{name}"], known[f"lime_scores_{name}"].astype(np.float64)
    np.testing.assert_allclose(euclidean(z), known[f"lime_distance_{name}"], atol=1e-9)
    made = local_fit(z, scores[:, None], kernel(euclidean(z), 0.75 * np.sqrt(30)), 1.0, keep)
    np.testing.assert_allclose(made.slope[:, 0], known[f"lime_{name}"], atol=1e-7)
    np.testing.assert_allclose(made.intercept[0], known[f"lime_{name}_intercept"], atol=1e-7)
    np.testing.assert_allclose(made.r2[0], known[f"lime_{name}_r2"], atol=1e-7)


# -- models without a derivative -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["forest", "xgboost", "lightgbm"])
def test_trees_of_every_exporter(name: str, known: dict[str, Array]) -> None:
    x = known["iris"]
    for method in ("kernel-shap", "lime", "shapley-sampling", "feature-ablation", "permutation", "occlusion", "ice"):
        made = Explainer(FOLDER / f"{name}.onnx", method)(x)
        assert made.attribution.shape == x.shape
        np.testing.assert_array_equal(made.target, known[name].argmax(axis=1), err_msg=method)
    whole = Explainer(FOLDER / f"{name}.onnx", "kernel-shap", score="probability")(x)
    base = whole.facts["base_value"]
    np.testing.assert_allclose(base + whole.attribution.sum(axis=1), known[name].max(axis=1), atol=1e-5)


def test_missing_values(known: dict[str, Array]) -> None:
    """Boosted trees take NaN for a missing value; what is missing is explained like any other value."""
    x = known["iris"].copy()
    x[::2, 2] = np.nan
    data = np.concatenate([known["iris_background"]] * 2)
    data[::5, 1] = np.nan
    for method in ("exact-shapley", "kernel-shap", "lime", "permutation", "ice", "shapley-sampling"):
        made = Explainer(FOLDER / "xgboost.onnx", method, background=data)(x)
        assert np.isfinite(made.attribution).all(), method
    assert np.isfinite(Explainer(FOLDER / "xgboost.onnx", "exact-shapley", baseline=np.nan)(x).attribution).all()
    with pytest.raises(InputError, match="NaN"):
        Explainer(FOLDER / "xgboost.onnx", "rise")(x)
    with pytest.raises(InputError, match="missing"):
        Explainer(FOLDER / "xgboost.onnx", "soft-decision-tree", background=data)(x)


def test_texts_and_numbers(known: dict[str, Array]) -> None:
    """One input per column, one of them a text: the same methods, and what makes the answer is what they find."""
    x = mixed(known)
    made = Explainer(FOLDER / "mixed.onnx", "exact-shapley", background=x, score="probability")(
        {k: v[:5] for k, v in x.items()}, 1
    )
    total = sum(v[:, 0] for v in made.attributions.values())
    assert set(made.attributions) == set(x)
    np.testing.assert_allclose(made.facts["base_value"] + total, known["mixed"][:5, 1], atol=1e-5)
    local = Explainer(FOLDER / "mixed.onnx", "lime", background=x)({k: v[:5] for k, v in x.items()}, 1)
    assert local.attributions["city"].dtype == np.float64
    assert np.isfinite(local.facts["r2"]).all()
    truth = (known["mixed_answer"] == "yes").astype(int)
    overall = Explainer(FOLDER / "mixed.onnx", "permutation", overall=True, truth=truth)(x)
    income, age = overall.attributions["income"][0, 0], overall.attributions["age"][0, 0]
    assert income > 0.1
    assert income > age
    assert overall.facts["loss"][0] < 0.1
    curves = Explainer(FOLDER / "mixed.onnx", "partial-dependence")(x, 1)
    grid = curves.facts["grid.city"][0, :3, 0]
    np.testing.assert_array_equal(grid, ["Lagos", "Oslo", "Quito"])
    assert np.nanargmax(curves.facts["curves.city"][0, :3, 0]) == 1  # the rule favours Oslo


def test_texts_on_the_command_line(known: dict[str, Array], tmp_path: Path) -> None:
    table, rows = tmp_path / "table.csv", tmp_path / "rows.npz"
    table.write_text("city,age,income\nOslo,33,5.5\nQuito,70,2.1\n")
    np.savez(rows, **mixed(known))
    command = ["explain", str(FOLDER / "mixed.onnx"), str(table), "-m", "kernel-shap", "-t", "1"]
    assert "needs a baseline" in CliRunner().invoke(main, command).output
    out = CliRunner().invoke(main, [*command, "--option", f"background={rows}"])
    assert out.exit_code == 0, out.output
    assert "income +" in out.output


def test_a_text_has_no_baseline_of_its_own(known: dict[str, Array]) -> None:
    with pytest.raises(MethodError, match=r"'city'.*needs a baseline"):
        Explainer(FOLDER / "mixed.onnx", "kernel-shap")(mixed(known))
    given = {"city": "Quito", "age": 40, "income": 5}
    made = Explainer(FOLDER / "mixed.onnx", "kernel-shap", baseline=given)(mixed(known), 1)
    same = known["mixed_city"][:, 0] == "Quito"
    np.testing.assert_allclose(made.attributions["city"][same], 0, atol=1e-9)


def test_a_gradient_of_trees_says_what_to_use_instead(known: dict[str, Array], tmp_path: Path) -> None:
    for name, words in (("forest", "exact-shapley"), ("double", "exact-shapley"), ("mixed", "exact-shapley")):
        with pytest.raises(LayerError, match=words):
            Explainer(FOLDER / f"{name}.onnx", "gradient")
    rows = tmp_path / "rows.npy"
    np.save(rows, known["iris"])
    out = CliRunner().invoke(main, ["explain", str(FOLDER / "forest.onnx"), str(rows)])
    assert out.exit_code == 2
    assert "-m exact-shapley" in out.output
    assert CliRunner().invoke(main, ["explain", str(FOLDER / "forest.onnx"), str(rows), "-m", "exact-shapley"]).exit_code == 0
