"""Intervals, ranks and lists of settings, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain.errors import InputError
from onnxplain.evaluation.report.summary import bootstrap, mean_ranks, summarised
from onnxplain.evaluation.spec import read_spec, split_specs


def test_the_interval_is_that_of_the_central_limit() -> None:
    values = np.random.default_rng(4).normal(3, 2, size=400)
    low, high = bootstrap(values)
    half = 1.96 * values.std() / 20
    assert [low, high] == pytest.approx([values.mean() - half, values.mean() + half], abs=0.03)
    lows, highs = bootstrap(np.stack([values, -values], axis=1))
    assert lows[0] == pytest.approx(low)
    assert highs[0] == pytest.approx(high)
    assert [lows[1], highs[1]] == pytest.approx([-high, -low], abs=0.02)


def test_ranks_follow_what_is_better_and_ties_share() -> None:
    random = np.random.default_rng(5).normal(size=100)
    scores = {"a": random, "b": random + 1e-9, "c": random + 1, "d": np.full(100, np.nan)}
    up, down = summarised(scores, "higher"), summarised(scores, "lower")
    assert [up[s].rank for s in "abc"] == [2.5, 2.5, 1]
    assert [down[s].rank for s in "abc"] == [1.5, 1.5, 3]
    assert [up[s].ties for s in "abcd"] == [False, False, True, False]
    assert np.isnan(up["d"].rank)
    assert (up["d"].count, up["d"].undefined) == (0, 100)


def test_a_difference_within_noise_ties() -> None:
    random = np.random.default_rng(6)
    scores = {"a": random.normal(size=50), "b": random.normal(size=50)}
    assert all(m.ties for m in summarised(scores, "higher").values())


def test_families_count_alike_and_metrics_that_some_lack_do_not() -> None:
    def row(a: float, b: float) -> dict[str, Any]:
        return summarised({"a": np.array([a, a]), "b": np.array([b, b])}, "higher")

    table = {
        "m1": row(1, 0),
        "m2": row(1, 0),
        "m3": row(1, 0),
        "n": row(0, 1),
        "lacking": summarised({"b": np.ones(2)}, "higher"),
    }
    found = mean_ranks(table, {"m1": "m", "m2": "m", "m3": "m", "n": "n", "lacking": "n"})
    assert found["a"] == {"m": 1, "n": 2, "overall": 1.5}
    assert found["b"] == {"m": 2, "n": 1, "overall": 1.5}


def test_a_control_has_no_rank_and_marks_what_is_no_better() -> None:
    random = np.random.default_rng(7)
    noise = random.normal(size=200)
    scores = {"good": noise + 1, "same": noise + random.normal(size=200), "control": noise}
    found = summarised(scores, "higher", ["control"])
    assert [found[s].rank for s in ("good", "same")] == [1, 2]
    assert np.isnan(found["control"].rank)
    assert [found[s].beats for s in scores] == [True, False, None]
    assert summarised(scores, "lower", ["control"])["good"].beats is False
    assert summarised(scores, "higher")["good"].beats is None
    families = {"m": "m", "n": "n"}
    without = {"m": found, "n": {s: m for s, m in found.items() if s != "control"}}
    assert mean_ranks(without, families, ["control"])["good"] == {"m": 1, "n": 1, "overall": 1}


def test_specs() -> None:
    spec = read_spec('ig=integrated-gradients(steps=20, quadrature="trapezoid", multiply=false, noise-level=[1, 2])')
    assert (spec.label, spec.name) == ("ig", "integrated-gradients")
    assert spec.options == {"steps": 20, "quadrature": "trapezoid", "multiply": False, "noise_level": [1, 2]}
    assert read_spec("deletion(replace=mean)").label == "deletion(replace=mean)"
    assert split_specs("a, b(c=1, d=[2, 3]),e") == ["a", "b(c=1, d=[2, 3])", "e"]
    for wrong in ("a(b", "a b", "(a)", "a(b)", ""):
        with pytest.raises(InputError):
            read_spec(wrong)
