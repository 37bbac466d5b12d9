"""The study of a triangle: its geometry, and what its page claims."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from examples import page
from examples.toy import study


@pytest.fixture(scope="module")
def measured() -> study.Study:
    return study.measure(side=21, fine=40)


def test_depth_is_the_distance_to_the_boundary() -> None:
    random = np.random.default_rng(0)
    points = random.uniform(-1, 1, (200, 2))
    ends = np.roll(study.CORNERS, -1, axis=0)
    share = np.linspace(0, 1, 4001)[:, None]
    border = np.concatenate([a + share * (b - a) for a, b in zip(study.CORNERS, ends, strict=True)])
    found, inward = study.depth(points)
    nearest = np.linalg.norm(points[:, None] - border, axis=2).min(axis=1)
    np.testing.assert_allclose(np.abs(found), nearest, atol=1e-3)
    grown = study.depth(points + 1e-6 * inward)[0]
    np.testing.assert_allclose((grown - found) / 1e-6, 1, atol=1e-3)
    assert study.depth(study.CORNERS.mean(axis=0, keepdims=True))[0][0] > 0
    assert study.depth(np.array([[0.9, 0.9]]))[0][0] < 0


def test_gradients_point_into_the_triangle(measured: study.Study) -> None:
    assert measured.accuracy > 0.985
    near = np.abs(study.depth(measured.points)[0]) < study.NEAR
    angles = study.angles(measured)
    for name in ("gradient of the probability", "gradient", "smoothgrad"):
        assert np.median(angles[name][near]) < 10
    assert (angles["smoothgrad"] < 90).mean() > 0.97
    assert (angles["integrated gradients"] < 90).mean() < 0.55, "shares are no directions"


def test_only_the_probability_draws_the_boundary(measured: study.Study) -> None:
    distance = np.abs(study.depth(measured.points)[0])
    ratio = {}
    for name in ("gradient of the probability", "gradient"):
        length = np.linalg.norm(measured.vectors[name], axis=1)
        ratio[name] = np.median(length[distance < study.NEAR]) / np.median(length[distance > study.FAR])
    assert ratio["gradient of the probability"] > 100
    assert 0.5 < ratio["gradient"] < 2


def test_shares_sum_to_the_score_and_speak_against_outside(measured: study.Study) -> None:
    assert study.explained(measured, "integrated gradients") > 0.999
    assert study.explained(measured, "LRP-ε") < 0.8
    outside = study.depth(measured.points)[0] < -study.NEAR
    for name in study.SHARES:
        assert (measured.vectors[name][outside] < 0).all(axis=1).mean() > 0.7
    assert (measured.vectors["gradient"][outside] < 0).all(axis=1).mean() < 0.5


def test_the_page_says_what_is_measured(measured: study.Study) -> None:
    said, now = (page.numbers(text) for text in (page.filled("toy.md"), study.tables(measured)))
    np.testing.assert_allclose(said, now, atol=1.0)  # rounding of another machine may move a point or two of 441


def test_the_picture_is_drawn(measured: study.Study, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    from examples.toy.picture import draw, draw_published

    draw(measured.points, measured.vectors, measured.ground, study.CORNERS, tmp_path / "toy.png")
    assert (tmp_path / "toy.png").stat().st_size > 20_000
    whole = (measured.learned, measured.inside, measured.points, measured.vectors[study.PUBLISHED])
    draw_published(*whole, measured.ground, study.CORNERS, tmp_path / "published.png")
    assert (tmp_path / "published.png").stat().st_size > 20_000


def test_the_training_data_are_the_triangle(measured: study.Study) -> None:
    np.testing.assert_array_equal(measured.inside, study.depth(measured.learned)[0] > 0)
    assert len(measured.learned) == study.POINTS


def test_arguments_are_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        page.run(study.main, ["points.npz"])
    line = capsys.readouterr().err
    assert "expected no argument, found 'points.npz'" in line
    assert line.count("\n") == 1
