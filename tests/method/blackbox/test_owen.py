"""Owen values: their definition by orders, SHAP's partitions (fixtures/make_games.py), hierarchies of every kind, and refusals."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from onnxplain import Explainer
from onnxplain.errors import MethodError
from onnxplain.method.blackbox.hierarchy import Hierarchy, leaves, of_places
from onnxplain.method.blackbox.owen import consistent_orders, owen_weights
from onnxplain.method.blackbox.players import grouped
from onnxplain.runtime.scorer import Array
from tests.method.blackbox.test_blackbox import ORIGIN, POINTS, game, value
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
DOUBLE = FIXTURES / "blackbox" / "double.onnx"

TREES: dict[str, Any] = {
    "flat": [0, 1, 2, 3, 4, 5],
    "one level": [[0, 3], [1, 2, 4], 5],
    "two levels": [[0, [1, 3]], [[2, 4], 5]],
    "a chain": [0, [1, [2, [3, [4, 5]]]]],
}


@pytest.fixture(scope="module")
def known() -> dict[str, Array]:
    with np.load(FIXTURES / "games" / "reference.npz") as file, np.load(FIXTURES / "blackbox" / "reference.npz") as other:
        return {**other, **file}


def groups_of(tree: Any) -> list[set[int]]:
    """The members of every group of nested lists, at every level."""
    if isinstance(tree, int):
        return []
    members = [{m} if isinstance(m, int) else set.union(*groups_of(m)) for m in tree]
    return [set.union(*members), *(g for m in tree for g in groups_of(m))]


def keeps_together(order: tuple[int, ...], tree: Any) -> bool:
    return all(max(order.index(i) for i in g) - min(order.index(i) for i in g) == len(g) - 1 for g in groups_of(tree))


@pytest.mark.parametrize("name", list(TREES))
def test_owen_values_are_means_over_orders_that_keep_groups_together(name: str) -> None:
    made = Explainer(game(), "owen", hierarchy=TREES[name], baseline=ORIGIN)(POINTS)
    orders = [order for order in permutations(range(6)) if keeps_together(order, TREES[name])]
    assert (len(orders) == 720) == (name == "flat")
    for x, found in zip(POINTS, made.attribution, strict=True):
        expected = np.zeros(6)
        for order in orders:
            now = ORIGIN.copy()
            for i in order:
                before = value(now)
                now[i] = x[i]
                expected[i] += (value(now) - before) / len(orders)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    assert made.delta is not None
    np.testing.assert_allclose(made.delta, 0, atol=1e-12)
    np.testing.assert_allclose(made.facts["base_value"], value(ORIGIN))


def test_a_flat_hierarchy_gives_shapley_values() -> None:
    flat = Explainer(game(), "owen", hierarchy=TREES["flat"], baseline=ORIGIN)(POINTS)
    shapley = Explainer(game(), "exact-shapley", baseline=ORIGIN)(POINTS)
    np.testing.assert_allclose(flat.attribution, shapley.attribution, atol=1e-12)


def test_groups_play_a_shapley_game_among_themselves() -> None:
    """What the members of a group get adds up to the group's own Shapley value."""
    made = Explainer(game(), "owen", hierarchy=TREES["one level"], baseline=ORIGIN)(POINTS)
    numbers = np.array([0, 1, 1, 0, 1, 2])
    whole = Explainer(game(), "exact-shapley", groups=numbers, baseline=ORIGIN)(POINTS).facts["group_values"]
    np.testing.assert_allclose(made.pool(numbers), whole, atol=1e-12)


@pytest.mark.parametrize("kind", ["correlation", "given"])
def test_partition_explainer_of_shap(kind: str, known: dict[str, Array]) -> None:
    options = {"hierarchy": known["tree"]} if kind == "given" else {}
    pytest.importorskip("scipy", reason="hierarchies by correlation need SciPy")
    made = Explainer(DOUBLE, "partition-shap", background=known["diabetes_background"], **options)(known["diabetes"][:3], "all")
    np.testing.assert_allclose(made.attribution, np.moveaxis(known[f"partition_{kind}"], 1, 2), atol=1e-6)


def test_random_orders_come_near_the_exact_values(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Explainer(game(), "owen", hierarchy=TREES["two levels"], baseline=ORIGIN)(POINTS).attribution
    monkeypatch.setattr("onnxplain.method.blackbox.owen.MOST_COALITIONS", 10)
    made = Explainer(game(), "owen", hierarchy=TREES["two levels"], baseline=ORIGIN, samples=2000)(POINTS)
    assert np.all(np.abs(made.attribution - exact) <= 5 * made.facts["standard_error"] + 1e-9)
    assert made.facts["standard_error"].max() > 0
    np.testing.assert_allclose(made.attribution.sum(axis=1), exact.sum(axis=1), atol=1e-9)


@pytest.mark.parametrize("name", list(TREES))
def test_random_orders_keep_groups_together(name: str) -> None:
    def nested(tree: Any) -> Hierarchy:
        return tree if isinstance(tree, int) else tuple(nested(t) for t in tree)

    orders = consistent_orders(nested(TREES[name]), 40, np.random.default_rng(0))
    assert all(keeps_together(tuple(int(i) for i in order), TREES[name]) for order in orders)
    assert len({tuple(o) for o in orders}) > 8
    np.testing.assert_array_equal(orders[1], orders[0][::-1])


def test_halves_of_a_picture() -> None:
    """64 pixels in a balanced tree: 2^6 contexts each, and rows or columns are cut in two."""
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:2]
    tree = of_places(grouped({"image": image}, None, 50, None)[0])
    assert isinstance(tree, tuple)
    for half in tree:
        rows, columns = np.divmod(sorted(leaves(half)), 8)
        assert {len(set(rows)), len(set(columns))} == {4, 8}
    weights = owen_weights(tree, 64, 10_000)
    assert weights is not None
    assert len(weights.masks) <= 2 * 64 * 64
    made = Explainer(DIGITS, "partition-shap")(image)
    score = made.outputs["logits"][np.arange(2), made.target]
    np.testing.assert_allclose(made.facts["base_value"] + made.attribution.reshape(2, -1).sum(axis=1), score, atol=1e-4)
    assert "standard_error" not in made.facts
    halves = Explainer(
        DIGITS, "exact-shapley", groups=np.array([0 if i in set(leaves(tree[0])) else 1 for i in range(64)]).reshape(1, 8, 8)
    )
    for half, whole in zip(tree, halves(image).facts["group_values"].T, strict=True):
        np.testing.assert_allclose(made.attribution.reshape(2, -1)[:, list(leaves(half))].sum(axis=1), whole, atol=1e-4)


def test_chains_too_long_for_exact_values_are_sampled() -> None:
    pytest.importorskip("scipy", reason="hierarchies by correlation need SciPy")
    rows = np.load(FIXTURES / "cancer" / "data.npz")["features"]
    made = Explainer(FIXTURES / "cancer" / "model.onnx", "partition-shap", background=rows[5:11], samples=20)(rows[:2])
    assert made.facts["standard_error"].shape == (2, 30)
    assert np.isfinite(made.facts["standard_error"]).all()


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("owen", {}, r"owen needs hierarchy=.* \[\[0, 1\], \[2, \[3, 4\]\]\]"),
        ("owen", {"hierarchy": [[0, 1], [2, 3]]}, "must hold each of the 6 .* once; it has no 4"),
        ("owen", {"hierarchy": [[0, 1], [2, 3], [4, 5, 6]]}, "it has 6, which does not exist"),
        ("owen", {"hierarchy": [[0, 1], [2, 3], [4, 5, 0]]}, "it has 0 twice"),
        ("owen", {"hierarchy": [[0, 1], []]}, r"nested lists of numbers .*; got \[\] in it"),
        ("owen", {"hierarchy": "nearest"}, "hierarchy='nearest' is unknown; give nested lists"),
        ("owen", {"hierarchy": np.array([[9, 1, 0.1, 2]] * 5)}, "row 0 of the linkage joins groups that it has not made"),
        ("owen", {"hierarchy": "halves", "samples": 0}, "samples is how many orders are drawn, at least 1; got 0"),
        ("partition-shap", {}, "correlation needs background=rows of data"),
    ],
)  # fmt: skip
def test_refusals(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(MethodError, match=message):
        Explainer(game(), method, **options)(POINTS)
