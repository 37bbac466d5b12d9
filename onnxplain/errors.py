"""Every exception onnxplain raises on purpose. Each message is one clear line: expected, found, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "InputError",
    "LayerError",
    "MethodError",
    "MetricError",
    "MissingDependencyError",
    "ModelError",
    "OnnxplainError",
    "OutputError",
    "ProviderError",
    "RuleError",
    "TargetError",
    "UnsupportedOperatorError",
]


class OnnxplainError(Exception):
    """Base of all errors raised on purpose; the command line prints its message and exits with code 2."""


class ModelError(OnnxplainError):
    """The model file cannot be read, is no ONNX model, or cannot be brought into a supported form."""


class RuleError(OnnxplainError):
    """A rule is defined wrongly or cannot serve the call it was chosen for."""


class UnsupportedOperatorError(OnnxplainError):
    """Operators on the way from the target to the explained tensors that have no rule, all of them at once."""


class InputError(OnnxplainError):
    """An input array has the wrong name, shape, data type or holds NaN."""


class TargetError(OnnxplainError):
    """The target does not exist in the explained output."""


class LayerError(OnnxplainError):
    """No such tensor, input or output in the model, or it cannot be explained."""


class MethodError(OnnxplainError):
    """Unknown method, or an option that the method does not know."""


class MetricError(OnnxplainError):
    """Unknown metric, an option that the metric does not know, or one that does not apply; all problems at once."""


class ProviderError(OnnxplainError):
    """The requested ONNX Runtime execution provider is not available."""


class MissingDependencyError(OnnxplainError):
    """An optional dependency is not installed."""


class OutputError(OnnxplainError):
    """A result cannot be written where it was asked for."""


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """A phrase naming what is closest to `name`, e.g. "did you mean 'saliency'?"; all names where nothing is close."""
    names: Sequence[str] = sorted(known)
    close = difflib.get_close_matches(name, names, n=most, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"known: {shown}" if shown else "there are none"
