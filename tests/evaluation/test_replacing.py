"""What takes the place of removed features."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from onnxplain.evaluation.metrics._imputing import imputed
from onnxplain.evaluation.metrics._replacing import blurred, remover
from tests.support.judged import from_array
from tests.support.metric_cases import PICTURES, ROWS, Array, linear, measured, network
from tests.support.models import run


def test_imputing_solves_the_system_of_neighbours() -> None:
    """The dense system written out place by place: a hole is the weighted mean of the neighbours it has."""
    pytest.importorskip("scipy", reason="imputing needs SciPy, from the extra 'evaluation'")
    gone = np.random.default_rng(14).random((4, 1, 6, 5)) < 0.5
    of = from_array(network(), PICTURES, PICTURES)
    found = imputed(of, np.broadcast_to(gone, PICTURES.shape), noise=0)
    for row, sample in enumerate(PICTURES.astype(np.float64)):
        places = list(product(range(6), range(5)))
        system, right = np.eye(30), np.stack([sample[:, i, j] for i, j in places])
        for number, (i, j) in enumerate(places):
            if gone[row, 0, i, j]:
                around = {(i + a, j + b): 1 / 6 if 0 in (a, b) else 1 / 12 for a, b in product((-1, 0, 1), repeat=2) if a or b}
                inside = {p: w for p, w in around.items() if p in places}
                right[number] = 0
                for p, w in inside.items():
                    system[number, places.index(p)] = -w / sum(inside.values())
        np.testing.assert_allclose(found[row].reshape(2, 30), np.linalg.solve(system, right).T, atol=1e-5)


def test_imputing_everything_gives_the_mean_of_the_channel() -> None:
    of = from_array(network(), PICTURES, PICTURES)
    found = imputed(of, np.ones_like(PICTURES, bool), noise=0)
    wanted = np.broadcast_to(PICTURES.mean(axis=(2, 3), keepdims=True), PICTURES.shape)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_road_is_what_a_loop_finds() -> None:
    pytest.importorskip("scipy", reason="imputing needs SciPy, from the extra 'evaluation'")
    made, attribution = network(), np.random.default_rng(15).normal(size=PICTURES.shape)
    of = from_array(made, PICTURES, attribution)
    for name, sign in (("road", -1), ("road-lerf", 1)):
        found = measured(name, of, shares=[0.2, 0.6]).curves["kept"]
        order = np.argsort(sign * attribution.sum(axis=1).reshape(4, 30), axis=1)
        for column, count in enumerate((6, 18)):
            gone = np.zeros((4, 30), bool)
            np.put_along_axis(gone, order[:, :count], True, axis=1)
            x = imputed(of, np.broadcast_to(gone.reshape(4, 1, 6, 5), PICTURES.shape))
            after = run(made, {"x": x})["y"].argmax(axis=1)
            np.testing.assert_array_equal(found[:, column], after == run(made, {"x": PICTURES})["y"].argmax(axis=1))


def test_blur_is_a_gaussian_weighed_by_what_lies_within() -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="an independent blur, of SciPy")
    x = np.random.default_rng(16).random((2, 1, 40, 30))
    sigma = 4.0

    def blur(values: Array) -> Array:
        made = ndimage.gaussian_filter(values, (0, 0, sigma, sigma), mode="constant", truncate=12)
        return np.asarray(made)

    np.testing.assert_allclose(blurred(x, (2, 3)), blur(x) / blur(np.ones_like(x)), atol=1e-6)


@pytest.mark.parametrize(
    ("replace", "wanted"),
    [
        ("baseline", lambda x: np.zeros_like(x)),
        ("mean", lambda x: np.broadcast_to(x.mean(axis=0), x.shape)),
        ("opposite", lambda x: x.min(axis=0) + x.max(axis=0) - x),
    ],
)
def test_replacements_of_tables_come_from_the_data(replace: str, wanted: Callable[[Array], Array]) -> None:
    of = from_array(linear(), ROWS, ROWS)
    gone = np.random.default_rng(17).random(ROWS.shape) < 0.5
    np.testing.assert_allclose(remover(of, replace)(gone), np.where(gone, wanted(ROWS), ROWS), rtol=1e-5, atol=1e-6)


def test_noise_has_the_mean_and_the_spread_of_the_channel() -> None:
    x = np.random.default_rng(18).normal([[[[5]], [[-3]]]], [[[[2]], [[0.1]]]], size=(1, 2, 6, 5)).astype(np.float32)
    big = np.tile(x, (400, 1, 1, 1))
    drawn = remover(from_array(network(), big, big), "noise")(np.ones_like(big, bool))
    np.testing.assert_allclose(drawn.mean(axis=(0, 2, 3)), x.mean(axis=(0, 2, 3)), atol=0.1)
    np.testing.assert_allclose(drawn.std(axis=(0, 2, 3)), x.std(axis=(0, 2, 3)), rtol=0.05)
    assert not np.allclose(drawn[0], drawn[1])
