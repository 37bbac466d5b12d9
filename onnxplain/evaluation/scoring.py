"""Scoring: the model as a function of its inputs, in batches that fit into memory, on one session."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from onnxplain.blackbox.forward import Array, Forward
from onnxplain.errors import MetricError
from onnxplain.runtime import Arrays

__all__ = ["Scoring"]


class Scoring:
    """Runs a model on batches of any size and counts how many rows it has run.

    Args:
        forward: the model; all arrays have an axis for samples here.
        rows: in one run, at most; None for what memory allows.
    """

    def __init__(self, forward: Forward, rows: int | None = None) -> None:
        self.forward = forward
        self._most = rows
        self.runs = 0

    @cached_property
    def decides(self) -> str:
        """How the model decides: "most" (the greatest of several elements) or "each" (every element for itself, by its sign)."""
        score = self.forward.score
        extents = score.tensor.shape[int(self.forward.batched) :] if score.tensor.shape else ()
        alone = all(e == 1 for e in extents)
        return "each" if score.activation == "Sigmoid" or (alone and score.kind == "logit") else "most"

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
        made = [self.forward.predict(part, self.rows(part)).ranked for part in self._parts(feeds)]
        return self._whole([np.asarray(m, np.float64).reshape(len(m), -1) for m in made])

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
