"""Features: which elements of the explained input are removed together, and in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.runtime.scorer import Array

__all__ = ["Features", "feature_problems", "features_of", "steps_of"]

WORDS = ("auto", "elements", "pixels")


@dataclass(frozen=True)
class Features:
    """What is removed together.

    `numbers` holds the feature of each element of a sample, `count` how many there are, `values` the attribution of each feature
    (the sum over its elements), float64 [n, count].
    """

    numbers: Array
    count: int
    values: Array

    def spread(self, chosen: Array) -> Array:
        """What is said of features, [n, count], at the elements: [n, …]."""
        return chosen[:, self.numbers]

    def ranks(self, *, absolute: bool = False, least_first: bool = False) -> Array:
        """The place of each feature in the order of removal, int64 [n, count]: 0 is removed first, ties by position."""
        keys = np.abs(self.values) if absolute else self.values
        order = np.argsort(keys if least_first else -keys, axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.broadcast_to(np.arange(self.count), order.shape), axis=1)
        return ranks


def features_of(batch: MetricBatch, features: str = "auto", patch: int | Sequence[int] | None = None) -> Features:
    """The features of a batch.

    Args:
        batch: the batch.
        features: "elements" each its own, "pixels" all channels of a place together, "auto" pixels of images and else elements.
        patch: boxes with so many places to a side instead, one number or one per axis of space; channels together.
    """
    numbers = _numbers(batch.x.shape, batch.space, features, patch)
    count = int(numbers.max()) + 1
    flat = numbers.ravel()
    values = np.zeros((len(batch), count))
    for row, attribution in zip(values, batch.attribution.reshape(len(batch), -1), strict=True):
        row += np.bincount(flat, weights=attribution, minlength=count)
    return Features(numbers, count, values)


def feature_problems(context: MetricContext, features: Any, patch: Any) -> Iterator[str]:
    """What is wrong with these options."""
    if features not in WORDS:
        yield f"features='{features}' is unknown; give {', '.join(WORDS)}"
    if patch is None:
        return
    space = context.data.space
    extents = [context.shape[a - 1] for a in space]
    sides = [patch] * len(space) if isinstance(patch, int) else list(patch) if isinstance(patch, list | tuple) else []
    if len(sides) != len(space) or not all(isinstance(s, int) and s >= 1 for s in sides):
        yield f"patch is a whole number from 1 on, or one per axis of space ({len(space)}), found {patch!r}"
    elif any(s > e for s, e in zip(sides, extents, strict=True)):
        yield f"patch {patch} is larger than the input, which has {' × '.join(map(str, extents))} places"


def steps_of(count: int, steps: int | None, usual: int) -> Array:
    """How many features are gone at each point of a curve: int64 [points], from 0 to all."""
    points = min(count, steps or usual)
    return np.unique(np.round(np.linspace(0, count, points + 1)).astype(np.int64))


def _numbers(shape: Sequence[int], space: Sequence[int], features: str, patch: int | Sequence[int] | None) -> Array:
    """The feature of each element of a sample."""
    if patch is None and (features == "elements" or (features == "auto" and not (len(shape) == 4 and len(space) == 2))):
        return np.arange(int(np.prod(shape[1:]))).reshape(shape[1:])
    sides = [1] * len(space) if patch is None else [patch] * len(space) if isinstance(patch, int) else list(patch)
    numbers = np.zeros((), np.int64)
    for axis, side in zip(space, sides, strict=True):
        pieces = -(-shape[axis] // side)
        numbers = numbers[..., None] * pieces + np.arange(shape[axis]) // side
    return np.array(np.broadcast_to(numbers.reshape([shape[a] if a in space else 1 for a in range(1, len(shape))]), shape[1:]))
