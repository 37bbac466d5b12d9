"""The exceptions that onnxplain raises on purpose. Each message is one clear line: expected, found, what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

__all__ = [
    "InputError",
    "InternalError",
    "LayerError",
    "MethodError",
    "MetricError",
    "MissingDependencyError",
    "ModelError",
    "OnnxplainError",
    "OutputError",
    "PredictionChanged",
    "ProviderError",
    "RelevanceWarning",
    "RuleError",
    "TargetError",
    "UnsupportedOperatorError",
    "nearest",
    "visible",
]


LONG = re.compile(r"\S{401,}")
"""Words that nobody reads: names of thousands of letters."""


class OnnxplainError(Exception):
    """The base of all errors that are raised on purpose. The command line prints its message and exits with code 2.

    Example:
        >>> from onnxplain import OnnxplainError, rewrite
        >>> try:
        ...     rewrite("fixtures/digits/model.onnx", "deeplifft")
        ... except OnnxplainError as error:
        ...     print(type(error).__name__, "-", error)
        MethodError - no method 'deeplifft'; did you mean 'deeplift'...
    """

    def __str__(self) -> str:
        """The message; control characters in names that come from files are written out, so that none reaches a terminal."""
        return visible(super().__str__())


class ModelError(OnnxplainError):
    """The model file cannot be read, is no ONNX model, or cannot be brought into a supported form."""


class RuleError(OnnxplainError):
    """A rule is defined wrongly, or cannot serve the node it was chosen for.

    Example:
        >>> from onnxplain import RuleError, rule
        >>> try:
        ...     rule("MyRelu", role="elementwize")
        ... except RuleError as error:
        ...     print(str(error).partition(";")[0])
        unknown role 'elementwize' for MyRelu
    """


class UnsupportedOperatorError(OnnxplainError):
    """Operators between the target and the explained tensors have no rule. The message lists all of them."""


class InputError(OnnxplainError):
    """An input array has a wrong name, shape or data type, or holds NaN."""


class TargetError(OnnxplainError):
    """The target does not exist in the explained output."""


class LayerError(OnnxplainError):
    """No such tensor, input or output in the model, or it cannot be explained."""


class MethodError(OnnxplainError):
    """Unknown method, or an option that the method does not know."""


class MetricError(OnnxplainError):
    """An unknown metric, an unknown option of a metric, or a metric that does not apply. The message lists all problems."""


class ProviderError(OnnxplainError):
    """The requested ONNX Runtime execution provider is not available."""


class PredictionChanged(OnnxplainError):
    """The explained model does not predict what the original does.

    Args:
        message: the output, by how much it differs, and after which pass.
        culprit: the first pass after which it differs; "" where no pass is to blame.
    """

    def __init__(self, message: str, culprit: str = "") -> None:
        super().__init__(message)
        self.culprit = culprit


class MissingDependencyError(OnnxplainError):
    """An optional dependency is not installed."""


class OutputError(OnnxplainError):
    """A result cannot be written where it was asked for."""


class InternalError(OnnxplainError):
    """A mistake of onnxplain's own. Its cause is the error that nobody foresaw; the command line exits with 3."""


class RelevanceWarning(UserWarning):
    """Relevance became exactly zero on its way, or far larger than the score. The message names the node."""


def visible(text: str) -> str:
    """Text from a file as it may be shown: control characters, and those that turn the direction of writing, as escapes; words
    without end are cut short.

    Example:
        >>> from onnxplain.errors import visible
        >>> visible("red: \\x1b[31m")
        'red: \\\\x1b[31m'
    """
    text = LONG.sub(lambda found: f"{found[0][:100]}…{found[0][-20:]}", text)
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def nearest(name: str, known: Iterable[str], *, most: int = 3) -> str:
    """What is closest to a name that does not exist, as a phrase for an error message.

    Args:
        name: the name that was given.
        known: the names that exist.
        most: how many to suggest at most.

    Returns:
        For example "did you mean 'saliency'?"; all names where nothing is close.
    """
    names: Sequence[str] = sorted(known)
    close = difflib.get_close_matches(name, names, n=most, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"known: {shown}" if shown else "there are none"
