"""Pictures of `ice` and `partial-dependence`: the curves that are drawn are those of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, Explanation
from onnxplain.cli.main import main
from onnxplain.errors import OutputError
from onnxplain.results.plot.plot import plot
from tests.support.made import table
from tests.support.models import model, node
from tests.support.paths import FIXTURES

pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
from onnxplain.results.plot.curves import COLOURS, PANELS, CurvesBlock, curves_of, has_curves

SLOPE = np.array([[1.0, -4.0, 0.5, 2.0]], np.float32).T
ROWS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)


def linear() -> onnx.ModelProto:
    return model([node("MatMul", "x w", "y")], {"x": ["n", 4]}, {"y": ["n", 1]}, {"w": SLOPE})


def explained(method: str, target: Any = None, **options: Any) -> Explanation:
    return Explainer(linear(), method, **options)(ROWS, target)


def panels(figure: Any) -> list[Any]:
    """The axes of features, in order: those with a frame."""
    return [a for a in figure.axes if a.spines["left"].get_visible()]


def words(figure: Any) -> list[str]:
    return [t.get_text() for t in figure.texts]


def test_lines_are_the_models_own() -> None:
    figure = plot([explained("ice")], features=["a", "b", "c", "d"])
    found = panels(figure)
    assert [w for w in words(figure) if w in "abcd"] == ["b", "d", "a", "c"], "by how far each moves the score"
    for axes, feature in zip(found, (1, 3, 0, 2), strict=True):
        lines = [line for line in axes.lines if line.get_linewidth() < 1 and len(line.get_xdata()) > 2]
        assert len(lines) == len(ROWS)
        for line, row in zip(lines, ROWS, strict=True):
            at = np.array(line.get_xdata())
            np.testing.assert_allclose(line.get_ydata(), row @ SLOPE[:, 0] + (at - row[feature]) * SLOPE[feature, 0], atol=1e-4)
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        for dot in dots:
            assert np.isclose(ROWS @ SLOPE[:, 0], dot.get_ydata(), atol=1e-4).any(), "a sample's own score"


def test_the_mean_of_the_lines_is_the_partial_dependence() -> None:
    many, one = plot([explained("ice")]), plot([explained("partial-dependence")])
    for axes, alone in zip(panels(many), panels(one), strict=True):
        mean, curve = (max(a.lines, key=lambda line: line.get_linewidth()) for a in (axes, alone))
        np.testing.assert_allclose(mean.get_xdata(), curve.get_xdata())
        np.testing.assert_allclose(mean.get_ydata(), curve.get_ydata(), atol=1e-5)


def test_only_curves_are_drawn_as_curves() -> None:
    made = explained("ice")
    assert has_curves(made)
    assert not has_curves(table())
    assert len(panels(plot([made], form="table"))) == 0
    with pytest.raises(OutputError, match="gradient leaves no curves to draw; ice and partial-dependence do"):
        plot([made, explained("gradient")], form="curves")
    both = plot([explained("gradient"), made], samples=[2, 5])
    assert {"ice", "gradient"} <= set(words(both))
    assert len([line for line in panels(both)[0].lines if line.get_linewidth() < 1 and len(line.get_xdata()) > 2]) == 2


def test_texts_and_several_inputs() -> None:
    with np.load(FIXTURES / "blackbox" / "reference.npz", allow_pickle=True) as known:
        x = {name: known[f"mixed_{name}"] for name in ("city", "age", "income")}
    made = Explainer(FIXTURES / "blackbox" / "mixed.onnx", "ice", background=x)({k: v[:7] for k, v in x.items()}, 1)
    curves = curves_of(made)
    assert curves.scores.shape[0] == 7
    assert curves.scores.shape[3] == 3
    np.testing.assert_array_equal(curves.grid[0], np.unique(x["city"]))
    figure = plot([made])
    assert {"city", "age", "income", *np.unique(x["city"])} <= set(words(figure))


def test_targets_have_colours_and_the_rest_one() -> None:
    x = np.load(FIXTURES / "digits" / "digit_3.npy").astype(np.float32).reshape(-1, 1, 8, 8)
    rows = np.random.default_rng(0).random((12, 1, 8, 8), np.float32)
    made = Explainer(FIXTURES / "digits" / "model.onnx", "ice", background=rows, points=5)(x, "all")
    block = CurvesBlock(made, None, None)
    assert block.kinds[0] == "3", "the highest score"
    assert len(block.features) == PANELS
    assert block.hidden == 64 - PANELS
    said = words(plot([made]))
    assert "others" in said
    assert sum(k in said for k in block.kinds) == len(COLOURS) - 1


def test_means_over_samples_say_of_which_target() -> None:
    x = np.genfromtxt(FIXTURES / "cancer" / "cancer_samples.csv", delimiter=",", skip_header=1, dtype=np.float32)
    explain = Explainer(FIXTURES / "cancer" / "model.onnx", "partial-dependence")
    assert explain(x, 1).about["mean_of"] == "1"
    assert explain(x).about["mean_of"] == "each sample's own"
    assert curves_of(explain(x, "all")).targets == (("0", "1"),)
    assert curves_of(explain(x[:1])).targets == (("0",),)


def test_files(tmp_path: Path) -> None:
    command = ["explain", str(FIXTURES / "cancer" / "model.onnx"), str(FIXTURES / "cancer" / "cancer_samples.csv")]
    for name in ("a.png", "a.html", "b.html"):
        done = CliRunner().invoke(main, [*command, "-m", "ice", "-o", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "data:image/svg+xml;base64," in page
    assert page == (tmp_path / "b.html").read_text(encoding="utf-8"), "the same explanation gives the same page"
    assert (tmp_path / "a.png").stat().st_size > 20_000
