"""Adam (Kingma, Ba 2015): steps down a slope, each number at a pace of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from onnxplain.runtime.scorer import Array

__all__ = ["Adam"]


class Adam:
    """Moves arrays in place, with the averaging (0.9, 0.999) of the paper."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = parts
        self.first = [np.zeros_like(p) for p in parts]
        self.second = [np.zeros_like(p) for p in parts]
        self.steps = 0

    def step(self, slopes: Sequence[Array], rate: float) -> None:
        """One step against the slopes, `rate` long where they are steady."""
        self.steps += 1
        for part, slope, m, v in zip(self.parts, slopes, self.first, self.second, strict=True):
            m += 0.1 * (slope - m)
            v += 0.001 * (slope**2 - v)
            part -= rate * (m / (1 - 0.9**self.steps)) / (np.sqrt(v / (1 - 0.999**self.steps)) + 1e-8)
