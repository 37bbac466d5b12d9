"""Forms filled in for patients of a ward, and the risks that raters then see: made up, since real ones are private.

No item, weight or number here comes from a clinic. The rule by which risks arise is written down so that explanations can be
held against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

BLOCKS: dict[str, dict[str, int]] = {
    "suicide": {
        "thoughts of suicide": 3, "a plan": 3, "earlier attempt": 2, "hopelessness": 2, "recent loss": 1,
        "withdraws from others": 1, "means at hand": 1,
    },
    "hetero-aggression": {
        "threatens others": 3, "earlier violence": 3, "irritable": 2, "takes drugs or drinks": 1, "feels persecuted": 1,
        "damages things": 2,
    },
    "auto-aggression": {
        "has hurt themselves": 3, "urge to hurt themselves": 3, "contempt for themselves": 2, "unbearable tension": 2,
        "impulsive": 1, "refuses food or drink": 1,
    },
    "running away": {
        "has run away": 3, "wants to leave": 3, "refuses treatment": 2, "disoriented": 1, "paces or waits at doors": 2,
        "is missed elsewhere": 1,
    },
}  # fmt: skip
"""The items of each block with their weights: 25 in all. An item is answered 0 (no), 1 (partly) or 2 (clearly)."""

AREAS = tuple(BLOCKS)
ITEMS = tuple(item for block in BLOCKS.values() for item in block)
WEIGHT = np.array([w for block in BLOCKS.values() for w in block.values()], dtype=float)
BLOCK = np.repeat(np.arange(len(AREAS)), [len(b) for b in BLOCKS.values()])
"""The block of each item."""
ANSWERS = ("no", "partly", "clearly")
MOST = len(ANSWERS) - 1
ALARM = 3
"""Items of this weight answered "clearly" count half as much again."""

INFLUENCE = np.array([[1, 0, 0.4, 0], [0.1, 1, 0.2, 0.1], [0.4, 0.1, 1, 0], [0.1, 0.3, 0, 1]])
"""How much the points of each block (column) count for each risk (row)."""

FORMS, RATIOS = 322, (5, 7, 8, 10)
"""How many forms, and how many without a risk for one with it, by area."""
RATERS, LENIENCY, SLIP = 6, 0.1, 0.2
"""Raters, and how far one is from the others, and from themselves: standard deviations, the points' own being 1."""
LOADING, TOGETHER = 0.75, np.array([[1, 0.2, 0.5, 0.1], [0.2, 1, 0.2, 0.4], [0.5, 0.2, 1, 0.2], [0.1, 0.4, 0.2, 1]])
"""How closely answers follow the state of a patient, and how the states of the four areas go together."""
ASKED = {1: 0.6, 2: 0.45, 3: 0.35}
"""How often an item of a weight is answered other than "no"; half of these "clearly"."""


@dataclass(frozen=True)
class Forms:
    """A stack of forms and what was found."""

    answers: Array
    """float32 [n, 25], each 0, 1 or 2."""
    risk: Array
    """bool [n, 4]."""
    points: Array
    """What the rule gives before any rater's error: float64 [n, 4]."""

    def __len__(self) -> int:
        return len(self.answers)


def points(answers: Array) -> Array:
    """The rule: weighted answers by block, alarms more, and what blocks count for other risks; [n, 4]."""
    alarm = (answers == MOST) & (ALARM == WEIGHT)
    given = WEIGHT * answers * np.where(alarm, 1.5, 1)
    own = np.stack([given[:, b == BLOCK].sum(axis=1) for b in range(len(AREAS))], axis=1)
    return np.asarray(own @ INFLUENCE.T)


def filled(seed: int, count: int = FORMS) -> Forms:
    """Forms of one ward; each risk is seen in those with most points, raters' errors added."""
    random = np.random.default_rng(seed)
    state = random.multivariate_normal(np.zeros(len(AREAS)), TOGETHER, count)[:, BLOCK]
    level = LOADING * state + np.sqrt(1 - LOADING**2) * random.standard_normal(state.shape)
    rank = level.argsort(axis=0).argsort(axis=0) / count
    asked = np.array([ASKED[int(w)] for w in WEIGHT])
    answers = (rank >= 1 - asked).astype(np.float32) + (rank >= 1 - asked / 2)
    true = points(answers)
    rater = random.integers(RATERS, size=count)
    error = LENIENCY * random.standard_normal((RATERS, len(AREAS)))[rater] + SLIP * random.standard_normal(true.shape)
    return Forms(answers.astype(np.float32), highest(true / true.std(axis=0) + error), true)


def highest(seen: Array) -> Array:
    """The forms with a risk, as many as RATIOS say: bool [n, 4]."""
    place = np.argsort(np.argsort(-seen, axis=0, kind="stable"), axis=0)
    return np.asarray(place < np.round(len(seen) / (1 + np.array(RATIOS))))
