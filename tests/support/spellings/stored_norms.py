"""Norms with stored statistics beside linear maps, in every spelling."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tests.support.linear_cases import Array, random
from tests.support.spellings.kinds import Spelling, Spellings
from tests.support.writer import Writer


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


MAPS: Mapping[str, tuple[tuple[int, ...], Spelling, int, int]] = {
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

    def whole(spelt: Spelling) -> Spelling:
        if behind:
            return lambda w, x: w.Relu(spelt(w, write(w, x)))
        return lambda w, x: w.Relu(write(w, spelt(w, w.Relu(x))))

    return {how: whole(spelt) for how, spelt in found.items()}
