"""Sliding windows: explanations of inputs larger than the model's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer
from onnxplain.errors import InputError, TargetError
from tests.support.models import model, node
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(DIGITS, "input-x-gradient", progress=False)


def test_image(explainer: Explainer) -> None:
    """Two images of two axes: every window alone, at its place."""
    x = RANDOM.random((2, 1, 13, 10)).astype(np.float32)
    total, covered = np.zeros(x.shape), np.zeros(x.shape)
    logits = []
    for i in (0, 3, 5):
        for j in (0, 2):
            window = (slice(None), slice(None), slice(i, i + 8), slice(j, j + 8))
            alone = explainer(x[window], [3, 4])
            total[window] += alone.attribution
            covered[window] += 1
            logits.append(alone.outputs["logits"])
    found = explainer.slide(x, [3, 4], stride=3)
    np.testing.assert_allclose(found.attribution, total / covered, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.outputs["logits"], np.mean(logits, 0), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found.target, [3, 4])
    summed = explainer.slide(x, [3, 4], stride=(3, 2), combine="sum")
    np.testing.assert_allclose(summed.attribution, total, rtol=1e-4, atol=1e-4)
    assert len(found) == 2
    assert found.attribution.shape == x.shape


def test_time_series_with_an_input_beside() -> None:
    """Only the series is cut; what stands beside it goes to every window."""
    made = model(
        [node("Mul", "series gain", "scaled"), node("ReduceSum", "scaled axes", "y", keepdims=0)],
        {"series": ["n", 2, 6], "gain": ["n", 2, 1]}, {"y": ["n", 2]}, {"axes": np.array([2])},
    )  # fmt: skip
    explainer = Explainer(made, "gradient", progress=False)
    feeds = {"series": RANDOM.random((3, 2, 20)).astype(np.float32), "gain": RANDOM.random((3, 2, 1)).astype(np.float32)}
    found = explainer.slide(feeds, 1, stride=4)
    expected = np.broadcast_to(feeds["gain"] * np.array([[[0], [1]]]), (3, 2, 20))
    np.testing.assert_allclose(found.attributions["series"], expected, rtol=1e-5)
    assert found.attributions["gain"].shape == (3, 2, 1)


def test_baselines_go_to_every_window() -> None:
    x = RANDOM.random((1, 1, 12, 8)).astype(np.float32)
    found = Explainer(DIGITS, "integrated-gradients", steps=4, progress=False).slide(x, 3, stride=4, baseline=0.0, combine="sum")
    fixed = Explainer(DIGITS, "integrated-gradients", steps=4, baseline=0.0, progress=False)
    parts = fixed(x[:, :, :8], 3).attribution.sum() + fixed(x[:, :, 4:], 3).attribution.sum()
    np.testing.assert_allclose(found.attribution.sum(), parts, rtol=1e-4)


def steps(shape: list[Any]) -> Explainer:
    """Time first: the squares of all steps, each weighted, summed up."""
    weights = {"w": np.arange(1, 7, dtype=np.float32)[:, None, None], "time": np.array([0])}
    nodes = [node("Mul", "x x", "xx"), node("Mul", "xx w", "h"), node("ReduceSum", "h time", "y", keepdims=0)]
    return Explainer(model(nodes, {"x": shape}, {"y": shape[1:]}, weights), "gradient", progress=False)


@pytest.mark.parametrize("samples", [1, 3])
def test_windows_of_time_where_samples_come_second(samples: int) -> None:
    """Every step is in six windows but those at the ends; step t has the weight w of its place in each."""
    x = RANDOM.random((9, samples, 2)).astype(np.float32)
    found = steps([6, "n", 2]).slide(x, [1] * samples, combine="sum")
    weights = np.zeros(9)
    for start in range(4):
        weights[start : start + 6] += np.arange(1, 7)
    expected = np.zeros_like(x)
    expected[:, :, 1] = 2 * x[:, :, 1] * weights[:, None]
    np.testing.assert_allclose(found.attribution, expected, rtol=1e-4)
    assert found.outputs["y"].shape == (samples, 2)
    np.testing.assert_array_equal(found.target, [1] * samples)


def test_windows_where_nothing_counts_samples() -> None:
    """A fixed extent of one beside the time: each window is a run of its own."""
    made = model(
        [node("Mul", "x x", "xx"), node("ReduceSum", "xx", "y", keepdims=0)], {"x": [4, 2]}, {"y": []},
    )  # fmt: skip
    x = RANDOM.random((7, 2)).astype(np.float32)
    found = Explainer(made, "gradient", progress=False).slide(x, 0)
    np.testing.assert_allclose(found.attribution, 2 * x, rtol=1e-5)
    sums = [(x[i : i + 4] ** 2).sum() for i in range(4)]
    np.testing.assert_allclose(found.outputs["y"], np.mean(sums), rtol=1e-5)


def test_one_element_of_several_axes_for_each_sample() -> None:
    made = model([node("Mul", "x x", "y")], {"x": ["n", 2, 3]}, {"y": ["n", 2, 3]})
    x = RANDOM.random((2, 2, 5)).astype(np.float32)
    found = Explainer(made, "gradient", progress=False).slide(x, [(0, 1), (1, 2)], combine="sum")
    expected = np.zeros_like(x)
    expected[0, 0, 1:4] = 2 * x[0, 0, 1:4]
    expected[1, 1, 2:5] = 2 * x[1, 1, 2:5]
    np.testing.assert_allclose(found.attribution, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "target", "options", "words"),
    [
        ((1, 1, 8, 8), 3, {}, "must be larger"),
        ((1, 1, 7, 9), 3, {}, "is smaller"),
        ((1, 9, 9), 3, {}, "expects"),
        ((1, 1, 9, 9), 3, {"stride": 0}, "stride is one positive number"),
        ((1, 1, 9, 9), 3, {"stride": [1, 1, 1]}, "each of the 2 axes"),
        ((1, 1, 9, 9), 3, {"combine": "max"}, "combine is"),
    ],
)
def test_refusals(explainer: Explainer, shape: tuple[int, ...], target: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        explainer.slide(np.zeros(shape, np.float32), target, **options)


def test_the_target_must_be_said(explainer: Explainer) -> None:
    with pytest.raises(TargetError, match="every window"):
        explainer.slide(np.zeros((1, 1, 9, 9), np.float32), None)
