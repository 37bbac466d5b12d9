"""What the pages of the studies claim holds for the committed models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from examples import page
from examples.sinusoid import study


@pytest.fixture(scope="module")
def measured() -> Any:
    return study.measure(study.load())


def test_channels_cannot_be_told_by_their_power(measured: Any) -> None:
    power = (measured.task.signal.astype(np.float64) ** 2).mean(axis=(0, 2))
    np.testing.assert_allclose(power, 1, atol=0.03)


@pytest.mark.parametrize(
    ("method", "share"), [("gradient", 0.78), ("sensitivity", 0.94), ("lrp-epsilon", 0.78), ("lrp-alpha2-beta1", 0.76)]
)
def test_every_method_tells_signal_from_dummy_channels(measured: Any, method: str, share: float) -> None:
    channels = measured.channels[method]
    assert channels.signal > share
    assert channels.margin > 1.3, "the weakest signal channel against the strongest dummy channel"
    assert channels.ordered > 0.995
    assert channels.correlation > 0.93


def test_few_points_found_by_lrp_keep_the_accuracy(measured: Any) -> None:
    kept = {name: dict(zip(study.COUNTS, curve, strict=True)) for name, curve in measured.kept.items()}
    best, by_size = study.BEST, f"{study.BEST}, by size"
    assert measured.accuracy > 0.96
    assert kept[best][32] > measured.accuracy - 0.03
    assert kept[by_size][64] > 0.87
    for name in ("sensitivity", "input by size"):
        assert kept[name][32] < 0.48
    for k in (32, 64):
        assert kept["random"][k] < 0.32
        assert kept[f"{best}, the smallest by size"][k] < 0.3


def test_the_sign_of_relevance_names_the_class_but_its_size_finds_the_signal(measured: Any) -> None:
    at = study.COUNTS.index(64)
    assert measured.kept[f"{study.BEST} of another class"][at] < 0.4
    assert measured.kept[f"{study.BEST} of another class, by size"][at] > 0.65


def test_relevant_points_are_where_the_sinusoid_shows(measured: Any) -> None:
    found = study.found(measured)
    best, negative, every = found[study.BEST], found[f"{study.BEST}, the most negative"], found["all points"]
    assert best.signal > 0.95
    assert best.extreme > 0.45
    assert every.extreme < 0.36
    assert best.agree > 0.92
    assert negative.agree < 0.2
    assert found["sensitivity"].agree < 0.6, "it does not depend on the sign of the input"


def test_the_page_says_what_is_measured(measured: Any) -> None:
    said, now = (page.numbers(text) for text in (page.filled("sinusoid.md"), study.tables(measured)))
    np.testing.assert_allclose(said, now, atol=1.0)  # rounding of another machine may move a sample or two of 300
