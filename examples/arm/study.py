"""Does a network of an arm know how its joints move the hand? Its explanations against the derivatives of the arm itself.

x = sin θ₁ + sin(θ₁ + θ₂), y = cos θ₁ + cos(θ₁ + θ₂). Needs onnxplain and matplotlib alone; writes docs/arm.png.

Run: python examples/arm/study.py [picture.png]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from onnxplain import Explainer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HERE = Path(__file__).resolve().parent
MODEL = HERE / "model.onnx"
SAMPLES, SEED = 50_000, 1
THRESHOLDS = (1.5, 2, 3, 4)
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "smoothgrad": {"samples": 32, "noise_level": 0.05, "noise_unit": "absolute"},
}
"""The second averages over a small neighbourhood (in radians), where ReLU makes the gradient jump."""


def arm(angles: np.ndarray) -> np.ndarray:
    """Where the hand is, [n, 2] = (x, y)."""
    first, both = angles[:, 0], angles.sum(axis=1)
    return np.stack([np.sin(first) + np.sin(both), np.cos(first) + np.cos(both)], axis=1)


def derivatives(angles: np.ndarray) -> np.ndarray:
    """How the joints move the hand, [n, 2, 2]: ∂(x, y) / ∂(θ₁, θ₂)."""
    first, both = angles[:, 0], angles.sum(axis=1)
    x = np.stack([np.cos(first) + np.cos(both), np.cos(both)], axis=1)
    y = np.stack([-np.sin(first) - np.sin(both), -np.sin(both)], axis=1)
    return np.stack([x, y], axis=1)


def verdicts(slopes: np.ndarray, threshold: float) -> np.ndarray:
    """Which joint rules a coordinate: 1 or 2 where it acts more than `threshold` times as strongly as the other, else 0."""
    one, two = np.abs(slopes[..., 0]), np.abs(slopes[..., 1])
    return np.where(one > threshold * two, 1, np.where(two > threshold * one, 2, 0))


def agreement(found: np.ndarray, true: np.ndarray, threshold: float) -> dict[str, float]:
    """How faithful verdicts drawn from explanations are to the arm: `same` is the share of all samples and coordinates with the
    verdict of the true derivatives; `right` the share of those where a joint was said to rule in which it truly is the stronger;
    `ruled` is how many these are."""
    mine, theirs = verdicts(found, threshold), verdicts(true, threshold)
    stronger = verdicts(true, 1)
    return {
        "same": float((mine == theirs).mean()),
        "right": float((mine == stronger)[mine > 0].mean()),
        "ruled": float((mine > 0).mean()),
    }


def study() -> dict[str, dict[str, float]]:
    """Print what was found; the numbers by method."""
    angles = np.random.default_rng(SEED).uniform(-np.pi, np.pi, (SAMPLES, 2)).astype(np.float32)
    true = derivatives(angles.astype(np.float64))
    numbers: dict[str, dict[str, float]] = {}
    console = Console(highlight=False, width=120)
    slopes, table = Table(box=None), Table(box=None)
    for column in ("gradients against the arm's own", "root mean square error", "R²", "median cosine"):
        slopes.add_column(column, justify="right" if column != "gradients against the arm's own" else "left")
    for column in ("explained by", "a joint rules if it acts", "said to rule", "and is the stronger", "verdict as the arm's own"):
        table.add_column(column, justify="right" if column != "explained by" else "left")
    for method, options in METHODS.items():
        explanation = Explainer(MODEL, method, batch_size=5000, progress=False, **options)(angles, "all")
        found = explanation.attribution.astype(np.float64)
        off = found - true
        cosine = (found * true).sum(axis=-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(true, axis=-1)
        error = explanation.outputs["hand"] - arm(angles)
        mine = numbers[method] = {
            "place": float(np.sqrt((error**2).mean())),
            "slope": float(np.sqrt((off**2).mean())),
            "r2": 1 - float((off**2).sum() / ((true - true.mean(axis=0)) ** 2).sum()),
            "cosine": float(np.median(cosine)),
        }
        slopes.add_row(method, f"{mine['slope']:.4f}", f"{mine['r2']:.5f}", f"{mine['cosine']:.5f}")
        for threshold in THRESHOLDS:
            share = agreement(found, true, threshold)
            mine |= {f"{name}_{threshold}": value for name, value in share.items()}
            row = f"{share['ruled']:.1%}", f"{share['right']:.2%}", f"{share['same']:.2%}"
            table.add_row(method, f"{threshold} times as strongly", *row)
    place = numbers["gradient"]["place"]
    console.print(f"{SAMPLES:,} samples, none of them trained on; root mean square error of the hand's place {place:.4f}\n")
    console.print(slopes)
    console.print()
    console.print(table)
    return numbers


def draw(out: Path) -> None:
    """The gradients of x and y over both angles, as arrows: the network's and the arm's, one over the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from onnxplain.results.plot.style import AGAINST, FOR, INK, QUIET

    line = np.linspace(-np.pi, np.pi, 17)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    fine = np.linspace(-3.5, 3.5, 121)
    plane = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2).astype(np.float32)
    explainer = Explainer(MODEL, "gradient")
    found, true = explainer(grid.astype(np.float32), "all").attribution, derivatives(grid)
    heights = explainer(plane, 0).outputs["hand"]
    figure = Figure(figsize=(9.2, 4.9), facecolor="white")
    FigureCanvasAgg(figure)

    def panel(axes: Axes, which: int, name: str) -> None:
        ground = heights[:, which].reshape(121, 121)
        axes.imshow(ground, origin="lower", extent=(-3.5, 3.5) * 2, cmap="Greys", alpha=0.45, vmin=-2.4, vmax=2.8)
        common = {"angles": "xy", "scale_units": "xy", "scale": 5.2, "pivot": "mid"}
        axes.quiver(*grid.T, true[:, which, 0], true[:, which, 1], color=AGAINST, width=0.0075, **common)
        axes.quiver(*grid.T, found[:, which, 0], found[:, which, 1], color=FOR, width=0.0028, **common)
        axes.set_xlabel("θ₁", color=INK)
        axes.set_ylabel("θ₂", color=INK)
        axes.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), aspect="equal")
        ticks = [-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi]
        axes.set_xticks(ticks, ["−π", "−π/2", "0", "π/2", "π"])
        axes.set_yticks(ticks, ["−π", "−π/2", "0", "π/2", "π"])
        axes.tick_params(colors=QUIET, labelsize=8)
        axes.set_title(name, fontsize=10, color=INK)
        for spine in axes.spines.values():
            spine.set_color(QUIET)

    for which, (axes, name) in enumerate(zip(figure.subplots(1, 2), ("∂x / ∂(θ₁, θ₂)", "∂y / ∂(θ₁, θ₂)"), strict=True)):
        panel(axes, which, name)
    figure.suptitle("How two joints move the hand", x=0.06, y=0.985, ha="left", fontsize=12, weight="bold", color=INK)
    figure.text(0.06, 0.905, "the arm's own derivatives", color=AGAINST, fontsize=8.5)
    figure.text(0.25, 0.905, "the network's explanation", color=FOR, fontsize=8.5)
    figure.text(0.44, 0.905, "ground: the predicted coordinate, dark is high", color=QUIET, fontsize=8.5)
    figure.subplots_adjust(left=0.07, right=0.985, bottom=0.1, top=0.83, wspace=0.16)
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    study()
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent.parent / "docs" / "arm.png")
