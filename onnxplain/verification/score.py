"""Whether the explained logit is the one behind the prediction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from onnxplain.explain.write import Rewritten
from onnxplain.verification.findings import Finding

__all__ = ["check_score"]

TOLERANCE = {2: 2e-2, 4: 1e-4, 8: 1e-8}
"""How far a probability may be from that of its logit, by the bytes of a number."""


def check_score(rewritten: Rewritten, result: Mapping[str, Any]) -> Finding | None:
    """The final activation, applied to the explained logit, gives the prediction.

    Args:
        rewritten, result: the explained model, which exposes its score, and what it returns.

    Returns:
        The finding; None where no activation was left out, or the prediction has another shape.
    """
    about = rewritten.about["score"]
    logits, prediction = result.get(about["tensor"]), result.get(rewritten.about["output"])
    if not about["activation"] or not isinstance(logits, np.ndarray) or not isinstance(prediction, np.ndarray):
        return None
    if logits.shape != prediction.shape:
        return None
    expected = np.asarray(prediction, np.float64)
    errors = [np.abs(made - expected).max(initial=0) for made in _activated(about["activation"], np.asarray(logits, np.float64))]
    if not errors:
        return None
    off = float(min(errors))
    said = f"{about['activation']} of '{about['tensor']}' gives the prediction up to {off:.1g}"
    return Finding("logit of the prediction", bool(off <= TOLERANCE[prediction.dtype.itemsize]), said)


def _activated(name: str, logits: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    """What an activation makes of logits: along each axis, where it is one that normalizes."""
    if name == "Sigmoid":
        yield np.exp(-np.logaddexp(0, -logits))
    elif name in ("Softmax", "LogSoftmax"):  # operators: those that normalize along an axis
        for axis in range(logits.ndim):
            made = logits - np.logaddexp.reduce(logits, axis=axis, keepdims=True)
            yield np.exp(made) if name == "Softmax" else made
