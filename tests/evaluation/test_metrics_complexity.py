"""Metrics of complexity, against their other definitions and by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onnxplain.evaluation.metrics.complexity import entropy, gini
from tests.support.judged import Array, from_array, linear, measured, random, refusals, score, squares

SIZES = arrays(
    np.float64, st.tuples(st.integers(1, 4), st.integers(1, 12)), elements=st.floats(0, 1e3).map(lambda v: round(v, 6))
)


@given(SIZES)
def test_gini_is_half_the_relative_mean_difference(sizes: Array) -> None:
    for row, made in zip(sizes, gini(sizes), strict=True):
        if row.sum() == 0:
            assert np.isnan(made)
        else:
            wanted = np.abs(row[:, None] - row).mean() / (2 * row.mean())
            np.testing.assert_allclose(made, wanted, atol=1e-9)


@given(SIZES)
def test_entropy_is_ln_d_less_the_divergence_from_equal_shares(sizes: Array) -> None:
    for row, made in zip(sizes, entropy(sizes), strict=True):
        if row.sum() == 0:
            assert np.isnan(made)
        else:
            shares = row / row.sum()
            divergence = sum(p * np.log(p * len(row)) for p in shares if p > 0)
            np.testing.assert_allclose(made, np.log(len(row)) - divergence, atol=1e-9)


def test_the_extremes() -> None:
    alone, equal = np.zeros((1, 8)), np.full((1, 8), 3.0)
    alone[0, 5] = 2
    assert (gini(alone)[0], gini(equal)[0]) == (pytest.approx(7 / 8), pytest.approx(0))
    assert (entropy(alone)[0], entropy(equal)[0]) == (0, pytest.approx(np.log(8)))


def test_what_counts_are_sizes_of_places() -> None:
    """The channels of a place cancel unless they are taken apart."""
    x = random(2, 3, 4, 5)
    a = np.zeros((2, 3, 4, 5))
    a[:, 0, 1, 2], a[:, 1, 1, 2], a[:, 2, 3, 3] = 1, -1, -4
    batch = from_array(squares((3, 4, 5)), x, a)
    np.testing.assert_allclose(score(batch, "sparseness"), 19 / 20)
    np.testing.assert_allclose(score(batch, "entropy"), 0)
    shares = np.array([1, 1, 4]) / 6
    np.testing.assert_allclose(score(batch, "entropy", channels="apart"), -(shares * np.log(shares)).sum())
    made = measured(batch, "active-elements", channels="apart", eps=0.1)
    np.testing.assert_array_equal(made.score, 3)
    np.testing.assert_allclose(made.facts["share"], 3 / 60)
    np.testing.assert_array_equal(score(batch, "active-elements", channels="apart", eps=0.5), 1)


def test_an_explanation_of_zeros_has_no_complexity() -> None:
    batch = from_array(linear(random(6, 2)), random(3, 6), np.zeros((3, 6)))
    assert np.isnan(score(batch, "sparseness")).all()
    for name in ("entropy", "active-elements", "effective-complexity"):
        assert np.isnan(score(batch, name)).all()


@pytest.mark.parametrize("tolerance", [0.01, 0.1, 0.5])
def test_effective_complexity_by_brute_force(tolerance: float) -> None:
    w, x, a = random(9, 2), random(5, 9, seed=1), random(5, 9, seed=2)
    batch = from_array(linear(w), x, a, target=1, baseline=0.25)
    whole = x.astype(np.float64) @ w[:, 1]
    base = 0.25 * w[:, 1].sum()
    for i, made in enumerate(score(batch, "effective-complexity", tolerance=tolerance)):
        order = np.argsort(-np.abs(a[i]))
        for k in range(1, 10):
            kept = np.full(9, 0.25)
            kept[order[:k]] = x[i, order[:k]]
            if (kept @ w[:, 1] - whole[i]) ** 2 <= tolerance * (whole[i] - base) ** 2:
                break
        assert made == k


def test_a_single_place_may_be_enough() -> None:
    w = np.zeros((300, 2))
    w[7, 0] = 1
    x = np.abs(random(3, 300)) + 1
    named, missed = np.zeros((3, 300)), np.ones((3, 300))
    named[:, 7], missed[:, 7] = 1, 0
    assert (score(from_array(linear(w), x, named, target=0), "effective-complexity") == 1).all()
    assert (score(from_array(linear(w), x, missed, target=0), "effective-complexity") == 300).all()
    fewer = measured(from_array(linear(w), x, missed, target=0), "effective-complexity", steps=5)
    np.testing.assert_allclose(fewer.facts["share"], 1)


def test_bad_options_are_refused() -> None:
    batch = from_array(linear(random(6, 2)), random(3, 6), random(3, 6))
    assert "one of sum, apart" in refusals(batch, "sparseness", channels="each")
    assert "between 0 and 1" in refusals(batch, "active-elements", eps=1.0)
    text = refusals(batch, "effective-complexity", tolerance=0, steps=0)
    assert "between 0 and 1" in text
    assert "from 1 on" in text
