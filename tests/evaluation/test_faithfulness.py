"""Faithfulness metrics: closed forms on linear models, and plain loops over single samples on a network."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

from onnxplain.errors import MetricError
from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import all_metrics, metric_named
from onnxplain.evaluation.subject import Subject
from tests.support.judged import from_array
from tests.support.metric_cases import BIAS, PICTURES, ROWS, WEIGHTS, Array, linear, measured, network, score
from tests.support.models import model, node, run


def contributions(target: int = 1) -> Array:
    """What every feature adds to the score of the linear model, beyond the baseline 0."""
    return ROWS.astype(np.float64) * WEIGHTS[:, target]


def trapezoid(values: list[float]) -> float:
    """The area under values at equal distances on 0 … 1."""
    return sum((a + b) / 2 for a, b in pairwise(values)) / (len(values) - 1)


# -- selectivity -------------------------------------------------------------------------------------------------------


def flipped(
    sample: Array, attribution: Array, groups: list[list[tuple[int, ...]]], to: Array, least: bool = False
) -> list[Array]:
    """The versions of one sample with more and more groups replaced, one at a time, by the size of their attribution."""
    sums = [sum(float(attribution[p]) for p in g) for g in groups]
    order = sorted(range(len(groups)), key=lambda i: sums[i] if least else -sums[i])
    versions = [sample.copy()]
    for number in order:
        after = versions[-1].copy()
        for place in groups[number]:
            after[place] = to[place]
        versions.append(after)
    return versions


PIXELS = [[(c, i, j) for c in range(2)] for i, j in product(range(6), range(5))]
PATCHES = [
    [(c, i, j) for c in range(2) for i in range(6) for j in range(5) if (i // 2, j // 2) == (a, b)]
    for a, b in product(range(3), range(3))
]
ELEMENTS = [[p] for p in product(range(2), range(6), range(5))]


@pytest.mark.parametrize("least", [False, True])
@pytest.mark.parametrize(
    ("groups", "options"), [(PIXELS, {}), (ELEMENTS, {"features": "elements", "steps": 60}), (PATCHES, {"patch": 2})]
)
def test_selectivity_is_what_a_loop_finds(groups: list[Any], options: dict[str, Any], least: bool) -> None:
    made, attribution = network(), np.random.default_rng(4).normal(size=PICTURES.shape)
    found = measured(
        "selectivity-lerf" if least else "selectivity", from_array(made, PICTURES, attribution, baseline=0.5, target=2), **options
    )
    for row, sample in enumerate(PICTURES):
        versions = flipped(sample, attribution[row], groups, np.full(sample.shape, 0.5, np.float32), least)
        values = [float(run(made, {"x": v[None]})["y"][0, 2]) for v in versions]
        assert found.score[row] == pytest.approx(trapezoid(values), abs=1e-5)
        np.testing.assert_allclose(next(iter(found.curves.values()))[row], values, atol=1e-5)


def test_selectivity_of_a_linear_model_in_closed_form() -> None:
    of = from_array(linear(), ROWS, contributions(), target=1)
    most = -np.sort(-contributions(), axis=1)
    curve = (ROWS @ WEIGHTS + BIAS)[:, 1:2] - np.concatenate([np.zeros((5, 1)), most.cumsum(axis=1)], axis=1)
    np.testing.assert_allclose(score("selectivity", of), ((curve[:, 1:] + curve[:, :-1]) / 2).mean(axis=1), atol=1e-5)
    gap = score("selectivity-lerf", of) - score("selectivity", of)
    np.testing.assert_allclose(score("selectivity-gap", of), gap, atol=1e-6)
    for wrong in (-contributions(), np.zeros_like(contributions())):
        assert (score("selectivity", from_array(linear(), ROWS, wrong, target=1)) > score("selectivity", of)).all()


def test_absolute_orders_by_size() -> None:
    of = from_array(linear(), ROWS, contributions(), target=1)
    sizes = from_array(linear(), ROWS, np.abs(contributions()), target=1)
    np.testing.assert_allclose(score("selectivity", of, absolute=True), score("selectivity", sizes), atol=1e-9)


def test_region_perturbation_is_what_a_loop_finds() -> None:
    made, attribution = network(), np.random.default_rng(5).normal(size=PICTURES.shape)
    found = score("region-perturbation", from_array(made, PICTURES, attribution, target=0), patch=2)
    for row, sample in enumerate(PICTURES):
        mean = np.broadcast_to(sample.mean(axis=(1, 2), keepdims=True), sample.shape)
        values = [float(run(made, {"x": v[None]})["y"][0, 0]) for v in flipped(sample, attribution[row], PATCHES, mean)]
        assert found[row] == pytest.approx(np.mean([values[0] - v for v in values]), abs=1e-5)


@pytest.mark.parametrize("softmax", [False, True])
def test_deletion_and_insertion_follow_probabilities(softmax: bool) -> None:
    made, attribution = network(softmax), np.random.default_rng(6).normal(size=PICTURES.shape)
    of = from_array(made, PICTURES, attribution, target=1)
    deleted, inserted = score("deletion", of), score("insertion", of, replace="baseline")

    def probability(version: Array) -> float:
        powers = np.exp(run(network(), {"x": version[None]})["y"][0].astype(np.float64))
        return float(powers[1] / powers.sum())

    for row, sample in enumerate(PICTURES):
        versions = flipped(sample, attribution[row], PIXELS, np.zeros_like(sample))
        assert deleted[row] == pytest.approx(trapezoid([probability(v) for v in versions]), abs=1e-5)
        versions = flipped(np.zeros_like(sample), attribution[row], PIXELS, sample)
        assert inserted[row] == pytest.approx(trapezoid([probability(v) for v in versions]), abs=1e-5)


# -- correlation, infidelity, monotonicity -------------------------------------------------------------------------------


def test_exact_contributions_of_a_linear_model_are_faultless() -> None:
    of = from_array(linear(), ROWS, contributions(), target=1)
    for name in ("faithfulness-correlation", "faithfulness-estimate", "sensitivity-n"):
        np.testing.assert_allclose(score(name, of), 1, atol=1e-5)
    np.testing.assert_allclose(score("infidelity", of), 0, atol=1e-9)
    wrong = from_array(linear(), ROWS, -contributions(), target=1)
    np.testing.assert_allclose(score("faithfulness-correlation", wrong), -1, atol=1e-5)


def test_correlation_over_sets_of_a_linear_model_in_closed_form() -> None:
    """Over random sets of one size, sums of two lists correlate as the lists themselves do."""
    given = np.random.default_rng(7).normal(size=ROWS.shape)
    of = from_array(linear(), ROWS, given, target=1)
    wanted = [np.corrcoef(a, c)[0, 1] for a, c in zip(given, contributions(), strict=True)]
    np.testing.assert_allclose(score("faithfulness-estimate", of), wanted, atol=1e-5)
    for size in (2, 3):
        np.testing.assert_allclose(score("faithfulness-correlation", of, size=size, runs=4000), wanted, atol=0.06)
    curve = measured("sensitivity-n", of, sizes=[1, 4], runs=4000).curves["correlation"]
    np.testing.assert_allclose(curve, np.stack([wanted, wanted], axis=1), atol=0.06)


def test_a_constant_attribution_has_no_correlation() -> None:
    of = from_array(linear(), ROWS, np.ones_like(ROWS), target=1)
    assert np.isnan(score("faithfulness-correlation", of)).all()
    assert np.isnan(score("faithfulness-estimate", of)).all()


def test_infidelity_of_removal_in_closed_form() -> None:
    """E (Σ_S d)² over sets of m of n = m/n Σ d² + m (m − 1) / (n (n − 1)) Σ_{i≠j} d_i d_j."""
    given = np.random.default_rng(8).normal(size=ROWS.shape)
    d, n, m = given - contributions(), 6, 3
    squares, cross = (d**2).sum(axis=1), d.sum(axis=1) ** 2 - (d**2).sum(axis=1)
    wanted = m / n * squares + m * (m - 1) / (n * (n - 1)) * cross
    found = score("infidelity", from_array(linear(), ROWS, given, target=1), size=0.5, runs=6000)
    np.testing.assert_allclose(found, wanted, rtol=0.08)


def test_infidelity_of_slopes_under_noise_in_closed_form() -> None:
    """E (I · (φ − w))² = σ² ‖φ − w‖² for normal I."""
    given = np.random.default_rng(9).normal(size=ROWS.shape)
    of = from_array(linear(), ROWS, given, target=1)
    sigma = 0.5 * ROWS.std()
    found = score("infidelity", of, units="slope", perturb="noise", spread=0.5, runs=6000)
    np.testing.assert_allclose(found, sigma**2 * ((given - WEIGHTS[:, 1]) ** 2).sum(axis=1), rtol=0.08)


def test_infidelity_knows_which_methods_give_slopes() -> None:
    data = Data(linear(), ROWS, target=1)
    for method, options in (
        ("gradient", {}), ("smoothgrad", {"samples": 2}), ("input-x-gradient", {}), ("integrated-gradients", {"steps": 3}),
        ("integrated-gradients", {"steps": 3, "multiply": False}), ("occlusion", {"window": 1, "stride": 1}),
    ):  # fmt: skip
        of = MetricBatch.of(Subject(method, data, method=method, options=options))
        np.testing.assert_allclose(score("infidelity", of), 0, atol=1e-6, err_msg=method)


def test_scaled_infidelity_ignores_the_scale() -> None:
    of = from_array(linear(), ROWS, 7 * contributions(), target=1)
    found = measured("infidelity", of, scaled=True)
    np.testing.assert_allclose(found.score, 0, atol=1e-8)
    np.testing.assert_allclose(found.facts["factor"], 1 / 7, atol=1e-5)


def test_monotonicity_of_a_linear_model_in_closed_form() -> None:
    found = measured("monotonicity", from_array(linear(), ROWS, contributions(), target=1))
    np.testing.assert_allclose(found.score, (contributions() >= 0).mean(axis=1))
    assert not found.facts["monotone"].any()
    rising = from_array(linear(), np.abs(ROWS) * np.sign(WEIGHTS[:, 1]), np.abs(contributions()), target=1)
    assert measured("monotonicity", rising).facts["monotone"].all()


def test_monotonicity_correlation_of_a_linear_model() -> None:
    """A feature's variance is σ² w², so weights are in its order, and their inverse in the opposite one."""
    weights = np.broadcast_to(WEIGHTS[:, 1], ROWS.shape)
    assert score("monotonicity-correlation", from_array(linear(), ROWS, weights, target=1), samples=3000) == pytest.approx(1)
    inverse = from_array(linear(), ROWS, 1 / weights, target=1)
    assert score("monotonicity-correlation", inverse, samples=3000) == pytest.approx(-1)


# -- decisions -----------------------------------------------------------------------------------------------------------


def test_top_k_flips_are_what_a_loop_finds() -> None:
    attribution = np.random.default_rng(10).normal(size=ROWS.shape)
    found = measured("top-k-flips", from_array(linear(), ROWS, attribution), k=3)
    groups = [[(i,)] for i in range(6)]
    for row, sample in enumerate(ROWS):
        decided = [
            int(run(linear(), {"x": v[None]})["y"].argmax()) for v in flipped(sample, attribution[row], groups, 0 * sample)
        ]
        flips = [float(decided[k] != decided[0]) for k in (1, 2, 3)]
        assert found.curves["flipped"][row].tolist() == flips
        first = flips.index(1.0) + 1 if 1.0 in flips else np.nan
        np.testing.assert_equal(found.facts["first"][row], first)


def test_a_sigmoid_decides_for_itself() -> None:
    """The decision on one of several sigmoids is its own sign, not which of them is greatest."""
    nodes = [node("MatMul", "x w", "m"), node("Sigmoid", "m", "y")]
    made = model(nodes, {"x": ["n", 6]}, {"y": ["n", 3]}, {"w": WEIGHTS})
    of = from_array(made, ROWS, np.abs(ROWS), target=0)
    assert of.decisions(of.x).tolist() == ((ROWS @ WEIGHTS)[:, 0] > 0).astype(int).tolist()


def test_comprehensiveness_and_sufficiency_kept_are_what_a_loop_finds() -> None:
    attribution = np.random.default_rng(11).normal(size=ROWS.shape)
    of = from_array(linear(), ROWS, attribution, target=2)
    removed, kept = score("comprehensiveness", of, shares=[0.2, 0.5]), score("sufficiency-kept", of, shares=[0.2, 0.5])

    def probability(sample: Array) -> float:
        powers = np.exp(sample.astype(np.float64) @ WEIGHTS + BIAS)
        return float(powers[2] / powers.sum())

    for row, sample in enumerate(ROWS):
        order = np.argsort(-attribution[row])
        falls: list[list[float]] = [[], []]
        for count in (2, 3):  # the shares of six features, rounded up
            without, only = sample.copy(), np.zeros_like(sample)
            without[order[:count]] = 0
            only[order[:count]] = sample[order[:count]]
            falls[0].append(probability(sample) - probability(without))
            falls[1].append(probability(sample) - probability(only))
        assert [removed[row], kept[row]] == pytest.approx([np.mean(f) for f in falls], abs=1e-6)


def test_sufficiency_compares_all_samples() -> None:
    x = np.random.default_rng(12).normal(size=(12, 6)).astype(np.float32)
    attribution = np.random.default_rng(13).normal(size=x.shape)
    of = from_array(linear(), x, attribution)
    decided = (x @ WEIGHTS + BIAS).argmax(axis=1)
    apart = np.array([[np.linalg.norm(a - b) for b in attribution] for a in attribution])
    found = measured("sufficiency", of, threshold=0.5)
    for i in range(12):
        near = [j for j in range(12) if j != i and apart[i, j] <= 0.5 * apart.max()]
        np.testing.assert_allclose(found.score[i], np.mean([decided[j] == decided[i] for j in near]) if near else np.nan)
    some = MetricBatch(of.data, of.subject, of.samples[3:5], of.attribution[3:5])
    np.testing.assert_array_equal(metric_named("sufficiency").compute(some, threshold=0.5).score, found.score[3:5])


# -- what holds for all --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, m in all_metrics().items() if m.family == "faithfulness"])
@pytest.mark.parametrize("kind", ["table", "image"])
def test_results_do_not_depend_on_the_batch(name: str, kind: str) -> None:
    if "road" in name:
        pytest.importorskip("scipy", reason="imputing needs SciPy, from the extra 'evaluation'")
    made, x = (linear(), ROWS) if kind == "table" else (network(), PICTURES)
    attribution = np.random.default_rng(19).normal(size=x.shape)
    whole = from_array(made, x, attribution, batch_size=7)
    if metric_named(name).problems(MetricContext.of(whole.subject), {}):
        assert kind == "table"
        assert name in ("road", "road-lerf", "region-perturbation")
        return
    together = metric_named(name).compute(whole).score
    order = np.array([2, 0])
    apart = metric_named(name).compute(MetricBatch(whole.data, whole.subject, order, whole.attribution[order])).score
    np.testing.assert_allclose(apart, together[order], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("road", {}, "needs neighbours in space or time"),
        ("deletion", {"replace": "blr"}, "replace='blr' is unknown; give baseline, mean"),
        ("deletion", {"patch": 7}, "patch 7 is larger than the input, which has 6 places"),
        ("deletion", {"steps": 0}, "steps is a whole number from 1 on, found 0"),
        ("deletion", {"features": "pixel"}, "features='pixel' is unknown"),
        ("infidelity", {"perturb": "noise"}, "use perturb=removal"),
        ("faithfulness-correlation", {"runs": 1}, "runs is a whole number from 2 on"),
        ("top-k-flips", {"k": 0}, "k is a whole number from 1 on"),
        ("sufficiency", {"threshold": 2}, "threshold lies between 0 and 1"),
    ],
)
def test_what_does_not_apply_is_named_before_it_runs(name: str, options: dict[str, Any], says: str) -> None:
    of = from_array(linear(), ROWS, ROWS)
    problems = metric_named(name).problems(MetricContext.of(of.subject), options)
    assert any(says in p for p in problems), problems


@pytest.mark.parametrize("replace", ["mean", "noise", "opposite"])
def test_constant_features_are_named_where_the_data_replace_them(replace: str) -> None:
    x = ROWS.copy()
    x[:, 4] = 1
    of = from_array(linear(), x, x)
    (problem,) = metric_named("deletion").problems(MetricContext.of(of.subject), {"replace": replace})
    assert "features 4 are constant over the data" in problem
    assert metric_named("deletion").problems(MetricContext.of(of.subject), {}) == []


def test_a_wrong_name_or_option_is_refused_with_what_there_is() -> None:
    with pytest.raises(MetricError, match="no metric 'deletoin'; did you mean 'deletion'"):
        metric_named("deletoin")
    with pytest.raises(MetricError, match="has no option 'replac'; it takes absolute, features, patch, replace, steps"):
        metric_named("deletion").checked({"replac": 1})
