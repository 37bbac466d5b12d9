"""The sinusoid study as published: does the sinusoid rise or fall next, seen through noisy channels that take turns?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.page import arrays, opened
from onnxplain import Explainer
from onnxplain.results.plot.style import percent

FOLDER = Path(__file__).resolve().parent
SETS = {"three": "three channels", "five": "with two dummies"}
"""Data sets and their names."""
CARRIERS = 3
"""The first channels hold the sinusoid in turn; all others are noise alone."""
EVERY = 4
"""Of all windows of the test series, which overlap, every fourth is explained."""
NEAR = np.cos(np.pi / 4)
"""Near an extremum: the sinusoid's size is above that at 45°, which is so half of the time."""
ANGLES, DRAWS, SEED = 18, 10, 0
"""Bins of the sinusoid's angle, random choices of points."""
METHODS = {"gradient": "gradient", "relevance": "lrp-alpha2-beta1"}
PUBLISHED_ACCURACY = {"three": 0.993, "five": 0.985}
PUBLISHED_INFLUENCE = (2.617, 2.159, 2.501, 0.342, 0.357)
PUBLISHED_RELEVANCE = (0.216, 0.221, 0.206)
PUBLISHED_KEPT = 0.9915

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Series:
    """A noisy series that the network was not trained on, and all its windows."""

    values: Array
    """float32 [channels, steps]."""
    carrier: Array
    """Which channel has the sinusoid: int64 [steps]."""
    sine: Array
    """The sinusoid itself, without noise: float64 [steps + 1]."""
    angle: Array
    """Its angle: float64 [steps]."""
    window: int
    """Steps that the network sees."""

    def cut(self, values: Array) -> Array:
        """The windows of something given for every step (the last axis): [n, …, window]."""
        view = np.lib.stride_tricks.sliding_window_view(values, self.window, axis=-1)
        return np.ascontiguousarray(np.moveaxis(view, -2, 0))

    @property
    def falls(self) -> Array:
        """Whether the sinusoid falls after each window: int64 [n]."""
        return (self.sine[self.window :] < self.sine[self.window - 1 : -1]).astype(np.int64)

    @property
    def carried(self) -> Array:
        """Where the sinusoid is: bool [channels, steps]."""
        return np.asarray(np.arange(len(self.values))[:, None] == self.carrier)


@dataclass(frozen=True)
class Result:
    """What was measured on one data set."""

    series: Series
    accuracy: float
    gradient: Array
    """∂(fall − rise)/∂x of the windows explained: float64 [n, channels, window]."""
    relevance: Array
    """Relevance of each window's own top class, likewise."""
    profile: Array
    """How the sizes of relevance where the sinusoid is are shared out over its angle, 1 being even: float64 [ANGLES]."""
    extreme: float
    """Share of the sizes of relevance (where the sinusoid is) that lies near extrema."""
    kept: Mapping[str, float]
    """Accuracy with some of the values kept and all others 0."""

    @property
    def influence(self) -> Array:
        """Mean |gradient| of a window, summed over time: float64 [channels]."""
        return np.asarray(np.abs(self.gradient).mean(axis=0).sum(axis=1))

    @property
    def sensitivity(self) -> Array:
        """Mean squared gradient of a window, summed over time: float64 [channels]."""
        return np.asarray((self.gradient**2).mean(axis=0).sum(axis=1))

    @property
    def shares(self) -> Array:
        """Shares of the channels in |relevance|, every window counting the same: float64 [channels]."""
        sums = np.abs(self.relevance).sum(axis=2)
        return np.asarray((sums / sums.sum(axis=1, keepdims=True)).mean(axis=0))


def load(name: str, folder: Path = FOLDER) -> Series:
    """The test series of a data set.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    parts = {part: f"{name}_{part}" for part in ("values", "carrier", "angle")}
    path = folder / "series.npz"
    found = arrays(path, ("unit", "window", *parts.values()))
    values, carrier, angle = (found[key] for key in parts.values())
    if values.ndim != 2 or carrier.shape != values.shape[1:] or angle.shape != (values.shape[1] + 1,):
        raise ValueError(
            f"{path} holds values {list(values.shape)}, carrier {list(carrier.shape)} and angle {list(angle.shape)}; "
            "expected [channels, steps], [steps] and [steps + 1], as fixtures/studies/sinusoid.py writes them"
        )
    return Series(values.astype(np.float32) * found["unit"], carrier, np.sin(angle), angle[:-1], int(found["window"]))


def measure(name: str, folder: Path = FOLDER) -> Result:
    """Ask the network about every window, explain every fourth, and see what few values still tell."""
    series = load(name, folder)
    model = folder / f"{name}.onnx"
    session = opened(model)
    windows, falls = series.cut(series.values), series.falls

    def accuracy(keep: Array, values: Array = windows) -> float:
        scores = session.run({"signal": np.where(keep, values, np.float32(0))})["logits"]
        return float((scores.argmax(axis=1) == falls).mean())

    shown = windows[::EVERY]

    def by(method: str, target: Any = None) -> Array:
        explain = Explainer(model, method, providers="cpu", threads=1, progress=False)
        return explain(shown, target=target).attribution.astype(np.float64)

    relevance = by(METHODS["relevance"])
    carried, sine = series.cut(series.carried)[::EVERY], series.cut(series.sine[:-1])
    sizes = np.where(carried, np.abs(relevance), 0)
    bins = (series.cut(series.angle)[::EVERY] / (2 * np.pi) % 1 * ANGLES).astype(int)[:, None]
    there = np.broadcast_to(bins, sizes.shape)
    profile = np.bincount(there[carried], sizes[carried], ANGLES) / np.bincount(there[carried], minlength=ANGLES)
    extreme = np.abs(sine) > NEAR
    return Result(
        series=series,
        accuracy=accuracy(np.ones_like(windows, dtype=bool)),
        gradient=by(METHODS["gradient"], {1: 1, 0: -1}),
        relevance=relevance,
        profile=profile * carried.sum() / sizes.sum(),
        extreme=float(np.where(extreme[::EVERY][:, None], sizes, 0).sum() / sizes.sum()),
        kept=_kept(series, accuracy, windows, extreme[:, None], series.cut(series.carried)),
    )


def _kept(series: Series, accuracy: Any, windows: Array, extreme: Array, carried: Array) -> dict[str, float]:
    """Accuracy with values near the extrema alone, and with what they are compared to."""
    random = np.random.default_rng(SEED)
    every = np.broadcast_to(extreme, windows.shape)
    share = extreme.mean()
    draws = [series.cut(random.random(series.values.shape[1]) < share)[:, None] for _ in range(DRAWS)]
    noise = series.values.copy()
    noise[series.carrier, np.arange(noise.shape[1])] -= series.sine[:-1].astype(np.float32)
    return {
        "near the extrema, all channels": accuracy(every),
        "the same, of the channel with the sinusoid": accuracy(every & carried),
        "near the zero crossings, all channels": accuracy(~every),
        "as many steps at random, all channels": float(np.mean([accuracy(d) for d in draws])),
        "near the extrema, the sinusoid taken away": accuracy(every, series.cut(noise)),
    }


def tables(results: Mapping[str, Result]) -> str:
    """What was measured beside what was published."""
    heads = "| | " + " | ".join(f"{SETS[name]} | published" for name in results) + " |"
    rows = [heads, "|---|" + "---|" * (2 * len(results))]
    rows.append(_row("accuracy", [(f"{r.accuracy:.4f}", f"{PUBLISHED_ACCURACY[n]:.3f}") for n, r in results.items()]))
    three, five = results["three"], results["five"]
    rows += [
        "",
        "| mean size of the gradient, summed over time | 1 | 2 | 3 | dummy | dummy | signal / dummy |",
        "|---|" + "---|" * 6,
    ]
    rows.append(_numbers("three channels", three.influence))
    rows.append(_numbers("with two dummies", five.influence))
    rows.append(_numbers("with two dummies, as a share of all", five.influence / five.influence.sum()))
    rows.append(_numbers("the same of its square (sensitivity)", five.sensitivity / five.sensitivity.sum()))
    rows.append(_numbers("published", PUBLISHED_INFLUENCE))
    rows.append(_numbers("published, as a share of all", np.array(PUBLISHED_INFLUENCE) / sum(PUBLISHED_INFLUENCE)))
    rows += ["", "| share in the size of LRP-α2β1 | 1 | 2 | 3 | dummy | dummy | signal / dummy |", "|---|" + "---|" * 6]
    rows.append(_numbers("three channels", three.shares))
    rows.append(_numbers("with two dummies", five.shares))
    rows.append(_numbers("published", PUBLISHED_RELEVANCE))
    rows += ["", "| of the relevance where the sinusoid is, near an extremum | |", "|---|---|"]
    rows += [f"| {SETS[n]} | {percent(r.extreme)} |" for n, r in results.items()]
    rows.append(f"| steps near an extremum, of all | {percent(float((np.abs(three.series.sine) > NEAR).mean()))} |")
    rows += ["", heads.replace("| |", "| accuracy with these values, the others 0 |", 1), "|---|" + "---|" * (2 * len(results))]
    for what in three.kept:
        published = f"{PUBLISHED_KEPT}" if what.startswith("near the extrema, all") else ""
        rows.append(_row(what, [(f"{r.kept[what]:.4f}", published if n == "three" else "") for n, r in results.items()]))
    return "\n".join(rows)


def _row(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"| {name} | " + " | ".join(cell for pair in pairs for cell in pair) + " |"


def _numbers(name: str, values: Array | Sequence[float]) -> str:
    """A number for each of five channels, and the mean of the signal channels over that of the dummies."""
    signal, dummy = values[:CARRIERS], values[CARRIERS:]
    cells = [f"{v:.3f}" for v in values] + [""] * (5 - len(values))
    ratio = f"{np.mean(signal) / np.mean(dummy):.1f}" if len(dummy) else ""
    return f"| {name} | " + " | ".join([*cells, ratio]) + " |"
