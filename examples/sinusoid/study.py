"""Do explanations find the channels that hold a signal, and the points that carry it? Writes docs/sinusoid.md and its figures.

Needs onnxplain[plot] alone: python examples/sinusoid/study.py. With a folder that a script of fixtures/studies/
filled from another seed it only prints what it measures there: python examples/sinusoid/study.py FOLDER.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from examples.page import DOCS, arrays, fill, folder_of, opened, run
from examples.sinusoid import published
from onnxplain import Explainer
from onnxplain.results.plot.style import percent

FOLDER = Path(__file__).resolve().parent
METHODS = ("gradient", "sensitivity", "lrp-epsilon", "lrp-alpha2-beta1")
BEST = "lrp-alpha2-beta1"
COUNTS = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Points kept, of all channels and steps of a sample."""
SHOWN = (16, 32, 64, 128, 256)
"""Those in the table."""
PLACED = 64
"""So many points are looked up in the sinusoid."""
DRAWS, SEED = 10, 0
"""Random choices of points."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Task:
    """The test set, and how it was made."""

    signal: Array
    """What the model takes: float32 [n, channels, time], mean 0 and mean square 1 in every channel."""
    label: Array
    """int64 [n]."""
    weight: Array
    """Amplitude of the sinusoid in each channel, 0 in dummy channels: float64 [channels]."""
    angle: Array
    """The sinusoid's angle at each step: float64 [n, time]."""

    @property
    def holds(self) -> Array:
        """Which channels hold the sinusoid: bool [channels]."""
        return np.asarray(self.weight != 0)


@dataclass(frozen=True)
class Channels:
    """What a method's |attribution|, summed over time, says of the channels."""

    share: Array
    """Of all, on average over the samples: float64 [channels]."""
    signal: float
    """Share of all channels that hold the sinusoid."""
    margin: float
    """Share of the weakest signal channel over that of the strongest dummy channel."""
    ordered: float
    """How often, among pairs of a signal and a dummy channel of one sample, the signal channel has more."""
    correlation: float
    """Of the shares of signal channels with the size of their amplitudes."""


@dataclass(frozen=True)
class Study:
    """All that was measured."""

    task: Task
    attributions: Mapping[str, Array]
    channels: Mapping[str, Channels]
    accuracy: float
    """With all points."""
    kept: Mapping[str, Array]
    """Accuracy with COUNTS points kept, by how they were chosen: float64 [counts]."""
    spread: Array
    """Standard deviation over random choices: float64 [counts]."""


def load(folder: Path = FOLDER) -> Task:
    """A test set.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    path = folder / "test.npz"
    data = arrays(path, ("signal", "step", "phase", "periods", "label", "weight"))
    count = data["signal"].shape[0] if data["signal"].ndim == 3 else 0
    if (
        not count
        or len(data["weight"]) != data["signal"].shape[1]
        or {data[k].shape for k in ("phase", "periods", "label")} != {(count,)}
    ):
        raise ValueError(
            f"{path} holds signals {list(data['signal'].shape)}; expected [n, channels, steps] with a weight for each channel"
        )
    signal = data["signal"].astype(np.float32) * data["step"]
    steps = np.arange(signal.shape[-1]) / signal.shape[-1]
    angle = data["phase"][:, None] + 2 * np.pi * data["periods"][:, None] * steps
    return Task(signal, data["label"].astype(np.int64), data["weight"], angle)


def of_channels(task: Task, attribution: Array) -> Channels:
    """Sums of |attribution| per channel, each sample counting the same."""
    sums = np.abs(attribution.astype(np.float64)).sum(axis=2)
    shares = sums / sums.sum(axis=1, keepdims=True)
    held, dummy = shares[:, task.holds], shares[:, ~task.holds]
    share = shares.mean(axis=0)
    return Channels(
        share=share,
        signal=float(share[task.holds].sum()),
        margin=float(share[task.holds].min() / share[~task.holds].max()),
        ordered=float((held[:, :, None] > dummy[:, None, :]).mean()),
        correlation=float(np.corrcoef(share[task.holds], np.abs(task.weight[task.holds]))[0, 1]),
    )


def ranks(score: Array) -> Array:
    """The place of every point among those of its sample, 0 for the largest score: int, like the scores."""
    order = np.argsort(-score.reshape(len(score), -1), axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None], axis=1)
    return np.asarray(places.reshape(score.shape))


class Reader:
    """The model itself, asked what it still knows."""

    def __init__(self, task: Task, folder: Path) -> None:
        self.task = task
        self.session = opened(folder / "model.onnx")

    def accuracy(self, signal: Array) -> float:
        """The share of samples whose top class is theirs."""
        scores = self.session.run({"signal": signal})["logits"]
        return float((scores.argmax(axis=1) == self.task.label).mean())

    def kept(self, *scores: Array) -> Array:
        """Accuracy with the first COUNTS points kept and the others zero, averaged over rankings: float64 [counts]."""
        places = [ranks(s) for s in scores]
        return np.array([np.mean([self.accuracy(np.where(p < k, self.task.signal, 0)) for p in places]) for k in COUNTS])


def measure(task: Task, folder: Path = FOLDER) -> Study:
    """Explain the test set by every method, keep the points that each ranks first, and see what the model still knows."""
    explainers = {m: Explainer(folder / "model.onnx", m, providers="cpu", threads=1) for m in METHODS}
    explained = {m: explain(task.signal) for m, explain in explainers.items()}
    attributions = {m: e.attribution for m, e in explained.items()}
    top = explained[BEST].target
    assert top is not None
    classes = int(task.label.max()) + 1
    others = [explainers[BEST](task.signal, target=(top + i) % classes).attribution for i in range(1, classes)]
    random = np.random.default_rng(SEED)
    reader = Reader(task, folder)
    draws = np.array([reader.kept(random.random(task.signal.shape)) for _ in range(DRAWS)])
    best, epsilon = attributions[BEST], attributions["lrp-epsilon"]
    return Study(
        task=task,
        attributions=attributions,
        channels={m: of_channels(task, a) for m, a in attributions.items()},
        accuracy=reader.accuracy(task.signal),
        kept={
            BEST: reader.kept(best),
            "lrp-epsilon": reader.kept(epsilon),
            f"{BEST}, by size": reader.kept(np.abs(best)),
            "lrp-epsilon, by size": reader.kept(np.abs(epsilon)),
            f"{BEST} of another class, by size": reader.kept(*(np.abs(o) for o in others)),
            f"{BEST} of another class": reader.kept(*others),
            f"{BEST}, the most negative": reader.kept(-best),
            f"{BEST}, the smallest by size": reader.kept(-np.abs(best)),
            "sensitivity": reader.kept(attributions["sensitivity"]),
            "input by size": reader.kept(np.abs(task.signal)),
            "random": draws.mean(axis=0),
        },
        spread=draws.std(axis=0, ddof=1),
    )


@dataclass(frozen=True)
class Places:
    """Where points lie, as shares."""

    signal: float
    """Of the points in signal channels."""
    extreme: float
    """Of those, within 30° of a maximum or minimum of the sinusoid."""
    agree: float
    """Of those, where the input (sinusoid and noise) has the sinusoid's sign."""


def places(task: Task, chosen: Array) -> Places:
    """Where the chosen points lie: bool [n, channels, time]."""
    held = chosen & task.holds[None, :, None]
    sine = np.sin(task.angle)[:, None]
    extreme = np.abs(sine) > np.cos(np.pi / 6)
    agree = task.weight[None, :, None] * sine * task.signal > 0
    count = held.sum()
    return Places(*(float(v) for v in (count / chosen.sum(), (held & extreme).sum() / count, (held & agree).sum() / count)))


def found(study: Study) -> dict[str, Places]:
    """Where the first PLACED points of rankings lie, and where all do."""
    best = study.attributions[BEST]
    scores = {
        BEST: best,
        "lrp-epsilon": study.attributions["lrp-epsilon"],
        f"{BEST}, the most negative": -best,
        "sensitivity": study.attributions["sensitivity"],
        "input by size": np.abs(study.task.signal),
    }
    result = {name: places(study.task, ranks(score) < PLACED) for name, score in scores.items()}
    return result | {"all points": places(study.task, np.ones_like(best, dtype=bool))}


def quoted(name: str) -> str:
    """A ranking with its method marked as such."""
    return re.sub(r"^(lrp-[\w-]+|sensitivity)", r"`\1`", name)


def tables(study: Study) -> str:
    """What was measured, for the page."""
    rows = [
        "| sums of the size of | share of signal channels | weakest signal / strongest dummy | pairs in order | correlation |",
        "|---|---|---|---|---|",
    ]
    for method, c in study.channels.items():
        rows.append(f"| `{method}` | {percent(c.signal)} | {c.margin:.1f} | {percent(c.ordered)} | {c.correlation:.2f} |")
    points = study.task.signal[0].size
    rows += ["", f"Accuracy with all {points} points: {percent(study.accuracy)}. With the rest set to zero:", ""]
    rows += ["| kept points | " + " | ".join(map(str, SHOWN)) + " |", "|---|" + "---|" * len(SHOWN)]
    shown = [COUNTS.index(k) for k in SHOWN]
    for name, accuracies in study.kept.items():
        rows.append(f"| {quoted(name)} | " + " | ".join(percent(accuracies[i]) for i in shown) + " |")
    rows += ["", f"Where the first {PLACED} points lie:", ""]
    rows += [
        "| points | in signal channels | of these, near an extremum | of these, with the sinusoid's sign |",
        "|---|---|---|---|",
    ]
    for name, p in found(study).items():
        rows.append(f"| {quoted(name)} | {percent(p.signal)} | {percent(p.extreme)} | {percent(p.agree)} |")
    return "\n".join(rows)


def write(study: Study, results: Mapping[str, published.Result], made: Mapping[str, str]) -> None:
    """Put the tables into the page, and draw its figures."""
    from examples.sinusoid import picture, picture_published

    fill("sinusoid.md", made)
    picture.draw(study, COUNTS, DOCS / "sinusoid.png")
    picture_published.draw(results, DOCS / "sinusoid_published.png")


def main(folder: Path) -> None:
    """Measure and say; write the page for the committed models.

    Raises:
        ValueError: the folder has neither data set, or other data.
    """
    if not ((folder / "series.npz").exists() or (folder / "test.npz").exists()):
        raise ValueError(
            f"{folder} has no series.npz and no test.npz; expected a folder that a script of fixtures/studies/ filled"
        )
    made, results = {}, {}
    if (folder / "series.npz").exists():
        results = {name: published.measure(name, folder) for name in published.SETS}
        made["published"] = published.tables(results)
        print(made["published"], end="\n\n")
    if (folder / "test.npz").exists():
        study = measure(load(folder), folder)
        made["study"] = tables(study)
        print(made["study"])
    if folder == FOLDER:
        write(study, results, made)


if __name__ == "__main__":
    run(lambda: main(folder_of(sys.argv[1:], FOLDER)))
