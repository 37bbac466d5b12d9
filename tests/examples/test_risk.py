"""The study of risk forms: its parts are what they say, and what its page claims holds on a ward or two."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples import page, perceptron
from examples.risk.forms import AREAS, INFLUENCE, ITEMS, MOST, RATIOS, filled, points
from onnxplain.runtime.session import Session

pytest.importorskip("sklearn", reason="decision trees need scikit-learn, from the extra 'blackbox'")
from examples.risk import measuring, one_form, published, study, tables


@pytest.fixture(scope="module")
def wards() -> Any:
    return [measuring.measure(seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def sources(wards: Any) -> Any:
    return [published.measure(ward) for ward in wards]


def mean(wards: Any, what: Any) -> Any:
    return tables.over(wards, what)[0]


# -- its parts -------------------------------------------------------------------------------------------------------------


def test_slopes_of_a_perceptron_agree_with_differences() -> None:
    random = np.random.default_rng(0)
    net = perceptron.made([5, 7, 4, 2], random)
    x, y = random.normal(size=(9, 5)), (random.random((9, 2)) < 0.4).astype(float)
    masks = [(random.random((9, n)) < 0.8) / 0.8 for n in (7, 4)]
    _, slopes = perceptron.loss_and_slopes(net, x, y, masks, emphasis=3)
    for part, slope in zip([*net.weights, *net.biases], slopes, strict=True):
        for place in np.ndindex(part.shape):
            before, losses = part[place], []
            for step in (1e-6, -1e-6):
                part[place] = before + step
                losses.append(perceptron.loss_and_slopes(net, x, y, masks, emphasis=3)[0])
            part[place] = before
            np.testing.assert_allclose(slope[place], (losses[0] - losses[1]) / 2e-6, atol=1e-7)


def test_the_exported_perceptron_is_the_trained_one() -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(200, 3))
    y = (x[:, :2] > 0).astype(float)
    net = perceptron.trained(x, y, (16, 8), epochs=30, rate=1e-2, dropout=0.1)
    chance = Session(perceptron.exported(net, "x", "p"), "cpu", threads=1).run({"x": x.astype(np.float32)})["p"]
    np.testing.assert_allclose(chance, 1 / (1 + np.exp(-net.activations(x)[-1])), atol=1e-5)
    assert ((chance > 0.5) == y).mean() > 0.95


def test_the_rule_counts_as_it_says() -> None:
    form = np.zeros((2, len(ITEMS)))
    form[0, ITEMS.index("a plan")] = MOST  # weight 3, an alarm: 3 · 2 · 1.5 = 9, of which 0.4 for auto-aggression
    form[1, ITEMS.index("irritable")] = 1  # weight 2
    np.testing.assert_allclose(points(form), [[9, 0.9, 3.6, 0.9], [0, 2, 0.2, 0.6]])


def test_the_page_tells_the_rule() -> None:
    text = (page.DOCS / "risk.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2:-1] for line in text.split("share of a block's points")[1].splitlines()[2 : 2 + len(AREAS)]]
    np.testing.assert_array_equal(np.array(rows, float), INFLUENCE)


def test_the_forms_are_as_rare_in_risks_as_said() -> None:
    forms = filled(3)
    assert forms.answers.shape == (322, 25)
    assert set(np.unique(forms.answers)) == {0, 1, 2}
    seen = forms.risk.sum(axis=0)
    np.testing.assert_allclose((322 - seen) / seen, RATIOS, rtol=0.05)


# -- what is measured ------------------------------------------------------------------------------------------------------


def test_the_network_predicts_as_well_as_the_published_one(wards: Any) -> None:
    network, trees, rule = (
        {part: float(mean(wards, lambda w, who=who, part=part: getattr(w.skill[who], part)).mean()) for part in tables.PARTS}
        for who in wards[0].skill
    )
    for part, said in tables.SKILL["network"].items():
        assert abs(network[part] - np.mean(said)) < (0.02 if part == "accuracy" else 0.08)
    assert network["recall"] > trees["recall"]
    assert rule["accuracy"] > network["accuracy"] + 0.01, "raters' errors leave room"


def test_the_second_item_is_what_importance_says(wards: Any) -> None:
    found = {r: [mean(wards, lambda w, r=r, p=p: getattr(w.second[r], p)) for p in tables.SECOND] for r in wards[0].second}
    direction, above_half, above_all = found["importance"]
    assert direction > 0.995
    assert above_half > 0.97
    assert 0.5 < above_all < 0.8
    direction, above_half, above_all = found["random"]
    assert direction < 0.96
    assert 0.4 < above_half < 0.6
    assert above_all < 0.08


def test_perturbing_one_item_is_what_its_name_says(wards: Any) -> None:
    part = wards[0].parts[0]
    for way, turn in ((way, published.alone(part, way)) for way in published.WAYS):
        order = np.argsort(-published.ranked(part, way), axis=2, kind="stable")
        for form, area in ((0, 0), (3, 2), (11, 3)):
            for place in (0, 1):
                answers = part.answers[form].copy()
                item = order[form, area, place]
                answers[item] = published.perturbed(part, way)[form, area, item]
                now, before = part.ask(answers[None])[0, area] < 0.5, part.chance[form, area] < 0.5
                assert turn[place][form, area] == (now != before)
        assert (turn[0] == measuring.flipped(part, published.ranked(part, way), published.perturbed(part, way))[:, :, 0]).all()


def test_the_first_item_turns_what_the_second_turns_where_both_can_be_moved(sources: Any) -> None:
    share = {way: float(np.nanmean([s.drawn[way].pooled for s in sources])) for way in published.WAYS}
    assert 0.5 < share["importance"] < 0.75
    assert min(share["importance × possible change"], share["pushed"]) > 0.9


def test_the_first_items_turn_about_the_published_shares(sources: Any) -> None:
    turned = np.concatenate([s.drawn["importance"].turned for s in sources])
    for area in (0, 1):  # suicide, hetero-aggression
        assert np.abs(turned.mean(axis=0)[area] - tables.PUBLISHED[area]).max() < 0.2
    assert (turned.mean(axis=0)[3] > tables.PUBLISHED[3] + 0.1).all(), "running away turns less in the thesis"
    assert (np.diff(turned, axis=2) >= -0.02).mean() > 0.98


def test_balanced_data_have_as_many_with_a_risk_as_without() -> None:
    forms = filled(1)
    answers, risk = published.balanced(forms.answers[:, :7], forms.risk[:, 0], np.random.default_rng(0))
    assert risk.sum() == (~risk).sum() == (~forms.risk[:, 0]).sum()
    own, made = forms.answers[forms.risk[:, 0], :7], answers[len(forms) :]
    assert ((made >= own.min(axis=0)) & (made <= own.max(axis=0))).all()
    np.testing.assert_array_equal(answers[: len(forms)], forms.answers[:, :7])


def test_trees_asked_about_made_up_forms_look_better(sources: Any) -> None:
    late, early = (np.mean([s.trees[who].precision for s in sources], axis=0) for who in sources[0].trees)
    assert (late < 0.8).all()
    assert (early > 0.9).all()
    accuracy = np.mean([s.trees["the same, balanced before the parting"].accuracy for s in sources], axis=0)
    np.testing.assert_allclose(accuracy, early, atol=0.04)


@pytest.mark.parametrize("words", [["x"], ["0"], ["1", "2"]])
def test_other_arguments_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="expected a number of wards, found"):
        study.wanted(words)


def test_averages_of_published_numbers_are_rounded_as_by_hand() -> None:
    assert tables.average((0.82, 0.75, 0.77, 0.80)) == "0.79"  # 0.785, which float64 holds as a little less
    assert tables.average((0.01, 0.02, 0.01)) == "0.01"


def test_importance_turns_more_predictions_than_chance(wards: Any) -> None:
    flips = {r: mean(wards, lambda w, r=r: w.flips[r]) for r in measuring.RANKINGS}
    for area in range(4):
        assert (np.diff(flips["importance"][area]) > 0).all()
        assert flips["importance"][area, 3] > 2.5 * flips["random"][area, 3]
        assert flips["importance × possible change"][area, 0] > flips["importance"][area, 0]
        assert flips["integrated gradients"][area, 3] < 0.6 * flips["importance"][area, 3]


def test_what_made_a_risk_turns_it(wards: Any) -> None:
    back = {r: mean(wards, lambda w, r=r: w.back[r].mean(axis=0)) for r in measuring.RANKINGS}
    for ranking in ("importance × possible change", "integrated gradients", "LRP-ε"):
        assert back[ranking][0] > back["importance"][0] + 0.1
        assert back[ranking][1] > 0.85
    assert back["random"][1] < 0.45


def test_a_network_for_each_risk_keeps_closer_to_the_rule(wards: Any) -> None:
    def near(importance: Any) -> float:
        return float(np.mean([np.corrcoef(m, w)[0, 1] for m, w in zip(importance, measuring.weights(), strict=True)]))

    shared, apart = (float(np.mean([near(getattr(w, n)) for w in wards])) for n in ("importance", "apart"))
    assert 0.5 < shared < apart - 0.05


def test_the_form_adds_up(wards: Any, tmp_path: Path) -> None:
    told = one_form.example(wards[0])
    chance = float(told.chance[told.area])
    assert abs(told.empty + told.contribution.sum() - measuring.logit(np.array(chance))) < 0.02
    assert (told.contribution[told.answers == 0] == 0).all()
    own = told.others[np.arange(len(ITEMS)), told.answers.astype(int)]
    np.testing.assert_allclose(own, chance, atol=1e-6)
    assert told.back[-1][1] < 0.5 < chance
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    from examples.risk.picture_form import draw_form

    draw_form(told, tmp_path / "form.png")
    assert (tmp_path / "form.png").stat().st_size > 20_000


def test_the_picture_is_drawn(wards: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib, from the extra 'plot'")
    study.picture(wards, tmp_path / "risk.png")
    assert (tmp_path / "risk.png").stat().st_size > 20_000


# -- the page --------------------------------------------------------------------------------------------------------------


def told(text: str) -> np.ndarray:
    """Numbers of a table without deviations and intervals; percent and counts of 100 as shares."""
    text = re.sub(r"± [\d.]+|\([^)]*\)|(?<=of )100(?= samples)", "", text)
    return np.array([n / 100 if n > 1 else n for n in page.numbers(text)])


def test_the_page_says_what_two_wards_show(wards: Any, sources: Any) -> None:
    for block, table in tables.tables(wards, sources).items():
        said, now = told(page.filled("risk.md", block)), told(table)
        assert len(said) == len(now)
        each, mean = (0.25, 0.05) if block == "published" else (0.16, 0.04)  # of one hundred samples, not of a whole ward
        np.testing.assert_allclose(said, now, atol=each)
        assert np.abs(said - now).mean() < mean


@pytest.mark.slow
def test_the_page_says_what_is_measured() -> None:
    every = [measuring.measure(seed) for seed in range(study.WARDS)]
    for block, table in tables.tables(every, [published.measure(ward) for ward in every]).items():
        np.testing.assert_allclose(told(page.filled("risk.md", block)), told(table), atol=0.015)
