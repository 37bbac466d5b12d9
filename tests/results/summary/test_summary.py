"""Summaries of streamed attributions: those of parts add up to that of the whole, and say what NumPy says of all numbers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import onnxplain
from onnxplain.cli.main import main
from onnxplain.cli.show_drift import drift_json
from onnxplain.errors import InputError
from onnxplain.results.summary.drift import drift, stability
from onnxplain.results.summary.histogram import LogHistogram
from onnxplain.results.summary.summary import EXAMPLES, Summary
from tests.support.paths import FIXTURES

RANDOM = np.random.default_rng(0)
VALUES = RANDOM.normal(size=(3000, 4)) * [1e-6, 1, 1, 1e5]
VALUES[:, 2] = np.where(RANDOM.random(3000) < 0.6, 0, VALUES[:, 2])
TARGET = RANDOM.integers(0, 3, 3000)
REGION = np.array(["north", "south"], object)[RANDOM.integers(0, 2, 3000)]


def part(start: int, stop: int) -> Summary:
    rows = slice(start, stop)
    columns = {"index": np.arange(start, stop), "x_attribution": VALUES[rows], "target": TARGET[rows], "region": REGION[rows]}
    return Summary.of(columns, "region")


@pytest.fixture(scope="module")
def whole() -> Summary:
    return part(0, 1000) + part(1000, 1001) + part(1001, 3000)


def test_means_by_class_and_cohort(whole: Summary) -> None:
    found = whole["x_attribution"]
    np.testing.assert_allclose(found.mean_sizes(), np.abs(VALUES).mean(axis=0))
    for group, rows in {"class=1": TARGET == 1, "region=north": REGION == "north"}.items():
        assert found.groups[group][0] == rows.sum()
        np.testing.assert_allclose(found.mean_sizes(group), np.abs(VALUES[rows]).mean(axis=0))
        np.testing.assert_allclose(found.means(group), VALUES[rows].mean(axis=0))


@pytest.mark.parametrize("q", [0.0, 0.05, 0.25, 0.5, 0.9, 1.0])
def test_quantiles_have_a_relative_error_of_three_percent(whole: Summary, q: float) -> None:
    found = whole["x_attribution"].histogram.quantile(q)
    wanted = np.quantile(VALUES, q, axis=0, method="lower")
    np.testing.assert_allclose(found, wanted, rtol=1 / 32, atol=0)


def test_examples_are_the_largest(whole: Summary) -> None:
    numbers, values = whole["x_attribution"].examples
    for feature in range(4):
        order = np.argsort(-np.abs(VALUES[:, feature]), kind="stable")[:EXAMPLES]
        assert numbers[feature].tolist() == order.tolist()
        np.testing.assert_array_equal(values[feature], VALUES[order, feature])
    best = whole["x_attribution"].of_class["2"]
    sums = np.where(TARGET == 2, VALUES.sum(axis=1), -np.inf)
    assert [index for _, index in best] == np.argsort(-sums, kind="stable")[:EXAMPLES].tolist()


def test_parts_add_up_and_come_back_from_a_file(whole: Summary, tmp_path: Path) -> None:
    with open(tmp_path / "s.npz", "wb") as file:
        whole.write(file)
    for other in (Summary.load(tmp_path / "s.npz"), part(0, 3000)):
        mine, theirs = io.BytesIO(), io.BytesIO()
        np.testing.assert_array_equal(other["x_attribution"].histogram.counts, whole["x_attribution"].histogram.counts)
        np.testing.assert_allclose(other["x_attribution"].mean_sizes("class=0"), whole["x_attribution"].mean_sizes("class=0"))
        whole.write(mine)
        Summary.load(tmp_path / "s.npz").write(theirs)
        assert mine.getvalue() == theirs.getvalue()
    (tmp_path / "no.npz").write_bytes(b"nothing")
    np.savez(tmp_path / "number.npz", about=np.array("3"))
    np.savez(tmp_path / "deep.npz", about=np.array("[" * 100_000))
    for name in ("no.npz", "number.npz", "deep.npz"):
        with pytest.raises(InputError, match="as the summary of a run"):
            Summary.load(tmp_path / name)


def test_large_samples_stay_bounded() -> None:
    """Pictures have means of their own places, and everything else together."""
    values = RANDOM.normal(size=(50, 3, 64, 64))
    found = Summary.of({"index": np.arange(50), "x_attribution": values, "target": np.zeros(50, int)})["x_attribution"]
    np.testing.assert_allclose(found.mean_sizes().reshape(3, 64, 64), np.abs(values).mean(axis=0))
    assert found.histogram.counts.shape[0] == 1
    assert found.mean_sizes("class=0") == pytest.approx(np.abs(values).mean())


def test_no_drift_between_halves_and_drift_where_a_feature_moved() -> None:
    moved = VALUES.copy()
    moved[:, 1] += 1.5
    second = Summary.of({"index": np.arange(3000), "x_attribution": moved})
    found = drift(Summary.of({"index": np.arange(3000), "x_attribution": VALUES}), second)
    assert found.psi[1] > 0.25
    assert np.delete(found.psi, 1).max() == 0
    assert found.order[0] == 1
    halves = drift(part(0, 1500), part(1500, 3000))
    assert halves.psi.max() < 0.1
    assert halves.rank_correlation == pytest.approx(1)


def test_stability_in_closed_form() -> None:
    """Two bins, of which the second run has another share."""
    first, second = np.array([[50, 50]]), np.array([[80, 20]])
    assert stability(first, second) == pytest.approx((0.8 - 0.5) * np.log(0.8 / 0.5) + (0.2 - 0.5) * np.log(0.2 / 0.5))


def by_deciles(first: np.ndarray, second: np.ndarray) -> float:
    """The index of numbers, by NumPy: bins end at the deciles of the first."""
    edges = np.quantile(first, np.arange(1, 10) / 10)
    shares = [np.bincount(np.searchsorted(edges, v, "left"), minlength=10) / len(v) for v in (first, second)]
    a, b = (np.maximum(s, 1e-4) for s in shares)
    return float(((b - a) * np.log(b / a)).sum())


def sparse(share: float) -> np.ndarray:
    """Numbers of which a share is positive, and the others zero."""
    return np.where(RANDOM.random(20_000) < share, RANDOM.uniform(0.5, 1.5, 20_000), 0)


def test_stability_is_that_of_the_deciles_where_no_bucket_holds_more_than_one() -> None:
    first = RANDOM.normal(size=20_000)
    for second in (first + 0.3, 2 * first, -first, RANDOM.normal(size=20_000)):
        found = stability(*(LogHistogram.of(v[:, None]).counts for v in (first, second)))
        assert found == pytest.approx(by_deciles(first, second), rel=0.03, abs=0.002)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (sparse(0.05), sparse(0.95)),
        (sparse(0.05), sparse(0.5)),
        (np.zeros(2000), RANDOM.uniform(0.5, 1.5, 2000)),
        (np.zeros(2000), -RANDOM.uniform(0.5, 1.5, 2000)),
        (np.full(2000, 0.1), np.full(2000, 5.0)),
        (np.full(2000, 5.0), np.full(2000, 0.1)),
    ],
)
def test_a_change_beside_a_number_that_most_samples_share_is_seen(first: np.ndarray, second: np.ndarray) -> None:
    found = stability(*(LogHistogram.of(v[:, None]).counts for v in (first, second)))
    assert found > 1
    assert stability(LogHistogram.of(first[:, None]).counts, LogHistogram.of(first[:, None]).counts) == 0


def test_features_are_compared_by_name() -> None:
    numbers = np.arange(3000)
    names = ["a", "b", "c", "d"]
    first = replace(Summary.of({"index": numbers, "x_attribution": VALUES}), features=names)
    turned = [2, 0, 3, 1]
    second = Summary.of({"index": numbers, "x_attribution": VALUES[:, turned]})
    found = drift(first, replace(second, features=[names[i] for i in turned]))
    assert found.psi.max() == 0
    np.testing.assert_allclose(found.after, found.before)
    assert found.features == tuple(names)
    assert drift(first, second).psi.max() > 1  # without names, places are what there is
    with pytest.raises(InputError, match="other features: 'b' is in one of them only"):
        drift(first, replace(second, features=["a", "x", "c", "d"]))


@pytest.mark.parametrize("features", [1, 600])
def test_json_of_a_drift_has_no_nan(features: int) -> None:
    """One feature has no rank correlation; many have one index together."""
    values = RANDOM.normal(size=(20, features))
    first, second = (Summary.of({"index": np.arange(20), "x_attribution": v}) for v in (values, values + 9))
    told = json.loads(drift_json(drift(first, second)), parse_constant=pytest.fail)
    assert (told["rank_correlation"] is None) == (features == 1)
    assert (told["psi"] if features > 1 else told["features"]["psi"][0]) > 1


def test_samples_of_several_shapes_are_counted_together() -> None:
    """Whatever parts they come in: as a list, in parts of one shape each, or both."""
    shapes = [(2, 3), (4, 3), (2, 3), (1, 3), (4, 3)]
    values = [RANDOM.normal(size=s) for s in shapes]
    target = np.array([0, 1, 0, 1, 1])

    def of(rows: list[int]) -> Summary:
        one = len({shapes[r] for r in rows}) == 1
        chosen: Any = np.stack([values[r] for r in rows]) if one else [values[r] for r in rows]
        return Summary.of({"index": np.array(rows), "x_attribution": chosen, "target": target[rows]})

    whole = of([0, 1, 2, 3, 4])
    for parts in ([[0, 1], [2], [3, 4]], [[0, 2], [1, 4], [3]]):
        found = reduce(add, map(of, parts))["x_attribution"]
        assert (found.shape, found.count) == ((), 5)
        assert found.mean_sizes() == pytest.approx(np.mean([np.abs(v).mean() for v in values]))
        assert found.means("class=1") == pytest.approx(np.mean([v.mean() for v, t in zip(values, target, strict=True) if t]))
        assert found.squares == pytest.approx(sum(np.square(v).mean() for v in values))
        assert found.histogram.counts.sum() == sum(v.size for v in values)
        np.testing.assert_array_equal(found.histogram.counts, whole["x_attribution"].histogram.counts)
        assert found.of_class["1"][0][1] == max((1, 3, 4), key=lambda i: values[i].sum())


def test_a_cohort_that_would_be_taken_for_the_classes_is_refused() -> None:
    columns = {"index": np.arange(2), "x_attribution": VALUES[:2], "target": TARGET[:2], "class": REGION[:2]}
    with pytest.raises(InputError, match="a cohort called 'class'"):
        Summary.of(columns, "class")


def test_numbers_that_are_not_finite_are_left_out() -> None:
    found = LogHistogram.of(np.array([[np.nan], [np.inf], [1.0], [-2.0]]))
    assert found.counts.sum() == 2
    assert np.isnan(LogHistogram.of(np.full((2, 1), np.nan)).quantile(0.5)).all()


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    rows = np.load(FIXTURES / "cancer" / "data.npz")["features"]
    for name, x in (("before", rows), ("after", rows * 1.3)):
        np.save(tmp_path / f"{name}.npy", x)
        onnxplain.map(
            FIXTURES / "cancer" / "model.onnx",
            tmp_path / f"{name}.npy",
            tmp_path / f"{name}.parquet",
            "input-x-gradient",
            progress=False,
        )
    page = tmp_path / "drift.html"
    done = CliRunner().invoke(main, ["drift", str(tmp_path / "before.parquet"), str(tmp_path / "after.parquet"), "-o", str(page)])
    assert done.exit_code == 0, done.output
    assert "rank correlation" in done.output
    text = page.read_text(encoding="utf-8")
    assert "before.parquet" in text
    assert text.count("<tr>") == 31
    missing = CliRunner().invoke(main, ["drift", str(tmp_path / "nothing"), str(tmp_path / "after.parquet")])
    assert missing.exit_code == 2
    assert "nothing.summary.npz" in missing.output
