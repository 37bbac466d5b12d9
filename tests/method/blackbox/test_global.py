"""Views of a whole data set - accumulated local effects, two-way partial dependence, the H-statistic - against loops over their
definitions and PyALE (fixtures/make_games.py)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError
from onnxplain.method.blackbox.ale import accumulated_surface, quantile_edges
from onnxplain.runtime.scorer import Array
from tests.method.blackbox.test_blackbox import DOUBLE, SLOPE, game, linear, value
from tests.support.models import model, node
from tests.support.paths import FIXTURES

FOREST = FIXTURES / "blackbox" / "forest.onnx"
ROWS = np.random.default_rng(0).uniform(-1, 1, size=(200, 6))
ROWS[:, 1] = 0.7 * ROWS[:, 0] + 0.3 * ROWS[:, 1]


@pytest.fixture(scope="module")
def known() -> dict[str, Array]:
    with np.load(FIXTURES / "games" / "reference.npz") as file, np.load(FIXTURES / "blackbox" / "reference.npz") as other:
        return {**other, **file}


# -- accumulated local effects -----------------------------------------------------------------------------------------


def test_ale_by_loops() -> None:
    """For every step and every sample in it, the change of the score from one end of the step to the other."""
    made = Explainer(game(), "ale", points=8)(ROWS)
    for feature in range(6):
        edges = made.facts["grid"][0, :, feature]
        curve = [0.0]
        inside = []
        for low, high in pairwise(edges):
            first = low == edges[0]
            mine = [x for x in ROWS if (low <= x[feature] if first else low < x[feature]) and x[feature] <= high]
            changes = []
            for x in mine:
                ends = np.stack([x, x])
                ends[:, feature] = low, high
                changes.append(np.diff(value(ends))[0])
            curve.append(curve[-1] + float(np.mean(changes)))
            inside.append(len(mine))
        assert sum(inside) == 200
        assert max(inside) - min(inside) <= 1
        centre = sum(n * (a + b) / 2 for n, a, b in zip(inside, curve[:-1], curve[1:], strict=True)) / 200
        np.testing.assert_allclose(made.facts["curves"][0, :, feature], np.array(curve) - centre, atol=1e-12)
        np.testing.assert_allclose(made.attribution[0, feature], np.std(curve), atol=1e-12)
    assert made.target is None
    assert made.about["target"] == "all samples"


def test_ale_of_a_linear_model_is_a_line_whatever_depends_on_what() -> None:
    made = Explainer(linear(), "ale", points=9, pairs="all")(ROWS)
    slopes = np.diff(made.facts["curves"][0], axis=0) / np.diff(made.facts["grid"][0], axis=0)
    np.testing.assert_allclose(slopes, np.broadcast_to(SLOPE[:, 0], slopes.shape), atol=1e-9)
    np.testing.assert_allclose(made.facts["surfaces"], 0, atol=1e-9)
    assert made.facts["pairs"].shape == (1, 15, 2)


def test_ale_tells_features_apart_that_partial_dependence_confuses() -> None:
    """y = x0²; x1 is about x0. Partial dependence of x1 is flat, and so is its local effect."""
    square = model([node("Split", "x", "a b", axis=1, num_outputs=2), node("Mul", "a a", "y")], {"x": ["n", 2]}, {"y": ["n", 1]},
                   kinds={"x": DOUBLE, "y": DOUBLE})  # fmt: skip
    made = Explainer(square, "ale", points=40)(ROWS[:, :2])
    grid, curve = made.facts["grid"][0, :, 0], made.facts["curves"][0, :, 0]
    np.testing.assert_allclose(curve - curve.mean(), grid**2 - (grid**2).mean(), atol=1e-9)
    np.testing.assert_array_equal(made.facts["curves"][0, :, 1], np.zeros(40))


@pytest.mark.parametrize("feature", range(4))
def test_curves_of_pyale(feature: int, known: dict[str, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    """On its steps, which it takes from another kind of quantiles."""
    edges = iter([known[f"ale_edges_{i}"].astype(np.float32) for i in range(4)])
    monkeypatch.setattr("onnxplain.method.blackbox.ale.quantile_edges", lambda values, points: next(edges))
    made = Explainer(FOREST, "ale")(known["ale_rows"], 1)
    np.testing.assert_allclose(made.facts["curves"][0, :, feature], known[f"ale_curve_{feature}"], atol=1e-6)


def test_surfaces_of_pyale(known: dict[str, Array], monkeypatch: pytest.MonkeyPatch) -> None:
    edges = iter([known[f"ale_edges_{i}"].astype(np.float32) for i in range(4)])
    monkeypatch.setattr("onnxplain.method.blackbox.ale.quantile_edges", lambda values, points: next(edges))
    made = Explainer(FOREST, "ale", pairs=[[0, 2], [2, 3]])(known["ale_rows"], 1)
    np.testing.assert_allclose(made.facts["surfaces"][0, 0], known["ale_surface_02"], atol=1e-6)
    np.testing.assert_allclose(made.facts["surfaces"][0, 1], known["ale_surface_23"], atol=1e-6)


def test_the_surface_of_a_product() -> None:
    """Of x0·x1 with independent features of mean 0, all is interaction: the surface is the product."""
    rows = np.random.default_rng(1).uniform(-1, 1, size=(6000, 6))
    made = Explainer(game(), "ale", points=6, pairs=[[0, 1]])(rows)
    first, second = made.facts["surface_grid"][0, 0]
    np.testing.assert_allclose(made.facts["surfaces"][0, 0], np.outer(first, second), atol=0.02)


def test_empty_cells_take_the_nearest_effect() -> None:
    edges = np.array([0.0, 1, 2, 3]), np.array([0.0, 10, 20, 30])
    codes = np.array([0, 1, 2, 0]), np.array([0, 1, 2, 0])  # the diagonal only
    surface = accumulated_surface(edges, codes, np.array([1.0, 2.0, 4.0, 1.0]))
    effects = np.diff(np.diff(surface, axis=0), axis=1)
    np.testing.assert_allclose(np.diagonal(effects), [1, 2, 4])
    assert set(effects.ravel().round(9)) == {1.0, 2.0, 4.0}
    assert effects[2, 0] in (1, 2, 4)
    assert effects[1, 0] in (1, 2)  # not the far one


def test_few_values_and_missing_ones(known: dict[str, Array]) -> None:
    x = known["ale_rows"].copy()
    x[:, 1] = np.round(x[:, 1])
    x[::3, 2] = np.nan
    x[:, 3] = 1.5
    made = Explainer(FIXTURES / "blackbox" / "xgboost.onnx", "ale", points=12)(x, 0)
    grid, curves = made.facts["grid"][0], made.facts["curves"][0]
    assert np.isfinite(grid[:, 1]).sum() == len(np.unique(x[:, 1]))
    assert np.isfinite(grid[:, 3]).sum() == 1
    assert curves[0, 3] == 0
    np.testing.assert_array_equal(np.isfinite(grid), np.isfinite(curves))
    assert np.isfinite(made.attribution).all()
    full = x[np.isfinite(x[:, 2])]
    alone = Explainer(FIXTURES / "blackbox" / "xgboost.onnx", "ale", points=12)(full, 0)
    np.testing.assert_allclose(curves[:, 2], alone.facts["curves"][0, :, 2], atol=1e-6)  # rows without a value change nothing


def test_quantile_edges_are_values_of_the_data() -> None:
    values = np.random.default_rng(0).exponential(size=101)
    edges = quantile_edges(values, 11)
    assert np.isin(edges, values).all()
    assert (edges[0], edges[-1]) == (values.min(), values.max())


# -- two-way partial dependence ----------------------------------------------------------------------------------------


def test_partial_dependence_of_two_features_by_loops() -> None:
    made = Explainer(game(), "partial-dependence", pairs=[[0, 1], [4, 2]], points=5)(ROWS)
    for which, (a, b) in enumerate(made.facts["pairs"][0]):
        first, second = made.facts["surface_grid"][0, which]
        np.testing.assert_array_equal(first, made.facts["grid"][0, :, a])
        for i, j in np.ndindex(5, 5):
            moved = ROWS.copy()
            moved[:, a], moved[:, b] = first[i], second[j]
            np.testing.assert_allclose(made.facts["surfaces"][0, which, i, j], value(moved).mean(), atol=1e-12)


def test_pairs_of_texts_and_numbers(known: dict[str, Array]) -> None:
    x = {"city": known["mixed_city"], "age": known["mixed_age"], "income": known["mixed_income"]}
    made = Explainer(FIXTURES / "blackbox" / "mixed.onnx", "partial-dependence", pairs=[[0, 2]], points=4, score="probability")(
        x, 1
    )
    towns, incomes = made.facts["surface_grid"][0, 0]
    assert list(towns) == ["Lagos", "Oslo", "Quito", ""]
    assert [float(v) for v in incomes] == sorted(float(v) for v in incomes)
    surface = made.facts["surfaces"][0, 0]
    assert np.isfinite(surface[:3]).all()
    assert np.isnan(surface[3]).all()
    assert (surface[1] > surface[0]).all()  # the rule favours Oslo


# -- the H-statistic ---------------------------------------------------------------------------------------------------


def dependence(rows: Array, fixed: list[int]) -> Array:
    """Partial dependence at the rows' own values of some features, by loops, with mean 0."""
    found = []
    for x in rows:
        moved = rows.copy()
        moved[:, fixed] = x[fixed]
        found.append(value(moved).mean())
    return np.array(found) - np.mean(found)


@pytest.mark.parametrize("scaled", [True, False])
def test_h_statistic_by_loops(scaled: bool) -> None:
    rows = ROWS[:40]
    made = Explainer(game(), "h-statistic", scaled=scaled)(rows)
    whole = value(rows) - value(rows).mean()
    alone = [dependence(rows, [i]) for i in range(6)]
    for i in range(6):
        left = whole - alone[i] - dependence(rows, [k for k in range(6) if k != i])
        expected = np.sqrt((left**2).sum() / (whole**2).sum()) if scaled else np.sqrt((left**2).mean())
        np.testing.assert_allclose(made.attribution[0, i], expected, atol=1e-9)
        for j in range(i):
            both = dependence(rows, [i, j])
            left = both - alone[i] - alone[j]
            expected = np.sqrt((left**2).sum() / max((both**2).sum(), 1e-30)) if scaled else np.sqrt((left**2).mean())
            np.testing.assert_allclose(made.facts["h_statistic"][0, i, j], expected, atol=1e-9)
            np.testing.assert_allclose(made.facts["h_statistic"][0, j, i], expected, atol=1e-9)


def test_additive_models_have_no_h_statistic() -> None:
    made = Explainer(linear(), "h-statistic")(ROWS[:30])
    np.testing.assert_allclose(made.attribution, 0, atol=1e-7)
    np.testing.assert_allclose(made.facts["h_statistic"], 0, atol=1e-7)


def test_h_statistic_of_groups_and_classes(known: dict[str, Array]) -> None:
    groups = np.array([0, 0, 1, 1])
    made = Explainer(FOREST, "h-statistic", groups=groups, background=known["iris_background"])(known["iris"], "all")
    assert made.facts["h_statistic"].shape == (1, 3, 2, 2)
    assert made.attribution.shape == (1, 3, 4)
    np.testing.assert_array_equal(made.attribution[..., 0], made.attribution[..., 1])
    np.testing.assert_allclose(
        made.attribution[..., 0], made.attribution[..., 2], atol=1e-9
    )  # of two, each one's rest is the other
    np.testing.assert_allclose(made.facts["h_statistic"][:, :, 0, 1], made.attribution[..., 0], atol=1e-9)


# -- refusals, command line --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("ale", {"points": 1}, "points is how many ends of steps a feature has, at least 2; got 1"),
        ("ale", {"pairs": "some"}, "pairs='some' is unknown; give 'all', or pairs of numbers"),
        ("ale", {"pairs": [[0, 9]]}, "pairs names feature 9, but there are 6, counted from 0"),
        ("partial-dependence", {"pairs": [[1, 1]]}, r"pairs of numbers of two features .*; got \[\[1, 1\]\]"),
        ("partial-dependence", {"pairs": [0, 1]}, "pairs takes pairs of numbers"),
    ],
)  # fmt: skip
def test_refusals(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        Explainer(game(), method, **options)(ROWS[:5])


def test_refusals_of_data(known: dict[str, Array]) -> None:
    x = {"city": known["mixed_city"], "age": known["mixed_age"], "income": known["mixed_income"]}
    with pytest.raises(MethodError, match="those of 'city' have none: explain other inputs"):
        Explainer(FIXTURES / "blackbox" / "mixed.onnx", "ale")(x)
    made = Explainer(FIXTURES / "blackbox" / "mixed.onnx", "ale", inputs=["age", "income"], score="probability")(x, 1)
    assert made.facts["curves.income"][0, -1, 0] > made.facts["curves.income"][0, 0, 0]
    with pytest.raises(InputError, match="compares samples of a data set: give at least 2"):
        Explainer(game(), "h-statistic")(ROWS[:1])
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:3]
    groups = np.random.default_rng(0).integers(0, 4, size=images.shape)
    with pytest.raises(MethodError, match="needs the same groups in all samples"):
        Explainer(FIXTURES / "digits" / "model.onnx", "h-statistic", groups=groups)(images)
    with pytest.raises(MethodError, match="speaks of all samples together"):
        Explainer(game(), "ale").slide(np.zeros((1, 9)), 0)


@pytest.mark.parametrize("method", ["ale", "h-statistic"])
def test_on_the_command_line(method: str, tmp_path: Any) -> None:
    onnx.save(game(), tmp_path / "game.onnx")
    np.save(tmp_path / "rows.npy", ROWS[:30])
    out = tmp_path / "made.npz"
    arguments = ["explain", str(tmp_path / "game.onnx"), str(tmp_path / "rows.npy"), "-m", method, "-o", str(out)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    with np.load(out) as file:
        assert file["x_attribution"].shape == (1, 6)
