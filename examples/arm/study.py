"""Does a network of an arm know how its joints move the hand? Its explanations against the arm itself; writes docs/arm.md.

x = sin θ₁ + sin(θ₁ + θ₂), y = cos θ₁ + cos(θ₁ + θ₂). Needs onnxplain[plot] alone: python examples/arm/study.py. With a folder
that fixtures/studies/arm.py filled from another seed it only prints what it measures there: python examples/arm/study.py FOLDER.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.page import DOCS, fill, folder_of, run
from onnxplain import Explainer, Explanation
from onnxplain.results.plot.style import percent

FOLDER = Path(__file__).resolve().parent
SAMPLES, SEED = 50_000, 1
THRESHOLDS = (1.5, 2, 3, 4)
STEPS = (3, 6, 12)
"""Degrees that an angle is moved to either side; the source does not give its own."""
PUBLISHED = {1.5: ((99.50, 77.8), (99.78, 79.5)), 2: ((99.80, 58.3), (99.82, 57.2)), 3: ((99.82, 37.0), (99.79, 36.3)),
             4: ((99.86, 27.4), (99.86, 25.9))}  # fmt: skip
"""By threshold, for x and y: how often the angle named moves the hand further, and the share of samples in which one is named."""
AXES = ("x", "y")
STILL = 0.3
"""Of at most 2: smaller derivatives hardly move the hand."""
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "smoothgrad": {"samples": 32, "noise_level": 0.05, "noise_unit": "absolute"},
}
"""The second averages over a small neighbourhood (in radians), where ReLU makes the gradient jump."""

Array = np.ndarray[Any, Any]


def arm(angles: Array) -> Array:
    """Where the hand is, [n, 2] = (x, y)."""
    first, both = angles[:, 0], angles.sum(axis=1)
    return np.stack([np.sin(first) + np.sin(both), np.cos(first) + np.cos(both)], axis=1)


def derivatives(angles: Array) -> Array:
    """How the joints move the hand, [n, 2, 2]: ∂(x, y) / ∂(θ₁, θ₂)."""
    first, both = angles[:, 0], angles.sum(axis=1)
    x = np.stack([np.cos(first) + np.cos(both), np.cos(both)], axis=1)
    y = np.stack([-np.sin(first) - np.sin(both), -np.sin(both)], axis=1)
    return np.stack([x, y], axis=1)


def verdicts(slopes: Array, threshold: float) -> Array:
    """Which joint is named: 1 or 2 where it is at least `threshold` times as important as the other, else 0."""
    one, two = np.abs(slopes[..., 0]), np.abs(slopes[..., 1])
    return np.where(one >= threshold * two, 1, np.where(two >= threshold * one, 2, 0))


class Network:
    """The model of a folder."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.path = folder / "model.onnx"
        self._gradient = self._explainer("gradient")

    def _explainer(self, method: str, **options: Any) -> Explainer:
        return Explainer(self.path, method, batch_size=5000, progress=False, providers="cpu", threads=1, **options)

    def explained(self, angles: Array, method: str = "gradient") -> Explanation:
        """Both coordinates explained: attributions [n, 2, 2] as `derivatives`."""
        explainer = self._gradient if method == "gradient" else self._explainer(method, **METHODS[method])
        return explainer(angles.astype(np.float32), "all")

    def hand(self, angles: Array) -> Array:
        """Where the network says the hand is: float64 [n, 2]."""
        return np.asarray(self._gradient(angles.astype(np.float32), 0).outputs["hand"], np.float64)


@dataclass(frozen=True)
class Faithful:
    """How far explanations by a method are those of the arm."""

    slope: float
    """Root mean square error of the derivatives."""
    r2: float
    cosine: float
    """Median cosine with the true derivatives."""
    right: Mapping[float, float]
    """By threshold: of the joints named, the share in which it truly is the stronger."""
    same: Mapping[float, float]
    """By threshold: the share of all samples and coordinates whose verdict is that of the true derivatives."""


@dataclass(frozen=True)
class Study:
    """All that was measured."""

    angles: Array
    """float32 [n, 2], none of them trained on."""
    error: float
    """Root mean square error of the hand's place."""
    beyond: float
    """The same where either angle is up to π outside the range of the training."""
    named: Mapping[float, Array]
    """By threshold: the share of samples in which a joint is named, for x and y."""
    truly: Mapping[float, Array]
    """The same by the arm's own derivatives."""
    moved: Mapping[int, Mapping[float, Array]]
    """By step and threshold: how often the joint named moves the hand further along the axis, for x and y."""
    misses: Array
    """Where it does not, at the largest step and the lowest threshold: bool [n, 2]."""
    edge: tuple[float, float]
    """Shares of the misses, and of all samples, where the largest step leaves the range of the training."""
    still: tuple[float, float]
    """Shares of the misses, and of all samples and axes, where neither joint acts on the axis with more than STILL."""
    faithful: Mapping[str, Faithful]


def further(network: Network, angles: Array, degrees: float) -> Array:
    """How far the network's hand moves along each axis when each joint alone is moved to either side, the farther of both
    counting: [n, 2, 2] as `derivatives`."""
    here, found = network.hand(angles), []
    for joint in range(2):
        step = np.radians(degrees) * np.eye(2)[joint]
        found.append(np.max([np.abs(network.hand(angles + side * step) - here) for side in (1, -1)], axis=0))
    return np.stack(found, axis=-1)


def hits(named: Array, moves: Array) -> Array:
    """Whether the joint named makes the larger movement: bool as `named`."""
    return np.asarray(np.where(named == 1, moves[..., 0] > moves[..., 1], moves[..., 1] > moves[..., 0]))


def measure(folder: Path = FOLDER) -> Study:
    """Explain, move, and compare."""
    random = np.random.default_rng(SEED)
    network = Network(folder)
    angles = random.uniform(0, 2 * np.pi, (SAMPLES, 2)).astype(np.float32)
    true = derivatives(angles.astype(np.float64))
    explained = {method: network.explained(angles, method) for method in METHODS}
    slopes = {method: e.attribution.astype(np.float64) for method, e in explained.items()}
    named = {t: verdicts(slopes["gradient"], t) for t in THRESHOLDS}
    moves = {step: further(network, angles, step) for step in STEPS}
    right = {step: {t: hits(n, moved) for t, n in named.items()} for step, moved in moves.items()}
    lowest, widest = THRESHOLDS[0], STEPS[-1]
    misses = (named[lowest] > 0) & ~right[widest][lowest]
    margin = np.radians(widest)
    edge = ((angles < margin) | (angles > 2 * np.pi - margin)).any(axis=1)
    still = np.abs(true).max(axis=2) < STILL
    wide = random.uniform(-np.pi, 3 * np.pi, (SAMPLES, 2))
    outside = wide[((wide < 0) | (wide > 2 * np.pi)).any(axis=1)]
    return Study(
        angles=angles,
        error=_rms(explained["gradient"].outputs["hand"] - arm(angles.astype(np.float64))),
        beyond=_rms(network.hand(outside) - arm(outside)),
        named={t: (n > 0).mean(axis=0) for t, n in named.items()},
        truly={t: (verdicts(true, t) > 0).mean(axis=0) for t in THRESHOLDS},
        moved={
            step: {t: np.array([h[:, a][named[t][:, a] > 0].mean() for a in range(2)]) for t, h in found.items()}
            for step, found in right.items()
        },
        misses=misses,
        edge=(float(np.broadcast_to(edge[:, None], misses.shape)[misses].mean()), float(edge.mean())),
        still=(float(still[misses].mean()), float(still.mean())),
        faithful={method: faithful(found, true) for method, found in slopes.items()},
    )


def _rms(error: Array) -> float:
    return float(np.sqrt((np.asarray(error, np.float64) ** 2).mean()))


def faithful(found: Array, true: Array) -> Faithful:
    """Explanations [n, 2, 2] against the arm's own derivatives."""
    cosine = (found * true).sum(axis=-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(true, axis=-1)
    stronger = verdicts(true, 1)
    mine = {t: verdicts(found, t) for t in THRESHOLDS}
    return Faithful(
        slope=_rms(found - true),
        r2=1 - float(((found - true) ** 2).sum() / ((true - true.mean(axis=0)) ** 2).sum()),
        cosine=float(np.median(cosine)),
        right={t: float((m == stronger)[m > 0].mean()) for t, m in mine.items()},
        same={t: float((m == verdicts(true, t)).mean()) for t, m in mine.items()},
    )


def tables(study: Study) -> str:
    """What was measured beside what was published."""
    rows = [
        f"Root mean square error of the hand's place: {study.error:.4f} in the range of the training (published: at most 0.01), "
        f"{study.beyond:.2f} where an angle is up to π outside it.",
        "",
        "| threshold | axis | samples with a joint named | by the arm itself | published | "
        + " | ".join(f"named joint moves the hand further, ±{s}°" for s in STEPS)
        + " | published |",
        "|---|---|---|---|---|" + "---|" * (len(STEPS) + 1),
    ]
    for t in THRESHOLDS:
        for axis, name in enumerate(AXES):
            hit, share = PUBLISHED[t][axis]
            cells = [f"{100 * study.named[t][axis]:.1f} %", f"{100 * study.truly[t][axis]:.1f} %", f"{share:.1f} %"]
            cells += [f"{100 * study.moved[s][t][axis]:.2f} %" for s in STEPS]
            rows.append(f"| {t if not axis else ''} | {name} | {' | '.join(cells)} | {hit:.2f} % |")
    edges, stills = ([percent(v) for v in pair] for pair in (study.edge, study.still))
    rows += [
        "",
        f"Of the {study.misses.sum()} misses at threshold {THRESHOLDS[0]} and ±{STEPS[-1]}°, {stills[0]} lie where neither joint "
        f"moves the hand by more than {STILL} a radian along the axis ({stills[1]} of all samples and axes do), and {edges[0]} "
        f"where moving an angle by {STEPS[-1]}° leaves the range of the training ({edges[1]} of all samples do).",
        "",
        "| explained by | root mean square error of the derivatives | R² | median cosine |",
        "|---|---|---|---|",
    ]
    rows += [f"| `{method}` | {f.slope:.3f} | {f.r2:.4f} | {f.cosine:.5f} |" for method, f in study.faithful.items()]
    rows += [
        "",
        "| threshold | " + " | ".join(f"`{m}`: truly the stronger | verdict of the arm itself" for m in study.faithful) + " |",
        "|---|" + "---|---|" * len(study.faithful),
    ]
    for t in THRESHOLDS:
        cells = [f"{100 * part[t]:.2f} %" for f in study.faithful.values() for part in (f.right, f.same)]
        rows.append(f"| {t} | {' | '.join(cells)} |")
    return "\n".join(rows)


def main(folder: Path) -> None:
    """Measure and say; write the page and its figures for the committed model."""
    if not (folder / "model.onnx").exists():
        raise ValueError(f"{folder} has no model.onnx; expected a folder that fixtures/studies/arm.py filled")
    study = measure(folder)
    made = tables(study)
    print(made)
    if folder == FOLDER:
        from examples.arm.picture import draw

        fill("arm.md", made)
        draw(study, Network(folder), DOCS)


if __name__ == "__main__":
    run(lambda: main(folder_of(sys.argv[1:], FOLDER)))
