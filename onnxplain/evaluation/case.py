"""What a metric works on: a batch of samples with the attributions of one method, and the model to ask."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx

from onnxplain.evaluation.data import Data
from onnxplain.evaluation.subject import Explains, Subject
from onnxplain.method.registry import Method
from onnxplain.runtime.scorer import Array

__all__ = ["MetricBatch", "MetricContext"]


@dataclass(frozen=True)
class MetricContext:
    """What is known before anything runs; metrics check their options against it.

    `method` is None for attributions from elsewhere, `options` are the method's.
    """

    label: str
    data: Data
    method: Method | None
    options: dict[str, Any]

    @classmethod
    def of(cls, subject: Subject) -> MetricContext:
        """The context of a subject."""
        return cls(subject.label, subject.data, subject.method, subject.options)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample of the explained input."""
        return tuple(self.data.x.shape[1:])

    @property
    def elements(self) -> int:
        """How many elements the explained output has per sample."""
        return int(self.data.ranked.shape[1])

    @property
    def lacks(self) -> frozenset[str]:
        """Which of `onnxplain.evaluation.metric.NEEDS` are not there."""
        data = self.data
        there = {
            "method": self.method is not None,
            "weights": self.method is not None,
            "masks": data.masks is not None,
            "labels": data.labels is not None,
            "image": data.x.ndim == 4 and len(data.space) == 2,
            "numbers": data.x.dtype.kind == "f",
        }
        return frozenset(name for name, found in there.items() if not found)


@dataclass(frozen=True)
class MetricBatch:
    """A batch of n samples, and one subject's attributions of them.

    `samples` are the numbers of the samples in the data set, int64 [n]; `attribution` is float64 in the shape of `x`.
    Results must not depend on which samples share a batch: what is drawn at random comes from `random(row, …)`.
    """

    data: Data
    subject: Subject
    samples: Array
    attribution: Array

    @classmethod
    def of(cls, subject: Subject, samples: Array | None = None) -> MetricBatch:
        """The batch of some samples of a subject's data, explained now; all of them where none are named."""
        numbers = np.arange(subject.data.count) if samples is None else np.asarray(samples)
        return cls(subject.data, subject, numbers, subject.attribution(numbers))

    # -- the samples ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def x(self) -> Array:
        """The explained input, [n, …]."""
        return self.data.x[self.samples]

    @cached_property
    def target(self) -> Array:
        """The explained element of each sample, int64 [n]."""
        return np.asarray(self.data.target[self.samples])

    @cached_property
    def baseline(self) -> Array:
        """What replaces removed features, in the shape and type of x."""
        return self.data.baseline[self.samples]

    @cached_property
    def masks(self) -> Array | None:
        """Where the object lies, bool in the shape of x; None where no masks were given."""
        return None if self.data.masks is None else self.data.masks[self.samples]

    @cached_property
    def labels(self) -> Array | None:
        """The true classes, int64 [n]; None where none were given."""
        return None if self.data.labels is None else self.data.labels[self.samples]

    @cached_property
    def scores(self) -> Array:
        """The target's score of each sample, float64 [n]."""
        return np.asarray(self.data.scores[self.samples, self.target])

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of x that count places of space or time."""
        return self.data.space

    @property
    def channels(self) -> tuple[int, ...]:
        """The axes of x that count neither samples nor places."""
        return tuple(a for a in range(1, self.x.ndim) if a not in self.space)

    @cached_property
    def map(self) -> Array:
        """The attribution summed over channels, float64 [n, *places]."""
        return np.asarray(self.attribution.sum(axis=self.channels))

    @cached_property
    def mask_map(self) -> Array | None:
        """The places that are inside a mask in any channel, bool [n, *places]."""
        return None if self.masks is None else np.asarray(self.masks.any(axis=self.channels))

    # -- the model -----------------------------------------------------------------------------------------------

    def predict(self, values: Array, rows: Array | None = None, target: Array | None = None) -> Array:
        """The target's score for other values of the explained input, float64 [m].

        Args:
            values: the explained input, [m, …].
            rows: which rows of this batch the other inputs and the targets are taken from, int [m]; None for all n in order.
            target: other targets, int [m].
        """
        found = self.data.scoring.scores(self._feeds(values, rows))
        wanted = self._targets(rows) if target is None else np.asarray(target)
        return np.asarray(found[np.arange(len(found)), wanted])

    def probabilities(self, values: Array, rows: Array | None = None) -> Array:
        """The target's probability for other values of the explained input, float64 [m]; see `Scoring.probabilities`."""
        found = self.data.scoring.probabilities(self._feeds(values, rows))
        return np.asarray(found[np.arange(len(found)), self._targets(rows)])

    def outputs(self, values: Array, rows: Array | None = None) -> Array:
        """All explained scores for other values of the explained input, float64 [m, elements]."""
        return self.data.scoring.scores(self._feeds(values, rows))

    def decisions(self, values: Array, rows: Array | None = None) -> Array:
        """What the model decides, int64 [m]: the top element; where elements decide each for itself, whether the target is on."""
        return self.data.decided(self.data.scoring.ranked(self._feeds(values, rows)), self._targets(rows))

    def sweep(self, count: int, make: Callable[[int], Array], ask: Callable[[Array, Array], Array] | None = None) -> Array:
        """The target's scores of `count` versions of the batch, [count, n]; `make(k)` gives version k, [n, …].

        Several versions run together as far as memory allows. `ask(values, rows)` asks the model for something else, as
        `probabilities` or `decisions`.
        """
        ask = ask or self.predict
        together = max(1, self.data.scoring.rows(self._feeds(self.x[:1], np.zeros(1, int))) // len(self))
        rows = np.arange(len(self))
        parts = []
        for start in range(0, count, together):
            versions = [make(k) for k in range(start, min(start + together, count))]
            found = ask(np.concatenate(versions), np.tile(rows, len(versions)))
            parts.append(found.reshape(len(versions), len(self)))
        return np.concatenate(parts)

    def explain(self, values: Array, rows: Array | None = None, target: Array | None = None, by: Explains | None = None) -> Array:
        """The attribution by the same method of other values of the explained input, float64 in their shape [m, …].

        Args: as of `predict`; `by` is the method on a changed model (see `changed`).
        """
        explains = by or self.subject.again
        assert explains is not None, "the metric must declare needs=('method',)"
        picked = np.arange(len(self)) if rows is None else np.asarray(rows)
        wanted = self._targets(rows) if target is None else np.asarray(target)
        return explains.explain(self._feeds(values, rows), wanted, self.baseline[picked])

    def changed(self, key: Any, make: Callable[[], onnx.ModelProto]) -> Explains:
        """The same method on a changed model (`make` may start from `self.data.model()`), kept under its key for later batches.

        Explain with it: `batch.explain(values, by=batch.changed(…))`; its `scoring` runs it.
        """
        return self.subject.changed(key, make)

    def _targets(self, rows: Array | None) -> Array:
        return self.target if rows is None else self.target[rows]

    def _feeds(self, values: Array, rows: Array | None) -> dict[str, Array]:
        numbers = self.samples if rows is None else self.samples[rows]
        feeds = self.data.rows_of(numbers)
        feeds[self.data.name] = np.ascontiguousarray(values, self.data.x.dtype)
        return feeds

    # -- chance --------------------------------------------------------------------------------------------------

    def random(self, row: int, what: str = "") -> np.random.Generator:
        """A generator of its own for a row of this batch: the same whatever the batch and the order.

        Args:
            row: of this batch.
            what: the name of what is drawn, so that metrics draw independently.
        """
        return np.random.default_rng([self.data.seed, zlib.crc32(what.encode()), int(self.samples[row])])
