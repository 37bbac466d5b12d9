"""The model's predictions, for tables, figures and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.score import DERIVED
from onnxplain.io.metadata import sample_axis_in
from onnxplain.results.explanation_data import ExplanationData

__all__ = ["Prediction", "explained_score", "has_samples", "lifted", "named_rows", "predictions", "sample_count", "target_name"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Prediction:
    """The model's prediction for one sample.

    Attributes:
        label: the name of the top class; None if the output is not a classification.
        index: the index of the top class, or None.
        probability: the probability of the top class, or None.
        top: the most probable classes as (index, name, probability).
        score: the explained element of the output; None if that is not a single element.
    """

    label: str | None
    index: int | None
    probability: float | None
    top: tuple[tuple[int, str, float], ...]
    score: float | None


def has_samples(explanation: ExplanationData) -> bool:
    """Whether an axis counts samples."""
    return bool(explanation.about.get("batched", True))


def lifted(explanation: ExplanationData, array: Array) -> Array:
    """A fact, which has the samples first, as [n, …]; n is 1 for models without an axis for samples."""
    return array if has_samples(explanation) else array[None]


def named_rows(explanation: ExplanationData, name: str, array: Array) -> Array:
    """An input or output with the samples first: [n, …]; n is 1 for models without an axis for samples. What all samples share is
    there for each."""
    axis = sample_axis_in(explanation.about, name)
    if axis is None:
        return np.broadcast_to(array, (sample_count(explanation), *array.shape))
    return np.moveaxis(array, axis, 0) if array.ndim > axis else array


def sample_count(explanation: ExplanationData) -> int:
    """The number of explained samples."""
    return len(explanation) if has_samples(explanation) else 1


def scores(explanation: ExplanationData) -> Array | None:
    """The output that was explained: [n, …]; None where it is not among the model's outputs."""
    name = str(explanation.about.get("output"))
    found = explanation.outputs.get(name)
    if isinstance(found, list) and found and isinstance(found[0], Mapping):
        found = np.array([list(row.values()) for row in found])
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
        return None
    values = named_rows(explanation, name, found)
    return values if len(values) == sample_count(explanation) else None


def target_name(explanation: ExplanationData, sample: int) -> str:
    """What was explained about a sample: a class, a place in an output with several axes as `-t` takes it, or the target."""
    if explanation.target_names:
        return explanation.target_names[sample]
    if explanation.target is None:
        return str(explanation.about.get("target", ""))
    index = int(explanation.target[sample])
    values = scores(explanation)
    if values is not None and values.ndim > 2 and 0 <= index < values[0].size:
        return ",".join(str(i) for i in np.unravel_index(index, values.shape[1:]))
    return explanation.class_name(index)


def explained_score(explanation: ExplanationData) -> str:
    """A description of the explained score, for people."""
    score = explanation.about.get("score", {})
    output = explanation.about.get("output", "output")
    if score.get("kind") == "logit":
        return f"logit: what goes into the final {score.get('activation') or 'activation'} of output '{output}'"
    if score.get("kind") in DERIVED:
        return f"{score['kind']} of output '{output}'"
    return f"output '{output}' as it is"


def probabilities(explanation: ExplanationData) -> tuple[Array, str] | None:
    """Class probabilities [n, classes] and a description of their origin; None if the output is not a classification."""
    values = scores(explanation)
    if values is None or values.ndim != 2 or values.shape[1] < 2:
        return None
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        return None
    activation = explanation.about.get("score", {}).get("activation", "")
    if activation == "LogSoftmax":
        return np.exp(values), "exp of the model's log-probabilities"
    # operators: activations that make probabilities, not their logarithms
    if activation in ("Softmax", "Sigmoid") or (values.min() >= 0 and values.max() <= 1):
        return values, "as the model gives them"
    if values.max() <= 0 and np.allclose(np.exp(values).sum(axis=1), 1, atol=1e-3):
        return np.exp(values), "exp of the model's log-probabilities"
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True), f"softmax of output '{explanation.about.get('output')}'"


def predictions(explanation: ExplanationData, most: int = 5) -> tuple[list[Prediction], str]:
    """The predictions of all samples.

    Args:
        explanation: the explanation.
        most: the number of classes to list per sample.

    Returns:
        The predictions, and the origin of the probabilities ("" if there are none).
    """
    count = sample_count(explanation)
    found = probabilities(explanation)
    values = scores(explanation)
    explained = [_score(values, explanation, i) for i in range(count)]
    if found is None:
        return [Prediction(None, None, None, (), s) for s in explained], ""
    rows, how = found
    result = []
    for row, score in zip(rows, explained, strict=True):
        order = [int(i) for i in np.argsort(-row, kind="stable")[:most]]
        top = tuple((i, explanation.class_name(i), float(row[i])) for i in order)
        result.append(Prediction(top[0][1], top[0][0], top[0][2], top, score))
    return result, how


def _score(values: Array | None, explanation: ExplanationData, sample: int) -> float | None:
    if values is None or explanation.target is None:
        return None
    index = int(explanation.target[sample])
    row = values[sample].ravel()
    return float(row[index]) if 0 <= index < row.size else None
