"""Linear models fitted to scores: weighted least squares with a ridge, for many samples and targets at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxplain.runtime.scorer import Array

__all__ = ["Fit", "determination", "fit_line", "solve"]


@dataclass(frozen=True)
class Fit:
    """Coefficients [features, …], intercepts […] and the weighted R² […] of fits to several columns of scores."""

    slope: Array
    intercept: Array
    r2: Array


def fit_line(z: Array, y: Array, weight: Array, ridge: float = 0.0) -> Fit:
    """Minimise Σ weight · (y − b − z·w)² + ridge · |w|²; the intercept b is not shrunk.

    Args:
        z: features [k, features].
        y: scores [k, columns].
        weight: [k].
        ridge: at least 0.
    """
    total = weight.sum()
    mean_z, mean_y = weight @ z / total, weight @ y / total
    centred, root = z - mean_z, np.sqrt(weight)[:, None]
    slope = solve(root * centred, root * (y - mean_y), ridge)
    intercept = mean_y - mean_z @ slope
    return Fit(slope, intercept, determination(y, z @ slope + intercept, weight))


def solve(a: Array, b: Array, ridge: float = 0.0) -> Array:
    """The least squares solution of a·w = b, [features, columns]; the smallest one where there are several."""
    normal = a.T @ a + ridge * np.eye(a.shape[1])
    return np.asarray(np.linalg.lstsq(normal, a.T @ b, rcond=None)[0])


def determination(y: Array, fitted: Array, weight: Array) -> Array:
    """The weighted R² of each column: 1 less the share of the variance that is left; 1 where there is none to explain."""
    left = weight @ (y - fitted) ** 2
    mean = weight @ y / weight.sum()
    spread = weight @ (y - mean) ** 2
    still = spread <= 1e-24 * weight.sum() * np.maximum(mean**2, 1e-300)
    return np.where(still, 1.0, 1 - left / np.where(still, 1, spread))
