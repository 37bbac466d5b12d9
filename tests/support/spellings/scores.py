"""Softmax and log-softmax in every spelling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.support.spellings.kinds import LAST, Spellings, stretched
from tests.support.writer import Writer


def _less_maximum(w: Writer, x: str) -> str:
    return str(w.Sub(x, w.ReduceMax(x, LAST)))


def _over_sum(w: Writer, e: str) -> str:
    return str(w.Div(e, w.ReduceSum(e, LAST)))


def _jax_maximum(w: Writer, x: str, guard: bool = True) -> str:
    reduced = w.ReduceMax(x, LAST, keepdims=0)
    return stretched(w, w.Max(-np.inf, reduced) if guard else reduced, x)


def _jax_softmax(w: Writer, x: str, guard: bool = True) -> str:
    e = w.Exp(w.Sub(x, _jax_maximum(w, x, guard)))
    return str(w.Div(e, stretched(w, w.ReduceSum(e, LAST, keepdims=0), x)))


def _unsqueezed_softmax(w: Writer, x: str) -> str:
    e = w.Exp(w.Sub(x, w.Unsqueeze(w.ReduceMax(x, LAST, keepdims=0), LAST)))
    return str(w.Div(e, w.Unsqueeze(w.ReduceSum(e, LAST, keepdims=0), LAST)))


def _jax_log_softmax(w: Writer, x: str) -> str:
    shifted = w.Sub(x, _jax_maximum(w, x))
    return str(w.Sub(shifted, stretched(w, w.Log(w.ReduceSum(w.Exp(shifted), LAST, keepdims=0)), x)))


SOFTMAX: Mapping[str, Spellings] = {
    "softmax": {
        "Softmax": lambda w, x: w.Softmax(x, axis=-1),
        "in parts": lambda w, x: _over_sum(w, w.Exp(_less_maximum(w, x))),
        "without the maximum": lambda w, x: _over_sum(w, w.Exp(x)),
        "Unsqueeze": _unsqueezed_softmax,
        "JAX": _jax_softmax,
        "JAX, no guard": lambda w, x: _jax_softmax(w, x, guard=False),
        "one over the sum": lambda w, x: w.Mul(e := w.Exp(_less_maximum(w, x)), w.Reciprocal(w.ReduceSum(e, LAST))),
        "one divided by the sum": lambda w, x: w.Mul(w.Div(1.0, w.ReduceSum(e := w.Exp(_less_maximum(w, x)), LAST)), e),
        "log-sum-exp": lambda w, x: w.Exp(w.Sub(x, w.ReduceLogSumExp(x, LAST))),
        "exponential of the logarithm": lambda w, x: w.Exp(w.LogSoftmax(x, axis=-1)),
        "in double precision": lambda w, x: w.Cast(w.Softmax(w.Cast(x, to=11), axis=-1), to=1),
        "another axis": lambda w, x: w.Transpose(w.Softmax(w.Transpose(x, perm=[0, 2, 1]), axis=1), perm=[0, 2, 1]),
        "rows": lambda w, x: w.Reshape(w.Softmax(w.Reshape(x, np.array([-1, 7])), axis=-1), w.Shape(x)),
    },
    "log-softmax": {
        "LogSoftmax": lambda w, x: w.LogSoftmax(x, axis=-1),
        "logarithm": lambda w, x: w.Log(w.Softmax(x, axis=-1)),
        "in parts": lambda w, x: w.Sub(s := _less_maximum(w, x), w.Log(w.ReduceSum(w.Exp(s), LAST))),
        "less a log-sum-exp": lambda w, x: w.Sub(x, w.ReduceLogSumExp(x, LAST)),
        "less a sum of two": lambda w, x: w.Sub(
            x, w.Add(m := w.ReduceMax(x, LAST), w.Log(w.ReduceSum(w.Exp(w.Sub(x, m)), LAST)))
        ),
        "logarithm of the parts": lambda w, x: w.Log(_over_sum(w, w.Exp(_less_maximum(w, x)))),
        "JAX": _jax_log_softmax,
        "rows": lambda w, x: w.Reshape(w.LogSoftmax(w.Reshape(x, np.array([-1, 7])), axis=-1), w.Shape(x)),
    },
}
"""Functions of scores along the last axis."""
