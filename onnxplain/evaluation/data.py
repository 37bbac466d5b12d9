"""Data: a model with the samples its explanations are judged on, checked once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike
from onnxplain.analysis.target import TargetLike, at_run_time
from onnxplain.errors import InputError, LayerError, TargetError
from onnxplain.evaluation.metrics._scoring import Scoring
from onnxplain.explain.engine import RunSettings, count_samples, extents_of_a_sample
from onnxplain.explain.prediction import FirstRun
from onnxplain.explain.request import Request
from onnxplain.io.reader import ModelLike, Source, external_tensors, read
from onnxplain.ir.registry import load_registry
from onnxplain.method.blackbox.players import player_axes
from onnxplain.passes import prepared
from onnxplain.runtime.inputs import check_inputs
from onnxplain.runtime.readout import picked
from onnxplain.runtime.scorer import Array, Scorer
from onnxplain.runtime.session import Arrays, Providers

__all__ = ["Data"]


class Data:
    """A model and the samples that explanations are judged on, checked once.

    All arrays have the samples first, wherever the model has them, even those of a model without an axis for them.

    Args:
        model: a path, bytes or a ModelProto.
        x: the samples: an array [n, …] or a dict of them, as for `Explainer`.
        target: None or "top" for each sample's own top prediction, an index, one index per sample, or "labels".
        masks: where the object lies, anything but 0 being inside: [n, …] in the shape of the explained input, without its
            channels, or with one channel.
        labels: the true classes, int [n].
        baseline: what replaces removed features: a number or an array that broadcasts to the explained input; None is 0.
        input: the explained input where the model has several.
        output: as in `onnxplain.Explainer`.
        score: as in `onnxplain.Explainer`.
        sample_axis: as in `onnxplain.Explainer`.
        providers: as in `onnxplain.Explainer`.
        threads: as in `onnxplain.Explainer`.
        rules: as in `onnxplain.Explainer`.
        batch_size: rows in one run, at most; None for what memory allows.
        seed: the seed of everything drawn at random.
        trust: as in `onnxplain.Explainer`.

    Raises:
        InputError: samples, masks or labels do not fit. The message lists all problems.
        TargetError: there is no such target.
        LayerError: there is no such input or output.
    """

    def __init__(
        self,
        model: ModelLike,
        x: Any,
        *,
        target: TargetLike = None,
        masks: Any = None,
        labels: Any = None,
        baseline: Any = None,
        input: str | None = None,
        output: str | None = None,
        score: str = "logit",
        sample_axis: SampleAxisLike = AUTO,
        providers: Providers = None,
        threads: int | None = None,
        rules: str | Path | Sequence[str | Path] | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        trust: bool = False,
    ) -> None:
        source = read(model)
        self.source: Source = replace(source, origin=None)
        self.request = Request.of(
            "gradient", registry=load_registry(rules), output=output, score=score, sample_axis=sample_axis
        )  # fmt: skip
        self.running = RunSettings(providers, threads, batch_size, progress=False, trust=trust)
        self.seed, self.batch_size = seed, batch_size
        scorer = self.forward(self.source.copy())
        first_run = FirstRun(source, self.request, self.running)
        self.scoring = Scoring(scorer, batch_size, lambda given, made: first_run(given, made, scorer.graph.model))
        feeds = check_inputs(x, scorer.inputs, axes=scorer.axes.of_inputs)
        if not any(v.size for v in feeds.values()):
            raise InputError("there are no samples to judge explanations on: the inputs are empty")
        count_samples(scorer.axes, feeds)
        self.inputs: Arrays = scorer.samples_first(feeds)
        names = scorer.explained([input] if input else None, self.request.registry)
        if len(names) > 1:
            raise LayerError(f"the model has several inputs that may be explained: {', '.join(names)}; choose one with input=")
        self.name = names[0]
        if not self.count:
            raise InputError("there are no samples to judge explanations on: the first axis is empty")
        problems: list[str] = []
        self.target = self._target(target, labels, problems)
        self.masks = None if masks is None else self._masks(masks, problems)
        self.labels = None if labels is None else self._labels(labels, problems)
        self.baseline = self._baseline(baseline, problems)
        if problems:
            raise InputError("; ".join(problems))

    def forward(self, source: Source) -> Scorer:
        """A model, with the output and score that are judged, as a function."""
        request, running = self.request, self.running
        ready = prepared(source, request.registry)
        return Scorer(ready, request.output, request.score, running.providers, running.threads, request.sample_axis)

    @property
    def x(self) -> Array:
        """The explained input, [n, …]."""
        return self.inputs[self.name]

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.x)

    @property
    def batched(self) -> bool:
        """Whether the model itself has an axis for samples."""
        return self.scoring.forward.batched

    @property
    def axis(self) -> int:
        """The axis of the explained input along which the model has its samples; 0 where it has none."""
        return (self.scoring.forward.axes.of_input(self.name) or 0) if self.batched else 0

    def samples_first(self, array: Array) -> Array:
        """What has the axes of the explained input, as the model takes it, with the samples first; anything else as it is."""
        return np.moveaxis(array, self.axis, 0) if self.axis and array.ndim == self.x.ndim else array

    @cached_property
    def space(self) -> tuple[int, ...]:
        """The axes of the explained input that count places (of space or time), counted with the axis of samples."""
        return tuple(player_axes(self.x.shape, None)) if self.x.ndim > 1 else ()

    @cached_property
    def ranked(self) -> Array:
        """The predictions for the samples, float64 [n, elements]."""
        return self.scoring.ranked(self.inputs)

    @cached_property
    def scores(self) -> Array:
        """The explained scores of the samples, float64 [n, elements]."""
        return self.scoring.scores(self.inputs)

    @cached_property
    def decisions(self) -> Array:
        """What the model decides of the samples, int64 [n]; see `decided`."""
        return self.decided(self.ranked, self.target)

    def decided(self, ranked: Array, target: Array) -> Array:
        """What predictions [m, elements] decide, int64 [m]: the top element; where elements decide each for itself, whether the
        target [m] is on."""
        if self.scoring.decides == "each":
            return np.asarray(ranked[np.arange(len(ranked)), target] > self.scoring.half, np.int64)
        return np.asarray(ranked.argmax(axis=1), np.int64)

    def rows_of(self, rows: Array) -> Arrays:
        """All inputs of some of the samples."""
        sampled = self.scoring.forward.sampled
        return {k: v[rows] if k in sampled else v for k, v in self.inputs.items()}

    def model(self) -> onnx.ModelProto:
        """A copy of the model as it was given, its weights within it."""
        copy = self.source.copy()
        if any(True for _ in external_tensors(copy.model)):
            onnx.load_external_data_for_model(copy.model, str(copy.folder))
        return copy.model

    # -- checks --------------------------------------------------------------------------------------------------

    def _target(self, given: TargetLike, labels: Any, problems: list[str]) -> Array:
        if isinstance(given, str) and given == "labels":
            if labels is None:
                problems.append("target='labels' needs labels")
                return np.zeros(self.count, np.int64)
            given = np.asarray(labels)
        extents = extents_of_a_sample(self.scoring.forward.axes, self.scoring.forward.as_fed(self.inputs))
        if not extents and self.ranked.shape[1] > 1:
            extents = [None]
        kind, chosen = at_run_time(given, None, self.count, extents)
        if chosen is None:
            if kind.kind != "element":
                raise TargetError("an evaluation follows one element of the output per sample: an index, several, or the top one")
            shape = [self.count, *(e if isinstance(e, int) else -1 for e in extents)]
            read = picked(kind, self.scores.reshape(shape), self.ranked.reshape(shape))
            if read.index.shape[-1] > 1:
                raise TargetError("an evaluation follows one element of the output per sample, no sum over an axis")
            chosen = read.index[:, 0, 0]
        if (chosen >= self.ranked.shape[1]).any():
            problems.append(f"target {chosen.max()} is out of range: the output has {self.ranked.shape[1]} elements per sample")
        return np.where(chosen < 0, self.ranked.argmax(axis=1), chosen).astype(np.int64)

    def _masks(self, given: Any, problems: list[str]) -> Array:
        """Masks in the shape of the explained input, bool."""
        masks, shape = self.samples_first(np.asarray(given)), self.x.shape
        places = (shape[0], *(shape[a] for a in self.space))
        if masks.shape == places != shape:
            masks = np.expand_dims(masks, [a for a in range(1, len(shape)) if a not in self.space])
        fits = masks.ndim == len(shape) and masks.dtype.kind in "biuf" and len(masks) == shape[0]
        fits = fits and all(masks.shape[a] == shape[a] for a in self.space)
        fits = fits and all(m in (1, s) for m, s in zip(masks.shape, shape, strict=True))
        if not fits:
            problems.append(
                f"masks of shape {list(np.shape(given))} do not fit the explained input {list(shape)}: expected {list(places)} "
                f"or {list(shape)}"
            )
            return np.zeros(shape, bool)
        inside = np.array(np.broadcast_to(masks != 0, shape))
        flat = inside.reshape(len(inside), -1)
        for what, found in (("are empty", ~flat.any(axis=1)), ("cover everything", flat.all(axis=1))):
            if found.any():
                problems.append(f"masks {what} for samples {_few(np.flatnonzero(found))}: there is nothing to find")
        return inside

    def _labels(self, given: Any, problems: list[str]) -> Array:
        labels = np.asarray(given)
        if labels.shape != (self.count,) or labels.dtype.kind not in "iu":
            problems.append(
                f"labels are one class number per sample (int [{self.count}]), got {labels.dtype} {list(labels.shape)}"
            )
            return np.zeros(self.count, np.int64)
        if labels.min() < 0 or labels.max() >= max(2, self.ranked.shape[1]):
            problems.append(
                f"labels must be from 0 to {max(2, self.ranked.shape[1]) - 1}, found {labels.min()} to {labels.max()}"
            )
        return labels.astype(np.int64)

    def _baseline(self, given: Any, problems: list[str]) -> Array:
        """The baseline as an array that broadcasts to the explained input, [n or 1, …], in its type."""
        x = self.x
        if given is None:
            given = "" if x.dtype.kind in "OUS" else 0
        array = self.samples_first(np.asarray(given))
        if array.dtype.kind in "OUS" and x.dtype.kind not in "OUS":
            problems.append(f"the baseline is a number or an array, got {given!r}")
            return np.zeros((1,) * x.ndim, x.dtype)
        try:
            full = np.broadcast_to(array, x.shape)
        except ValueError:
            problems.append(f"the baseline of shape {list(array.shape)} does not broadcast to '{self.name}' {list(x.shape)}")
            return np.zeros((1,) * x.ndim, x.dtype)
        return full.astype(x.dtype)


def _few(numbers: Array) -> str:
    """The first of some numbers, in words."""
    return ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")
