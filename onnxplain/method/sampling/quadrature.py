"""Quadrature on [0, 1]: where to evaluate, and with what weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.errors import MethodError, nearest

__all__ = ["QUADRATURES", "nodes_and_weights"]

QUADRATURES = ("gauss-legendre", "riemann-left", "riemann-right", "riemann-middle", "riemann-trapezoid")


def nodes_and_weights(quadrature: str, steps: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Positions in [0, 1] and weights that sum to 1, float64 [steps] each.

    Gauss-Legendre is exact for polynomials up to degree 2·steps − 1, the middle and trapezoid rules for lines.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise MethodError(f"steps must be at least 1, got {steps!r}")
    if quadrature == "gauss-legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    if quadrature == "riemann-trapezoid":
        if steps < 2:
            raise MethodError("the trapezoid rule needs at least 2 steps")
        weights = np.full(steps, 1 / (steps - 1))
        weights[[0, -1]] /= 2
        return np.linspace(0, 1, steps), weights
    first = {"riemann-left": 0.0, "riemann-middle": 0.5, "riemann-right": 1.0}
    if quadrature not in first:
        raise MethodError(f"no quadrature '{quadrature}'; {nearest(quadrature, QUADRATURES)}")
    return (np.arange(steps) + first[quadrature]) / steps, np.full(steps, 1 / steps)
