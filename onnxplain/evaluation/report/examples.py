"""A few samples with what every method says of them, for reports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxplain.evaluation.data import Data
from onnxplain.evaluation.subject import Subject
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.scorer import Array

__all__ = ["chosen", "examples_of"]

SHOWN = 3
"""Samples, at most."""


def chosen(count: int) -> Array:
    """The numbers of a few samples spread over the data."""
    return np.unique(np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int))


def examples_of(data: Data, subjects: Sequence[Subject], labels: Sequence[str]) -> tuple[Explanation, ...]:
    """Explanations of a few samples spread over the data, one per subject."""
    samples = chosen(data.count)
    scorer = data.scoring.forward
    prediction = scorer.predict(data.rows_of(samples), len(samples))
    outputs = {k: v for k, v in prediction.outputs.items() if isinstance(v, np.ndarray)}
    made = []
    for subject in subjects:
        about = {
            "method": subject.label, "target": "input", "batched": True, "output": scorer.score.output,
            "score": {"tensor": scorer.score.tensor.name, "kind": scorer.score.kind, "activation": scorer.score.activation},
            "attributions": {}, "options": {},
        }  # fmt: skip
        attribution = subject.attribution(samples).astype(np.float32)
        made.append(Explanation({data.name: attribution}, data.rows_of(samples), outputs, data.target[samples], about, labels))
    return tuple(made)
