"""TCAV on the digits network: bars painted into digits, and how often random concepts pass for real ones.

Run: python examples/concepts/study.py [rounds]; needs onnxplain[all]. Twenty rounds of ten random concepts take a minute or two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table
from scipy.stats import ttest_ind
from sklearn.datasets import load_digits

from onnxplain import Explainer, tcav
from onnxplain.concepts.vectors import concept_vector

MODEL = Path(__file__).resolve().parent.parent.parent / "fixtures" / "digits" / "model.onnx"
LAYER, TARGET = "relu", 7
BARS = {"top bar": np.s_[:, :, 0:2, 1:7], "bottom bar": np.s_[:, :, 6:8, 1:7], "left bar": np.s_[:, :, 1:7, 0:2]}
RUNS, LEVEL = 10, 0.05


def with_bar(x: np.ndarray, bar: str) -> np.ndarray:
    """Digits with a bar painted in."""
    painted = x.copy()
    painted[BARS[bar]] = 1
    return painted


def bars(x: np.ndarray, sevens: np.ndarray) -> Table:
    """Each bar's TCAV score, from bars in any digits, beside what painting it into sevens does to their score."""
    session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])

    def score(pictures: np.ndarray) -> np.ndarray:
        return session.run(None, {"image": pictures})[0][:, TARGET]

    concepts = {bar: with_bar(x[300 + 100 * i : 400 + 100 * i], bar) for i, bar in enumerate(BARS)}
    found = tcav(MODEL, LAYER, {**concepts, "random digits": x[800:900]}, x[:300], sevens, TARGET)
    table = Table("concept", "TCAV score", "accuracy", "p", "significant", "score of the seven rises when painted in", box=None)
    for c in found.concepts:
        rises = f"{(score(with_bar(sevens, c.concept)) > score(sevens)).mean():.0%} of sevens" if c.concept in BARS else ""
        table.add_row(c.concept, f"{c.score:.2f}", f"{c.accuracy:.0%}", f"{c.p:.2g}", "yes" if c.significant else "no", rises)
    return table


def passing(x: np.ndarray, sevens: np.ndarray, rounds: int) -> tuple[float, float]:
    """The share of random concepts below the level: with examples of their own in every run, and with all in every run."""
    explainer = Explainer(MODEL, layer=LAYER, expose=["explained"])
    explained = explainer(sevens, TARGET)
    slopes = explained.attribution.reshape(len(sevens), -1).astype(np.float64)
    own, shared = [], []
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        random = x[rng.choice(len(x), 50 * RUNS, replace=False)]
        concepts = {str(i): x[rng.choice(len(x), 100, replace=False)] for i in range(10)}
        found = tcav(MODEL, LAYER, concepts, np.split(random, RUNS), sevens, TARGET, seed=seed)
        own += [c.p for c in found.concepts]
        sets = [explainer(part).outputs[LAYER].reshape(len(part), -1).astype(np.float64) for part in np.split(random, RUNS)]
        for pictures in concepts.values():
            examples = explainer(pictures).outputs[LAYER].reshape(len(pictures), -1).astype(np.float64)
            vectors = [concept_vector(examples, others, 1.0, LAYER).direction for others in sets]
            scores = [(slopes @ v > 0).mean() for v in vectors]
            shared.append(float(ttest_ind(scores, found.random, equal_var=False).pvalue))
    return float((np.array(own) < LEVEL).mean()), float((np.array(shared) < LEVEL).mean())


def main(rounds: int) -> None:
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    x, y = (digits.images / 16).astype(np.float32)[order, None], digits.target[order]
    console = Console(highlight=False, width=130)
    console.print(bars(x, x[y == TARGET]))
    own, shared = passing(x, x[y == TARGET], rounds)
    console.print(
        f"\nof {10 * rounds} random concepts of 100 digits pass the test at {LEVEL:.0%}: {own:.1%} with examples of their own in "
        f"every run, {shared:.1%} with all examples in every run"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
