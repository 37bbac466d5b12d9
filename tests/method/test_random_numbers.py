"""Random numbers made in the graph: normal, unrelated, and the same wherever and however often they are made."""

from __future__ import annotations

from math import erf

import numpy as np
import onnx
import pytest

from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor
from onnxplain.method.sampling.counter_rng import normal_like, uniform_table
from tests.support.models import model, node, run

INT64 = onnx.TensorProto.INT64


def normals(draws: np.ndarray, shape: tuple[int, ...], seed: int = 0, stream: int = 0, *, dynamic: bool = False) -> np.ndarray:
    """The numbers of these draws for samples [n, …], made by ONNX Runtime."""
    extents = ["n", *(f"d{i}" if dynamic else d for i, d in enumerate(shape[1:]))]
    made = model([node("Identity", "x", "y")], {"x": extents, "draws": ["k"]}, {"y": extents}, kinds={"draws": INT64})
    graph = Graph(made)
    b = Builder(graph)
    numbers = Tensor("draws", np.dtype(np.int64), ("k",))
    result = b.rename(normal_like(b, numbers, graph.tensor("x"), 0, seed, stream, 200), "normal")
    return run(graph.finish(b.nodes, b.constants, [result]), {"x": np.zeros(shape, np.float32), "draws": draws})["normal"]


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    return normals(np.arange(200), (2, 5, 1001))[:, 0].reshape(200, -1)


def test_they_are_normal(table: np.ndarray) -> None:
    """Moments, and the greatest distance from the normal distribution function, at a million numbers."""
    values = table.ravel().astype(np.float64)
    count = values.size
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - moment) < 5 * np.sqrt(spread / count)
    ordered = np.sort(values)[:: count // 2000]
    exact = np.array([(1 + erf(v / np.sqrt(2))) / 2 for v in ordered])
    assert np.abs(exact - np.linspace(0, 1, count)[:: count // 2000]).max() < 2 / np.sqrt(count)
    assert np.isfinite(values).all()
    assert 4.2 < np.abs(values).max() < 7


def test_draws_and_elements_are_unrelated(table: np.ndarray) -> None:
    """Correlations of neighbours along draws, elements and both, of squares too, and between any two draws."""
    for x in (table, table**2 - 1, np.sign(table)):
        x = (x - x.mean()) / x.std()
        for first, second in [(x[1:], x[:-1]), (x[:, 1:], x[:, :-1]), (x[1:, 1:], x[:-1, :-1]), (x[2:], x[:-2])]:
            assert abs((first * second).mean()) < 5 / np.sqrt(first.size)
        between = np.corrcoef(x)[np.triu_indices(len(x), 1)]
        assert np.abs(between).max() < 6 / np.sqrt(x.shape[1])


def test_seeds_and_streams_are_unrelated() -> None:
    made = [normals(np.arange(20), (1, 4000), seed, stream).ravel() for seed, stream in ((0, 0), (0, 1), (1, 0), (2**40, 0))]
    assert np.abs(np.corrcoef(made)[np.triu_indices(4, 1)]).max() < 5 / np.sqrt(80000)


def test_a_number_depends_on_seed_draw_and_element_alone(table: np.ndarray) -> None:
    some = normals(np.array([3, 77]), (9, 5, 1001))
    assert some.shape == (2, 1, 5, 1001)  # the same for every sample
    np.testing.assert_array_equal(some[:, 0].reshape(2, -1), table[[3, 77]])
    np.testing.assert_array_equal(normals(np.array([3, 77]), (9, 5, 1001), dynamic=True), some)
    # Few of them are made when rewriting: the same but for the last digits.
    for count in (19, 20):
        few, many = normals(np.array([3, 77]), (2, count)), normals(np.array([3, 77]), (2, count), dynamic=True)
        np.testing.assert_allclose(few, many, rtol=1e-5, atol=1e-6)
    # What other hosts must find, bit for bit but for the last digits of sine and logarithm.
    np.testing.assert_allclose(table[:2, :3].ravel(), EXPECTED, rtol=1e-5)


EXPECTED = [-1.0637993, 0.2589067, 0.05330004, -0.0104191, -0.0781572, -0.6280848]


def test_table_of_uniform_numbers() -> None:
    table = uniform_table(100_000, 3, 1)
    assert 0 < table.min() < 1e-4
    assert 1 - 1e-4 < table.max() < 1
    np.testing.assert_allclose(np.histogram(table, 20, (0, 1))[0], 5000, atol=5 * np.sqrt(5000))
    assert abs(np.corrcoef(table[1:], table[:-1])[0, 1]) < 0.015
    np.testing.assert_array_equal(uniform_table(10, 3, 1), table[:10])
    assert not np.isin(uniform_table(10, 4, 1), table[:10]).any()
