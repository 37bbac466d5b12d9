"""Layers in every spelling: one function, written in the ways in which exporters, converters and optimizers write it.

The first spelling of a layer is the plainest; all others compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tests.support.linear_cases import Array, random
from tests.support.writer import Writer

Spellings: TypeAlias = Mapping[str, Callable[[Writer, str], str]]
"""Ways to write a function of one tensor, by name."""

MS = "com.microsoft"
BOOL_TO_FLOAT = {"to": 1}


def _mask(w: Writer, condition: str) -> str:
    return str(w.Cast(condition, **BOOL_TO_FLOAT))


# -- functions of each element ---------------------------------------------------------------------------------------------


def _gelu(w: Writer, x: str, scaled: Any) -> str:
    return str(w.Add(w.Erf(scaled(w, x)), 1.0))


def _tanh_gelu(w: Writer, x: str, cube: str) -> str:
    return str(w.Add(w.Tanh(w.Mul(w.Add(x, w.Mul(cube, 0.044715)), 0.7978845608)), 1.0))


SLOPE = np.abs(random(7, seed=3)) * 0.3

ACTIVATIONS: Mapping[str, Spellings] = {
    "ReLU": {
        "Relu": lambda w, x: w.Relu(x),
        "Max": lambda w, x: w.Max(x, 0.0),
        "Max, zero first": lambda w, x: w.Max(0.0, x),
        "Clip": lambda w, x: w.Clip(x, 0.0),
        "Where": lambda w, x: w.Where(w.Greater(x, 0.0), x, 0.0),
        "Where, zeros of its shape": lambda w, x: w.Where(w.Greater(x, 0.0), x, w.Expand(0.0, w.Shape(x))),
        "Where, the other way round": lambda w, x: w.Where(w.LessOrEqual(x, 0.0), 0.0, x),
        "Where, less": lambda w, x: w.Where(w.Less(0.0, x), x, 0.0),
        "Where, not": lambda w, x: w.Where(w.Not(w.Less(x, 0.0)), x, 0.0),
        "a mask": lambda w, x: w.Mul(x, _mask(w, w.Greater(x, 0.0))),
        "a mask, first": lambda w, x: w.Mul(_mask(w, w.GreaterOrEqual(x, 0.0)), x),
        "a mask by Where": lambda w, x: w.Mul(x, w.Where(w.Greater(x, 0.0), 1.0, 0.0)),
        "a mask by Sign": lambda w, x: w.Mul(x, w.Mul(w.Add(w.Sign(x), 1.0), 0.5)),
        "halves": lambda w, x: w.Mul(w.Add(x, w.Abs(x)), 0.5),
        "half a sum": lambda w, x: w.Div(w.Add(x, w.Abs(x)), 2.0),
        "less its lower part": lambda w, x: w.Sub(x, w.Min(x, 0.0)),
        "LeakyRelu": lambda w, x: w.LeakyRelu(x, alpha=0.0),
        "PRelu": lambda w, x: w.PRelu(x, 0.0),
        "ThresholdedRelu": lambda w, x: w.ThresholdedRelu(x, alpha=0.0),
        "minus a minimum": lambda w, x: w.Neg(w.Min(w.Neg(x), 0.0)),
    },
    "leaky ReLU": {
        "LeakyRelu": lambda w, x: w.LeakyRelu(x, alpha=0.1),
        "PRelu": lambda w, x: w.PRelu(x, 0.1),
        "Max": lambda w, x: w.Max(x, w.Mul(x, 0.1)),
        "Where": lambda w, x: w.Where(w.GreaterOrEqual(x, 0.0), x, w.Mul(x, 0.1)),
        "Where, a factor": lambda w, x: w.Mul(x, w.Where(w.Greater(x, 0.0), 1.0, 0.1)),
        "two halves": lambda w, x: w.Sub(w.Relu(x), w.Mul(w.Relu(w.Neg(x)), 0.1)),
        "maximum and minimum": lambda w, x: w.Add(w.Max(x, 0.0), w.Mul(0.1, w.Min(x, 0.0))),
        "a function": lambda w, x: w.Add(w.Mul(w.Abs(x), 0.45), w.Mul(x, 0.55)),
    },
    "PReLU": {
        "PRelu": lambda w, x: w.PRelu(x, SLOPE),
        "Keras": lambda w, x: w.Add(w.Relu(x), w.Mul(w.Neg(SLOPE) if False else -SLOPE, w.Relu(w.Neg(x)))),
        "Sub": lambda w, x: w.Sub(w.Relu(x), w.Mul(SLOPE, w.Relu(w.Neg(x)))),
        "maximum and minimum": lambda w, x: w.Add(w.Max(x, 0.0), w.Mul(w.Min(x, 0.0), SLOPE)),
        "Where": lambda w, x: w.Where(w.Greater(x, 0.0), x, w.Mul(SLOPE, x)),
        "MXNet": lambda w, x: w.Add(w.Relu(x), w.Mul(w.Mul(SLOPE, w.Sub(x, w.Abs(x))), 0.5)),
    },
    "ReLU6": {
        "Clip": lambda w, x: w.Clip(x, 0.0, 0.6),
        "Min, Relu": lambda w, x: w.Min(w.Relu(x), 0.6),
        "Min, Max": lambda w, x: w.Min(w.Max(x, 0.0), 0.6),
        "Max, Min": lambda w, x: w.Max(w.Min(x, 0.6), 0.0),
        "Clip below, Clip above": lambda w, x: w.Clip(w.Clip(x, 0.0), "", 0.6),
        "Where": lambda w, x: w.Where(w.Greater(x, 0.6), 0.6, w.Relu(x)),
        "two rectifiers": lambda w, x: w.Sub(w.Relu(x), w.Relu(w.Sub(x, 0.6))),
    },
    "hard tanh": {
        "Clip": lambda w, x: w.Clip(x, -0.7, 0.7),
        "Max, Min": lambda w, x: w.Max(w.Min(x, 0.7), -0.7),
        "nested Where": lambda w, x: w.Where(w.Greater(x, 0.7), 0.7, w.Where(w.Less(x, -0.7), -0.7, x)),
        "Where, inside": lambda w, x: w.Where(w.Less(w.Abs(x), 0.7), x, w.Mul(w.Sign(x), 0.7)),
        "half of two sizes": lambda w, x: w.Mul(w.Sub(w.Abs(w.Add(x, 0.7)), w.Abs(w.Sub(x, 0.7))), 0.5),
    },
    "hard sigmoid": {
        "HardSigmoid": lambda w, x: w.HardSigmoid(x, alpha=1 / 6, beta=0.5),
        "Clip, a sixth": lambda w, x: w.Div(w.Clip(w.Add(x, 3.0), 0.0, 6.0), 6.0),
        "Clip, times a sixth": lambda w, x: w.Mul(w.Clip(w.Add(x, 3.0), 0.0, 6.0), 1 / 6),
        "Clip to one": lambda w, x: w.Clip(w.Add(w.Mul(x, 1 / 6), 0.5), 0.0, 1.0),
        "Max, Min": lambda w, x: w.Max(0.0, w.Min(1.0, w.Add(w.Div(x, 6.0), 0.5))),
    },
    "hard swish": {
        "HardSwish": lambda w, x: w.HardSwish(x),
        "HardSigmoid": lambda w, x: w.Mul(x, w.HardSigmoid(x, alpha=1 / 6)),
        "Clip, over six": lambda w, x: w.Div(w.Mul(x, w.Clip(w.Add(x, 3.0), 0.0, 6.0)), 6.0),
        "divided first": lambda w, x: w.Mul(x, w.Div(w.Clip(w.Add(x, 3.0), 0.0, 6.0), 6.0)),
        "Paddle": lambda w, x: w.Mul(w.Mul(x, w.Clip(w.Add(x, 3.0), 0.0, 6.0)), 1 / 6),
        "Where": lambda w, x: w.Where(
            w.Less(x, -3.0), 0.0, w.Where(w.Greater(x, 3.0), x, w.Mul(w.Mul(x, w.Add(x, 3.0)), 1 / 6))
        ),
    },
    "sigmoid": {
        "Sigmoid": lambda w, x: w.Sigmoid(x),
        "quotient": lambda w, x: w.Div(1.0, w.Add(1.0, w.Exp(w.Neg(x)))),
        "Reciprocal": lambda w, x: w.Reciprocal(w.Add(w.Exp(w.Mul(x, -1.0)), 1.0)),
        "exponentials": lambda w, x: w.Div(e := w.Exp(x), w.Add(e, 1.0)),
        "tanh": lambda w, x: w.Mul(w.Add(w.Tanh(w.Mul(x, 0.5)), 1.0), 0.5),
        "two ends": lambda w, x: w.Where(
            w.GreaterOrEqual(x, 0.0),
            w.Div(1.0, w.Add(1.0, w.Exp(w.Neg(w.Abs(x))))),
            w.Div(e := w.Exp(w.Neg(w.Abs(x))), w.Add(1.0, e)),
        ),
    },
    "SiLU": {
        "Sigmoid": lambda w, x: w.Mul(x, w.Sigmoid(x)),
        "Sigmoid first": lambda w, x: w.Mul(w.Sigmoid(x), x),
        "quotient": lambda w, x: w.Div(x, w.Add(w.Exp(w.Neg(x)), 1.0)),
        "product with a quotient": lambda w, x: w.Mul(x, w.Div(1.0, w.Add(1.0, w.Exp(w.Neg(x))))),
        "tanh": lambda w, x: w.Mul(x, w.Mul(w.Add(w.Tanh(w.Mul(x, 0.5)), 1.0), 0.5)),
        "ONNX Runtime": lambda w, x: w.QuickGelu(x, alpha=1.0, domain=MS),
    },
    "quick GELU": {
        "Sigmoid": lambda w, x: w.Mul(x, w.Sigmoid(w.Mul(x, 1.702))),
        "Sigmoid, number first": lambda w, x: w.Mul(w.Sigmoid(w.Mul(1.702, x)), x),
        "ONNX Runtime": lambda w, x: w.QuickGelu(x, domain=MS),
    },
    "GELU": {
        "PyTorch, legacy": lambda w, x: w.Mul(w.Mul(x, _gelu(w, x, lambda w, x: w.Div(x, 1.4142135624))), 0.5),
        "PyTorch, dynamo": lambda w, x: w.Mul(w.Mul(x, 0.5), _gelu(w, x, lambda w, x: w.Mul(x, 0.7071067812))),
        "JAX": lambda w, x: w.Div(w.Mul(x, _gelu(w, x, lambda w, x: w.Div(x, 1.4142135624))), 2.0),
        "TensorFlow": lambda w, x: w.Mul(w.Mul(0.5, x), w.Add(1.0, w.Erf(w.Div(x, 1.4142135624)))),
        "half of the whole": lambda w, x: w.Mul(x, w.Mul(_gelu(w, x, lambda w, x: w.Mul(0.7071067812, x)), 0.5)),
        "ONNX Runtime": lambda w, x: w.Gelu(x, domain=MS),
        "ONNX Runtime, with a bias": lambda w, x: w.BiasGelu(x, np.zeros(7), domain=MS),
    },
    "GELU by tanh": {
        "Pow": lambda w, x: w.Mul(w.Mul(0.5, x), _tanh_gelu(w, x, w.Pow(x, 3.0))),
        "products": lambda w, x: w.Mul(x, w.Mul(_tanh_gelu(w, x, w.Mul(x, w.Mul(x, x))), 0.5)),
        "one more factor": lambda w, x: w.Mul(w.Mul(x, _tanh_gelu(w, x, w.Mul(w.Mul(x, x), x))), 0.5),
        "factored": lambda w, x: w.Mul(
            w.Mul(0.5, x),
            w.Add(1.0, w.Tanh(w.Mul(w.Mul(0.7978845608, x), w.Add(1.0, w.Mul(w.Mul(0.044715, x), x))))),
        ),
        "ONNX Runtime": lambda w, x: w.FastGelu(x, domain=MS),
    },
    "softplus": {
        "Softplus": lambda w, x: w.Softplus(x),
        "logarithm": lambda w, x: w.Log(w.Add(w.Exp(x), 1.0)),
        "JAX": lambda w, x: w.Add(w.Max(x, 0.0), w.Log(w.Add(w.Exp(w.Neg(w.Abs(x))), 1.0))),
        "linear above": lambda w, x: w.Where(w.Greater(x, 20.0), x, w.Log(w.Add(1.0, w.Exp(x)))),
    },
    "Mish": {
        "Mish": lambda w, x: w.Mish(x),
        "Tanh, Softplus": lambda w, x: w.Mul(x, w.Tanh(w.Softplus(x))),
        "all in parts": lambda w, x: w.Mul(x, w.Tanh(w.Log(w.Add(w.Exp(x), 1.0)))),
    },
    "ELU": {
        "Elu": lambda w, x: w.Elu(x, alpha=1.0),
        "Where": lambda w, x: w.Where(w.Greater(x, 0.0), x, w.Sub(w.Exp(x), 1.0)),
        "Where, safe": lambda w, x: w.Where(w.Greater(x, 0.0), x, w.Sub(w.Exp(w.Where(w.Greater(x, 0.0), 0.0, x)), 1.0)),
        "maximum and minimum": lambda w, x: w.Add(w.Relu(x), w.Min(w.Sub(w.Exp(x), 1.0), 0.0)),
        "halves": lambda w, x: w.Add(w.Max(x, 0.0), w.Sub(w.Exp(w.Min(x, 0.0)), 1.0)),
    },
    "symlog": {
        "Sign": lambda w, x: w.Mul(w.Sign(x), w.Log(w.Add(w.Abs(x), 1.0))),
        "Where": lambda w, x: w.Where(w.Greater(x, 0.0), w.Log(w.Add(w.Abs(x), 1.0)), w.Neg(w.Log(w.Add(1.0, w.Abs(x))))),
        "halves": lambda w, x: w.Sub(w.Log(w.Add(1.0, w.Relu(x))), w.Log(w.Add(1.0, w.Relu(w.Neg(x))))),
    },
    "hard shrink": {
        "Shrink": lambda w, x: w.Shrink(x, lambd=0.5),
        "Where": lambda w, x: w.Where(w.Greater(w.Abs(x), 0.5), x, 0.0),
        "Where, two sides": lambda w, x: w.Where(w.Or(w.Greater(x, 0.5), w.Less(x, -0.5)), x, 0.0),
        "Where, between": lambda w, x: w.Where(w.And(w.GreaterOrEqual(x, -0.5), w.LessOrEqual(x, 0.5)), 0.0, x),
        "a mask": lambda w, x: w.Mul(x, _mask(w, w.Greater(w.Abs(x), 0.5))),
    },
    "soft shrink": {
        "Shrink": lambda w, x: w.Shrink(x, lambd=0.5, bias=0.5),
        "Sign": lambda w, x: w.Mul(w.Sign(x), w.Relu(w.Sub(w.Abs(x), 0.5))),
        "two rectifiers": lambda w, x: w.Sub(w.Relu(w.Sub(x, 0.5)), w.Relu(w.Sub(w.Neg(x), 0.5))),
        "less what is clipped": lambda w, x: w.Sub(x, w.Clip(x, -0.5, 0.5)),
    },
    "thresholded ReLU": {
        "ThresholdedRelu": lambda w, x: w.ThresholdedRelu(x, alpha=0.5),
        "Keras": lambda w, x: w.Mul(x, _mask(w, w.Greater(x, 0.5))),
        "Where": lambda w, x: w.Where(w.Greater(x, 0.5), x, 0.0),
    },
    "softsign": {
        "Softsign": lambda w, x: w.Softsign(x),
        "quotient": lambda w, x: w.Div(x, w.Add(w.Abs(x), 1.0)),
    },
    "tanh": {
        "Tanh": lambda w, x: w.Tanh(x),
        "Sigmoid": lambda w, x: w.Sub(w.Mul(w.Sigmoid(w.Mul(x, 2.0)), 2.0), 1.0),
        "exponentials": lambda w, x: w.Div(
            w.Sub(a := w.Exp(x), c := w.Exp(w.Neg(x))), w.Add(a, c)
        ),
    },
    "square": {
        "Mul": lambda w, x: w.Mul(x, x),
        "Pow": lambda w, x: w.Pow(x, 2.0),
    },
    "size": {
        "Abs": lambda w, x: w.Abs(x),
        "Max": lambda w, x: w.Max(x, w.Neg(x)),
        "Where": lambda w, x: w.Where(w.Less(x, 0.0), w.Neg(x), x),
        "Sign": lambda w, x: w.Mul(x, w.Sign(x)),
    },
}
"""Functions of each element."""


# -- norms with stored statistics beside linear maps -----------------------------------------------------------------------


class Norm:
    """A norm over channels: y = (x − μ) / √(v + ε) · γ + β. Its numbers are of one seed for so many channels."""

    epsilon = 1e-5

    def __init__(self, channels: int, rank: int, axis: int) -> None:
        generator = np.random.default_rng(channels)
        self.gamma, self.variance = generator.uniform(0.4, 1.5, (2, channels))
        self.gamma[::3] *= -1
        self.beta, self.mean = generator.uniform(-0.6, 0.6, (2, channels))
        self.shape = [1] * (rank - axis - 1)
        self.deviation = np.sqrt(self.variance + self.epsilon)
        self.factor = self.gamma / self.deviation
        self.shift = self.beta - self.mean * self.factor

    def along(self, values: Array) -> Array:
        """One number per channel, shaped to broadcast."""
        return values.reshape(-1, *self.shape)

    def spellings(self, *, whole: bool = True) -> Spellings:
        """The norm as one operator, where that has the axis, and as several."""
        a, c, mu, gamma, beta = (self.along(v) for v in (self.factor, self.shift, self.mean, self.gamma, self.beta))
        sigma, variance = self.along(self.deviation), self.along(self.variance)
        operator = {
            "BatchNormalization": lambda w, x: w.BatchNormalization(
                x, self.gamma, self.beta, self.mean, self.variance, epsilon=self.epsilon
            )
        }
        return {
            **(operator if whole else {}),
            "Mul, Add": lambda w, x: w.Add(w.Mul(x, a), c),
            "Mul, Add, constants first": lambda w, x: w.Add(c, w.Mul(a, x)),
            "Sub, Mul, Add": lambda w, x: w.Add(w.Mul(w.Sub(x, mu), a), beta),
            "Sub, Div, Mul, Add": lambda w, x: w.Add(w.Mul(w.Div(w.Sub(x, mu), sigma), gamma), beta),
            "root written out": lambda w, x: w.Add(
                w.Mul(w.Div(w.Sub(x, mu), w.Sqrt(w.Add(variance, self.epsilon))), gamma), beta
            ),
            "TensorFlow": lambda w, x: w.Add(
                w.Mul(x, r := w.Mul(w.Reciprocal(w.Sqrt(w.Add(variance, self.epsilon))), gamma)), w.Sub(beta, w.Mul(mu, r))
            ),
            "a minus at either end": lambda w, x: w.Sub(w.Mul(w.Sub(mu, x), -a), -beta),
            "all axes": lambda w, x: w.Add(w.Mul(x, a[None]), c[None]),
        }


def _dense(w: Writer, x: str) -> str:
    return str(w.MatMul(x, random(6, 5, seed=1)))


MAPS: Mapping[str, tuple[tuple[int, ...], Callable[[Writer, str], str], int, int]] = {
    "MatMul": ((6,), _dense, 6, 5),
    "MatMul, Add": ((6,), lambda w, x: w.Add(_dense(w, x), random(5, seed=2)), 6, 5),
    "Gemm": ((6,), lambda w, x: w.Gemm(x, random(6, 5, seed=1), random(5, seed=2)), 6, 5),
    "Gemm, transposed": ((6,), lambda w, x: w.Gemm(x, random(5, 6, seed=1), transB=1), 6, 5),
    "tokens": ((4, 6), lambda w, x: w.Add(_dense(w, x), random(5, seed=2)), 6, 5),
    "Conv": ((4, 5, 5), lambda w, x: w.Conv(x, random(6, 4, 3, 3, seed=1), random(6, seed=2)), 4, 6),
    "Conv, Add": ((4, 5, 5), lambda w, x: w.Add(w.Conv(x, random(6, 4, 3, 3, seed=1)), random(6, 1, 1, seed=2)), 4, 6),
    "Conv, padded": ((4, 5, 5), lambda w, x: w.Conv(x, random(6, 4, 3, 3, seed=1), random(6, seed=2), pads=[1] * 4), 4, 6),
    "Conv, strided": ((4, 5, 5), lambda w, x: w.Conv(x, random(6, 4, 3, 3, seed=1), strides=[2, 2], pads=[1] * 4), 4, 6),
    "Conv over time": ((4, 8), lambda w, x: w.Conv(x, random(6, 4, 3, seed=1), dilations=[2]), 4, 6),
    "Conv, groups": ((4, 5, 5), lambda w, x: w.Conv(x, random(6, 2, 3, 3, seed=1), random(6, seed=2), group=2), 4, 6),
    "Conv, groups, padded": ((4, 5, 5), lambda w, x: w.Conv(x, random(6, 2, 3, 3, seed=1), group=2, pads=[1] * 4), 4, 6),
    "Conv, depthwise": ((4, 5, 5), lambda w, x: w.Conv(x, random(4, 1, 3, 3, seed=1), random(4, seed=2), group=4), 4, 4),
    "ConvTranspose": ((4, 5, 5), lambda w, x: w.ConvTranspose(x, random(4, 6, 3, 3, seed=1), random(6, seed=2)), 4, 6),
    "ConvTranspose, strided": (
        (4, 5, 5),
        lambda w, x: w.ConvTranspose(x, random(4, 6, 3, 3, seed=1), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1]),
        4, 6,
    ),
    "ConvTranspose, groups": (
        (4, 5, 5), lambda w, x: w.ConvTranspose(x, random(4, 3, 3, 3, seed=1), random(6, seed=2), group=2, strides=[2, 2]), 4, 6,
    ),
    "ConvTranspose, one tap, groups": (
        (4, 5, 5), lambda w, x: w.ConvTranspose(x, random(4, 3, 1, 1, seed=1), random(6, seed=2), group=2), 4, 6,
    ),
}  # fmt: skip
"""Linear maps: the extents of a sample, the map, its incoming and outgoing channels."""


def normed(name: str, *, behind: bool) -> Spellings:
    """A map with a norm behind or before it, and a ReLU on the other side, in every spelling of the norm."""
    extents, write, incoming, outgoing = MAPS[name]
    dense = "Conv" not in name
    rank, axis = len(extents) + 1, len(extents) if dense else 1
    norm = Norm(outgoing if behind else incoming, rank, axis)
    found = norm.spellings(whole=axis == 1)

    def whole(spelt: Callable[[Writer, str], str]) -> Callable[[Writer, str], str]:
        if behind:
            return lambda w, x: w.Relu(spelt(w, write(w, x)))
        return lambda w, x: w.Relu(write(w, spelt(w, w.Relu(x))))

    return {how: whole(spelt) for how, spelt in found.items()}


# -- softmax ---------------------------------------------------------------------------------------------------------------

TOKENS = (3, 7)
"""Extents of a sample for what works along the last axis."""


def _less_maximum(w: Writer, x: str) -> str:
    return str(w.Sub(x, w.ReduceMax(x, LAST)))


def _over_sum(w: Writer, e: str) -> str:
    return str(w.Div(e, w.ReduceSum(e, LAST)))


def _stretched(w: Writer, reduced: str, like: str) -> str:
    """As jax2tf writes a broadcast along the last axis."""
    return str(w.Expand(w.Reshape(reduced, np.array([-1, TOKENS[0], 1])), w.Shape(like)))


def _jax_maximum(w: Writer, x: str, guard: bool = True) -> str:
    reduced = w.ReduceMax(x, LAST, keepdims=0)
    return _stretched(w, w.Max(-np.inf, reduced) if guard else reduced, x)


def _jax_softmax(w: Writer, x: str, guard: bool = True) -> str:
    e = w.Exp(w.Sub(x, _jax_maximum(w, x, guard)))
    return str(w.Div(e, _stretched(w, w.ReduceSum(e, LAST, keepdims=0), x)))


def _unsqueezed_softmax(w: Writer, x: str) -> str:
    e = w.Exp(w.Sub(x, w.Unsqueeze(w.ReduceMax(x, LAST, keepdims=0), LAST)))
    return str(w.Div(e, w.Unsqueeze(w.ReduceSum(e, LAST, keepdims=0), LAST)))


def _jax_log_softmax(w: Writer, x: str) -> str:
    shifted = w.Sub(x, _jax_maximum(w, x))
    return str(w.Sub(shifted, _stretched(w, w.Log(w.ReduceSum(w.Exp(shifted), LAST, keepdims=0)), x)))


LAST = np.array([-1])

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


# -- norms with statistics of the sample -----------------------------------------------------------------------------------

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
    mean = _stretched(w, w.Div(w.ReduceSum(x, LAST, keepdims=0), 7.0), x)
    centred = w.Sub(x, mean)
    variance = _stretched(w, w.Div(w.ReduceSum(w.Mul(centred, centred), LAST, keepdims=0), 7.0), x)
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
        "ONNX Runtime": lambda w, x: w.LayerNormalization(x, SCALE, SHIFT, epsilon=1e-5, domain=MS),
        "in double precision": lambda w, x: w.Cast(
            w.LayerNormalization(w.Cast(x, to=11), SCALE.astype("f8"), SHIFT, epsilon=1e-5), to=1
        )
        if False
        else _layer_norm_pytorch(w, x),
    },
    "RMS norm": {
        "quotient": lambda w, x: w.Mul(w.Div(x, _rms(w, x)), SCALE),
        "PyTorch, legacy": lambda w, x: w.Mul(SCALE, w.Mul(x, w.Div(1.0, _rms(w, x)))),
        "PyTorch, dynamo": lambda w, x: w.Mul(w.Mul(x, w.Reciprocal(_rms(w, x))), SCALE),
        "power": lambda w, x: w.Mul(w.Mul(x, w.Pow(w.Add(w.ReduceMean(w.Mul(x, x), LAST), 1e-5), -0.5)), SCALE),
        "ONNX Runtime": lambda w, x: w.SimplifiedLayerNormalization(x, SCALE, epsilon=1e-5, domain=MS),
    },
    "L2 norm": {
        "LpNormalization": lambda w, x: w.LpNormalization(x, axis=-1),
        "PyTorch": lambda w, x: w.Div(x, w.Expand(w.Clip(w.ReduceL2(x, LAST), 1e-12), w.Shape(x))),
        "TensorFlow": lambda w, x: w.Mul(x, w.Reciprocal(w.Sqrt(w.Max(w.ReduceSum(w.Mul(x, x), LAST), 1e-12)))),
        "root of a sum": lambda w, x: w.Div(x, w.Sqrt(w.ReduceSum(w.Pow(x, 2.0), LAST))),
    },
}
"""Norms along the last axis."""
