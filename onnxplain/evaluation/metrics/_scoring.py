"""Scoring: the model as a function of its inputs, in batches that fit into memory, on one session."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from onnxplain.errors import MetricError
from onnxplain.runtime.scorer import Array, Scorer, Watch
from onnxplain.runtime.session import Arrays

__all__ = ["Scoring"]


class Scoring:
    """Runs a model on batches of any size and counts how many rows it has run.

    Args:
        forward: the model; all arrays have an axis for samples here.
        rows: in one run, at most; None for what memory allows.
        watch: is told of the inputs and outputs of predictions.
    """

    def __init__(self, scorer: Scorer, rows: int | None = None, watch: Watch | None = None) -> None:
        self.forward = scorer
        self._watch = watch
        self._most = rows
        self.runs = 0

    @cached_property
    def decides(self) -> str:
        """How the model decides: "most" (the greatest of several elements) or "each" (every element for itself)."""
        shape = self.forward.score.tensor.shape or ()
        extents = [d for axis, d in enumerate(shape) if axis != self.forward.axes.axis]
        alone = all(e == 1 for e in extents)
        return "each" if alone or self._final == "Sigmoid" else "most"

    @cached_property
    def half(self) -> float:
        """Where an element that decides for itself changes its mind: 0.5 of a probability, 0 of any other score."""
        return 0.5 if self._final == "Sigmoid" else 0.0

    @cached_property
    def _final(self) -> str:
        """The operator that makes the prediction."""
        maker = self.forward.graph.producer(self.forward.score.ranked)
        return self.forward.score.activation or ("" if maker is None else maker.op)

    def rows(self, feeds: Arrays) -> int:
        """Rows in one run."""
        return self._most or self.forward.fixed or self.forward.usual_rows(feeds)

    def scores(self, feeds: Arrays) -> Array:
        """The explained scores, float64 [m, elements].

        Raises:
            MetricError: the model returned NaN or infinity.
        """
        return self._whole([self.forward.scores(part) for part in self._parts(feeds)])

    def ranked(self, feeds: Arrays) -> Array:
        """The prediction itself (probabilities, where the score is a logit), float64 [m, elements]."""
        made = [self.forward.predict(part, self.rows(part), self._watch).ranked for part in self._parts(feeds)]
        return self._whole([np.asarray(m, np.float64).reshape(len(m), -1) for m in made])

    def probabilities(self, feeds: Arrays) -> Array:
        """The prediction as probabilities, float64 [m, elements].

        The softmax of what the model returns where that has several elements that are none; the score itself where it has one.
        """
        ranked = self.ranked(feeds)
        # operators: activations after which a score is a probability, not its logarithm
        if self._final in ("Softmax", "Sigmoid") or ranked.shape[1] == 1 or _normalised(ranked):
            return ranked
        powers = np.exp(ranked - ranked.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def _whole(self, parts: Sequence[Array]) -> Array:
        made = np.concatenate(parts)
        if not np.isfinite(made).all():
            raise MetricError(
                "the model returned NaN or infinity for a perturbed input: choose another baseline or replacement, "
                "or score='logit'"
            )
        return made

    def _parts(self, feeds: Arrays) -> list[Arrays]:
        sampled = self.forward.sampled
        count = len(feeds[next(iter(sampled))])
        self.runs += count
        step = self.rows({k: v[:1] if k in sampled else v for k, v in feeds.items()})
        return [{k: v[i : i + step] if k in sampled else v for k, v in feeds.items()} for i in range(0, count, step)]


def _normalised(values: Array) -> bool:
    """Whether rows are probabilities already: trees return them without an activation."""
    return bool(values.min() >= 0 and np.allclose(values.sum(axis=1), 1, atol=1e-3))
