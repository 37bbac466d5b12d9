"""Interaction indices by coalitions: their definitions by brute force, shapiq and SHAP (fixtures/make_games.py), and estimates."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations, permutations
from math import comb, factorial
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError
from onnxplain.method.blackbox.draws import draw_coalitions
from onnxplain.method.blackbox.estimate import Estimator
from onnxplain.method.blackbox.exact import all_coalitions
from onnxplain.method.blackbox.indices import INDICES
from onnxplain.runtime.scorer import Array
from tests.method.blackbox.test_blackbox import ORIGIN, POINTS, game, value
from tests.support.models import model, node
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
FOREST = FIXTURES / "blackbox" / "forest.onnx"


@pytest.fixture(scope="module")
def known() -> dict[str, Array]:
    with np.load(FIXTURES / "games" / "reference.npz") as file, np.load(FIXTURES / "blackbox" / "reference.npz") as other:
        return {**other, **file}


def sets_of(players: int, order: int) -> list[tuple[int, ...]]:
    return [s for k in range(1, order + 1) for s in combinations(range(players), k)]


def subsets(players: Any) -> list[tuple[int, ...]]:
    return list(chain.from_iterable(combinations(players, k) for k in range(len(players) + 1)))


# -- definitions -----------------------------------------------------------------------------------------------------------


def derivative(v: Callable[[Any], float], members: tuple[int, ...], coalition: tuple[int, ...]) -> float:
    """Δ_S f(T): what the members do together when they join T, by inclusion and exclusion."""
    return sum((-1) ** (len(members) - len(part)) * v((*part, *coalition)) for part in subsets(members))


def by_derivatives(v: Callable[[Any], float], players: int, members: tuple[int, ...], weight: Callable[[int], float]) -> float:
    others = [i for i in range(players) if i not in members]
    return sum(weight(len(t)) * derivative(v, members, t) for t in subsets(others))


def shapley(v: Callable[[Any], float], p: int, members: tuple[int, ...], order: int) -> float:
    s = len(members)
    return by_derivatives(v, p, members, lambda t: factorial(p - t - s) * factorial(t) / factorial(p - s + 1))


def banzhaf(v: Callable[[Any], float], p: int, members: tuple[int, ...], order: int) -> float:
    return by_derivatives(v, p, members, lambda t: 1 / 2 ** (p - len(members)))


def taylor(v: Callable[[Any], float], p: int, members: tuple[int, ...], order: int) -> float:
    if len(members) < order:
        return derivative(v, members, ())
    return by_derivatives(v, p, members, lambda t: order / p / comb(p - 1, t))


def moebius(v: Callable[[Any], float], p: int, members: tuple[int, ...], order: int) -> float:
    return derivative(v, members, ())


def faithful(v: Callable[[Any], float], p: int, order: int, kernel: Callable[[int], float]) -> Array:
    """The weighted regression itself; ends of infinite weight by a very large one, intercept last."""
    sets = sets_of(p, order)
    coalitions = subsets(range(p))
    table = np.array([[float(set(s) <= set(t)) for s in [*sets, ()]] for t in coalitions])
    root = np.sqrt([kernel(len(t)) for t in coalitions])
    return np.linalg.lstsq(root[:, None] * table, root * [v(t) for t in coalitions], rcond=None)[0]


def shapley_kernel(p: int) -> Callable[[int], float]:
    return lambda t: 1e7 if t in (0, p) else (p - 1) / (comb(p, t) * t * (p - t))


@pytest.fixture
def random_game() -> tuple[Array, Callable[[Any], float]]:
    scores = np.random.default_rng(5).normal(size=32)
    return scores, lambda t: float(scores[sum(1 << i for i in t)])


def of_table(index: str, scores: Array, order: int) -> dict[int, Array]:
    """Our index of a game given by the scores of all coalitions, by size of the sets."""
    players = int(np.log2(len(scores)))
    return Estimator.of(INDICES[index], players, order).exact(all_coalitions(players), scores[:, None])


@pytest.mark.parametrize("order", [1, 2, 3, 5])
@pytest.mark.parametrize(("index", "definition"), [("sii", shapley), ("bii", banzhaf), ("stii", taylor), ("moebius", moebius)])
def test_definitions_by_discrete_derivatives(
    index: str, definition: Any, order: int, random_game: tuple[Array, Callable[[Any], float]]
) -> None:
    scores, v = random_game
    made = of_table(index, scores, order)
    for size in range(1, order + 1):
        expected = [definition(v, 5, s, order) for s in combinations(range(5), size)]
        np.testing.assert_allclose(made[size][:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("index", ["fsii", "fbii"])
def test_faithful_indices_are_the_regressions_they_are_named_for(
    index: str, order: int, random_game: tuple[Array, Callable[[Any], float]]
) -> None:
    scores, v = random_game
    made = of_table(index, scores, order)
    expected = faithful(v, 5, order, shapley_kernel(5) if index == "fsii" else lambda t: 1.0)
    np.testing.assert_allclose(np.concatenate([made[s][:, 0] for s in range(1, order + 1)]), expected[:-1], atol=1e-5)
    if index == "fbii":
        np.testing.assert_allclose(made[0][0, 0], expected[-1], atol=1e-9)


def test_shapley_taylor_along_orders(random_game: tuple[Array, Callable[[Any], float]]) -> None:
    """The definition by orders: what two players do together when the first of the two comes in."""
    scores, v = random_game
    expected = np.zeros(10)
    for order in permutations(range(5)):
        for i, pair in enumerate(combinations(range(5), 2)):
            before = order[: min(order.index(p) for p in pair)]
            expected[i] += derivative(v, pair, before) / 120
    np.testing.assert_allclose(of_table("stii", scores, 2)[2][:, 0], expected, atol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("index", [n for n, i in INDICES.items() if i.complete])
def test_complete_indices_add_up(index: str, order: int, random_game: tuple[Array, Callable[[Any], float]]) -> None:
    scores, _ = random_game
    total = sum(v.sum() for v in of_table(index, scores, order).values())
    np.testing.assert_allclose(total, scores[-1] - scores[0], atol=1e-12)


@pytest.mark.parametrize("order", [2, 3])
def test_k_sii_shared_out_among_players_are_shapley_values(order: int, random_game: tuple[Array, Callable[[Any], float]]) -> None:
    scores, v = random_game
    made, shares = of_table("k-sii", scores, order), np.zeros(5)
    for size, values in made.items():
        for members, worth in zip(combinations(range(5), size), values[:, 0], strict=True):
            shares[list(members)] += worth / size
    np.testing.assert_allclose(shares, [shapley(v, 5, (i,), 1) for i in range(5)], atol=1e-12)


# -- peers -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("index", list(INDICES))
def test_shapiq_on_the_same_game(index: str, order: int, known: dict[str, Array]) -> None:
    made = of_table(index, known["scores"], order)
    ours = np.concatenate([made[s][:, 0] for s in range(1, order + 1)])
    np.testing.assert_allclose(ours, known[f"{index}_{order}"], atol=1e-9)


def test_banzhaf_values_of_shapiq(known: dict[str, Array]) -> None:
    np.testing.assert_allclose(of_table("bii", known["scores"], 1)[1][:, 0], known["banzhaf"], atol=1e-12)


@pytest.mark.parametrize("index", list(INDICES))
def test_shapiq_on_a_forest(index: str, known: dict[str, Array]) -> None:
    made = Explainer(FOREST, index, background=known["iris_background"])(known["iris"], "all")
    expected = known[f"forest_{index}"]  # [n, classes, 4 single features and 6 pairs]
    first, second = zip(*combinations(range(4), 2), strict=True)
    np.testing.assert_allclose(made.attribution, expected[..., :4], atol=1e-6)
    np.testing.assert_allclose(2 * made.facts["interactions"][..., first, second], expected[..., 4:], atol=1e-6)


def test_matrices_of_k_sii_are_those_that_shap_gives_trees(known: dict[str, Array]) -> None:
    for scores, expected in zip(known["tree_scores"], known["tree_shap"], strict=True):
        made = of_table("k-sii", scores, 2)
        np.testing.assert_allclose(made[1][:, 0], np.diagonal(expected), atol=1e-6)
        np.testing.assert_allclose(made[2][:, 0] / 2, expected[np.triu_indices(4, 1)], atol=1e-6)


def test_matrices_of_shapley_taylor_are_those_of_the_exact_explainer_of_shap(known: dict[str, Array]) -> None:
    made = Explainer(FOREST, "stii", background=known["iris_background"])(known["iris"], "all")
    np.testing.assert_allclose(made.facts["interactions"], known["forest_shap"], atol=1e-6)


@pytest.mark.parametrize("index", ["k-sii", "stii"])
def test_rows_of_a_matrix_sum_to_shapley_values(index: str, known: dict[str, Array]) -> None:
    made = Explainer(FOREST, index, background=known["iris_background"])(known["iris"], "all")
    shapley = Explainer(FOREST, "exact-shapley", background=known["iris_background"])(known["iris"], "all")
    np.testing.assert_allclose(made.facts["interactions"].sum(axis=-1), shapley.attribution, atol=1e-9)


# -- explanations ----------------------------------------------------------------------------------------------------------


def test_a_game_of_known_interactions() -> None:
    """y = x0·x1 + x1·x2·x3 + x4²: from a baseline of 0 its dividends are its terms."""
    made = Explainer(game(), "k-sii", order=3, baseline=0.0)(POINTS)
    terms = {(0, 1): POINTS[:, 0] * POINTS[:, 1], (1, 2, 3): POINTS[:, 1:4].prod(axis=1), (4,): POINTS[:, 4] ** 2}
    for members, worth in zip(made.facts["sets"][0], made.facts["set_values"].T, strict=True):
        np.testing.assert_allclose(worth, terms.get(tuple(int(m) for m in members if m >= 0), 0.0), atol=1e-12)
    assert made.facts["sets"].shape == (4, 6 + 15 + 20, 3)
    assert made.delta is not None
    np.testing.assert_allclose(made.delta, 0, atol=1e-12)
    np.testing.assert_allclose(made.attribution[:, 4], POINTS[:, 4] ** 2, atol=1e-12)
    np.testing.assert_allclose(made.facts["interactions"].sum(axis=(1, 2)), sum(v for s, v in terms.items() if len(s) < 3))


def test_additive_models_have_no_interactions() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    linear = model([node("MatMul", "x w", "y")], {"x": ["n", 6]}, {"y": ["n", 3]}, {"w": weights})
    x = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    for index in INDICES:
        made = Explainer(linear, index, samples=60)(x, "all")
        expected = x[:, None] * weights.T[None]
        np.testing.assert_allclose(made.attribution, expected, atol=1e-5, err_msg=index)
        matrix = made.facts["interactions"] - expected[..., None] * np.eye(6)
        np.testing.assert_allclose(matrix, 0, atol=1e-5, err_msg=index)


def test_banzhaf_values_by_brute_force() -> None:
    made = Explainer(game(), "banzhaf", baseline=ORIGIN)(POINTS)
    for i in range(6):
        without = np.array([c for c in np.ndindex(*[2] * 6) if not c[i]], bool)
        joined = without.copy()
        joined[:, i] = True
        for x, found in zip(POINTS, made.attribution, strict=True):
            gain = value(np.where(joined, x, ORIGIN)) - value(np.where(without, x, ORIGIN))
            np.testing.assert_allclose(found[i], gain.mean(), atol=1e-12)
    assert set(made.facts) == {"base_value"}


def test_groups_are_players() -> None:
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:3]
    made = Explainer(DIGITS, "k-sii", groups="segments", parts=9)(images, "all")
    assert made.facts["interactions"].shape == (3, 10, 9, 9)
    np.testing.assert_allclose(np.diagonal(made.facts["interactions"], axis1=-2, axis2=-1), made.facts["group_values"])
    inside = made.attribution[0, 3][made.facts["groups"][0] == 4]
    np.testing.assert_array_equal(inside, np.full_like(inside, made.facts["group_values"][0, 3, 4]))
    assert made.facts["interactions"].shape == (3, 10, 9, 9)


def test_lists_and_tables_of_sets() -> None:
    made = Explainer(game(), "k-sii", order=3, baseline=0.0)(POINTS)
    terms = {(0, 1): POINTS[0, 0] * POINTS[0, 1], (1, 2, 3): POINTS[0, 1:4].prod()}
    found = dict(made.interactions(2)[0])
    assert found.keys() == terms.keys()
    np.testing.assert_allclose([found[k] for k in terms], list(terms.values()))
    assert [len(m) for m, _ in made.interactions(3, size=3)[0]] == [3, 3, 3]
    pandas = pytest.importorskip("pandas", reason="tables need pandas")
    table = made.to_pandas(list("abcdef"), interactions=True)
    assert list(table.columns) == ["sample", "target", "order", "features", "interaction"]
    assert len(table) == 4 * 41
    row = table[(table["sample"] == 0) & (table["features"] == "b × c × d")]
    np.testing.assert_allclose(row["interaction"], terms[1, 2, 3])
    assert isinstance(row, pandas.DataFrame)
    pairs = Explainer(game(), "k-sii", baseline=0.0)(POINTS, "all").to_pandas(interactions=True)
    assert len(pairs) == 4 * 21
    np.testing.assert_allclose(pairs.query("sample == 0 and features == '0 × 1'")["interaction"], terms[0, 1])
    with pytest.raises(InputError, match="explain one target"):
        Explainer(game(), "k-sii", baseline=0.0)(POINTS, "all").interactions()
    with pytest.raises(MethodError, match="'banzhaf' leaves no interactions; k-sii"):
        Explainer(game(), "banzhaf", baseline=0.0)(POINTS).interactions()


def test_superpixels_in_different_numbers_leave_nan() -> None:
    pytest.importorskip("skimage", reason="superpixels need scikit-image")
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:4]
    made = Explainer(DIGITS, "k-sii", order=3, groups="superpixels", parts=6)(images)
    counts = made.facts["groups"].reshape(4, -1).max(axis=1) + 1
    assert len(set(counts)) > 1, "this test needs pictures with different numbers of regions"
    for i, count in enumerate(counts):
        known = np.isfinite(made.facts["interactions"][i])
        assert known[:count, :count].all()
        assert known.sum() == count**2
        members = made.facts["sets"][i]
        many = int(sum(comb(count, k) for k in (1, 2, 3)))
        assert (members[:many].max(axis=1) >= 0).all()
        assert (members[many:] == -1).all()
        assert np.isnan(made.facts["set_values"][i, many:]).all()


# -- estimates -------------------------------------------------------------------------------------------------------------


def smooth(masks: Array) -> Array:
    """A game of 14 players with interactions of every order."""
    random = np.random.default_rng(0)
    inner, bias, outer = random.normal(size=(14, 20)), random.normal(size=20), random.normal(size=20)
    return np.tanh(masks @ inner * 0.4 + bias) @ outer


@pytest.mark.parametrize(("index", "order"), [("sii", 2), ("k-sii", 2), ("stii", 2), ("fsii", 2), ("bii", 1), ("fbii", 2)])
def test_estimates_are_unbiased_and_know_their_error(index: str, order: int) -> None:
    """Over 30 seeds the errors, in units of the standard errors, have mean 0 and deviation 1."""
    estimator = Estimator.of(INDICES[index], 14, order)
    masks = all_coalitions(14)
    exact = estimator.exact(masks, smooth(masks)[:, None])
    scores = []
    for seed in range(30):
        draws = draw_coalitions(14, 1200, estimator.importance, np.random.default_rng(seed))
        assert len(draws.masks) <= 1200
        made, errors = estimator.estimate(draws, smooth(draws.masks)[:, None])
        certain = all((np.abs(made[s] - exact[s]) < 1e-9)[errors[s] < 1e-12].all() for s in exact)
        assert certain, "a standard error of 0 where the value is off"
        sampled = {s: errors[s] > 1e-12 for s in exact if s}
        scores.append(np.concatenate([(made[s] - exact[s])[m] / errors[s][m] for s, m in sampled.items()]))
    deviations = np.stack(scores)
    assert abs(deviations.std() - 1) < 0.12
    assert np.abs(deviations.mean(axis=0)).max() < 5 / np.sqrt(30)


def test_more_coalitions_come_nearer() -> None:
    estimator = Estimator.of(INDICES["k-sii"], 14, 2)
    masks = all_coalitions(14)
    exact = estimator.exact(masks, smooth(masks)[:, None])[2]
    gaps = []
    for samples in (400, 4000):
        draws = draw_coalitions(14, samples, estimator.importance, np.random.default_rng(0))
        made, _ = estimator.estimate(draws, smooth(draws.masks)[:, None])
        gaps.append(np.sqrt(np.mean((made[2] - exact) ** 2)))
    assert gaps[1] < gaps[0] / 3
    assert gaps[1] < 0.1 * np.abs(exact).mean()


@pytest.mark.parametrize("index", ["k-sii", "stii", "fsii"])
def test_estimates_add_up_whatever_was_drawn(index: str) -> None:
    """A mean over draws gives every coalition between none and all a weight of 0 in total."""
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:2]
    made = Explainer(DIGITS, index, groups="segments", parts=25, samples=900)(images)
    total = made.facts["interactions"].sum(axis=(1, 2))
    score = made.outputs["logits"][np.arange(2), made.target]
    np.testing.assert_allclose(made.facts["base_value"] + total, score, atol=1e-4)
    assert made.delta is not None
    np.testing.assert_allclose(made.delta, 0, atol=1e-6)
    assert made.facts["interaction_error"].shape == made.facts["interactions"].shape
    assert made.facts["standard_error"].shape == images.shape


def test_a_moebius_transform_needs_small_coalitions_only() -> None:
    """Of 20 players, 2^20 coalitions; pairs are exact from those of up to two."""
    estimator = Estimator.of(INDICES["moebius"], 20, 2)
    draws = draw_coalitions(20, 500, estimator.importance, np.random.default_rng(0))
    scores = (draws.masks @ np.arange(20.0)) ** 2
    made, errors = estimator.estimate(draws, scores[:, None])
    first, second = np.array(list(combinations(range(20), 2))).T
    np.testing.assert_allclose(made[2][:, 0], 2.0 * first * second, atol=1e-9)
    np.testing.assert_array_equal(errors[2], np.zeros_like(made[2]))


def test_many_players_are_estimated_by_default(known: dict[str, Array]) -> None:
    rows = np.load(FIXTURES / "cancer" / "data.npz")["features"]
    made = Explainer(FIXTURES / "cancer" / "model.onnx", "k-sii", baseline=rows.mean(axis=0))(rows[:1])
    assert made.facts["interactions"].shape == (1, 30, 30)
    shares = made.facts["interactions"].sum(axis=-1)[0]
    kernel = Explainer(FIXTURES / "cancer" / "model.onnx", "kernel-shap", baseline=rows.mean(axis=0))(rows[:1]).attribution[0]
    assert np.corrcoef(shares, kernel)[0, 1] > 0.999


# -- refusals ----------------------------------------------------------------------------------------------------------------


def test_refusals() -> None:
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:1]
    with pytest.raises(MethodError, match="order is how many features or groups a set may have, at least 1; got 0"):
        Explainer(DIGITS, "sii", order=0)(images)
    with pytest.raises(MethodError, match=r"679,120 sets of up to 4 of 64 .* too many, 500,000 at most: lower the order"):
        Explainer(DIGITS, "sii", order=4)(images)
    with pytest.raises(
        MethodError, match=r"100 coalitions are too few .* of 64 features or groups .* give samples=(\d+)"
    ) as found:
        Explainer(DIGITS, "k-sii", samples=100)(images)
    enough = int(str(found.value).partition("samples=")[2].split()[0])
    assert np.isfinite(Explainer(DIGITS, "k-sii", samples=enough)(images).facts["interaction_error"]).all()
    with pytest.raises(MethodError, match="needs many forward passes"):
        rewrite(DIGITS, "k-sii")


def test_on_the_command_line(tmp_path: Any) -> None:
    rows = tmp_path / "rows.npy"
    np.save(rows, np.load(FIXTURES / "blackbox" / "reference.npz")["iris"])
    out = tmp_path / "made.npz"
    names = tmp_path / "names.txt"
    names.write_text("sepal length\nsepal width\npetal length\npetal width\n")
    shown = CliRunner().invoke(main, ["explain", str(FOREST), str(rows), "-m", "k-sii", "--features", str(names)])
    assert shown.exit_code == 0, shown.output
    assert "largest interactions" in shown.output
    assert "sepal length × petal length" in shown.output
    done = CliRunner().invoke(main, ["explain", str(FOREST), str(rows), "-m", "k-sii", "--option", "order=3", "-o", str(out)])
    assert done.exit_code == 0, done.output
    with np.load(out) as file:
        assert file["interactions"].shape == (6, 4, 4)
        assert file["sets"].shape == (6, 14, 3)
    table = tmp_path / "made.csv"
    arguments = ["explain", str(FOREST), str(rows), "-m", "k-sii", "--features", str(names), "--interactions", "-o", str(table)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    head, *lines = table.read_text().splitlines()
    assert head == "sample,target,order,features,interaction"
    assert len(lines) == 6 * 10
    assert any("sepal length × petal width" in line for line in lines)


@pytest.mark.parametrize("method", ["exact-shapley", "kernel-shap", "shapley-sampling", "banzhaf", *INDICES])
def test_a_single_feature_gets_the_whole_change(method: str) -> None:
    net = model([node("Sin", "x", "y")], {"x": ["n", 1]}, {"y": ["n", 1]})
    x = np.array([[1.0], [2.0]], np.float32)
    found = Explainer(net, method, baseline=0.5)(x, 0)
    np.testing.assert_allclose(found.attribution, np.sin(x) - np.sin(0.5), rtol=1e-5)
