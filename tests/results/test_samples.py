"""An Explanation as a sequence of the explanations of its samples, and as an array."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer, Explanation
from onnxplain.errors import LayerError
from tests.support.paths import FIXTURES

IMAGES = np.load(FIXTURES / "digits" / "data.npz")["image"][:4]


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return Explainer(FIXTURES / "digits" / "model.onnx", "integrated-gradients", baseline=0.0, steps=4)(IMAGES)


def test_iteration_ends(explanation: Explanation) -> None:
    samples = list(explanation)
    assert len(samples) == len(explanation) == 4
    for i, one in enumerate(samples):
        np.testing.assert_array_equal(one.attribution, explanation.attribution[i : i + 1])
        assert one.target is not None
        assert explanation.target is not None
        assert one.target[0] == explanation.target[i]
        np.testing.assert_array_equal(one.inputs["image"], IMAGES[i : i + 1])
    first, *rest = explanation
    assert len(first) == 1
    assert len(rest) == 3
    assert [len(e) for e in reversed(explanation)] == [1, 1, 1, 1]


@pytest.mark.parametrize("number", [2, np.int64(2), np.uint8(2), np.array(2), -2, np.int32(-2)])
def test_a_number_keeps_the_axis_of_samples(explanation: Explanation, number: Any) -> None:
    assert explanation[number].attribution.shape == (1, 1, 8, 8)
    np.testing.assert_array_equal(explanation[number].attribution, explanation.attribution[2:3])


@pytest.mark.parametrize(
    ("chosen", "numbers"),
    [
        (slice(1, 3), [1, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        (slice(9, 12), []),
        ([3, 0, 3], [3, 0, 3]),
        ([-1], [3]),
        (np.array([1, 2]), [1, 2]),
        (np.array([True, False, False, True]), [0, 3]),
        ([], []),
    ],
)
def test_several(explanation: Explanation, chosen: Any, numbers: list[int]) -> None:
    some = explanation[chosen]
    np.testing.assert_array_equal(some.attribution, explanation.attribution[numbers])
    assert some.delta is not None
    assert explanation.delta is not None
    np.testing.assert_array_equal(some.delta, explanation.delta[numbers])
    np.testing.assert_array_equal(some.outputs["logits" if "logits" in some.outputs else next(iter(some.outputs))],
                                  next(iter(explanation.outputs.values()))[numbers])  # fmt: skip


@pytest.mark.parametrize("number", [4, 99, -5, np.int64(4)])
def test_there_is_no_such_sample(explanation: Explanation, number: Any) -> None:
    with pytest.raises(IndexError, match=f"there is no sample {number}; the explanation has 4"):
        explanation[number]


@pytest.mark.parametrize("wrong", [1.0, "image", None, np.zeros((2, 2), int), [0.5]])
def test_what_chooses_no_samples_is_refused(explanation: Explanation, wrong: Any) -> None:
    with pytest.raises(TypeError, match="samples are chosen by a number, a slice"):
        explanation[wrong]


def test_maps_of_classes_are_cut_too() -> None:
    """The outputs of ZipMap are lists of dicts."""
    made = Explainer(FIXTURES / "iris_sklearn" / "model.onnx", "gradient")
    x = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    found = made(x)
    lists = {k: v for k, v in found.outputs.items() if isinstance(v, list)}
    for name, value in lists.items():
        assert found[[2, 0]].outputs[name] == [value[2], value[0]]


def test_an_array(explanation: Explanation) -> None:
    assert np.asarray(explanation) is explanation.attribution
    np.testing.assert_array_equal(np.array(explanation), explanation.attribution)
    assert np.asarray(explanation, np.float64).dtype == np.float64
    np.testing.assert_allclose(np.abs(explanation).sum(), np.abs(explanation.attribution).sum())
    two = Explanation({"a": np.zeros((1, 2)), "b": np.zeros((1, 2))}, {}, {}, None, {"method": "none"})
    with pytest.raises(LayerError, match="several tensors were explained"):
        np.asarray(two)
