"""A histogram of bounded size over numbers of any magnitude, from which quantiles have a known relative error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LogHistogram"]

Array = np.ndarray[Any, Any]

STEPS = 16
"""Buckets between a power of two and the next, of equal width; so a quantile is off by 1/33 of itself at most."""

LOWEST, HIGHEST = -40, 40
"""Powers of two; sizes outside are counted in the first and last bucket."""

SIDE = (HIGHEST - LOWEST) * STEPS
"""Buckets on either side of zero."""

SHIFT = 19
"""A float32 without its lowest 19 bits is its sign, its exponent and 4 bits of its mantissa, which number the buckets."""

FIRST = (127 + LOWEST) * STEPS
"""The bits of the lowest power of two, without these."""


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
        narrow = np.where(finite, values, 0).astype(np.float32)
        step = np.clip((np.abs(narrow).view(np.int32) >> SHIFT) - FIRST, 0, SIDE - 1)
        place = SIDE + np.sign(narrow).astype(np.int64) * (step + 1)
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
    """The middle of every bucket."""
    powers = np.repeat(2.0 ** np.arange(LOWEST, HIGHEST), STEPS)
    values = powers * (1 + (np.tile(np.arange(STEPS), HIGHEST - LOWEST) + 0.5) / STEPS)
    return np.concatenate([-values[::-1], [0.0], values])


MIDDLES = _middles()
