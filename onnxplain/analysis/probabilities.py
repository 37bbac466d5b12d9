"""Softmax, log-softmax and sigmoid in every spelling: what is made of which scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from onnxplain.analysis.reductions import reduced_axes
from onnxplain.ir.pattern import Match, Pattern, behind, match, number, op, var
from onnxplain.ir.view import View

__all__ = ["LAST_STEPS", "LOG_SOFTMAX", "SIGMOID", "SOFTMAX", "Probabilities", "inverse", "probabilities_of"]

V = TypeVar("V")
N = TypeVar("N")


def inverse(t: Pattern) -> Pattern:
    """One over t."""
    return op.Reciprocal(t) | 1 / t | t**-1


STRETCHES = ("Reshape", "Unsqueeze", "Expand", "Identity")  # operators: bring a reduction to where its operand is
LESS = number(value=float("-inf"))

X = var("x")
PEAK = op.ReduceMax(X, ...).named("peak")
MAXIMUM = behind(STRETCHES, PEAK | op.Max(PEAK, LESS), "maximum")
SHIFTED, PLAIN = op.Exp(X - MAXIMUM), op.Exp(X)


def _softmax(e: Pattern) -> Pattern:
    """e / Σ e"""
    total = op.ReduceSum(e, ...).named("total")
    one_over = behind(STRETCHES, inverse(behind(STRETCHES, total)), "sum")
    return e / behind(STRETCHES, total, "sum") | e * one_over


def _log_softmax(e: Pattern, shifted: Pattern) -> Pattern:
    """log e − log Σ e"""
    total = op.ReduceSum(e, ...).named("total")
    log_sum = behind(STRETCHES, op.Log(behind(STRETCHES, total)), "sum")
    return shifted - log_sum | X - (MAXIMUM + log_sum) if shifted is not X else X - log_sum


LOG_SUM_EXP = behind(STRETCHES, op.ReduceLogSumExp(X, ...).named("total"), "sum")

_SOFTMAX = (_softmax(SHIFTED), _softmax(PLAIN))
_LOG_SOFTMAX = (_log_softmax(SHIFTED, X - MAXIMUM), _log_softmax(PLAIN, X), X - LOG_SUM_EXP)

SOFTMAX = (*_SOFTMAX, *map(op.Exp, _LOG_SOFTMAX), op.Exp(op.LogSoftmax(X).named("whole")))
"""e / Σ e with e = exp(x) or exp(x − max x), or the exponential of its logarithm."""

LOG_SOFTMAX = (*_LOG_SOFTMAX, *map(op.Log, _SOFTMAX), op.Log(op.Softmax(X).named("whole")))
"""x − log Σ exp(x), the maximum taken off first or not, or the logarithm of a softmax."""

POWER = op.Exp(X)
DECAY = op.Exp(-op.Abs(X) | op.Abs(X) * -1)
HALF = X * 0.5 | X / 2
SIGMOID = (
    inverse(1 + op.Exp(-X | X * -1 | X / -1 | 0 - X))
    | POWER / (POWER + 1)
    | (op.Tanh(HALF) + 1) * 0.5
    | (op.Tanh(HALF) + 1) / 2
    | op.Tanh(HALF) * 0.5 + 0.5
    | op.Where(op.GreaterOrEqual(X, 0) | op.Greater(X, 0), inverse(1 + DECAY) | op.Sigmoid(op.Abs(X)), DECAY / (DECAY + 1))
)
"""1 / (1 + exp(−x)), also by tanh, and with an exponential that cannot overflow on either side."""

LAST_STEPS = ("Div", "Mul", "Exp", "Sub", "Log", "Reciprocal", "Pow", "Add", "Where")  # operators: last steps of these formulas


@dataclass(frozen=True)
class Probabilities(Generic[V, N]):
    """Probabilities, or their logarithms, that several operators make of scores.

    Attributes:
        kind: "Softmax", "LogSoftmax" or "Sigmoid".
        scores: what they are made of.
        axis: the axis along which they sum to one; None for a sigmoid.
        found: the nodes.
    """

    kind: str
    scores: V
    axis: int | None
    found: Match[V, N]


def probabilities_of(view: View[V, N], tensor: V) -> Probabilities[V, N] | None:
    """What probabilities a tensor holds, if it holds some that are written in several operators.

    Args:
        view: of the graph.
        tensor: the tensor.
    """
    maker = view.maker(tensor)
    if maker is None or view.operator(maker) not in LAST_STEPS:
        return None
    for kind, pattern in (*(("Softmax", p) for p in SOFTMAX), *(("LogSoftmax", p) for p in LOG_SOFTMAX)):
        found = match(view, pattern, tensor)
        axis = _axis(view, found) if found else None
        if found and axis is not None:
            return Probabilities(kind, found["x"], axis, found)
    found = match(view, SIGMOID, tensor)
    return Probabilities("Sigmoid", found["x"], None, found) if found else None


def _axis(view: View[V, N], found: Match[V, N]) -> int | None:
    """The axis along which the results of a match sum to one; None where they do not."""
    if "whole" in found.named:
        axis = view.attribute(found.named["whole"], "axis")
        return -1 if axis is None else int(axis)
    total = reduced_axes(view, found["x"], found["sum"], found.named["total"])
    if total is None or len(total) != 1:
        return None
    if "peak" in found.named:  # anything that is the same for all along the axis may be taken off
        peak = reduced_axes(view, found["x"], found["maximum"], found.named["peak"])
        if peak is None or not total <= peak:
            return None
    return next(iter(total))
