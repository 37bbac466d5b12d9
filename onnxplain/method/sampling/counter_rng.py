"""Random numbers that a graph makes from counters in integer arithmetic: the same in every host, run, and batch.

ONNX's own RandomNormalLike is no help: with a seed ONNX Runtime gives other numbers at the second run of a session, and other
runtimes give their own. Here number e of draw k is a mixture of (seed, k, e) by additions and cubes modulo a prime below 2^31,
for which cubing is one to one; products stay below 2^62. Normal numbers follow by Box and Muller (1958). Where they are few, the
file holds the numbers themselves.
"""

from __future__ import annotations

from math import pi, prod
from typing import Any

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import READABLE_ELEMENTS
from onnxplain.ir.tensor import Tensor

__all__ = ["normal_like", "normal_table", "uniform_table"]

PRIME = 2147483579
"""The largest prime below 2^31 that is 2 modulo 3."""

HALF = 2**30
"""Both summands of the last round stay below it, so that their square fits into 63 bits."""

ROUNDS = (0x3C6EF372, 0x1F83D9AB, 0x2B0E61F3, 0x510E527F, 0x5BE0CD19, 0x428A2F98)
"""Any numbers that differ: what keeps each round's cube from being the last one's inverse."""

Numbers = Any
"""Arrays, or tensors of a graph: both know the arithmetic."""


def normal_like(b: Builder, numbers: Tensor, like: Tensor, axis: int | None, seed: int, stream: int, draws: int) -> Tensor:
    """Standard normal float32 numbers for each draw: [c, …] with the extents of `like`, but 1 along its sample axis.

    What a sample gets depends on neither its place in the batch nor the other samples.

    Args:
        b: emits into the graph.
        numbers: the draws' numbers, int64 [c].
        like: the tensor to which noise is added.
        axis: its sample axis, None where it has none.
        seed, stream: choose the numbers; streams of one seed are unrelated.
        draws: how many draws there are in all.
    """
    extents: list[Any] = [1 if i == axis else d for i, d in enumerate(like.shape or ())]
    shape = [[1] if i == axis else b.dim(like, i) for i in range(like.rank)]
    static = all(isinstance(d, int) for d in extents)
    if static and draws * prod(extents) <= READABLE_ELEMENTS:
        table = normal_table(draws, prod(extents), seed, stream).reshape(draws, *extents)
        return b.Gather(b.const(table), numbers)
    count: Any = b.const([prod(extents)]) if static else b.ReduceProd(b.Concat([1], *shape, axis=0), keepdims=1)
    of_element, of_draw = _key(seed, 2 * stream), _key(seed, 2 * stream + 1)
    if static and prod(extents) <= READABLE_ELEMENTS:
        mixed = b.const(_mixed(_Arrays(), np.arange(_even(prod(extents))), of_element) % HALF)
    else:
        pairs = b.Div(b.Add(b.Max(count, 1), 1), 2)  # one, where there are no elements: a split needs two parts
        elements = b.Range(0, b.Squeeze(b.Mul(pairs, 2)), 1)
        mixed = b.Mod(_mixed(_Graph(b), elements, of_element), HALF)
    if draws <= READABLE_ELEMENTS:
        drawn = b.Gather(b.const(_mixed(_Arrays(), np.arange(draws), of_draw) % HALF), numbers)
    else:
        drawn = b.Mod(_mixed(_Graph(b), numbers, of_draw), HALF)
    cubes = _cube(_Graph(b), b.Add(mixed, b.Unsqueeze(drawn, [1])))
    uniform = b.Mul(b.Add(b.Cast(cubes, to=1), 0.5), 1 / PRIME)
    first, second = b.Split(uniform, axis=1, num_outputs=2, outputs=2)
    radius = b.Sqrt(b.Mul(b.Log(b.Min(first, 1.0)), -2.0))
    angle = b.Mul(second, 2 * pi)
    pairs = b.Concat(b.Mul(radius, b.Cos(angle)), b.Mul(radius, b.Sin(angle)), axis=1)
    cut = b.Slice(pairs, [0], count, [1])
    if static and 0 not in extents:
        made = b.Reshape(cut, [-1, *extents])
    else:
        made = b.Reshape(cut, b.Concat(b.Shape(numbers), *shape, axis=0), allowzero=1)
    return b.shaped(made, (*(numbers.shape or (None,)), *extents))  # the row was cut to `count` elements, known at run time only


def normal_table(draws: int, count: int, seed: int, stream: int) -> np.ndarray[Any, Any]:
    """The numbers of `normal_like`, made when rewriting: float32 [draws, count]."""
    mixed, drawn = (
        _mixed(_Arrays(), np.arange(n), _key(seed, 2 * stream + i)) % HALF for i, n in enumerate((_even(count), draws))
    )
    uniform = (_cube(_Arrays(), mixed + drawn[:, None]).astype(np.float32) + np.float32(0.5)) * np.float32(1 / PRIME)
    first, second = np.split(uniform, 2, axis=1)
    radius, angle = np.sqrt(np.log(np.minimum(first, 1)) * np.float32(-2)), second * np.float32(2 * pi)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)[:, :count]


def _even(count: int) -> int:
    """Numbers come in pairs."""
    return count + count % 2


def uniform_table(count: int, seed: int, stream: int) -> np.ndarray[Any, Any]:
    """Uniform float64 numbers in (0, 1), made when rewriting: [count]."""
    mixed = _mixed(_Arrays(), np.arange(count, dtype=np.int64), _key(seed, stream))
    return np.asarray((mixed + 0.5) / PRIME)


def _key(seed: int, stream: int) -> int:
    """One number for a seed and a stream, mixed when rewriting."""
    return int(_mixed(_Arrays(), np.int64(_mixed(_Arrays(), np.int64(seed % PRIME), 1)) + stream, 2))


def _mixed(on: Any, x: Numbers, key: int) -> Numbers:
    """Counters to numbers below PRIME in which no trace of their order is left."""
    for constant in ROUNDS:
        x = _cube(on, on.mod(on.add(x, (key + constant) % PRIME)))
    return x


def _cube(on: Any, x: Numbers) -> Numbers:
    return on.mod(on.mul(on.mod(on.mul(x, x)), x))


class _Arrays:
    """The arithmetic on NumPy integers."""

    add = staticmethod(lambda x, y: x + y)
    mul = staticmethod(lambda x, y: x * y)
    mod = staticmethod(lambda x: x % PRIME)


class _Graph:
    """The arithmetic on tensors of a graph."""

    def __init__(self, b: Builder) -> None:
        self.add, self.mul = b.Add, b.Mul
        self.mod = lambda x: b.Mod(x, PRIME)
