"""Metrics of robustness, on models whose explanations change as known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from onnxplain.evaluation.metrics.robustness import drawn, scale_of, shifted
from tests.support.judged import (
    Array,
    MetricBatch,
    explained,
    from_array,
    linear,
    measured,
    one_by_one,
    random,
    refusals,
    score,
    squares,
)

METRICS = ("max-sensitivity", "average-sensitivity", "local-lipschitz", "continuity")


def steps(batch: MetricBatch, noise: str, samples: int, unit: Array | float) -> Array:
    """The changes of the input, [samples, n, elements]; the inputs are float32, and so are their neighbours."""
    near = [(batch.x + d * unit).astype(np.float32) for d in drawn(batch, "neighbours", noise, samples)]
    return np.stack([(n.astype(np.float64) - batch.x).reshape(len(batch), -1) for n in near])


@pytest.mark.parametrize("name", METRICS)
def test_the_gradient_of_a_linear_model_never_changes(name: str) -> None:
    batch = explained(linear(random(5, 3)), random(4, 5))
    np.testing.assert_array_equal(score(batch, name), 0)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_contributions_to_a_linear_model_change_with_the_input(noise: str) -> None:
    w, x = random(5, 3), random(4, 5, seed=1)
    batch = explained(linear(w), x, "input-x-gradient", target=2)
    change = steps(batch, noise, 6, 0.3) * w[:, 2]
    sizes = np.linalg.norm(change, axis=2) / np.linalg.norm(x * w[:, 2], axis=1)
    slopes = np.linalg.norm(change, axis=2) / np.linalg.norm(steps(batch, noise, 6, 0.3), axis=2)
    options = {"samples": 6, "radius": 0.3, "noise": noise, "scale": 1.0}
    np.testing.assert_allclose(score(batch, "max-sensitivity", **options), sizes.max(axis=0), rtol=1e-5)
    np.testing.assert_allclose(score(batch, "average-sensitivity", **options), sizes.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(score(batch, "local-lipschitz", **options), slopes.max(axis=0), rtol=1e-5)
    assert (score(batch, "local-lipschitz", **options) <= np.abs(w[:, 2]).max() + 1e-5).all()


def test_the_gradient_of_squares_changes_as_the_input_does() -> None:
    """R(x) = x: the Lipschitz constant is 1, and continuity the ratio of the two norms, 1 to √d."""
    batch = explained(squares((3, 5, 6)), random(3, 3, 5, 6), target=0)
    np.testing.assert_allclose(score(batch, "local-lipschitz"), 1, rtol=1e-4)
    sizes = np.linalg.norm(batch.x.reshape(3, -1), axis=1)
    np.testing.assert_allclose(score(batch, "local-lipschitz", relative=True), 1 / sizes, rtol=1e-4)
    moved = steps(batch, "uniform", 10, 0.05 * np.ptp(batch.x))
    ratio = np.abs(moved).sum(axis=2) / np.linalg.norm(moved, axis=2)
    np.testing.assert_allclose(score(batch, "continuity"), ratio.max(axis=0), rtol=1e-4)


@pytest.mark.parametrize("name", [*METRICS, "translation-continuity"])
def test_results_do_not_depend_on_the_batch(name: str) -> None:
    batch = explained(squares((2, 6, 7)), random(4, 2, 6, 7), "input-x-gradient", target=0)
    np.testing.assert_allclose(one_by_one(batch, name), score(batch, name), rtol=1e-6)
    np.testing.assert_array_equal(score(batch, name), score(batch, name))


def test_other_seeds_draw_other_neighbours() -> None:
    made = [score(explained(squares((9,)), random(3, 9), target=0, seed=seed), "continuity") for seed in (0, 0, 1)]
    np.testing.assert_array_equal(made[0], made[1])
    assert (made[0] != made[2]).all()


def test_columns_of_a_table_have_a_scale_of_their_own() -> None:
    """A column a thousand times as wide, with a weight a thousandth as large, is the same column in another unit."""
    x, w, unit = random(6, 4), random(4, 2, seed=1), np.array([1, 1000, 0.01, 1], np.float32)
    one = explained(linear(w), x, "input-x-gradient", target=0)
    other = explained(linear(w / unit[:, None]), x * unit, "input-x-gradient", target=0)
    np.testing.assert_allclose(score(other, "max-sensitivity"), score(one, "max-sensitivity"), rtol=1e-4)
    np.testing.assert_allclose(scale_of(other.data, "data"), x.std(axis=0) * unit, rtol=1e-5)
    x[:, 3] = 2  # a constant column stays where it is
    batch = explained(linear(w), x, "input-x-gradient", target=0)
    assert (steps(batch, "uniform", 2, scale_of(batch.data, "data"))[..., 3] == 0).all()


def test_an_explanation_of_zeros_has_no_relative_change() -> None:
    batch = explained(squares((4,)), np.zeros((2, 4), np.float32), "input-x-gradient", target=0)
    assert np.isnan(score(batch, "max-sensitivity", scale=1.0)).all()


# -- along a translation -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [-4, -2, 0, 1, 3, 9])
def test_moving_rolls_and_fills(by: int) -> None:
    x = random(2, 3, 4)
    rolled = np.roll(x, by, axis=2)
    gone = np.arange(4) - by
    rolled[:, :, (gone < 0) | (gone > 3)] = 7
    np.testing.assert_array_equal(shifted(x, np.float32(7), 2, by), rolled)


def test_contributions_move_with_the_input() -> None:
    """f = Σ x², so that input × gradient is x²: both are known at every place."""
    x = random(3, 1, 5, 8)
    batch = explained(squares((1, 5, 8)), x, "input-x-gradient", target=0)
    at = [shifted(x, np.float32(0), 3, by).astype(np.float64).reshape(3, -1) for by in range(-2, 3)]
    slopes = [np.abs(a**2 - b**2).sum(1) / np.sqrt(((a - b) ** 2).sum(1)) for a, b in pairwise(at)]
    made = measured(batch, "translation-continuity")
    np.testing.assert_allclose(made.curves["slope"], np.stack(slopes, axis=1), rtol=1e-5)
    np.testing.assert_allclose(made.score, np.max(slopes, axis=0), rtol=1e-5)
    assert made.at is not None
    np.testing.assert_array_equal(made.at, [-1, 0, 1, 2])
    made = measured(batch, "translation-continuity", reach=2, pairs="original")
    own = [np.abs(a**2 - at[2] ** 2).sum(1) / np.sqrt(((a - at[2]) ** 2).sum(1)) for i, a in enumerate(at) if i != 2]
    np.testing.assert_allclose(made.score, np.max(own, axis=0), rtol=1e-5)
    relative = score(batch, "translation-continuity", reach=2, pairs="original", relative=True)
    np.testing.assert_allclose(relative, made.score / np.abs(at[2] ** 2).sum(1), rtol=1e-5)
    assert np.isnan(made.curves["slope"][:, 2]).all()  # where it was, nothing changed


def test_the_baseline_comes_into_sight_and_axes_can_be_chosen() -> None:
    x = np.full((2, 1, 6, 8), 0.5, np.float32)
    assert np.isnan(score(explained(squares((1, 6, 8)), x, target=0, baseline=0.5), "translation-continuity")).all()
    batch = explained(squares((1, 6, 8)), x, target=0)
    column, row = (score(batch, "translation-continuity", reach=1, axis=axis) for axis in (-1, -2))
    np.testing.assert_allclose(column, 6 / np.sqrt(6), rtol=1e-5)
    np.testing.assert_allclose(row, 8 / np.sqrt(8), rtol=1e-5)


# -- what is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*METRICS, "translation-continuity"])
def test_attributions_from_elsewhere_are_refused(name: str) -> None:
    batch = from_array(squares((4, 4)), random(2, 4, 4), random(2, 4, 4))
    assert "a method is needed" in refusals(batch, name)


def test_bad_options_are_refused_all_at_once() -> None:
    batch = explained(linear(random(4, 2)), random(2, 4))
    text = refusals(batch, "continuity", samples=0, radius=-1, noise="pink", scale="own")
    for words in ("samples is a whole number from 1", "radius is a number above 0", "uniform, normal", "unless it is 'data'"):
        assert words in text
    assert "no order" in refusals(batch, "translation-continuity")
    still = explained(linear(random(4, 2)), np.ones((3, 4), np.float32))
    assert "do not vary" in refusals(still, "continuity")
    assert not refusals(still, "continuity", scale=1.0)
    picture = explained(squares((1, 5, 5)), random(2, 1, 5, 5), target=0)
    assert "from 1 to 5" in refusals(picture, "translation-continuity", reach=6)
    assert "there are 2" in refusals(picture, "translation-continuity", axis=2)
    assert "consecutive, original" in refusals(picture, "translation-continuity", pairs="all")
