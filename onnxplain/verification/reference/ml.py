"""Operators of ai.onnx.ml for the reference evaluator.

onnx's LinearClassifier gives the scores of two classes in float32, and its SVMClassifier stops an iteration early, like
the runtimes do: the derivative is that of what it approaches.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, TypeAlias

import numpy as np
from onnx.reference.ops.aionnxml.op_linear_classifier import LinearClassifier as _LinearClassifier
from onnx.reference.ops.aionnxml.op_svm_classifier import SVMClassifier as _SVMClassifier

__all__ = ["LEARNED"]

Array: TypeAlias = "np.ndarray[Any, Any]"


class LinearClassifier(_LinearClassifier):
    """Scores of each class; one score s of two classes makes −s and s."""

    def _run(self, x: Array, *args: Any, **given: Any) -> Any:
        matrix = np.reshape(given["coefficients"], (-1, x.shape[1]))
        labels = given["classlabels_ints"] or given["classlabels_strings"]
        if len(matrix) == 1 and len(labels) == 2:
            shift = given["intercepts"][0]
            given |= {"coefficients": np.concatenate([-matrix, matrix]).ravel(), "intercepts": [-shift, shift]}
        return super()._run(x, *args, **given)  # type: ignore[no-untyped-call]


class SVMClassifier(_SVMClassifier):
    """With the class probabilities to which those of all pairs are coupled, exactly."""

    def _probabilities(self, scores: Array, count: int) -> Array:
        given: Any = self._svm.atts
        r = np.zeros((count, count))
        for n, (i, j) in enumerate(combinations(range(count), 2)):
            r[i, j] = 1 / (1 + np.exp(scores[n] * float(given.prob_a[n]) + float(given.prob_b[n])))
            r[j, i] = 1 - r[i, j]
        q = np.diag((r**2).sum(0)) - r * r.T
        p = np.linalg.solve(q + 1, np.ones(count))
        return np.asarray(p / p.sum())


LEARNED = [LinearClassifier, SVMClassifier]
