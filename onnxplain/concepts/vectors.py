"""Concept activation vectors: the normal of a linear classifier between examples of a concept and random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import InputError, LayerError

__all__ = ["ConceptVector", "concept_vector"]

Array = np.ndarray[Any, Any]

FOLDS = 3


@dataclass(frozen=True)
class ConceptVector:
    """`direction` has unit length and points to the concept, float64 [elements]; `accuracy` is that of the classifier on
    examples held out in turn, each class counting half (0.5: chance)."""

    direction: Array
    accuracy: float


def concept_vector(examples: Array, others: Array, strength: float, layer: str) -> ConceptVector:
    """The vector from a logistic regression with ℓ2 penalty on all examples.

    Args:
        examples, others: activations, float64 [n, elements].
        strength: of the penalty, in units of the activations' mean square.
        layer: its name, for messages.

    Raises:
        InputError: there are fewer than two of either.
        LayerError: all activations are the same.

    Source: Kim et al. 2018, section 3.2.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    fewest = min(len(examples), len(others))
    if fewest < 2:
        raise InputError(f"a concept vector needs at least two examples on either side, found {len(examples)} and {len(others)}")
    rows = np.concatenate([examples, others])
    rows = rows - rows.mean(axis=0)
    size = float(np.sqrt((rows**2).sum(axis=1).mean()))
    if size == 0:
        raise LayerError(f"all examples have the same activations at '{layer}'; choose another layer")
    labels = np.repeat([1, 0], [len(examples), len(others)])
    classifier = LogisticRegression(C=1 / strength, class_weight="balanced", max_iter=2000)
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=0)
    held_out = cross_val_score(classifier, rows / size, labels, cv=folds, scoring="balanced_accuracy")
    normal = classifier.fit(rows / size, labels).coef_[0]
    length = float(np.linalg.norm(normal))
    if length == 0:
        raise LayerError(f"the examples do not differ at '{layer}'; choose another layer or other examples")
    return ConceptVector(normal / length, float(held_out.mean()))
