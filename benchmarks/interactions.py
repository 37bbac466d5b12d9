"""How near estimates of interactions come with so many coalitions, ours and shapiq's: `python benchmarks/interactions.py`, in an
environment with onnxplain and the packages of fixtures/requirements-games.txt.

The games are those of two models of fixtures/: 16 regions of a digit (logit), 15 pairs of columns of a tumour (probability). All
their coalitions are run once, so the exact values are known; every estimator then asks for as many as it may. Prints a table for
docs/interactions.md.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import shapiq

from onnxplain.method.blackbox.draws import draw_coalitions
from onnxplain.method.blackbox.estimate import Estimator
from onnxplain.method.blackbox.exact import all_coalitions
from onnxplain.method.blackbox.indices import INDICES

ROOT = Path(__file__).resolve().parent.parent
BUDGETS = (500, 1000, 2000, 4000)
SEEDS = range(10)
THEIRS = {
    "KernelSHAPIQ": lambda p, index, order, seed: shapiq.KernelSHAPIQ(n=p, max_order=order, index=index, random_state=seed),
    "SVARMIQ": lambda p, index, order, seed: shapiq.SVARMIQ(n=p, max_order=order, index=index, random_state=seed),
    "SHAPIQ": lambda p, index, order, seed: shapiq.SHAPIQ(n=p, max_order=order, index=index, random_state=seed),
    "RegressionFSII": lambda p, index, order, seed: shapiq.RegressionFSII(n=p, max_order=order, random_state=seed),
}
THEIRS["RegressionFSII, pairs"] = lambda p, index, order, seed: shapiq.RegressionFSII(
    n=p, max_order=order, random_state=seed, pairing_trick=True
)
APPLY = {"k-SII": ("KernelSHAPIQ", "SVARMIQ", "SHAPIQ"), "FSII": ("RegressionFSII", "RegressionFSII, pairs")}

Array = np.ndarray[Any, Any]


def games() -> Iterator[tuple[str, Array]]:
    """Scores of all coalitions of two models' features, player 0 in the lowest bit."""
    with np.load(ROOT / "fixtures" / "digits" / "data.npz") as data:
        image = data["image"][3]
    regions = np.arange(8)[:, None] // 2 * 4 + np.arange(8) // 2
    yield "digit", scores("digits", image, regions[None], np.zeros_like(image), 3)
    with np.load(ROOT / "fixtures" / "cancer" / "data.npz") as data:
        rows = data["features"]
    yield "tumour", scores("cancer", rows[0], np.arange(30) // 2, rows.mean(axis=0), 0)


def scores(name: str, x: Array, groups: Array, base: Array, target: int) -> Array:
    """The explained output, of all coalitions of groups."""
    session = ort.InferenceSession(ROOT / "fixtures" / name / "model.onnx", providers=["CPUExecutionProvider"])
    masks = all_coalitions(int(groups.max()) + 1)
    made = []
    for start in range(0, len(masks), 4096):
        present = masks[start : start + 4096][:, groups]
        made.append(
            session.run(None, {session.get_inputs()[0].name: np.where(present, x, base).astype(np.float32)})[0][:, target]
        )
    return np.concatenate(made).astype(np.float64)


def error(made: Array, exact: Array) -> float:
    """The root mean square error by that of the values."""
    return float(np.sqrt(np.mean((made - exact) ** 2) / np.mean(exact**2)))


def ours(table: Array, index: str, order: int, budget: int, seed: int) -> Array:
    """Our estimate of the pairs."""
    players = int(np.log2(len(table)))
    estimator = Estimator.of(INDICES[index.lower()], players, order)
    draws = draw_coalitions(players, budget, estimator.importance, np.random.default_rng(seed))
    values, _ = estimator.estimate(draws, table[draws.masks @ (1 << np.arange(players))][:, None])
    return np.asarray(values[2][:, 0])


def theirs(table: Array, make: Callable[..., Any], index: str, order: int, budget: int, seed: int) -> Array:
    """shapiq's."""
    players = int(np.log2(len(table)))
    found = make(players, index, order, seed).approximate(budget=budget, game=lambda m: table[m @ (1 << np.arange(players))])
    return np.array([found[(i, j)] for i in range(players) for j in range(i + 1, players)])


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    print("| game | index | estimator | " + " | ".join(f"{b:,}" for b in BUDGETS) + " |\n|---|---|---|" + "---|" * len(BUDGETS))
    for name, table in games():
        players = int(np.log2(len(table)))
        for index, others in APPLY.items():
            exact = Estimator.of(INDICES[index.lower()], players, 2).exact(all_coalitions(players), table[:, None])[2][:, 0]
            rows: dict[str, Callable[[int, int], Array]] = {"onnxplain": lambda b, s, i=index, t=table: ours(t, i, 2, b, s)}
            for other in others:
                rows[other] = lambda b, s, i=index, t=table, o=other: theirs(t, THEIRS[o], i, 2, b, s)
            for estimator, run in rows.items():
                means = [np.sqrt(np.mean([error(run(b, s), exact) ** 2 for s in SEEDS])) for b in BUDGETS]
                print(f"| {name} | {index} | {estimator} | " + " | ".join(f"{100 * m:.3g} %" for m in means) + " |", flush=True)


if __name__ == "__main__":
    main()
