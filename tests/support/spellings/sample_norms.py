"""Norms with statistics of the sample in every spelling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.support.linear_cases import random
from tests.support.spellings.kinds import LAST, Spellings, stretched
from tests.support.writer import Writer

SCALE, SHIFT = random(7, seed=11), random(7, seed=12)


def _deviation(w: Writer, centred: str, square: str = "Pow") -> str:
    squares = w.Pow(centred, 2.0) if square == "Pow" else w.Mul(centred, centred)
    return str(w.Sqrt(w.Add(w.ReduceMean(squares, LAST), 1e-5)))


def _layer_norm_pytorch(w: Writer, x: str) -> str:
    centred = w.Sub(x, w.ReduceMean(x, LAST))
    return str(w.Add(w.Mul(w.Div(centred, _deviation(w, centred)), SCALE), SHIFT))


def _layer_norm_tf(w: Writer, x: str) -> str:
    """tf.nn.batch_normalization on moments: x · (rsqrt(v + ε) · γ) + (β − m · rsqrt(v + ε) · γ)"""
    mean = w.ReduceMean(x, LAST)
    r = w.Mul(w.Reciprocal(_deviation(w, w.Sub(x, mean), "Mul")), SCALE)
    return str(w.Add(w.Mul(x, r), w.Sub(SHIFT, w.Mul(mean, r))))


def _layer_norm_jax(w: Writer, x: str) -> str:
    """flax: E[x²] − E[x]², not below zero"""
    mean, squares = w.ReduceMean(x, LAST), w.ReduceMean(w.Mul(x, x), LAST)
    variance = w.Max(w.Sub(squares, w.Mul(mean, mean)), 0.0)
    r = w.Mul(w.Reciprocal(w.Sqrt(w.Add(variance, 1e-5))), SCALE)
    return str(w.Add(w.Mul(w.Sub(x, mean), r), SHIFT))


def _layer_norm_power(w: Writer, x: str) -> str:
    centred = w.Sub(x, w.ReduceMean(x, LAST))
    r = w.Pow(w.Add(w.ReduceMean(w.Mul(centred, centred), LAST), 1e-5), -0.5)
    return str(w.Add(w.Mul(SCALE, w.Mul(centred, r)), SHIFT))


def _layer_norm_sums(w: Writer, x: str) -> str:
    centred = w.Sub(x, w.Div(w.ReduceSum(x, LAST), 7.0))
    variance = w.Div(w.ReduceSumSquare(centred, LAST), 7.0)
    return str(w.Add(w.Mul(w.Div(centred, w.Sqrt(w.Add(variance, 1e-5))), SCALE), SHIFT))


def _layer_norm_jax_broadcast(w: Writer, x: str) -> str:
    """Statistics without their axis, stretched, as jax2tf writes them."""
    mean = stretched(w, w.Div(w.ReduceSum(x, LAST, keepdims=0), 7.0), x)
    centred = w.Sub(x, mean)
    variance = stretched(w, w.Div(w.ReduceSum(w.Mul(centred, centred), LAST, keepdims=0), 7.0), x)
    return str(w.Add(w.Mul(w.Mul(centred, w.Reciprocal(w.Sqrt(w.Add(variance, 1e-5)))), SCALE), SHIFT))


def _rms(w: Writer, x: str) -> str:
    return str(w.Sqrt(w.Add(w.ReduceMean(w.Pow(x, 2.0), LAST), 1e-5)))


STATISTICS: Mapping[str, Spellings] = {
    "layer norm": {
        "LayerNormalization": lambda w, x: w.LayerNormalization(x, SCALE, SHIFT, epsilon=1e-5),
        "scale and shift behind": lambda w, x: w.Add(
            w.Mul(w.LayerNormalization(x, np.ones(7), np.zeros(7), epsilon=1e-5), SCALE), SHIFT
        ),
        "PyTorch, legacy": _layer_norm_pytorch,
        "TensorFlow": _layer_norm_tf,
        "JAX": _layer_norm_jax,
        "JAX, stretched": _layer_norm_jax_broadcast,
        "power": _layer_norm_power,
        "sums": _layer_norm_sums,
    },
    "RMS norm": {
        "quotient": lambda w, x: w.Mul(w.Div(x, _rms(w, x)), SCALE),
        "PyTorch, legacy": lambda w, x: w.Mul(SCALE, w.Mul(x, w.Div(1.0, _rms(w, x)))),
        "PyTorch, dynamo": lambda w, x: w.Mul(w.Mul(x, w.Reciprocal(_rms(w, x))), SCALE),
        "power": lambda w, x: w.Mul(w.Mul(x, w.Pow(w.Add(w.ReduceMean(w.Mul(x, x), LAST), 1e-5), -0.5)), SCALE),
        "ONNX Runtime": lambda w, x: w.SimplifiedLayerNormalization(x, SCALE, epsilon=1e-5),
    },
    "L2 norm": {
        "LpNormalization": lambda w, x: w.LpNormalization(x, axis=-1),
        "PyTorch": lambda w, x: w.Div(x, w.Expand(w.Clip(w.ReduceL2(x, LAST), 1e-12), w.Shape(x))),
        "TensorFlow": lambda w, x: w.Mul(x, w.Reciprocal(w.Sqrt(w.Max(w.ReduceSum(w.Mul(x, x), LAST), 1e-12)))),
        "root of a sum": lambda w, x: w.Div(x, w.Sqrt(w.ReduceSum(w.Pow(x, 2.0), LAST))),
    },
}
"""Norms along the last axis."""
