"""What is read off the scores of perturbed inputs: the explained element, a weighted sum of elements, or all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from onnxplain.analysis.target import Axis, Target
from onnxplain.errors import TargetError
from onnxplain.runtime.scorer import Array

__all__ = ["Picked", "Reader", "picked"]

Reader: TypeAlias = "Callable[[Array, slice], Array]"
"""From scores [k, samples, m, elements] and the samples they are of, to the explained numbers [k, samples, m, targets]."""


@dataclass(frozen=True)
class Picked:
    """For each sample and target the elements of the score that count, with their weights: both [n, targets, terms]."""

    index: Array
    weight: Array | None = None

    @property
    def targets(self) -> int:
        """How many numbers are read per sample."""
        return int(self.index.shape[1])

    def __call__(self, scores: Array, samples: slice) -> Array:
        taken = np.take_along_axis(scores[:, :, :, None, :], self.index[None, samples, None], axis=-1)
        if self.weight is None:
            return np.asarray(taken[..., 0])
        return np.asarray((taken * self.weight[None, samples, None]).sum(axis=-1))


def picked(target: Target, scores: Array, ranked: Array, chosen: Array | None = None, cotangent: Array | None = None) -> Picked:
    """What a target picks from scores [n, …].

    Args:
        target: of any kind.
        scores, ranked: what is explained and the prediction whose greatest element is the top one, [n, …] both.
        chosen: an index per sample for the kind "input", negative for the top one.
        cotangent: weights in the shape of the scores for the kind "seed".

    Raises:
        TargetError: the target does not fit the scores.
    """
    count, shape = len(scores), scores.shape[1:]
    size = int(np.prod(shape))
    if target.kind == "all":
        return Picked(np.broadcast_to(np.arange(size)[None, :, None], (count, size, 1)))
    if target.kind == "seed":
        given = () if cotangent is None else np.shape(cotangent)
        if cotangent is None or given != scores.shape:
            raise TargetError(
                f"the cotangent must have the shape of the explained output, {list(scores.shape)}; got {list(given)}"
            )
        weights = np.asarray(cotangent, np.float64).reshape(count, 1, size)
        return Picked(np.broadcast_to(np.arange(size), weights.shape), weights)
    if target.kind == "input":
        assert chosen is not None
        if (chosen >= size).any():
            raise TargetError(f"target {int(chosen.max())} is out of range: the output has {size} elements per sample")
        return Picked(np.where(chosen < 0, ranked.reshape(count, -1).argmax(axis=1), chosen)[:, None, None])
    if target.kind == "element":
        index = _elements(target.axes, ranked)
        return Picked(index[:, None], None if index.shape[1] == 1 else np.ones((1, 1, 1)).repeat(count, axis=0))
    parts = [(weight, _elements(axes, ranked)) for weight, axes in target.terms]
    terms = np.concatenate([index for _, index in parts], axis=1)
    weights = np.concatenate([np.full(index.shape, weight) for weight, index in parts], axis=1)
    return Picked(terms[:, None], weights[:, None])


def _elements(axes: tuple[Axis, ...], ranked: Array) -> Array:
    """The flat numbers of the elements that a choice per axis picks, [n, elements]."""
    count, shape = len(ranked), ranked.shape[1:]
    if axes == ("top",):
        axes = ("top",) * len(shape)
    if axes == (0,) and not shape:
        axes = ()
    if len(axes) != len(shape):
        given = ",".join(map(str, axes))
        raise TargetError(
            f"target {given} has {len(axes)} axes, but the output {['n', *shape]} has {len(shape)} beside the samples; "
            "give one choice per axis"
        )
    for axis, (choice, extent) in enumerate(zip(axes, shape, strict=True)):
        if isinstance(choice, int) and not -extent <= choice < extent:
            raise TargetError(f"target {choice} is out of range: the output has {extent} along axis {axis + 1}")
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    places = tuple(slice(None) if not isinstance(c, int) else slice(c % e, c % e + 1) for c, e in zip(axes, shape, strict=True))
    every = (slice(None), *places)
    numbers, scores = numbers[places], ranked[every]
    summed = tuple(i for i, c in enumerate(axes) if c == ":")
    tops = tuple(i for i, c in enumerate(axes) if c == "top")
    if not tops:
        return np.broadcast_to(numbers.ravel(), (count, numbers.size))
    order = (*tops, *(i for i in range(len(shape)) if i not in tops))
    across = np.transpose(numbers, order).reshape(int(np.prod([numbers.shape[i] for i in tops])), -1)
    totals = np.asarray(scores, np.float64).sum(axis=tuple(i + 1 for i in summed), keepdims=True)
    best = np.transpose(totals, (0, *(i + 1 for i in order))).reshape(count, len(across), -1)[:, :, 0].argmax(axis=1)
    return np.asarray(across[best])
