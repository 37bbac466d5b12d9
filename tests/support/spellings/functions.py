"""Functions of each element in every spelling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.support.linear_cases import random
from tests.support.spellings.kinds import MS, Spellings
from tests.support.writer import Writer


def _mask(w: Writer, condition: str) -> str:
    return str(w.Cast(condition, to=1))


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
        "Keras": lambda w, x: w.Add(w.Relu(x), w.Mul(-SLOPE, w.Relu(w.Neg(x)))),
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
        "Where": lambda w, x: w.Where(w.Less(x, -3.0), 0.0, w.Where(w.Greater(x, 3.0), x, w.Mul(w.Mul(x, w.Add(x, 3.0)), 1 / 6))),
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
        "exponentials": lambda w, x: w.Div(w.Sub(a := w.Exp(x), c := w.Exp(w.Neg(x))), w.Add(a, c)),
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
