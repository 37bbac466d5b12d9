"""A triangle in the plane: the vectors of several methods around a boundary that is known. Writes docs/toy.md and its figures.

Needs onnxplain[plot] alone: python examples/toy/study.py
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.page import DOCS, fill, run
from examples.perceptron import exported, trained
from onnxplain import Explainer
from onnxplain.results.plot.style import percent

CORNERS = np.array([[-0.75, -0.6], [0.75, -0.45], [0.0, 0.75]])
"""Counter-clockwise."""
SIDE, POINTS, FRESH, SEED = 21, 4000, 20_000, 0
"""Vectors along a side of the plane from −1 to 1; points to learn from, and new ones to see how well it went."""
NEAR, FAR = 0.1, 0.3
"""Distances from the boundary: closer than the one, further than the other."""
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "gradient of the probability": ("gradient", {"score": "probability"}),
    "gradient": ("gradient", {}),
    "smoothgrad": ("smoothgrad", {"samples": 64, "noise_level": 0.15, "noise_unit": "absolute"}),
    "integrated gradients": ("integrated-gradients", {"baseline": 0.0, "steps": 200}),
    "LRP-ε": ("lrp-epsilon", {}),
}
PUBLISHED = "gradient of the probability"
"""The vectors of the source's figure."""
SHARES = ("integrated gradients", "LRP-ε")
"""Those that share out the score."""

Array = np.ndarray[Any, Any]


def depth(points: Array) -> tuple[Array, Array]:
    """How far points [n, 2] are inside the triangle, [n] (negative: outside), and the unit vectors along which that grows."""
    ends = np.roll(CORNERS, -1, axis=0)
    along = ends - CORNERS
    share = np.clip(((points[:, None] - CORNERS) * along).sum(axis=2) / (along**2).sum(axis=1), 0, 1)
    off = points[:, None] - CORNERS - share[:, :, None] * along
    away = np.linalg.norm(off, axis=2)
    side = away.argmin(axis=1)
    every = np.arange(len(points))
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1)  # to the left, which is inside
    inside = (((points[:, None] - CORNERS) * normal).sum(axis=2) > 0).all(axis=1)
    distance = np.where(inside, 1, -1) * away[every, side]
    return distance, off[every, side] / distance[:, None]


def grid(side: int) -> Array:
    """Points over the whole plane, row by row from below, float32 [side², 2]; the middles of squares, so that none is at 0."""
    line = (np.arange(side) + 0.5) / side * 2 - 1 + 1e-3
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32)


@dataclass(frozen=True)
class Study:
    """All that was measured."""

    learned: Array
    """The points learned from: [m, 2]."""
    inside: Array
    """Whether each of them is inside: bool [m]."""
    accuracy: float
    """On new points."""
    points: Array
    """The grid [n, 2]."""
    vectors: Mapping[str, Array]
    """By method: [n, 2]."""
    log_odds: Array
    """Of "inside", at the points: [n]."""
    origin: float
    """The same where both coordinates are 0."""
    ground: Array
    """Probabilities over a finer grid [m, m]."""


def measure(side: int = SIDE, fine: int = 200) -> Study:
    """Train, and explain every point of the grid by every method."""
    random = np.random.default_rng(SEED)
    x, new = random.uniform(-1, 1, (POINTS, 2)), random.uniform(-1, 1, (FRESH, 2)).astype(np.float32)
    y = (depth(x)[0] > 0).astype(float)[:, None]
    model = exported(trained(x, y, (16, 16), epochs=60, rate=1e-2, decay=0.3, seed=SEED), "point", "inside")

    def by(method: str, points: Array, **options: Any) -> Any:
        return Explainer(model, method, providers="cpu", threads=1, progress=False, **options)(points, 0)

    def said(points: Array) -> tuple[Array, Array]:
        found = by("gradient", points, expose=["z3"]).outputs
        return np.asarray(found["inside"][:, 0], np.float64), np.asarray(found["z3"][:, 0], np.float64)

    points = grid(side)
    return Study(
        learned=x,
        inside=y[:, 0] > 0,
        accuracy=float(((said(new)[0] > 0.5) == (depth(new)[0] > 0)).mean()),
        points=points,
        vectors={name: by(m, points, **options).attribution.astype(np.float64) for name, (m, options) in METHODS.items()},
        log_odds=said(points)[1],
        origin=float(said(np.zeros((1, 2), np.float32))[1][0]),
        ground=said(grid(fine))[0].reshape(fine, fine),
    )


def angles(study: Study) -> dict[str, Array]:
    """Between each vector and the direction straight into the triangle: degrees, 0 to 180, by method [n]."""
    inward = depth(study.points)[1]
    found = {}
    for name, vectors in study.vectors.items():
        length = np.linalg.norm(vectors, axis=1)
        found[name] = np.degrees(np.arccos(np.clip((vectors * inward).sum(axis=1) / np.maximum(length, 1e-300), -1, 1)))
    return found


def tables(study: Study) -> str:
    """What was measured, for the page."""
    distance = np.abs(depth(study.points)[0])
    outside = depth(study.points)[0] < -NEAR
    near, far = distance < NEAR, distance > FAR
    rows = [
        "| vectors | length near the boundary / far | angle to straight in, near | everywhere | point inwards | outside: both "
        "components negative | variance of the score that sums explain |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, angle in angles(study).items():
        vectors = study.vectors[name]
        length = np.linalg.norm(vectors, axis=1)
        ratio = np.median(length[near]) / np.median(length[far])
        against = (vectors[outside] < 0).all(axis=1).mean()
        sums = percent(explained(study, name)) if name in SHARES else "–"
        cells = f"{f'{ratio:.1f}' if ratio < 1000 else '> 1000'} | {np.median(angle[near]):.0f}° | {np.median(angle):.0f}°"
        rows.append(f"| {name} | {cells} | {percent(float((angle < 90).mean()))} | {percent(float(against))} | {sums} |")
    return "\n".join([f"Of {FRESH:,} new points the network has {percent(study.accuracy)} right.", "", *rows])


def explained(study: Study, name: str) -> float:
    """How much of the log-odds, less those at the origin, the sums of a method's components give: 1 − residual / total."""
    wanted = study.log_odds - study.origin
    left = study.vectors[name].sum(axis=1) - wanted
    return 1 - float((left**2).sum() / (wanted**2).sum())


def main(arguments: Sequence[str] = ()) -> None:
    """Measure and say; write the page and its figures.

    Raises:
        ValueError: anything is asked for.
    """
    if arguments:
        raise ValueError(f"expected no argument, found {' '.join(arguments)!r}; the points are drawn and cannot be replaced")
    from examples.toy.picture import draw, draw_published

    study = measure()
    made = tables(study)
    print(made)
    fill("toy.md", made)
    draw(study.points, study.vectors, study.ground, CORNERS, DOCS / "toy.png")
    draw_published(
        study.learned, study.inside, study.points, study.vectors[PUBLISHED], study.ground, CORNERS, DOCS / "toy_published.png"
    )


if __name__ == "__main__":
    run(main, sys.argv[1:])
