"""Metrics of localisation, against scikit-learn and by brute force over all ways to break ties."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from onnxplain.errors import InputError
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metrics.localisation import hits, roc_auc
from tests.support.judged import Array, MetricBatch, from_array, linear, measured, one_by_one, random, refusals, score, squares

METRICS = ("pointing-game", "relevance-mass", "relevance-rank", "top-k-intersection", "iou", "localisation-auc")


@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_the_area_under_the_curve_is_scikit_learns(levels: int) -> None:
    generator = np.random.default_rng(levels)
    values = generator.integers(levels, size=(20, 30)).astype(float)
    inside = generator.random((20, 30)) < 0.3
    inside[:, :2] = True, False
    wanted = [roc_auc_score(i, v) for i, v in zip(inside, values, strict=True)]
    np.testing.assert_allclose(roc_auc(values, inside), wanted, atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_ties_count_as_chance_would_have_them(seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, inside = generator.integers(3, size=6), generator.random(6) < 0.5
    for count in range(1, 6):
        orders = [order for order in permutations(range(6)) if (np.diff(values[list(order)]) <= 0).all()]
        wanted = np.mean([inside[list(order[:count])].sum() for order in orders])
        made = hits(values[None].astype(float), inside[None], np.array([count]))
        np.testing.assert_allclose(made, wanted, atol=1e-12)


def picture(a: Array, masks: Array) -> MetricBatch:
    a = np.asarray(a, np.float64)
    return from_array(squares(a.shape[1:]), random(*a.shape), a, masks=masks)


def test_by_hand() -> None:
    """Two channels: places have the sums 3, −2, 1 and 0, 4, 2; the mask has the first column and the middle of the second row."""
    a = np.zeros((1, 2, 2, 3))
    a[0, 0] = [[5, -2, 0], [1, 4, 2]]
    a[0, 1] = [[-2, 0, 1], [-1, 0, 0]]
    masks = np.array([[[1, 0, 0], [1, 1, 0]]])
    batch = picture(a.swapaxes(2, 3), masks.swapaxes(1, 2))  # three columns last would be the colours of a picture
    assert score(batch, "pointing-game") == 1  # the 4
    assert score(batch, "relevance-mass") == pytest.approx(7 / 10)
    assert measured(batch, "relevance-mass").facts["gain"] == pytest.approx(1.4)
    assert score(batch, "relevance-mass", sign="absolute") == pytest.approx(7 / 12)
    assert score(batch, "relevance-mass", sign="signed") == pytest.approx(7 / 8)
    assert score(batch, "relevance-rank") == pytest.approx(2 / 3)  # 4, 3 and the 2 outside
    assert score(batch, "top-k-intersection", k=1) == 1
    assert score(batch, "top-k-intersection", k=5) == pytest.approx(3 / 5)
    assert measured(batch, "top-k-intersection", k=0.5).facts["influence"] == pytest.approx(4 / 3)
    assert score(batch, "iou", threshold=0.6) == pytest.approx(2 / 3)  # 4 and 3
    assert score(batch, "iou", threshold=0.2) == pytest.approx(2 / 5)  # 4, 3, 2, 1
    assert score(batch, "iou", threshold="area") == pytest.approx(2 / 4)
    assert score(batch, "localisation-auc") == pytest.approx((3 + 3 + 1) / 9)  # 4 and 3 above all outside, 0 above the −2


@pytest.mark.parametrize("name", METRICS)
def test_the_mask_itself_is_the_best_explanation(name: str) -> None:
    masks = np.random.default_rng(0).random((4, 5, 6)) < 0.4
    right, wrong = picture(masks[:, None], masks), picture(~masks[:, None], masks)
    options = {"k": int(masks.sum(axis=(1, 2)).min())} if name == "top-k-intersection" else {}
    np.testing.assert_allclose(score(right, name, **options), 1)
    np.testing.assert_allclose(score(wrong, name, **options), 0)


@pytest.mark.parametrize("name", METRICS)
def test_samples_do_not_depend_on_each_other(name: str) -> None:
    batch = picture(random(5, 3, 6, 6), np.random.default_rng(1).random((5, 6, 6)) < 0.3)
    np.testing.assert_allclose(one_by_one(batch, name), score(batch, name))


def test_an_explanation_of_zeros_points_nowhere() -> None:
    batch = picture(np.zeros((2, 1, 4, 4)), np.eye(4)[None].repeat(2, 0))
    assert np.isnan(score(batch, "pointing-game")).all()
    assert np.isnan(score(batch, "relevance-mass")).all()
    assert np.isnan(score(batch, "iou")).all()
    np.testing.assert_allclose(score(batch, "localisation-auc"), 0.5)
    np.testing.assert_allclose(score(batch, "relevance-rank"), 0.25)  # as often as by chance


def test_several_largest_places_share_the_hit() -> None:
    a, masks = np.zeros((1, 1, 2, 2)), np.zeros((1, 2, 2))
    a[0, 0, 0], masks[0, 0, 0] = 1, 1
    assert score(picture(a, masks), "pointing-game") == 0.5


def test_columns_of_a_table_are_places() -> None:
    batch = from_array(linear(random(4, 2)), random(1, 4), [[1.0, 3, 0, -1]], masks=np.array([[0, 1, 1, 0]]))
    assert score(batch, "relevance-mass") == pytest.approx(3 / 4)
    assert score(batch, "pointing-game") == 1


def test_what_does_not_fit_is_refused() -> None:
    batch = from_array(linear(random(4, 2)), random(2, 4), random(2, 4))
    for name in METRICS:
        assert "give masks" in refusals(batch, name)
    batch = from_array(linear(random(4, 2)), random(2, 4), random(2, 4), masks=np.array([[1, 0, 0, 0]] * 2))
    assert "one of signed, positive, absolute" in refusals(batch, "pointing-game", sign="negative")
    assert "from 1 to 4" in refusals(batch, "top-k-intersection", k=5)
    assert "'area'" in refusals(batch, "iou", threshold=2.0)
    with pytest.raises(InputError, match="do not fit"):
        Data(linear(random(4, 2)), random(2, 4), masks=np.ones((2, 5)))
