"""Pictures and tables of explained tables: what is drawn is what was explained, names are whole, and refusals are clear."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, Explanation
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError, OutputError
from onnxplain.results.feature_table import feature_tables
from onnxplain.results.plot.views import TABULAR_FORMS
from tests.method.blackbox.test_blackbox import ORIGIN, game
from tests.support.made import explanation, image
from tests.support.paths import FIXTURES

pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
from onnxplain.results.plot.plot import plot
from onnxplain.results.plot.tabular.drawing import RowNames, ranks, tick, value_colours
from onnxplain.results.plot.tabular.forms import TabularRequest, tabular_blocks
from onnxplain.results.plot.tabular.scatter import strongest_partner
from onnxplain.results.plot.tabular.swarm import swarm
from onnxplain.results.plot.tabular.waterfall import ends_of, steps_of

LONG = "temperature of the cooling water at the inlet of the second heat exchanger, in degrees"
NAMES = [LONG, "pressure", "flow", "load", "time of day", "dummy"]
ROWS = np.random.default_rng(0).uniform(-1, 1, size=(60, 6))


@pytest.fixture(scope="module")
def pairs() -> Explanation:
    """y = x0·x1 + x1·x2·x3 + x4², with interactions."""
    return Explainer(game(), "k-sii", baseline=0.0)(ROWS)


@pytest.fixture(scope="module")
def shapley() -> Explanation:
    return Explainer(game(), "exact-shapley", baseline=0.0)(ROWS)


@pytest.fixture(scope="module")
def mixed() -> Explanation:
    with np.load(FIXTURES / "blackbox" / "reference.npz") as known:
        x = {"city": known["mixed_city"], "age": known["mixed_age"], "income": known["mixed_income"]}
    x["age"] = x["age"].copy()
    x["age"][3] = np.nan
    return Explainer(FIXTURES / "blackbox" / "mixed.onnx", "kernel-shap", background=x, score="probability")(x, 1)


def words(figure: Any) -> list[str]:
    return [t.get_text() for t in figure.texts]


def joined(figure: Any) -> str:
    """All words, with lines joined again."""
    return " | ".join(w.replace("\n", " ") for w in words(figure))


def inside(figure: Any) -> None:
    """Every word lies on the page, once it is drawn."""
    figure.savefig(BytesIO(), format="png", dpi=50)
    page = figure.bbox
    renderer = figure.canvas.get_renderer()
    for text in [*figure.texts, *(t for axes in figure.axes for t in axes.texts)]:
        box = text.get_window_extent(renderer)
        assert box.x0 >= page.x0 - 1, text.get_text()
        assert box.x1 <= page.x1 + 1, text.get_text()
        assert box.y0 >= page.y0 - 1, text.get_text()
        assert box.y1 <= page.y1 + 1, text.get_text()


@pytest.mark.parametrize("form", TABULAR_FORMS)
def test_every_form_keeps_its_words_on_the_page(form: str) -> None:
    figure = Explainer(game(), "k-sii", baseline=ORIGIN)(ROWS).plot(form=form, features=NAMES)
    inside(figure)
    if form != "scatter":  # its panels are of the four that matter most
        assert LONG in joined(figure), "long names are not cut off"


@pytest.mark.parametrize("form", [f for f in TABULAR_FORMS if f != "network"])
def test_texts_and_missing_values(form: str, mixed: Explanation) -> None:
    figure = mixed.plot(form=form, samples=[3] if form in ("waterfall", "force") else None)
    inside(figure)
    if form in ("waterfall", "force"):
        assert "age = missing" in joined(figure)


# -- single samples ----------------------------------------------------------------------------------------------------


def test_a_waterfall_goes_from_the_base_to_the_score(shapley: Explanation) -> None:
    (table,) = feature_tables([shapley], NAMES)
    steps = steps_of(table, 2, 12)
    assert [s.name.partition(" = ")[0] for s in steps] == [
        NAMES[i] for i in np.argsort(-np.abs(shapley.attribution[2]), kind="stable")
    ]
    start, end, _, last = ends_of(table, 2)
    np.testing.assert_allclose(start + sum(s.value for s in steps), end)
    np.testing.assert_allclose(end, shapley.outputs["y"][2, 0])
    assert last == "score"
    few = steps_of(table, 2, 3)
    assert few[-1].name == "4 others"
    np.testing.assert_allclose(sum(s.value for s in few), sum(s.value for s in steps))


def test_what_features_do_together_is_a_step_of_its_own(pairs: Explanation) -> None:
    (table,) = feature_tables([pairs], NAMES)
    steps = steps_of(table, 2, 12)
    assert steps[-1].name.startswith("interactions")
    np.testing.assert_allclose(ends_of(table, 2)[1], pairs.outputs["y"][2, 0])
    np.testing.assert_allclose(sum(s.value for s in steps), pairs.outputs["y"][2, 0])
    third = Explainer(game(), "stii", baseline=0.0, order=3)(ROWS[:4])
    np.testing.assert_allclose(ends_of(feature_tables([third])[0], 1)[1], third.outputs["y"][1, 0])


def test_methods_that_promise_no_sum_are_not_said_to_reach_the_score() -> None:
    made = Explainer(game(), "banzhaf", baseline=0.0)(ROWS[:3])
    assert ends_of(feature_tables([made])[0], 0)[3] == "base + attributions"
    plain = explanation(np.ones((2, 3), np.float32), np.ones((2, 3), np.float32))
    assert ends_of(feature_tables([plain])[0], 0) == (0.0, 3.0, "0", "sum of the attributions")


def test_bars_of_a_waterfall(shapley: Explanation) -> None:
    figure = plot([shapley], form="waterfall", features=NAMES, samples=[2])
    (axes,) = [a for a in figure.axes if a.patches]
    reached = [p.get_xy()[2, 0] for p in axes.patches]  # the tip of each arrow
    order = np.argsort(-np.abs(shapley.attribution[2]), kind="stable")
    np.testing.assert_allclose(reached, np.cumsum(shapley.attribution[2][order]), atol=1e-9)
    assert any(w.startswith("score") for w in words(figure))


def test_forces_meet_at_the_score(shapley: Explanation) -> None:
    figure = plot([shapley], form="force", features=NAMES, samples=[2])
    axes = max(figure.axes, key=lambda a: len(a.patches))
    score = shapley.outputs["y"][2, 0]
    tips = [(float(p.get_xy()[2, 0]), float(p.get_xy()[0, 0])) for p in axes.patches]
    raised = [a - b for a, b in tips if a > b]
    lowered = [b - a for a, b in tips if a < b]
    values = shapley.attribution[2][np.abs(shapley.attribution[2]) > 1e-12]
    np.testing.assert_allclose(sorted(raised), sorted(values[values > 0]), atol=1e-12)
    np.testing.assert_allclose(sorted(lowered), sorted(-values[values < 0]), atol=1e-12)
    assert all(max(a, b) <= score + 1e-9 for a, b in tips if a > b)
    assert all(min(a, b) >= score - 1e-9 for a, b in tips if a < b)


# -- many samples ------------------------------------------------------------------------------------------------------


def test_a_swarm_has_a_dot_per_sample_and_feature(shapley: Explanation) -> None:
    figure = plot([shapley], form="beeswarm", features=NAMES)
    axes = next(a for a in figure.axes if a.collections and len(a.collections) > 3)
    dots = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) == 60]
    order = np.argsort(-np.abs(shapley.attribution).mean(axis=0), kind="stable")
    for row, (feature, offsets) in enumerate(zip(order, dots, strict=True)):
        np.testing.assert_allclose(offsets[:, 0], shapley.attribution[:, feature])
        assert (np.abs(offsets[:, 1] - row - 0.5) < 0.5).all()


def test_dots_of_one_value_lie_beside_each_other() -> None:
    offsets = swarm(np.array([1.0, 1, 1, 1, 5]), 10)
    assert len(set(offsets[:4])) == 4
    assert offsets[4] == 0
    assert np.abs(swarm(np.zeros(50), 10)).max() <= 1


def test_scatter_colours_by_the_strongest_interaction(pairs: Explanation, shapley: Explanation) -> None:
    (known,), (guessed,) = feature_tables([pairs], NAMES), feature_tables([shapley], NAMES)
    assert strongest_partner(known, 0) == 1
    assert strongest_partner(guessed, 0) == 1, "x0's attribution, x0·x1 / 2, goes along with x1 where x0 is about the same"
    figure = plot([pairs], form="scatter", features=NAMES, feature=[0, "time of day"], by="dummy")
    panels = [a for a in figure.axes if a.spines["left"].get_visible()]
    assert len(panels) == 2
    for axes, feature in zip(panels, (0, 4), strict=True):
        np.testing.assert_allclose(
            axes.collections[0].get_offsets(), np.stack([ROWS[:, feature], pairs.attribution[:, feature]], axis=1)
        )
        np.testing.assert_allclose(axes.collections[0].get_facecolors()[:, :3], value_colours(ranks(ROWS[:, 5])))
    assert "dummy" in words(figure)


def test_a_heat_map_orders_samples_by_score(shapley: Explanation) -> None:
    figure = plot([shapley], form="heatmap", features=NAMES)
    curve = next(a for a in figure.axes if a.lines and len(a.lines[0].get_ydata()) == 60)
    np.testing.assert_allclose(curve.lines[0].get_ydata(), np.sort(shapley.outputs["y"][:, 0])[::-1], atol=1e-9)


def test_a_network_shows_whole_pairs(pairs: Explanation) -> None:
    (block,) = tabular_blocks([pairs], TabularRequest("network", NAMES))
    matrix = pairs.facts["interactions"].mean(axis=0)
    np.testing.assert_allclose(np.diagonal(block.matrix), np.diagonal(matrix))
    np.testing.assert_allclose(block.matrix[0, 1], 2 * matrix[0, 1])
    one = tabular_blocks([pairs], TabularRequest("network", NAMES, samples=[5]))[0]
    np.testing.assert_allclose(one.matrix[0, 1], ROWS[5, 0] * ROWS[5, 1], atol=1e-9)
    made = Explainer(game(), "h-statistic")(ROWS[:20])
    (block,) = tabular_blocks([made], TabularRequest("network", NAMES))
    np.testing.assert_allclose(np.diagonal(block.matrix), made.attribution[0])
    inside(plot([made], form="network", features=NAMES))


def test_pages_hold_the_surfaces(tmp_path: Path) -> None:
    made = Explainer(game(), "ale", pairs=[[0, 1]], points=6)(ROWS)
    page = made.save(tmp_path / "page.html", features=NAMES).read_text()
    assert page.count("data:image/svg+xml") == 2


def test_surfaces_are_drawn_below_the_curves() -> None:
    for method in ("partial-dependence", "ale"):
        made = Explainer(game(), method, pairs=[[0, 1], [4, 5]], points=6)(ROWS)
        figure = made.plot(features=NAMES)
        inside(figure)
        assert LONG in joined(figure)
        assert sum(any(type(c).__name__ == "QuadMesh" for c in a.collections) for a in figure.axes) == 2


def test_groups_are_features() -> None:
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:5]
    made = Explainer(FIXTURES / "digits" / "model.onnx", "k-sii", groups="segments", parts=9)(images, "all")
    tables = feature_tables([made])
    assert len(tables) == 10
    assert tables[3].names == tuple(f"group {i}" for i in range(9))
    np.testing.assert_array_equal(tables[3].attributions, made.facts["group_values"][:, 3])
    inside(plot([made[:1]], form="waterfall"))
    named = Explainer(game(), "k-sii", baseline=0.0, groups=np.array([0, 1, 0, 2, 2, 2]))(ROWS[:4])
    assert feature_tables([named], list("abcdef"))[0].names == ("a + c", "b", "d + e + f")
    assert "(a + c) × b" in set(named.to_pandas(list("abcdef"), interactions=True)["features"])


# -- importance --------------------------------------------------------------------------------------------------------


def test_importance_by_cohort_and_class(shapley: Explanation) -> None:
    whole = shapley.importance(features=NAMES)
    np.testing.assert_allclose(whole.sizes[0], np.abs(shapley.attribution).mean(axis=0))
    np.testing.assert_allclose(whole.errors[0], np.abs(shapley.attribution).std(axis=0, ddof=1) / np.sqrt(60))
    np.testing.assert_allclose(whole.means[0], shapley.attribution.mean(axis=0))
    assert whole.cohorts == ("all samples",)
    shift = np.where(ROWS[:, 4] > 0, "day", "night")
    split = shapley.importance(shift, NAMES)
    assert set(split.cohorts) == {"day", "night"}
    np.testing.assert_allclose(split.sizes[split.cohorts.index("day")], np.abs(shapley.attribution[shift == "day"]).mean(axis=0))
    np.testing.assert_array_equal(split.counts, [(shift == c).sum() for c in split.cohorts])
    pandas = pytest.importorskip("pandas", reason="tables need pandas")
    table = split.to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert list(table.columns) == ["cohort", "samples", "feature", "mean_size", "standard_error", "mean"]
    assert list(table["feature"][:6]) == [NAMES[i] for i in split.order]
    inside(plot([shapley], form="importance", features=NAMES, by=shift))


def test_importance_of_every_class() -> None:
    with np.load(FIXTURES / "blackbox" / "reference.npz") as known:
        rows, background = known["iris"], known["iris_background"]
    explainer = Explainer(FIXTURES / "blackbox" / "forest.onnx", "exact-shapley", background=background, labels=["a", "b", "c"])
    every = explainer(rows, "all")
    found = every.importance()
    assert found.cohorts == ("a", "b", "c")
    np.testing.assert_allclose(found.sizes, np.abs(every.attribution).mean(axis=0))
    own = explainer(rows).importance("class")
    assert set(own.cohorts) <= {"a", "b", "c"}
    assert own.counts.sum() == len(rows)
    assert every.importance(["x"] * 6).cohorts == ("a, x", "b, x", "c, x")


# -- SHAP's object -----------------------------------------------------------------------------------------------------


def test_what_shap_is_given(pairs: Explanation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", SimpleNamespace(Explanation=lambda **given: SimpleNamespace(**given)))
    made = pairs.to_shap(NAMES)
    np.testing.assert_array_equal(made.values, pairs.attribution)
    np.testing.assert_array_equal(made.base_values, pairs.facts["base_value"])
    np.testing.assert_array_equal(made.data, ROWS)
    assert made.feature_names == NAMES
    np.testing.assert_array_equal(pairs.to_shap(interactions=True).values, pairs.facts["interactions"])
    every = Explainer(FIXTURES / "digits" / "model.onnx", "gradient")(
        np.load(FIXTURES / "digits" / "data.npz")["image"][:2], "all"
    ).to_shap()
    assert every.values.shape == (2, 1, 8, 8, 10)
    assert every.base_values.shape == (2, 10)
    plain = explanation(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)).to_shap()
    np.testing.assert_allclose(plain.base_values, np.linspace(0, 1, 6).reshape(2, 3)[:, 0] * 5 - 3, atol=1e-6)
    with pytest.raises(MethodError, match="leaves no interactions"):
        explanation(np.ones((2, 3), np.float32)).to_shap(interactions=True)


def test_plots_of_shap_itself(pairs: Explanation, mixed: Explanation) -> None:
    shap = pytest.importorskip("shap", reason="shap is not installed: it comes with the extra 'shap'")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    made = pairs.to_shap(NAMES)
    assert isinstance(made, shap.Explanation)
    shap.plots.beeswarm(made, show=False)
    shap.plots.waterfall(made[0], show=False)
    shap.plots.bar(made, show=False)
    shap.plots.heatmap(made, show=False)
    shap.plots.scatter(made[:, "pressure"], color=made, show=False)
    shap.plots.waterfall(mixed.to_shap()[0], show=False)
    pyplot.close("all")


# -- numbers, names, refusals ------------------------------------------------------------------------------------------


def test_colours_of_values() -> None:
    unit = ranks(np.array([0.0, 1, 2, 3, np.nan, 100]))
    assert np.isnan(unit[4])
    assert unit[0] == 0
    assert (np.diff(value_colours(np.linspace(0, 1, 9)).sum(axis=1)) > 0).all(), "low is dark, high is light"
    assert len(set(value_colours(np.array([np.nan]))[0].round(1))) == 1, "grey"
    np.testing.assert_array_equal(ranks(np.full(3, 7.0)), np.full(3, 0.5))
    assert (tick(-0.25, 1.0), tick(1e-17, 1.0), tick(2000.0, 9.0)) == ("−0.25", "0", "2000")


def test_names_take_as_many_lines_as_they_need() -> None:
    made = RowNames([LONG, "a"], most=1.5)
    assert made.lines[0].replace("\n", " ") == LONG
    assert made.row > RowNames(["a"]).row


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"form": "waterfal"}, OutputError, "unknown form 'waterfal' of a picture; did you mean 'waterfall'"),
        ({"form": "scatter", "feature": "nothing"}, InputError, "no feature 'nothing': there are 0, 1, 2"),
        ({"form": "scatter", "by": 9}, InputError, "no feature '9'"),
        ({"form": "importance", "by": "sex"}, InputError, "by='sex' is unknown: give 'class', or a label per sample"),
        ({"form": "importance", "by": [1, 2]}, InputError, "by needs a label per sample, 60; got 2"),
        ({"form": "waterfall", "samples": [99]}, InputError, "no sample 99: there are 60"),
        ({"most": 3}, OutputError, "feature, by and most are for these forms: waterfall"),
        ({"form": "network"}, MethodError, "exact-shapley leaves no interactions"),
    ],
)  # fmt: skip
def test_refusals(options: dict[str, Any], error: type[Exception], message: str, shapley: Explanation) -> None:
    with pytest.raises(error, match=message):
        shapley.plot(**options)


def test_what_is_no_table() -> None:
    with pytest.raises(OutputError, match="speaks of all together"):
        Explainer(game(), "partial-dependence")(ROWS).plot(form="beeswarm")
    explainer = Explainer(FIXTURES / "digits" / "model.onnx", "feature-ablation", groups="segments", parts=4)
    made = explainer(np.load(FIXTURES / "digits" / "data.npz")["image"][:5])
    with pytest.raises(OutputError, match="no feature has values to draw attributions over"):
        made.plot(form="scatter")
    assert image().plot(form="importance").axes


def test_on_the_command_line(tmp_path: Path) -> None:
    model, rows = str(FIXTURES / "blackbox" / "forest.onnx"), tmp_path / "rows.npy"
    np.save(rows, np.load(FIXTURES / "blackbox" / "reference.npz")["iris"])
    labels = tmp_path / "cohorts.txt"
    labels.write_text("a\nb\na\nb\na\nb\n")
    out = tmp_path / "made.png"
    start = ["explain", model, str(rows), "-m", "exact-shapley", "-t", "0", "--force"]
    for extra in (
        ["waterfall"],
        ["importance", "--by", str(labels)],
        ["importance", "--by", "class"],
        ["scatter", "--feature", "2", "--by", "3"],
    ):
        done = CliRunner().invoke(main, [*start, "-o", str(out), "--form", *extra])
        assert done.exit_code == 0, done.output
        assert out.read_bytes().startswith(b"\x89PNG")
    for extra, message in (
        (["--form", "waterfall"], "--form is of a picture: give -o FILE.png too"),
        (["-o", str(out), "--form", "waterfal"], "did you mean 'waterfall'"),
        (["-o", str(out), "--by", "class"], "--feature and --by are of a picture's form"),
    ):
        done = CliRunner().invoke(main, [*start, *extra])
        assert done.exit_code == 2
        assert message in done.output
