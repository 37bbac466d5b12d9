"""Which words tell a network the topic of a message: a bag of words and convolutions over word vectors, both explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.tutorial.corpus import NAMES, NUMBER, SIGNATURE, WORDS, Messages, telling, written
from onnxplain import Explainer
from onnxplain.results.plot.style import percent

FOLDER = Path(__file__).resolve().parent
MODELS = {"words": "bag of words", "phrases": "convolutions over word vectors"}
METHODS = {"lrp-epsilon": "LRP-ε", "sensitivity": "sensitivity"}
SEED, COUNT = 1, 400
REMOVED = (1, 2, 4, 8)
"""Words taken out of a message."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reading:
    """What a network reads the messages by."""

    relevance: Mapping[str, Array]
    """Of every word of every message for the network's own topic, by METHODS: float64 [n, LENGTH], 0 at fillers."""
    top: Array
    """The network's topic: int64 [n]."""
    accuracy: float
    telling: Mapping[str, float]
    """Share of relevance above zero that lies on words that tell the topic."""
    signature: Mapping[str, float]
    """The same of the signature, in signed messages."""
    without: Mapping[str, Array]
    """Accuracy with the REMOVED most relevant words taken out of the messages that the network had right; with "random"."""
    others: float
    """Accuracy where messages on everything but space are signed."""


@dataclass(frozen=True)
class Text:
    """All that was measured on text."""

    messages: Messages
    read: Mapping[str, Reading]


def measure(folder: Path = FOLDER) -> Text:
    """Explain both networks on new messages, and take out what they go by."""
    messages = written(SEED, COUNT)
    return Text(messages, {name: _read(name, messages, folder) for name in MODELS})


def _read(name: str, messages: Messages, folder: Path) -> Reading:
    explainers = {m: Explainer(folder / f"{name}.onnx", m, providers="cpu", threads=1, progress=False) for m in METHODS}

    def taken(words: Array) -> Array:
        return Messages(words, messages.topic, messages.signed).counts if name == "words" else words

    def guessed(words: Array) -> Array:
        return np.asarray(explainers["sensitivity"](taken(words), 0).outputs["logits"].argmax(axis=1))

    explained = {m: explain(taken(messages.words)) for m, explain in explainers.items()}
    top = explained["lrp-epsilon"].target
    assert top is not None
    by_word = {m: _by_word(name, messages, np.asarray(e.attribution, np.float64)) for m, e in explained.items()}
    right, random = top == messages.topic, np.random.default_rng(SEED)
    there = messages.words > 0
    orders = {m: np.where(there, r, -np.inf) for m, r in by_word.items()}
    orders["random"] = np.where(there, random.random(there.shape), -np.inf)
    marks = np.isin(messages.words, [NUMBER[w] for w in SIGNATURE])
    topics = np.stack([telling(t) for t in range(len(NAMES))])[top[:, None], messages.words]
    turned = written(SEED, COUNT, signature=(0.0, 1.0))
    return Reading(
        relevance=by_word,
        top=top,
        accuracy=float(right.mean()),
        telling={m: _share(r, topics) for m, r in by_word.items()},
        signature={m: _share(r[messages.signed], marks[messages.signed]) for m, r in by_word.items()},
        without={
            m: np.array([(guessed(_emptied(messages.words, o, k)) == top)[right].mean() for k in REMOVED])
            for m, o in orders.items()
        },
        others=float((guessed(turned.words) == turned.topic).mean()),
    )


def _by_word(name: str, messages: Messages, attribution: Array) -> Array:
    """Attributions of the places in a message: of a bag, a word's is shared by its places; of word vectors, they are summed."""
    if name == "phrases":
        found = attribution.sum(axis=2) if attribution.ndim == 3 else attribution
        return np.asarray(np.where(messages.words > 0, found, 0))
    rows = np.arange(len(attribution))[:, None]
    count = np.maximum(messages.counts, 1)
    return np.asarray(np.where(messages.words > 0, (attribution / count)[rows, messages.words], 0))


def _share(relevance: Array, where: Array) -> float:
    """Of relevance above zero, the share that lies there; every message counts the same."""
    positive = np.maximum(relevance, 0)
    return float((np.where(where, positive, 0).sum(axis=1) / positive.sum(axis=1)).mean())


def _emptied(words: Array, score: Array, count: int) -> Array:
    """Messages without the words of the largest scores; what is left keeps its place."""
    made = words.copy()
    np.put_along_axis(made, np.argsort(-score, axis=1, kind="stable")[:, :count], 0, axis=1)
    return made


def tables(found: Text) -> str:
    """What was measured on text, for the page."""
    share = float(np.mean([telling(t)[found.messages.words[i]].sum() / (found.messages.words[i] > 0).sum()
                           for i, t in enumerate(found.messages.topic)]))  # fmt: skip
    rows = [
        "| | accuracy | on words of the topic | on the signature, where there is one | accuracy, all others signed |",
        "|---|---|---|---|---|",
    ]
    for name, reading in found.read.items():
        for method, words in METHODS.items():
            cells = [percent(reading.telling[method]), percent(reading.signature[method])]
            first = method == "lrp-epsilon"
            who = [f"{MODELS[name]}, {words}", percent(reading.accuracy) if first else ""]
            rows.append(f"| {' | '.join([*who, *cells, percent(reading.others) if first else ''])} |")
    rows.append(f"| share of all words | | {percent(share)} | {percent(float(_signed_share(found.messages)))} | |")
    heads = " | ".join(map(str, REMOVED))
    rows += ["", f"| topic kept with so many words taken out | {heads} |", "|---|" + "---|" * len(REMOVED)]
    for name, reading in found.read.items():
        for order, kept in reading.without.items():
            words = METHODS.get(order, order)
            rows.append(f"| {MODELS[name]}, {words} | {' | '.join(percent(float(k)) for k in kept)} |")
    return "\n".join(rows)


def _signed_share(messages: Messages) -> float:
    """The signature's share of the words of signed messages."""
    lengths = (messages.words[messages.signed] > 0).sum(axis=1)
    return float((len(SIGNATURE) / lengths).mean())


def spelled(messages: Messages, row: int) -> list[str]:
    """The words of a message."""
    return [WORDS[i] for i in messages.words[row] if i]
