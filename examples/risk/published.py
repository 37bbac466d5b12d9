"""The tests of the source as it defines them: the second feature's, the first features' on 100 samples, and trees of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeClassifier

from examples.risk.forms import AREAS, BLOCK, MOST, Forms, filled
from examples.risk.measuring import FOLDS, TREE, Explained, Skill, Ward, flipped, parted, wanted

SAMPLES, DRAWS = 100, 20
"""Samples drawn at random, as in the source, and how often that is repeated for each ward."""
NEIGHBOURS = 5
"""Of a form with a risk, between which and the form others are made up."""
WAYS = {
    "importance": "importance",
    "importance × possible change": "importance × possible change",
    "pushed": "importance, two steps",
}
"""By what items are ranked, in words. A perturbed item gets the answer that speaks most against the prediction; the last way
moves it by two steps against the prediction, beyond the scale if need be."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Drawn:
    """What was measured on random samples of a ward."""

    both: Array
    """Of the samples whose class changes when the second item is perturbed, the share whose class changes with the first too, NaN
    where there is none: float64 [draws, 4]."""
    changed: Array
    """How many samples change with the second: float64 [draws, 4]."""
    pooled: Array
    """`both` of all areas together: float64 [draws]."""
    turned: Array
    """Share of samples whose class changes when the 1 … 4 first items are perturbed: float64 [draws, 4, 4]."""


@dataclass(frozen=True)
class Source:
    """What was measured on a ward in the way of the source."""

    drawn: Mapping[str, Drawn]
    """By WAYS."""
    trees: Mapping[str, Skill]


def measure(ward: Ward) -> Source:
    """The source's tests on the forms of a ward, and its trees."""
    return Source(drawn(ward.parts, np.random.default_rng(3000 + ward.seed)), trees(filled(ward.seed), ward.seed))


def ranked(said: Explained, way: str) -> Array:
    """How much each item matters: [n, 4, 25]."""
    return np.asarray(said.scores["importance" if way == "pushed" else way])


def perturbed(said: Explained, way: str) -> Array:
    """What each answer is changed to: [n, 4, 25]."""
    answers = wanted(said.chance, said.slope)
    if way != "pushed":
        return answers
    return np.asarray(said.answers[:, None] + np.where(answers > 0, float(MOST), -float(MOST)))


def alone(said: Explained, way: str) -> tuple[Array, Array]:
    """Whether a prediction turns when its first item alone is perturbed, and when its second is: bool [n, 4] each."""
    order, answers = np.argsort(-ranked(said, way), axis=2, kind="stable"), perturbed(said, way)
    turns = []
    for place in (0, 1):
        items = order[:, :, place : place + 1]
        moved = np.repeat(said.answers[:, None].astype(np.float64), len(AREAS), axis=1)
        np.put_along_axis(moved, items, np.take_along_axis(answers, items, axis=2), axis=2)
        turns.append((np.einsum("naa->na", said.ask(moved)) < 0.5) != (said.chance < 0.5))
    return turns[0], turns[1]


def drawn(parts: Sequence[Explained], random: np.random.Generator) -> dict[str, Drawn]:
    """Repeat the tests on random samples of the forms of a ward, each explained by a network that had not seen it."""
    found = {}
    for way in WAYS:
        pairs = [alone(part, way) for part in parts]
        first, second = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        turns = np.concatenate([flipped(part, ranked(part, way), perturbed(part, way)) for part in parts])
        rows = [random.choice(len(first), SAMPLES, replace=False) for _ in range(DRAWS)]
        changed = np.array([second[r].sum(axis=0) for r in rows], float)
        both = np.array([(first & second)[r].sum(axis=0) for r in rows])
        shares = np.divide(both, changed, out=np.full(changed.shape, np.nan), where=changed > 0)
        pooled = both.sum(axis=1) / changed.sum(axis=1)
        found[way] = Drawn(shares, changed, pooled, np.array([turns[r].mean(axis=0) for r in rows]))
    return found


# -- decision trees --------------------------------------------------------------------------------------------------------


def balanced(answers: Array, risk: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """As many forms with a risk as without: those missing are made up between one with it and one of its nearest (SMOTE,
    Chawla et al. 2002)."""
    own = answers[risk].astype(np.float64)
    missing = len(risk) - 2 * len(own)
    apart = np.linalg.norm(own[:, None] - own[None], axis=2)
    near = np.argsort(apart, axis=1, kind="stable")[:, 1 : NEIGHBOURS + 1]
    start = random.integers(len(own), size=missing)
    end = near[start, random.integers(near.shape[1], size=missing)]
    made = own[start] + random.random((missing, 1)) * (own[end] - own[start])
    return np.concatenate([answers, made]), np.concatenate([risk, np.ones(missing, bool)])


def trees(forms: Forms, seed: int) -> Mapping[str, Skill]:
    """Trees that see the items of their own block alone: fitted to balanced data and asked about the forms held out as they are;
    and with the data balanced before they are parted, which are then asked about made-up forms too."""
    said, random = np.zeros_like(forms.risk), np.random.default_rng(2000 + seed)
    early: list[list[float]] = []
    for area in range(len(AREAS)):
        own, risk = forms.answers[:, area == BLOCK], forms.risk[:, area]
        for train, test in parted(forms, seed):
            said[test, area] = _fitted(*balanced(own[train], risk[train], random), seed).predict(own[test])
        x, y = balanced(own, risk, random)
        guesses = np.zeros_like(y)
        for train, test in KFold(FOLDS, shuffle=True, random_state=seed).split(x):
            guesses[test] = _fitted(x[train], y[train], seed).predict(x[test])
        skill = Skill.of(guesses[:, None], y[:, None])
        early.append([float(part[0]) for part in (skill.accuracy, skill.precision, skill.recall)])
    return {
        "trees, own block, balanced": Skill.of(said, forms.risk),
        "the same, balanced before the parting": Skill(*np.array(early).T),
    }


def _fitted(x: Array, y: Array, seed: int) -> Any:
    return DecisionTreeClassifier(random_state=seed, **TREE).fit(x, y)
