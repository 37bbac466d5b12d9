"""How alike two attributions of a sample are, row by row: float64 [n], NaN where a constant leaves it undefined."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import MetricError, nearest
from onnxplain.evaluation.metrics.correlation import correlation, ranked
from onnxplain.runtime.scorer import Array

__all__ = ["SIMILARITIES", "cosine_similarity", "pearson", "similarity", "spearman"]


def cosine_similarity(a: Array, b: Array) -> Array:
    """⟨a, b⟩ / (‖a‖ ‖b‖) of rows [n, elements]."""
    size = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.divide((a * b).sum(axis=1), size, out=np.full(len(a), np.nan), where=size > 0))


def pearson(a: Array, b: Array) -> Array:
    """The linear correlation of rows [n, elements]."""
    constant = (np.ptp(a, axis=1) == 0) | (np.ptp(b, axis=1) == 0)
    return np.where(constant, np.nan, correlation(a, b))


def spearman(a: Array, b: Array) -> Array:
    """The rank correlation of rows [n, elements]."""
    return pearson(ranked(a), ranked(b))


def ssim(a: Array, b: Array) -> Array:
    """The structural similarity (Wang et al. 2004) of maps [n, height, width], the range being that of both together.

    Raises:
        MissingDependencyError: scikit-image is not installed.
    """
    with optional("blackbox", "structural similarities"):
        from skimage.metrics import structural_similarity
    window = min(7, *a.shape[1:])
    window -= 1 - window % 2
    made = np.full(len(a), np.nan)
    for i, (one, other) in enumerate(zip(a, b, strict=True)):
        span = max(one.max(), other.max()) - min(one.min(), other.min())
        if span > 0:
            made[i] = structural_similarity(one, other, win_size=window, data_range=span)  # type: ignore[no-untyped-call]
    return made


SIMILARITIES: dict[str, Callable[[Array, Array], Array]] = {
    "spearman": spearman, "pearson": pearson, "cosine": cosine_similarity, "ssim": ssim,
}  # fmt: skip


def similarity(name: str, a: Array, b: Array) -> Array:
    """A similarity by its name, of attributions [n, *places].

    Raises:
        MetricError: no such similarity, or ssim of what is no picture.
    """
    if name not in SIMILARITIES:
        raise MetricError(f"no similarity '{name}'; {nearest(name, SIMILARITIES)}")
    if name != "ssim":
        return SIMILARITIES[name](a.reshape(len(a), -1), b.reshape(len(b), -1))
    if a.ndim != 3 or min(a.shape[1:]) < 3:
        raise MetricError(f"'ssim' compares pictures of at least 3×3 places, not attributions of shape {list(a.shape[1:])}")
    return ssim(a, b)
