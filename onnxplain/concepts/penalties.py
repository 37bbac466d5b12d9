"""What keeps a prototype simple: the squared norm and the total variation, with their gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from onnxplain.errors import MethodError, nearest

__all__ = ["PENALTIES", "penalties"]

Array = np.ndarray[Any, Any]
Penalty = Callable[[Array], tuple[float, Array]]

SMOOTHING = 1e-3
"""Rounds the kink of the total variation where neighbours are equal, in units of the input."""


def l2(x: Array) -> tuple[float, Array]:
    """‖x‖² and its gradient (Montavon, Samek, Müller 2017, eq. 1)."""
    return float((x**2).sum()), 2 * x


def tv(x: Array) -> tuple[float, Array]:
    """Total variation Σ √(δ₁² + δ₂² + ε²) over the differences to the next element along the last two axes (the last one, of
    series), and its gradient (Mahendran, Vedaldi 2015, with exponent 1 and isotropic)."""
    axes = (-2, -1) if x.ndim > 2 else (-1,)
    steps = [np.diff(x, axis=a, append=np.take(x, [-1], a)) for a in axes]
    size = np.sqrt(sum(s**2 for s in steps) + SMOOTHING**2)
    slope = np.zeros_like(x)
    for step, axis in zip(steps, axes, strict=True):
        pull = step / size  # zero at the last element, where the step is zero
        slope += np.roll(pull, 1, axis) - pull
    return float((size - SMOOTHING).sum()), slope


PENALTIES: dict[str, tuple[Penalty, float]] = {"l2": (l2, 0.01), "tv": (tv, 0.02)}
"""The penalties with the strengths they have where none is given."""


def penalties(given: str | Mapping[str, float | None] | None) -> list[tuple[Penalty, float]]:
    """Penalties with their strengths.

    Raises:
        MethodError: no such penalty, or a strength below zero.
    """
    names: dict[str, float | None] = {given: None} if isinstance(given, str) else dict(given or {})
    for name, strength in names.items():
        if name not in PENALTIES:
            raise MethodError(f"no penalty '{name}'; {nearest(name, PENALTIES)}")
        if strength is not None and not (np.isfinite(strength) and strength >= 0):
            raise MethodError(f"the strength of '{name}' is a number not below zero, found {strength}")
    return [(PENALTIES[n][0], PENALTIES[n][1] if s is None else float(s)) for n, s in names.items()]
