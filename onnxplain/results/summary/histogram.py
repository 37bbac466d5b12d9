"""A histogram of bounded size over numbers of any magnitude, from which quantiles have a known relative error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LogHistogram"]

Array = np.ndarray[Any, Any]

GROWTH = 1.1
"""Each bucket ends at this multiple of where it begins, so a quantile is off by 5 % of itself at most."""

SMALLEST, LARGEST = 1e-12, 1e12
"""Sizes outside are counted in the first and last bucket."""

SIDE = int(np.ceil(np.log(LARGEST / SMALLEST) / np.log(GROWTH)))
"""Buckets on either side of zero."""


@dataclass(frozen=True)
class LogHistogram:
    """Counts of numbers by sign and magnitude, a row per feature: the negative ones, zero, the positive.

    Two histograms add up to that of all their numbers. After Masson, Rim, Lee 2019, DDSketch: A Fast and Fully-Mergeable Quantile
    Sketch with Relative-Error Guarantees, section 2.

    Attributes:
        counts: int64 [features, buckets].
    """

    counts: Array

    @classmethod
    def of(cls, values: Array) -> LogHistogram:
        """Of numbers [n, features]; those that are not finite are left out."""
        features = values.shape[1]
        finite = np.isfinite(values)
        sizes = np.clip(np.abs(np.where(finite, values, 0)), SMALLEST, LARGEST)
        step = np.minimum((np.log(sizes / SMALLEST) / np.log(GROWTH)).astype(np.int64), SIDE - 1)
        place = np.where(values > 0, SIDE + 1 + step, np.where(values < 0, SIDE - 1 - step, SIDE))
        flat = place + np.arange(features) * (2 * SIDE + 1)
        counts = np.bincount(flat[finite], minlength=features * (2 * SIDE + 1))
        return cls(counts.reshape(features, -1).astype(np.int64))

    def __add__(self, other: LogHistogram) -> LogHistogram:
        return LogHistogram(self.counts + other.counts)

    def quantile(self, q: float) -> Array:
        """A quantile of every feature, float64 [features]; NaN of none."""
        total = self.counts.sum(axis=1, keepdims=True)
        reached = self.counts.cumsum(axis=1) > q * (total - 1)
        values = MIDDLES[reached.argmax(axis=1)]
        return np.asarray(np.where(total[:, 0] > 0, values, np.nan))


def _middles() -> Array:
    """A value for every bucket, as far from either end in relation."""
    begins = SMALLEST * GROWTH ** np.arange(SIDE)
    values = 2 * begins * GROWTH / (1 + GROWTH)
    return np.concatenate([-values[::-1], [0.0], values])


MIDDLES = _middles()
