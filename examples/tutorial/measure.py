"""What the tutorial study measures: shares of negative relevance, continuity, selectivity, grids, and two objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.page import opened
from examples.tutorial.digits import SIDE, Digits, moved
from examples.tutorial.negative import lrp, networks, setups
from onnxplain import Explainer, Explanation

FOLDER = Path(__file__).resolve().parent
SAMPLES = 200
"""Test pictures that are explained."""
REACH = 6
"""Pixels that a digit is moved to either side."""
PATCH = 4
"""Pixels of a side of what is removed at a time, as in the tutorial; also the stride of the second network."""
PAIRS, FILTERS = 110, 2
"""Pairs of test pictures that are drawn (those of one class are left out), and filters shown."""
DRAWS, SEED = 10, 0
BEST = "LRP α1β0"
Array = np.ndarray[Any, Any]


METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "sensitivity": ("sensitivity", {}),
    "simple Taylor": ("input-x-gradient", {}),
    "LRP α1β0": ("lrp", {"composite": lrp(1)}),
    "LRP α2β1": ("lrp", {"composite": lrp(2)}),
    "LRP α3β2": ("lrp", {"composite": lrp(3)}),
}
PUBLISHED = {"simple Taylor": 0.38, "LRP α2β1": 0.05, "LRP α3β2": 0.30}
"""Shares of negative relevance that the tutorial gives for MNIST and a network it does not specify."""


@dataclass(frozen=True)
class Track:
    """A digit on its way from left to right."""

    pictures: Array
    """float32 [steps, 1, 28, 28]."""
    score: Array
    """Of its class: [steps]."""
    maps: Mapping[str, Array]
    """Attributions by method: [steps, 28, 28], in units of the method's mean sum of |attribution|."""
    quarters: Mapping[str, Array]
    """Summed over quarters of the picture: [steps, 4], top left, top right, bottom left, bottom right."""


@dataclass(frozen=True)
class Pair:
    """Two digits in one picture, [1, 28, 56], explained by BEST."""

    picture: Array
    classes: tuple[int, int]
    """Left and right."""
    half: Array
    """0 where a pixel is of the left digit, 1 where of the right."""
    explained: tuple[Explanation, Explanation]
    """The relevance of each class."""
    filters: tuple[int, ...]
    """Those of the last convolution that pass most relevance of the left class."""
    filtered: tuple[Explanation, ...]
    """What passes each of them, then what passes all others."""
    rest: float
    """What these parts miss of the whole, as a share of its size."""


@dataclass(frozen=True)
class Measured:
    """All that was measured."""

    explained: Mapping[str, Explanation]
    """Of the first SAMPLES test pictures by METHODS."""
    label: Array
    """Their classes."""
    setups: Mapping[str, tuple[float, float]]
    """Mean shares of negative relevance by α2β1 and α3β2 with one part of the set-up changed."""
    networks: Mapping[str, tuple[float, float, float]]
    """The same of other networks, with that of simple Taylor first."""
    largest: Mapping[str, tuple[float, float]]
    """‖R(x) − R(x′)‖₁ / ‖x − x′‖₂ over steps of one pixel: the median and the largest."""
    track: Track
    curves: Mapping[str, Array]
    """Mean score of the class, as a share of the first, over patches removed: [patches + 1]; with "random order"."""
    grid: tuple[float, float]
    """Strongest over weakest mean |relevance| of the places within a stride: plain, and averaged over translations."""
    gridded: tuple[Explanation, Explanation]
    pair: Pair
    halves: Mapping[str, tuple[float, int]]
    """Pictures with two digits, by method: how often a class has more relevance at its own digit, and of how many."""

    def first(self, classes: int) -> list[int]:
        """The first test picture of each class that the model gets right, by their numbers."""
        target = self.explained[BEST].target
        assert target is not None
        return [int(np.flatnonzero((target == c) & (self.label == c))[0]) for c in range(classes)]


class Bench:
    """The models of a folder with a session for each way to explain them, made once."""

    def __init__(self, digits: Digits, folder: Path = FOLDER) -> None:
        self.digits, self.folder = digits, folder
        self.model = folder / "model.onnx"
        self.x = digits.test[:SAMPLES]
        self.explainers = {name: self._explainer(method, **options) for name, (method, options) in METHODS.items()}
        self.session = opened(self.model)

    def _explainer(self, method: str, model: str = "model", **options: Any) -> Explainer:
        path = self.folder / f"{model}.onnx"
        return Explainer(path, method, providers="cpu", threads=1, batch_size=100, progress=False, **options)

    def scores(self, x: Array) -> Array:
        """The model's scores [n, 10]."""
        parts = [self.session.run({"image": part})["logits"] for part in np.array_split(x, -(-len(x) // 500))]
        return np.concatenate(parts)

    # -- continuity ----------------------------------------------------------------------------------------------

    def continuity(self, explained: Mapping[str, Explanation]) -> tuple[dict[str, tuple[float, float]], Track]:
        """How far explanations move when digits move by one pixel at a time, in units of a method's mean ‖R‖₁."""
        shifts = range(-REACH, REACH + 1)
        moves = np.stack([moved(self.x, 0, by) for by in shifts], axis=1)  # [n, steps, 1, h, w]
        target = explained[BEST].target
        assert target is not None
        steps = np.sqrt(((moves[:, 1:] - moves[:, :-1]) ** 2).sum(axis=(2, 3, 4)))
        flat, classes = moves.reshape(-1, *self.x.shape[1:]), np.repeat(target, len(shifts))
        largest, maps = {}, {}
        for name, explainer in self.explainers.items():
            unit = float(np.abs(explained[name].attribution.astype(np.float64)).sum(axis=(1, 2, 3)).mean())
            found = explainer(flat, classes).attribution.reshape(moves.shape).astype(np.float64) / unit
            ratio = np.abs(found[:, 1:] - found[:, :-1]).sum(axis=(2, 3, 4)) / steps
            largest[name] = float(np.median(ratio)), float(ratio.max())
            maps[name] = found
        sample = int(np.flatnonzero((target == 2) & (self.digits.test_label[:SAMPLES] == 2))[0])
        one = {name: found[sample, :, 0] for name, found in maps.items()}
        half = SIDE // 2
        quarters = {n: m.reshape(len(m), 2, half, 2, half).sum(axis=(2, 4)).reshape(len(m), 4) for n, m in one.items()}
        return largest, Track(moves[sample], self.scores(moves[sample])[:, 2], one, quarters)

    # -- selectivity ---------------------------------------------------------------------------------------------

    def selectivity(self, explained: Mapping[str, Explanation]) -> dict[str, Array]:
        """The score as patches are made black, those of most relevance first."""
        target = explained[BEST].target
        assert target is not None
        per_side = SIDE // PATCH
        places = np.arange(SIDE) // PATCH
        patch = places[:, None] * per_side + places  # the patch of every pixel
        random = np.random.default_rng(SEED)
        orders = {name: [np.argsort(-e.pool(patch), axis=1, kind="stable")] for name, e in explained.items()}
        orders["random order"] = [random.random((len(self.x), per_side**2)).argsort(axis=1) for _ in range(DRAWS)]
        return {name: np.mean([self._flipped(order, patch, target) for order in o], axis=0) for name, o in orders.items()}

    def _flipped(self, order: Array, patch: Array, target: Array) -> Array:
        x, samples = self.x.copy(), np.arange(len(self.x))
        curve = [self.scores(x)[samples, target].mean()]
        for removed in order.T:
            x[patch[None, None] == removed[:, None, None, None]] = 0
            curve.append(self.scores(x)[samples, target].mean())
        return np.array(curve) / curve[0]

    # -- denoising -----------------------------------------------------------------------------------------------

    def denoised(self) -> tuple[tuple[float, float], tuple[Explanation, Explanation]]:
        """Relevance of the network with strides, as it is and averaged over all translations within a stride."""
        shifts = [(a, b) for a in range(-PATCH // 2, PATCH // 2) for b in range(-PATCH // 2, PATCH // 2)]
        plain = self._explainer("lrp", "strided", composite=lrp(1))(self.x)
        options = {"inner": "lrp", "composite": lrp(1), "shifts": shifts}
        averaged = self._explainer("translated", "strided", **options)(self.x, plain.target)
        return (grid(plain.attribution), grid(averaged.attribution)), (plain, averaged)

    # -- two objects ---------------------------------------------------------------------------------------------

    def two(self) -> tuple[Pair, Mapping[str, tuple[float, int]]]:
        """Digits side by side, the model moved over them: relevance pooled over each, and what passes single filters."""
        random = np.random.default_rng(SEED)
        label = self.digits.test_label
        drawn = [random.choice(len(label), 2, replace=False) for _ in range(PAIRS)]
        both = np.array([(a, b) for a, b in drawn if label[a] != label[b]])
        x = np.concatenate([self.digits.test[both[:, side]] for side in (0, 1)], axis=3)  # [n, 1, 28, 56]
        half = np.broadcast_to(np.arange(2 * SIDE) // SIDE, x.shape[1:])
        halves = {}
        for name in METHODS:
            own = []
            for side in (0, 1):
                pooled = self.explainers[name].slide(x, label[both[:, side]], stride=PATCH).pool(half)
                own.append(pooled[:, side] - pooled[:, 1 - side])
            ahead = np.concatenate(own)
            halves[name] = float((ahead > 0).mean()), len(ahead)
        a, b = (int(c) for c in label[both[0]])
        return self._pair(x[:1], (a, b), half), halves

    def _pair(self, x: Array, classes: tuple[int, int], half: Array) -> Pair:
        def slide(target: int, **options: Any) -> Explanation:
            return self._explainer("lrp", composite=lrp(1), **options).slide(x, target, stride=PATCH)

        layer = "Relu:-1"
        inside = self._explainer("lrp", composite=lrp(1), layer=layer)(x[..., :SIDE], classes[0]).attribution
        order = np.argsort(-inside[0].reshape(inside.shape[1], -1).sum(axis=1), kind="stable")
        first, others = [int(c) for c in order[:FILTERS]], [int(c) for c in order[FILTERS:]]
        whole = slide(classes[0])
        parts = [slide(classes[0], mask={layer: channels}) for channels in (*([c] for c in first), others)]
        total = np.sum([p.attribution.astype(np.float64) for p in parts], axis=0)
        rest = float(np.abs(total - whole.attribution).sum() / np.abs(whole.attribution).sum())
        return Pair(x[0], classes, half, (whole, slide(classes[1])), tuple(first), tuple(parts), rest)


def grid(maps: Array) -> float:
    """Of mean |relevance| [n, 1, h, w] at the places within a stride: the strongest over the weakest."""
    mean = np.abs(maps.astype(np.float64)).mean(axis=(0, 1))
    phases = mean.reshape(SIDE // PATCH, PATCH, SIDE // PATCH, PATCH).mean(axis=(0, 2))
    return float(phases.max() / phases.min())


def area(curve: Array) -> float:
    """The mean of a curve over the share of patches removed (trapezoids)."""
    return float((curve[1:] + curve[:-1]).mean() / 2)


def signed(value: float) -> str:
    """Two digits with a true minus sign, and none before zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def measure(digits: Digits, folder: Path = FOLDER) -> Measured:
    """Everything but the prototypes."""
    bench = Bench(digits, folder)
    explained = {name: explainer(bench.x) for name, explainer in bench.explainers.items()}
    largest, track = bench.continuity(explained)
    grids, gridded = bench.denoised()
    pair, halves = bench.two()
    curves = bench.selectivity(explained)
    label = digits.test_label[:SAMPLES]
    return Measured(
        explained, label, setups(bench.x, folder), networks(bench.x, folder), largest, track, curves, grids, gridded, pair, halves
    )
