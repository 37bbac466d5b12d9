"""Max pooling over windows side by side: the message goes to each window's first maximum, whatever is equal, infinite or missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain import rewrite
from tests.support.models import model, node, run

SEED = np.random.default_rng(3)


def by_hand(x: np.ndarray[Any, Any], messages: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    """The messages at the first maxima, window by window."""
    made = np.zeros_like(x)
    for n, c, p, q in np.ndindex(messages.shape):
        window = x[n, c, p * side :, q * side :][:side, :side]
        if np.isnan(window).all():
            continue
        i, j = np.unravel_index(np.nanargmax(window), window.shape)
        made[n, c, p * side + i, q * side + j] += messages[n, c, p, q]
    return made


def pooled(side: int, height: Any, width: Any, channels: int, kind: int = 1) -> Any:
    settings = {"kernel_shape": [side, side], "strides": [side, side]}
    shape = ["n", channels, height, width]
    return model([node("MaxPool", "x", "y", **settings)], {"x": shape}, {"y": None}, kinds={"x": kind, "y": kind})


def explained(side: int, x: np.ndarray[Any, Any], *, free: bool = False, kind: int = 1) -> tuple[Any, Any, list[str]]:
    height, width = ("h", "w") if free else x.shape[2:]
    made = rewrite(pooled(side, height, width, x.shape[1], kind), target="cotangent")
    cotangent = SEED.standard_normal((*x.shape[:2], x.shape[2] // side, x.shape[3] // side)).astype(x.dtype)
    return run(made, {"x": x, "seed": cotangent})["x_attribution"], cotangent, [n.op_type for n in made.graph.node]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_first_maxima(data: st.DataObject) -> None:
    """Few different numbers, so that most windows have ties; images that windows do not cover; extents known or not."""
    side, channels = data.draw(st.integers(2, 4)), data.draw(st.sampled_from([1, 3, 16]))
    extents = [data.draw(st.integers(side, 3 * side + 1)) for _ in range(2)]
    kind, dtype = data.draw(st.sampled_from([(1, np.float32), (10, np.float16)]))
    x = np.random.default_rng(data.draw(st.integers(0, 99))).integers(-1, 2, (2, channels, *extents)).astype(dtype)
    found, cotangent, used = explained(side, x, free=data.draw(st.booleans()), kind=kind)
    assert "ScatterElements" not in used
    np.testing.assert_array_equal(found, by_hand(x, cotangent, side))


@pytest.mark.parametrize("extents", [(1, 6), (2, 1), (1, 1), (3, 2)])
def test_images_smaller_than_a_window(extents: tuple[int, int]) -> None:
    """ONNX Runtime pools what there is: a window that reaches beyond the image has a maximum all the same."""
    side = 4
    x = np.random.default_rng(1).standard_normal((2, 3, *extents)).astype(np.float32)
    made = rewrite(pooled(side, "h", "w", 3), target="cotangent")
    there = run(pooled(side, "h", "w", 3), {"x": x})["y"].shape
    assert there == (2, 3, 1, max(1, extents[1] // side))
    cotangent = SEED.standard_normal(there).astype(np.float32)
    found = run(made, {"x": x, "seed": cotangent})
    np.testing.assert_array_equal(found["x_attribution"], by_hand(x, cotangent, side))


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("extents", [(1, 6), (2, 3), (3, 9), (5, 5)])
@pytest.mark.parametrize("more", [{}, {"pads": [1, 0, 0, 0]}, {"count_include_pad": 1}])
def test_means_of_images_smaller_than_a_window(more: dict[str, Any], extents: tuple[int, int], free: bool) -> None:
    """A mean is linear, so that a difference of any step tells its slope. ONNX Runtime divides by what the window covers."""
    attributes = {"kernel_shape": [4, 4], "strides": [4, 4], **more}
    shape = ["n", 2, "h", "w"] if free else ["n", 2, *extents]
    pool = model([node("AveragePool", "x", "y", **attributes)], {"x": shape}, {"y": None})
    x = SEED.standard_normal((1, 2, *extents)).astype(np.float32)
    seed = SEED.standard_normal(run(pool, {"x": x})["y"].shape).astype(np.float32)
    found = run(rewrite(pool, target="cotangent"), {"x": x, "seed": seed})["x_attribution"]
    wanted = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[place] = 1
        wanted[place] = (seed * (run(pool, {"x": x + step})["y"] - run(pool, {"x": x - step})["y"])).sum() / 2
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("wild", [np.inf, -np.inf, np.nan])
def test_infinite_and_missing_numbers(wild: float) -> None:
    x = SEED.standard_normal((2, 3, 8, 8)).astype(np.float32)
    x[SEED.random(x.shape) < 0.3] = wild
    x[:, :, :2, :2] = 1.0
    found, cotangent, _ = explained(2, x)
    whole = np.isfinite(x).reshape(2, 3, 4, 2, 4, 2).any((3, 5))  # where nothing is finite there may be no maximum
    wanted = by_hand(x, np.where(whole, cotangent, 0), 2)
    np.testing.assert_array_equal(np.where(whole.repeat(2, 2).repeat(2, 3), found, 0), wanted)


def test_no_samples() -> None:
    found, _, _ = explained(2, np.zeros((0, 3, 4, 4), np.float32))
    assert found.shape == (0, 3, 4, 4)


@pytest.mark.parametrize("more", [{"pads": [1, 1, 1, 1]}, {"strides": [1, 1]}, {"ceil_mode": 1}, {"kernel_shape": [2, 3]}])
def test_other_windows_are_searched(more: dict[str, Any]) -> None:
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2], **more}
    made = rewrite(model([node("MaxPool", "x", "y", **attributes)], {"x": ["n", 1, 7, 7]}, {"y": None}), target="cotangent")
    assert "ScatterElements" in [n.op_type for n in made.graph.node]
