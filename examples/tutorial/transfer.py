"""Does a network that learned a task from few pictures look at the digits, or at the mark of one source?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.page import opened
from examples.tutorial.digits import Digits
from examples.tutorial.marked import FEW, mark, marked
from examples.tutorial.negative import lrp
from onnxplain import Explainer, Explanation
from onnxplain.results.plot.style import percent

FOLDER = Path(__file__).resolve().parent
MODELS = {"scratch": "from scratch", "tuned": "all layers tuned", "head": "last layer alone"}
"""Networks, and what of them has learned the task; the last two begin as the network that reads digits."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Learner:
    """What one network does, and by what."""

    accuracy: Mapping[str, float]
    """With the mark on odd digits, as where it learned; with none; with the mark on even digits."""
    on_mark: float
    """Share of the relevance of "odd" above zero that lies on the mark, in marked odd digits."""
    explained: Explanation
    """The relevance of "odd" in marked odd digits."""


def measure(digits: Digits, folder: Path = FOLDER) -> dict[str, Learner]:
    """Ask every network about marked and unmarked digits, and explain it."""
    odd = digits.test_label % 2
    sets = {
        "mark on odd digits, as learned": marked(digits.test, odd == 1),
        "no mark": digits.test,
        "mark on even digits": marked(digits.test, odd == 0),
    }
    shown = marked(digits.test, odd == 1)[odd == 1]
    found = {}
    for name in MODELS:
        session = opened(folder / f"{name}.onnx")
        explain = Explainer(
            folder / f"{name}.onnx", "lrp", composite=lrp(1), providers="cpu", threads=1, batch_size=100, progress=False
        )
        explained = explain(shown, 1)
        relevance = np.maximum(explained.attribution.astype(np.float64), 0)
        totals = relevance.sum(axis=(1, 2, 3))
        shares = (relevance * mark()).sum(axis=(1, 2, 3))[totals > 0] / totals[totals > 0]
        accuracy = {words: float((session.run({"image": x})["logits"].argmax(axis=1) == odd).mean()) for words, x in sets.items()}
        found[name] = Learner(accuracy, float(shares.mean()), explained)
    return found


def table(found: Mapping[str, Learner]) -> str:
    """What was measured, for the page."""
    heads = list(found["scratch"].accuracy)
    rows = [f"| learned from {FEW} pictures | {' | '.join(heads)} | relevance on the mark |", "|---|" + "---|" * (len(heads) + 1)]
    for name, learner in found.items():
        cells = [percent(learner.accuracy[h]) for h in heads]
        rows.append(f"| {MODELS[name]} | {' | '.join(cells)} | {percent(learner.on_mark)} |")
    return "\n".join(rows)
