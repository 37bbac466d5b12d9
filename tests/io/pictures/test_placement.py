"""The way back from a model's input to a picture's own pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from onnxplain.errors import InputError
from onnxplain.io.pictures.placement import Placement, placement_of
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.pictures.presets import PRESETS
from onnxplain.io.pictures.resampling import resampled

SIZES = [(480, 641), (333, 250), (100, 37), (51, 203), (224, 224), (1000, 777)]
"""Height and width of pictures: reduced and enlarged, wide, tall, odd and even."""


def seen(values: np.ndarray, preset: Preprocessing, wanted: tuple[int, int]) -> tuple[np.ndarray, Placement]:
    """What the input sees of a picture of numbers."""
    placement = placement_of(preset, values.shape, wanted)
    return np.asarray(resampled(Image.fromarray(values.astype(np.float32)), replace(preset, fill=0), placement)), placement


def wanted_of(preset: Preprocessing) -> tuple[int, int]:
    return (96, 160) if preset.resize in ("stretch", "letterbox") else (preset.usual_size or (224, 224))


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_a_mark_comes_back_to_its_pixel(name: str, size: tuple[int, int]) -> None:
    """A white mark is preprocessed by Pillow; what lights up in the input, carried back, lies where the mark was painted."""
    preset = PRESETS[name]
    for down, across in ((0.5, 0.5), (0.35, 0.6), (0.6, 0.42)):
        mark = np.zeros(size)
        side = max(3, min(size) // 12)
        top, left = int(size[0] * down), int(size[1] * across)
        if name in ("imagenet", "clip", "inception"):  # the crop shows the middle only
            top, left = (int(s / 2 + (f - 0.5) * min(size) * 0.6) for s, f in zip(size, (down, across), strict=True))
        mark[top : top + side, left : left + side] = 1
        values, placement = seen(mark, preset, wanted_of(preset))
        reduced = placement.height.original / placement.height.resized
        within = 0.5 if preset.antialias else max(0.5, reduced / 2)  # without antialias, pixels in between are not looked at
        assert values.max() > 0.5
        back = placement.carried(np.abs(values))
        assert back.shape == size
        middle = [
            float((back * np.arange(n).reshape(shape)).sum() / back.sum())
            for n, shape in ((size[0], (-1, 1)), (size[1], (1, -1)))
        ]
        assert middle == pytest.approx([top + (side - 1) / 2, left + (side - 1) / 2], abs=within)
        reach = int(np.ceil(2.5 * max(reduced, 1)))
        around = back[max(top - reach, 0) : top + side + reach, max(left - reach, 0) : left + side + reach]
        assert around.sum() > 0.9 * back.sum()


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_pixels_of_the_input_lie_where_pillow_took_them_from(name: str, size: tuple[int, int]) -> None:
    """Pictures whose values are their own coordinates: what the input reads there is where its pixels came from."""
    preset = PRESETS[name]
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    for values, axis in ((rows, 0), (columns, 1)):
        made, placement = seen(values, preset, wanted_of(preset))
        part = (placement.height, placement.width)[axis]
        edges = part.edges(part.extent)
        middles = (edges[:-1] + edges[1:]) / 2
        within = (middles > 0.08 * size[axis]) & (middles < 0.92 * size[axis])  # filters are cut off at a picture's border
        other = (placement.width, placement.height)[axis]
        line = int(other.offset + other.resized / 2) if other.offset > 0 else other.extent // 2
        read = made[:, line] if axis == 0 else made[line]
        assert within.sum() > 3
        assert read[within] == pytest.approx(middles[within], abs=0.5)


@pytest.mark.parametrize("size", [(24, 42), (6, 12), (36, 12)])
def test_the_chain_rule_of_averaging(size: tuple[int, int]) -> None:
    """A slope at the input, carried back, is the slope at the picture: finite differences through Pillow's box filter."""
    random = np.random.default_rng(3)
    weights = random.normal(size=(6, 6))
    box = Preprocessing(resize="stretch", interpolation="box")
    picture = random.uniform(size=size)
    values, placement = seen(picture, box, (6, 6))
    slopes = placement.carried(weights)
    for at in [tuple(random.integers(0, s) for s in size) for _ in range(20)]:
        moved = picture.copy()
        moved[at] += 1
        found = (weights * (seen(moved, box, (6, 6))[0].astype(np.float64) - values)).sum()
        assert slopes[at] == pytest.approx(found, abs=2e-5)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", SIZES)
def test_sums_are_kept(name: str, size: tuple[int, int]) -> None:
    preset = PRESETS[name]
    _, placement = seen(np.ones(size), preset, wanted_of(preset))
    values = np.random.default_rng(0).normal(size=(2, placement.height.extent, placement.width.extent))
    inside, _ = seen(np.ones(size), preset, wanted_of(preset))
    whole = values if preset.resize != "letterbox" else values * (inside > 0)  # what lies on the border is on no pixel
    assert placement.carried(whole).sum((1, 2)) == pytest.approx(whole.sum((1, 2)))
    coarse = np.random.default_rng(1).normal(size=(7, 7))
    if preset.resize != "letterbox":
        assert placement.carried(coarse).sum() == pytest.approx(coarse.sum())


def test_what_the_crop_did_not_see_is_zero() -> None:
    placement = placement_of(PRESETS["imagenet"], (256, 512), (224, 224))
    back = placement.carried(np.ones((224, 224)))
    assert back.sum() == pytest.approx(224**2)
    assert back[16:240, 144:368] == pytest.approx(np.ones((224, 224)))
    assert back[:16].any() == back[240:].any() == back[:, :144].any() == back[:, 368:].any() == False  # noqa: E712


def test_maps_are_interpolated() -> None:
    """A coarse map keeps its values: a slope stays a slope between the middles of its cells."""
    placement = placement_of(PRESETS["yolo"], (50, 100), (64, 64))
    ramp = np.tile(np.arange(8.0), (8, 1))
    back = placement.carried(ramp, densities=True)
    assert np.diff(back[25, 7:-7]) == pytest.approx(np.full(85, 8 / 100), abs=1e-9)
    assert back[25, 50] == pytest.approx((50.5 / 100 * 64) / 8 - 0.5)


def test_a_drawing_of_another_size() -> None:
    placement = placement_of(PRESETS["imagenet"], (512, 600), (224, 224))
    values = np.random.default_rng(0).normal(size=(224, 224))
    small = placement.carried(values, (128, 150))
    assert small == pytest.approx(placement.carried(values).reshape(128, 4, 150, 4).sum((1, 3)))
    flat = placement.drawn(np.ones((224, 224)), (128, 150))
    assert flat[64, 75] == pytest.approx(1)
    assert placement == Placement.from_dict(placement.to_dict())


def test_too_small_and_too_long() -> None:
    crop = Preprocessing(crop=True, name="mine.json")
    with pytest.raises(InputError, match=r"^20×30 pixels \(height × width\) is smaller than the crop of 24×24: take a larger"):
        placement_of(crop, (20, 30), (24, 24))
    with pytest.raises(InputError, match=r"resized to 20×30, is smaller than the crop of 24×24"):
        placement_of(replace(crop, resize="shortest", shorter_side=20), (40, 60), (24, 24))
    with pytest.raises(InputError, match="more than 134,217,728 in all: cut the picture first"):
        placement_of(PRESETS["imagenet"], (1, 40_000), (224, 224))
