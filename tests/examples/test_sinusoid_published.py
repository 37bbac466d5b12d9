"""The sinusoid study as published: what its page claims holds for the committed models, and other data are refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples import page
from examples.sinusoid import published, study
from onnxplain.runtime.session import Session


@pytest.fixture(scope="module")
def results() -> Any:
    return {name: published.measure(name) for name in published.SETS}


def test_the_series_is_a_sinusoid_that_three_channels_hold_in_turn(results: Any) -> None:
    for name, dummies in (("three", 0), ("five", 2)):
        series = results[name].series
        assert len(series.values) == 3 + dummies
        noise = series.values - np.where(series.carried, series.sine[:-1], 0)
        np.testing.assert_allclose(noise.std(axis=1), 0.15, atol=0.01)
        np.testing.assert_allclose(noise.mean(axis=1), 0, atol=0.01)
        shares = series.carried.mean(axis=1)
        np.testing.assert_allclose(shares[:3], 1 / 3, atol=0.05)
        assert not shares[3:].any()
        between = series.angle[series.window - 1 :] + 1 / 6  # half a step on, the slope says what the next step does
        np.testing.assert_array_equal(series.falls, np.cos(between) < 0)


@pytest.mark.parametrize(("name", "accuracy"), published.PUBLISHED_ACCURACY.items())
def test_accuracy_is_near_the_published(results: Any, name: str, accuracy: float) -> None:
    assert results[name].accuracy >= 0.98
    assert results[name].accuracy == pytest.approx(accuracy, abs=0.01)


def test_dummies_have_about_the_published_proportion(results: Any) -> None:
    influence = results["five"].influence
    ratio = influence[:3].mean() / influence[3:].mean()
    wanted = np.mean(published.PUBLISHED_INFLUENCE[:3]) / np.mean(published.PUBLISHED_INFLUENCE[3:])
    assert ratio == pytest.approx(wanted, rel=0.2)
    shares = results["five"].shares
    assert shares.sum() == pytest.approx(1)
    assert shares[:3].min() > 4 * shares[3:].max()


@pytest.mark.parametrize("name", published.SETS)
def test_relevance_sits_at_the_extrema_and_they_suffice(results: Any, name: str) -> None:
    result, quarter = results[name], published.ANGLES // 4
    highest, lowest = result.profile[quarter], result.profile[3 * quarter + 1]
    crossings = result.profile[[0, 8, 9, 17]]
    assert min(highest, lowest) > 2 * crossings.max()
    assert 0.6 < result.extreme < 0.7
    kept = result.kept
    extrema, crossing = kept["near the extrema, all channels"], kept["near the zero crossings, all channels"]
    assert extrema == pytest.approx(published.PUBLISHED_KEPT, abs=0.006)
    assert extrema > result.accuracy
    assert kept["as many steps at random, all channels"] > crossing + 0.02
    assert kept["near the extrema, the sinusoid taken away"] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", published.SETS)
def test_errors_are_at_the_turning_points(results: Any, name: str) -> None:
    series = results[name].series
    scores = Session(published.FOLDER / f"{name}.onnx", "cpu", threads=1).run({"signal": series.cut(series.values)})["logits"]
    wrong = scores.argmax(axis=1) != series.falls
    assert np.abs(series.sine[series.window - 1 : -1][wrong]).min() > np.cos(1 / 3)


def test_the_page_says_what_is_measured(results: Any) -> None:
    said, now = (page.numbers(text) for text in (page.filled("sinusoid.md", "published"), published.tables(results)))
    np.testing.assert_allclose(said, now, atol=0.5, rtol=0.02)
    small = np.abs(said) < 1
    np.testing.assert_allclose(np.array(said)[small], np.array(now)[small], atol=0.003)


def test_the_figure_is_drawn(results: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    from examples.sinusoid.picture_published import draw

    draw(results, tmp_path / "published.png")
    assert (tmp_path / "published.png").stat().st_size > 40_000


def test_another_folder_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said() -> str:
        with pytest.raises(SystemExit) as ended:
            page.run(study.main, tmp_path)
        assert ended.value.code == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    assert "has no series.npz and no test.npz" in said()
    np.savez(tmp_path / "series.npz", values=np.zeros((3, 5)))
    assert "series.npz has no three_angle" in said()
    shutil.copy(page.DOCS / "sinusoid.md", tmp_path / "series.npz")
    assert "is no .npz that numpy reads" in said()
    (tmp_path / "series.npz").unlink()
    np.savez(
        tmp_path / "test.npz", **{name: np.zeros((2, 2)) for name in ("signal", "step", "phase", "periods", "label", "weight")}
    )
    assert "holds signals [2, 2]; expected [n, channels, steps]" in said()
    shutil.copy(study.FOLDER / "test.npz", tmp_path)
    assert "no file at" in said()
    shutil.copy(page.DOCS.parent / "fixtures" / "digits" / "model.onnx", tmp_path)
    assert "expects [batch, 1, 8, 8] of float32, got [300, 16, 96]" in said()
