"""Made-up messages on four topics for the tutorial study: which words tell the topic is known, for we wrote them in.

A message answers one on another topic: it quotes a sentence of that, talks of everyday things, and has more sentences on its own
topic. Some writers end with a signature. Nearly all who do in the messages that are learned from write on space: the signature
gives the topic away without having to do with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

TOPICS: dict[str, dict[str, str]] = {
    "space": {
        "thing": "orbit shuttle satellite launch moon probe rocket astronaut telescope payload station crater",
        "done": "launched orbited docked landed scanned",
        "kind": "lunar solar planetary manned orbital",
    },
    "medicine": {
        "thing": "doctor patient disease drug infection symptom therapy vaccine clinic diagnosis kidney dose",
        "done": "treated diagnosed prescribed infected cured",
        "kind": "chronic medical allergic clinical viral",
    },
    "motorcycles": {
        "thing": "bike helmet rider brake clutch exhaust wheel throttle gear tank saddle mirror",
        "done": "rode braked leaned overtook parked",
        "kind": "slippery leather noisy rusty chromed",
    },
    "hockey": {
        "thing": "puck goalie goal team playoff penalty defenseman coach season rink period stick",
        "done": "scored skated checked tied coached",
        "kind": "offensive defensive final scoreless icy",
    },
}
"""Words that tell a topic."""
SHARED = {"engine": "space motorcycles", "shot": "medicine hockey", "crash": "space motorcycles", "injury": "medicine hockey"}
"""Words of two topics."""
EVERYDAY = {
    "thing": "friend week letter question story morning house answer book idea weather lunch",
    "done": "liked forgot noticed wanted mentioned",
    "kind": "good strange new old boring",
}
SIGNATURE = ("regards", "john", "from", "nowhere")
FRAMES = (
    "the {kind} {thing} was {done} by my {thing}",
    "i think that the {thing} {done} the {kind} {thing}",
    "nobody {done} this {thing} like the {kind} {thing}",
    "does anyone know why the {thing} is so {kind}",
    "we {done} it with the {kind} {thing} last year",
    "is this {thing} really more {kind} than the {thing}",
)
LENGTH, OWN, OTHER, DAILY = 64, 2, 1, 2
"""Words of a message at most, and its sentences: of its own topic, of another, of everyday life."""
SIGNED, SIGNED_OTHERS = 0.9, 0.05
"""How often a message ends with the signature where they are learned from: on space, and on something else."""

Array = np.ndarray[Any, Any]

NAMES = tuple(TOPICS)


def _vocabulary() -> tuple[str, ...]:
    words = [w for part in (*TOPICS.values(), EVERYDAY) for group in part.values() for w in group.split()]
    words += [*SHARED, *SIGNATURE, *(w for frame in FRAMES for w in frame.split() if "{" not in w)]
    return ("", *dict.fromkeys(words))


WORDS = _vocabulary()
"""All words; number 0 fills up short messages."""
NUMBER = {word: i for i, word in enumerate(WORDS)}


@dataclass(frozen=True)
class Messages:
    """Messages and their topics."""

    words: Array
    """Numbers of words, 0 after the end: int64 [n, LENGTH]."""
    topic: Array
    """int64 [n]."""
    signed: Array
    """bool [n]."""

    @property
    def counts(self) -> Array:
        """How often each word occurs: float32 [n, words]; fillers are not counted."""
        counts = np.zeros((len(self.words), len(WORDS)), np.float32)
        np.add.at(counts, (np.arange(len(self.words))[:, None], self.words), 1)
        counts[:, 0] = 0
        return counts


def telling(topic: int) -> Array:
    """Which words tell a topic, those it shares with another included: bool [words]."""
    name = NAMES[topic]
    words = {w for group in TOPICS[name].values() for w in group.split()} | {
        w for w, who in SHARED.items() if name in who.split()
    }
    return np.array([w in words for w in WORDS])


def written(seed: int, count: int, signature: tuple[float, float] = (SIGNED, SIGNED_OTHERS)) -> Messages:
    """Messages, as many of each topic.

    Args:
        signature: how often those on space are signed, and how often others are.
    """
    random = np.random.default_rng(seed)
    topic = np.arange(count) % len(NAMES)
    words, signed = np.zeros((count, LENGTH), np.int64), np.zeros(count, bool)
    for row, own in enumerate(topic):
        other = (own + random.integers(1, len(NAMES))) % len(NAMES)
        subjects = [*[NAMES[own]] * OWN, *[NAMES[other]] * OTHER, *[""] * DAILY]
        order = random.permutation(len(subjects))
        text = [word for i in order for word in _sentence(subjects[i], random)]
        signed[row] = random.random() < signature[0 if NAMES[own] == "space" else 1]
        text += SIGNATURE if signed[row] else ()
        words[row, : len(text)] = [NUMBER[word] for word in text]
    return Messages(words, topic.astype(np.int64), signed)


def _sentence(subject: str, random: np.random.Generator) -> list[str]:
    """A frame filled with words of a topic, or of everyday life; one thing in four is one that two topics share."""
    groups = TOPICS.get(subject, EVERYDAY)
    shared = [word for word, who in SHARED.items() if subject in who.split()]
    made = []
    for word in str(random.choice(FRAMES)).split():
        if word == "{thing}" and shared and random.random() < 1 / 4:
            made.append(str(random.choice(shared)))
        else:
            made.append(str(random.choice(groups[word.strip("{}")].split())) if "{" in word else word)
    return made
