"""The arm study: what its page says of the network and its explanations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples import page
from examples.arm import study


@pytest.fixture(scope="module")
def measured() -> study.Study:
    return study.measure()


def test_derivatives_of_the_arm_are_those_of_its_formula() -> None:
    angles = np.random.default_rng(0).uniform(-3, 3, (20, 2))
    for joint in range(2):
        step = np.eye(2)[joint] * 1e-6
        slope = (study.arm(angles + step) - study.arm(angles - step)) / 2e-6
        np.testing.assert_allclose(study.derivatives(angles)[:, :, joint], slope, atol=1e-8)


def test_a_joint_is_named_by_the_ratio_of_importances() -> None:
    slopes = np.array([[3.0, -1.0], [1.0, 2.0], [1.0, -1.1], [-2.0, 1.0]])
    np.testing.assert_array_equal(study.verdicts(slopes, 2), [1, 2, 0, 1])
    moves = np.array([[0.2, 0.1], [0.1, 0.2], [0.1, 0.2], [0.1, 0.2]])
    np.testing.assert_array_equal(study.hits(study.verdicts(slopes, 2), moves)[[0, 1, 3]], [True, True, False])


def test_the_joint_named_moves_the_hand_further_as_published(measured: study.Study) -> None:
    assert measured.error <= 0.01
    for threshold, published in study.PUBLISHED.items():
        for axis, (hit, share) in enumerate(published):
            assert 100 * measured.named[threshold][axis] == pytest.approx(share, abs=2.5)
            assert measured.named[threshold][axis] == pytest.approx(measured.truly[threshold][axis], abs=0.005)
            assert 100 * measured.moved[12][threshold][axis] == pytest.approx(hit, abs=0.4)
            assert measured.moved[6][threshold][axis] > 0.998
            assert measured.moved[3][threshold][axis] > 0.999


def test_misses_lie_where_the_hand_stands_still(measured: study.Study) -> None:
    missed, every = measured.still
    assert missed > 0.9 > 9 * every
    missed, every = measured.edge
    assert every < missed < 0.5


def test_beyond_the_training_the_network_knows_no_period(measured: study.Study) -> None:
    assert measured.beyond > 100 * measured.error


@pytest.mark.parametrize(("method", "r2"), [("gradient", 0.998), ("smoothgrad", 0.999)])
def test_derivatives_are_those_of_the_arm(measured: study.Study, method: str, r2: float) -> None:
    found = measured.faithful[method]
    assert found.r2 > r2
    assert min(found.right.values()) > 0.998
    assert min(found.same.values()) > 0.95


def test_the_page_says_what_is_measured(measured: study.Study) -> None:
    said, now = (page.numbers(text) for text in (page.filled("arm.md"), study.tables(measured)))
    np.testing.assert_allclose(said, now, atol=0.02, rtol=0.02)


def test_the_pictures_are_drawn(measured: study.Study, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    from examples.arm.picture import draw

    draw(measured, study.Network(), tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"arm.png", "arm_slopes.png", "arm_misses.png"}
    assert all(p.stat().st_size > 30_000 for p in tmp_path.iterdir())


def test_another_folder_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(main: Callable[[], None]) -> str:
        with pytest.raises(SystemExit, match="2"):
            page.run(main)
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    assert "has no model.onnx; expected a folder" in said(lambda: study.main(tmp_path))
    shutil.copy(page.DOCS.parent / "fixtures" / "digits" / "model.onnx", tmp_path)
    assert "expects [batch, 1, 8, 8] of float32, got [50000, 2]" in said(lambda: study.main(tmp_path))
    (tmp_path / "model.onnx").write_text("no model")
    assert "is no ONNX model" in said(lambda: study.main(tmp_path))
    assert "expected a folder or nothing, found 'a b'" in said(lambda: study.main(page.folder_of(["a", "b"], tmp_path)))
