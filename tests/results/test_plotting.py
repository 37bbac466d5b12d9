"""The form fits the data, and pictures tell what they should."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from onnxplain.errors import InputError, OutputError
from onnxplain.results.plot.bars import strongest
from onnxplain.results.plot.chosen import chosen_samples
from onnxplain.results.plot.plot import plot
from onnxplain.results.plot.style import blocks, colours, edges, percent, plain, rim, short, to_picture, veil
from onnxplain.results.plot.views import choose_form, columns_of, picture_of, pooled_map, views_of
from onnxplain.results.prediction import predictions, target_name
from onnxplain.results.width import summed_over
from tests.support.made import explanation, image, table
from tests.support.paths import ROOT

pytest.importorskip("matplotlib")


def words(figure: Any) -> list[str]:
    return [t.get_text() for t in figure.texts]


def drawn(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=60)
    assert buffer.getvalue().startswith(b"\x89PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("fed", "attributed", "form"),
    [
        ((2, 1, 8, 8), (2, 1, 8, 8), "image"),
        ((2, 224, 224, 3), (2, 224, 224, 3), "image"),
        ((2, 28, 28), (2, 28, 28), "image"),
        ((2, 13, 64, 64), (2, 13, 64, 64), "image"),
        ((2, 30), (2, 30), "table"),
        ((2,), (2,), "table"),
        ((2, 2, 3, 4, 5), (2, 2, 3, 4, 5), "table"),
        ((2, 500), (2, 500), "series"),
        ((2, 12, 1000), (2, 12, 1000), "series"),
        ((2, 1, 90), (2, 1, 90), "series"),
        ((2, 7), (2, 7, 16), "tokens"),
    ],
)
def test_form(fed: tuple[int, ...], attributed: tuple[int, ...], form: str) -> None:
    values = np.ones(fed, np.int64 if form == "tokens" else np.float32)
    assert choose_form(values, np.ones(attributed)) == form
    drawn(plot([explanation(np.ones(attributed), values)]))


def test_named_columns_are_a_table() -> None:
    assert choose_form(np.ones((2, 500)), np.ones((2, 500)), ["f"] * 500) == "table"


def test_form_can_be_chosen() -> None:
    made = explanation(np.ones((2, 64)), np.ones((2, 64)))
    assert views_of(columns_of([made]), form="series")[0].form == "series"
    with pytest.raises(OutputError, match=r"unknown form 'imag' of a picture; did you mean 'image'"):
        plot([made], form="imag")
    with pytest.raises(OutputError, match="is no image"):
        plot([made], form="image")


def test_methods_side_by_side() -> None:
    figure = plot([image(), image(method="saliency")], title="Costs $5 and $6")
    assert {"input", "gradient", "saliency"} <= set(words(figure))
    assert len([a for a in figure.axes if a.images]) == 2 * 3 + 2  # panels of two samples, and two colour scales
    drawn(figure)


def test_inner_layers_are_shown_on_the_picture() -> None:
    fed = np.random.default_rng(0).random((2, 3, 48, 48))
    inner = replace(explanation(np.ones((2, 16, 6, 6)), fed), attributions={"relu": np.ones((2, 16, 6, 6))})
    view = views_of(columns_of([inner]))[0]
    assert view.values is not None
    assert view.values.shape == fed.shape
    drawn(plot([inner, explanation(np.ones(fed.shape), fed)]))


def test_every_target_is_a_column() -> None:
    few = explanation(np.ones((2, 3, 1, 8, 8)), np.ones((2, 1, 8, 8)), labels=["a", "b", "c"])
    few = replace(few, target=None, about={**few.about, "target": "all"})
    assert [c.heading for c in columns_of([few])] == ["gradient → a", "gradient → b", "gradient → c"]
    many = explanation(np.ones((2, 40, 6)), np.ones((2, 6)), scores=np.eye(2, 40))
    many = replace(many, target=None, about={**many.about, "target": "all"})
    columns = columns_of([many])
    assert len(columns) == 5
    assert [columns[0].target(0), columns[0].target(1)] == ["0", "1"]
    drawn(plot([few]))
    drawn(plot([many]))


def test_models_without_an_axis_for_samples() -> None:
    made = explanation(np.ones((8, 8)), np.ones((8, 8)), scores=np.array([1.0, 3.0, 2.0]), target=[1], batched=False)
    assert predictions(made)[0][0].label == "1"
    drawn(plot([made]))


def test_small_inputs_become_one_table() -> None:
    made = explanation(np.ones((2, 1)), np.ones((2, 1)), name="age")
    made = replace(
        made,
        attributions={"age": np.ones((2, 1)), "city": -np.ones((2, 1))},
        inputs={"age": np.ones((2, 1)), "city": np.array([["Bonn"], ["Ulm"]])},
    )
    (view,) = views_of(columns_of([made]))
    assert view.labels == ("age", "city")
    assert "Ulm" in words(plot([made]))


def test_different_samples_are_refused() -> None:
    with pytest.raises(InputError, match="2 and 3 samples"):
        plot([image(2), image(3)])
    with pytest.raises(InputError, match="nothing to show"):
        plot([])
    with pytest.raises(InputError, match="3 feature names for 4 elements"):
        plot([table()], features=["a", "b", "c"])


def test_samples() -> None:
    assert chosen_samples(None, 20, 8) == list(range(8))
    assert chosen_samples([-1, 0], 5, 8) == [4, 0]
    with pytest.raises(InputError, match="no sample 5: there are 5"):
        chosen_samples(5, 5, 8)
    assert any(w.startswith("first 8 of 9 samples") for w in words(plot([image(9)])))


def test_other_targets_are_said() -> None:
    made = explanation(np.ones((1, 4)), np.ones((1, 4)), scores=np.array([[0.0, 0, 9]]), labels=["cat", "dog", "owl"])
    assert any("explained: cat" in w for w in words(plot([made])))
    figure = plot([image(1), replace(image(1), target=np.array([2]))])
    assert {"for 0", "for 2"} <= set(words(figure))


def test_works_without_pyplot_or_display() -> None:
    code = (
        "import sys; from tests.support.made import image; from onnxplain.results.plot.plot import plot;"
        "plot([image()]).savefig(sys.stdout.buffer); assert 'matplotlib.pyplot' not in sys.modules"
    )
    root = ROOT
    env = {"PYTHONPATH": str(root), "HOME": "/tmp"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root, env=env)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"\x89PNG")


class TestPredictions:
    def test_softmax_of_logits(self) -> None:
        rows, how = predictions(explanation(np.ones((1, 2)), scores=np.array([[0.0, np.log(3), -50]])))
        assert rows[0].label == "1"
        assert rows[0].probability == pytest.approx(0.75)
        assert how == "softmax of output 'scores'"

    def test_probabilities_stay(self) -> None:
        scores = np.array([[0.2, 0.8]])
        rows, how = predictions(explanation(np.ones((1, 2)), scores=scores))
        assert (rows[0].probability, how) == (0.8, "as the model gives them")
        rows, how = predictions(explanation(np.ones((1, 2)), scores=np.log(scores)))
        assert rows[0].probability == pytest.approx(0.8)
        assert how == "exp of the model's log-probabilities"

    def test_maps(self) -> None:
        rows, _ = predictions(explanation(np.ones((1, 2)), scores=[{"no": 0.4, "yes": 0.6}]))
        assert rows[0].label == "yes"

    def test_a_number_is_no_class(self) -> None:
        rows, how = predictions(explanation(np.ones((1, 2)), scores=np.array([[3.5]])))
        assert (rows[0].label, rows[0].score, how) == (None, 3.5, "")

    def test_places_in_maps(self) -> None:
        assert target_name(explanation(np.ones((1, 2)), scores=np.zeros((1, 3, 4, 5)), target=[27]), 0) == "1,1,2"


class TestColours:
    def test_zero_is_white_and_signs_mirror(self) -> None:
        values = np.array([0.0, 1, -1, 0.5, -0.5, np.nan])
        found = colours(values, 1.0, signed=True)
        assert found[0].tolist() == [255, 255, 255]
        assert found[1][0] > found[1][2]
        assert found[2][0] < found[2][2]
        assert found[5].tolist() == [190, 190, 190]
        assert veil(values, 1.0, signed=True)[:3, 3].tolist() == [0, 255, 255]

    def test_darkness_follows_strength(self) -> None:
        for signed, sign in ((True, 1), (True, -1), (False, 1)):
            light = colours(sign * np.linspace(0, 1, 50), 1.0, signed).astype(int) @ [299, 587, 114]
            assert (np.diff(light) < 0).all()

    def test_scale_ignores_outliers_but_not_everything(self) -> None:
        values = np.r_[np.ones(9990), np.full(10, 1e6)]
        assert rim(values) == pytest.approx(1)
        assert rim(np.r_[np.zeros(9999), 5.0]) == 5
        assert rim(np.zeros(4)) == 0
        assert rim(np.array([np.nan, 2.0])) == 2

    def test_pictures(self) -> None:
        assert picture_of(np.full((1, 4, 6), 0.5)).shape == (4, 6)
        assert picture_of(np.full((3, 4, 6), 200.0)).max() == pytest.approx(200 / 255)
        assert picture_of(np.random.default_rng(0).normal(size=(4, 6, 3))).min() == 0
        assert pooled_map(np.ones((3, 4, 6))).tolist() == np.full((4, 6), 3.0).tolist()
        assert pooled_map(np.ones((4, 6, 3))).shape == (4, 6)

    def test_sums_that_cancel_are_zero(self) -> None:
        values = np.array([[[0.1, 0.2, -0.3]], [[0.1, 0.2, -0.29]]], np.float32)
        assert summed_over(values, -1)[0] == 0
        assert summed_over(values, -1)[1] == pytest.approx(0.01, rel=1e-4)
        flat = np.broadcast_to(np.array([0.1, 0.2, -0.3], np.float32)[:, None, None], (1, 3, 8, 8))
        assert "all zero" in words(plot([explanation(flat, flat)]))

    def test_edges_only_on_larger_pictures(self) -> None:
        step = np.zeros((40, 40))
        step[:, 20:] = 1
        found = edges(step)
        assert found is not None
        assert 18 <= int(found[20].argmax()) <= 21
        assert edges(np.zeros((8, 8))) is None
        assert edges(np.zeros((40, 40))) is None

    def test_sizes(self) -> None:
        assert to_picture(np.array([[1, 2]]), (2, 4)).tolist() == [[1, 1, 2, 2]] * 2
        assert blocks(np.arange(16.0).reshape(4, 4), 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-1.5, "−1.50"), (12345.6, "12 346"), (0.00123, "0.00123"), (2e-7, "2.0e−7"), (1e9, "1.0e9")],
)
def test_numbers(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.parametrize(("value", "text"), [(1.0, "100 %"), (0.99999, "> 99.9 %"), (0.5, "50.0 %"), (1e-9, "< 0.1 %")])
def test_percent(value: float, text: str) -> None:
    assert percent(value) == text


def test_strongest() -> None:
    rows = [np.array([0.1, -3.0, 0.2, 0]), np.array([0, 0, 0.0, 10])]
    assert strongest(rows, 2, in_order=False) == [1, 3]
    assert strongest([rows[0]], 3, in_order=True) == [0, 1, 2]


class TestOnAxesOfYourOwn:
    def axes(self) -> Any:
        from matplotlib.figure import Figure

        return Figure().add_subplot()

    @pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 4), (1, 500), (1, 3, 100)])
    def test_every_form(self, shape: tuple[int, ...]) -> None:
        axes = self.axes()
        figure = plot([explanation(np.ones(shape), np.ones(shape), labels=["$a", "b", "c"])], ax=axes)
        assert figure is axes.figure
        assert axes.get_title() == r"gradient → \$a"
        drawn(figure)

    def test_one_sample_of_one_method(self) -> None:
        for several in ([image(2)], [image(1), image(1, "saliency")]):
            with pytest.raises(OutputError, match="one sample of one explained tensor"):
                plot(several, ax=self.axes())
        with pytest.raises(OutputError, match="figure of its own"):
            plot([table(1)], ax=self.axes(), form="waterfall")
        plot([image(2)], ax=self.axes(), samples=1)
        for idle in ({"by": "class"}, {"feature": 0}, {"most": 3}, {"special": True}):
            with pytest.raises(OutputError, match="say nothing of what goes on axes"):
                plot([table(1)], ax=self.axes(), **idle)


class TestHeatStyle:
    def test_colours_are_those_of_the_map(self) -> None:
        from matplotlib import colormaps

        values = np.array([-2.0, 0, 1])
        expected = np.round(255 * np.array(colormaps["coolwarm"]([0, 0.5, 0.75]))[:, :3])
        assert colours(values, 2, signed=True, cmap="coolwarm").tolist() == expected.tolist()

    def test_clip_chooses_the_strongest_colour(self) -> None:
        values = np.arange(101.0)
        assert rim(values, 50) == 50
        assert rim(values, 100) == 100

    def test_overlays(self) -> None:
        made = image(1)
        pictures = {overlay: drawn(plot([made], overlay=overlay)) for overlay in ("edges", "picture", "none")} | {
            "alpha": drawn(plot([made], alpha=0.2))
        }
        assert len(set(pictures.values())) == 3, "pictures of eight pixels have no edges"

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"cmap": "viridi"}, "no colour map 'viridi'; did you mean 'viridis'"),
            ({"clip": 0}, "percentile above 0"),
            ({"alpha": 2}, "alpha is from 0 to 1"),
            ({"overlay": "photo"}, "unknown overlay 'photo'; known: edges, picture, none"),
            ({"alpha": 0.5, "overlay": "edges"}, "alpha is of overlay='picture'"),
        ],
    )
    def test_refused(self, given: dict[str, Any], words: str) -> None:
        with pytest.raises(OutputError, match=words):
            plot([image(1)], **given)

    def test_bars_have_none(self) -> None:
        with pytest.raises(OutputError, match="of heat maps"):
            plot([table()], cmap="viridis")

    def test_the_legend_says_what_limits_the_colours(self) -> None:
        assert "full colour from percentile 90 of the sizes" in words(plot([image(1)], clip=90))
        cut = image(1, "saliency")
        cut = replace(cut, about={**cut.about, "options": {"relu": True}})
        assert "high, cut off below zero" in words(plot([cut]))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (74840.0, "74 840"),
        (7.5, "7.5"),
        (0.0, "0"),
        (-1234567.0, "−1 234 567"),
        (1234.567, "1 235"),
        (1e-7, "1e−07"),
        (0.1234567, "0.1235"),
    ],
)
def test_plain_numbers(value: float, text: str) -> None:
    assert plain(value) == text
