"""What is measured on forms: how well risks are predicted, and whether importance names the items that decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import onnx
from sklearn.model_selection import KFold
from sklearn.tree import DecisionTreeClassifier

from examples.perceptron import exported, trained
from examples.risk.forms import AREAS, BLOCK, INFLUENCE, ITEMS, MOST, WEIGHT, Forms, filled, highest
from onnxplain import Explainer
from onnxplain.runtime.session import Session

FOLDS, TOP, DRAWS = 5, 4, 10
"""Parts of the forms that are held out in turn, most items moved, random orders."""
TRAINING: dict[str, Any] = {"hidden": (64, 64, 32), "epochs": 80, "rate": 3e-3, "dropout": 0.2, "decay": 1.0, "emphasis": 3.0}
TREE = {"max_depth": 5, "min_samples_leaf": 3}
RANKINGS = ("importance", "importance × possible change", "integrated gradients", "LRP-ε", "random")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Explained:
    """Forms that a network was not trained on, what it says of them, and the explanations."""

    answers: Array
    """float32 [n, 25]."""
    chance: Array
    """The network's probabilities [n, 4]."""
    slope: Array
    """The importance vectors ∂ logit / ∂ answer, [n, 4, 25]."""
    scores: Mapping[str, Array]
    """By ranking: how much each item matters [n, 4, 25]."""
    model: onnx.ModelProto
    session: Session

    def ask(self, answers: Array) -> Array:
        """Probabilities [n, …, 4] of answers [n, …, 25]."""
        flat = np.ascontiguousarray(answers.reshape(-1, answers.shape[-1]), np.float32)
        found = np.asarray(self.session.run({"answers": flat})["risk"], np.float64)
        return found.reshape(*answers.shape[:-1], -1)


def logit(chance: Array) -> Array:
    """Log-odds of probabilities, which must not be certain in float32."""
    return np.asarray(np.log(chance) - np.log1p(-chance))


def network(forms: Forms, rows: Array, seed: int, areas: Sequence[int] = range(len(AREAS))) -> onnx.ModelProto:
    """A network of four linear layers, trained on some of the forms for some of the risks."""
    y = forms.risk[np.ix_(rows, areas)].astype(np.float64)
    return exported(trained(forms.answers[rows].astype(np.float64), y, seed=seed, **TRAINING), "answers", "risk")


def explained(model: onnx.ModelProto, answers: Array) -> Explained:
    """Every form's four risks, explained by all methods."""
    repeated, areas = np.repeat(answers, len(AREAS), axis=0), np.tile(range(len(AREAS)), len(answers))

    def by(method: str, **options: Any) -> Array:
        explain = Explainer(model, method, providers="cpu", threads=1, progress=False, **options)
        return explain(repeated, areas).attribution.reshape(len(answers), len(AREAS), -1)

    session = Session(model, "cpu", threads=1)
    chance = session.run({"answers": answers})["risk"].astype(np.float64)
    slope = by("gradient").astype(np.float64)
    room = np.abs(wanted(chance, slope) - answers[:, None])
    scores = {
        "importance": np.abs(slope),
        "importance × possible change": np.abs(slope) * room,
        "integrated gradients": np.abs(by("integrated-gradients", baseline=0.0, steps=50)),
        "LRP-ε": np.abs(by("lrp-epsilon")),
    }
    return Explained(answers, chance, slope, scores, model, session)


def wanted(chance: Array, slope: Array) -> Array:
    """The answer that speaks most against the prediction, by the sign of the importance: 0 or 2, [n, 4, 25]."""
    up = (slope > 0) == (chance < 0.5)[:, :, None]
    return np.where(up, float(MOST), 0.0)


def flipped(said: Explained, score: Array, answers: Array | None = None) -> Array:
    """Whether a prediction turns when its 1 … TOP first items get other answers, by default those that speak most against it:
    bool [n, 4, TOP]."""
    place = np.argsort(np.argsort(-score, axis=2, kind="stable"), axis=2)
    changed, turns = wanted(said.chance, said.slope) if answers is None else answers, []
    for count in range(1, TOP + 1):
        moved = np.where(place < count, changed, said.answers[:, None])
        now = np.einsum("naa->na", said.ask(moved))
        turns.append((now < 0.5) != (said.chance < 0.5))
    return np.stack(turns, axis=-1)


@dataclass(frozen=True)
class Second:
    """One item's answer changed by one step, beside the same change of every item ranked below; shares of all predictions."""

    direction: float
    """The risk moves to the side that the sign of the importance says."""
    above_half: float
    """It moves further than by at least half of the items ranked below."""
    above_all: float
    """Further than by any of them."""


def second(said: Explained, random: np.random.Generator | None = None) -> Second:
    """Whether the second place of the importance vector means what it says; with `random`, of an item drawn for that place."""
    step = np.where(said.answers < MOST, 1.0, -1.0)[:, None]  # [n, 1, 25]
    moved = said.answers[:, None] + np.eye(len(ITEMS)) * step
    change = np.moveaxis(logit(said.ask(moved)) - logit(said.chance)[:, None], 1, 2)  # [n, 4, 25]
    order = np.argsort(-np.abs(said.slope), axis=2, kind="stable")[:, :, 1:]
    if random is not None:
        order = random.permuted(order, axis=2)
    change, told = (np.take_along_axis(a, order, axis=2) for a in (change, said.slope * step))
    further = np.abs(change[:, :, :1]) > np.abs(change[:, :, 1:])
    right = np.sign(change[:, :, 0]) == np.sign(told[:, :, 0])
    return Second(float(right.mean()), float((further.mean(axis=2) >= 0.5).mean()), float(further.all(axis=2).mean()))


@dataclass(frozen=True)
class Skill:
    """How predictions agree with what raters saw, by area: each float64 [4]."""

    accuracy: Array
    precision: Array
    recall: Array

    @classmethod
    def of(cls, said: Array, seen: Array) -> Skill:
        """Of predictions bool [n, 4]; the precision is 0 where nothing was predicted."""
        hits = (said & seen).sum(axis=0)
        return cls((said == seen).mean(axis=0), hits / np.maximum(said.sum(axis=0), 1), hits / seen.sum(axis=0))


@dataclass(frozen=True)
class Ward:
    """What was measured on one stack of forms, every form by a network that had not seen it."""

    seed: int
    parts: Sequence[Explained]
    """The forms by the network that had not seen them."""
    skill: Mapping[str, Skill]
    """Of the network, of decision trees, and of the rule without raters' errors."""
    flips: Mapping[str, Array]
    """Share of predictions turned, by ranking: float64 [4, TOP]."""
    back: Mapping[str, Array]
    """The same of predicted risks alone."""
    second: Mapping[str, Second]
    """Of the item of second importance, and of one drawn at random in its place."""
    importance: Array
    """Mean of the importance vectors: float64 [4, 25]."""
    apart: Array
    """The same of four networks, each trained for one risk alone, on the first part of the forms."""
    splits: Array
    """Mean importance in the decision trees, likewise."""


def measure(seed: int) -> Ward:
    """Fill in a ward's forms, train, explain, and see."""
    forms, random = filled(seed), np.random.default_rng(1000 + seed)
    trees = np.zeros_like(forms.risk)
    splits, parts, folds = np.zeros((len(AREAS), len(ITEMS))), [], []
    for train, test in parted(forms, seed):
        folds.append(test)
        parts.append(explained(network(forms, train, seed), forms.answers[test]))
        for area in range(len(AREAS)):
            tree = DecisionTreeClassifier(random_state=seed, **TREE).fit(forms.answers[train], forms.risk[train, area])
            trees[test, area] = tree.predict(forms.answers[test])
            splits[area] += tree.feature_importances_ / FOLDS
    order = np.concatenate(folds)
    seen, said = forms.risk[order], np.concatenate([p.chance for p in parts]) >= 0.5
    turned = {r: np.concatenate([_turned(p, r, random) for p in parts]) for r in RANKINGS}
    places = {"importance": [second(p) for p in parts], "random": [second(p, random) for p in parts]}
    return Ward(
        seed=seed,
        parts=parts,
        skill={
            "network": Skill.of(said, seen),
            "decision trees": Skill.of(trees[order], seen),
            "the rule itself": Skill.of(highest(forms.points)[order], seen),
        },
        flips={r: t.mean(axis=0) for r, t in turned.items()},
        back={r: np.stack([t[said[:, a], a].mean(axis=0) for a in range(len(AREAS))]) for r, t in turned.items()},
        second={r: Second(*np.mean([astuple(s) for s in found], axis=0)) for r, found in places.items()},
        importance=np.mean([p.slope.mean(axis=0) for p in parts], axis=0),
        apart=_apart(forms, seed),
        splits=splits,
    )


def parted(forms: Forms, seed: int) -> list[tuple[Array, Array]]:
    """Forms to train on and forms held out, so that every form is held out once."""
    return list(KFold(FOLDS, shuffle=True, random_state=seed).split(forms.answers))


def _apart(forms: Forms, seed: int) -> Array:
    """Mean importance vectors of networks for one risk each, [4, 25]."""
    train, test = parted(forms, seed)[0]
    models = [network(forms, train, seed, [area]) for area in range(len(AREAS))]
    found = [Explainer(m, "gradient", providers="cpu", threads=1)(forms.answers[test], 0).attribution for m in models]
    return np.mean(found, axis=1, dtype=np.float64)


def _turned(said: Explained, ranking: str, random: np.random.Generator) -> Array:
    """`flipped` of a ranking; of random orders the mean."""
    if ranking != "random":
        return flipped(said, said.scores[ranking])
    return np.mean([flipped(said, random.random(said.slope.shape)) for _ in range(DRAWS)], axis=0)


def weights() -> Array:
    """How much the rule lets an item count for each area, alarms aside: float64 [4, 25]."""
    return np.asarray(INFLUENCE[:, BLOCK] * WEIGHT)
