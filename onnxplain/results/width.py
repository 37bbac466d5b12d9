"""One number for a token, of the many that its embedding has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["one_per_token", "over_width", "summed_over"]

Array = np.ndarray[Any, Any]


def summed_over(attribution: Array, axis: int) -> Array:
    """The sum over an axis. Sums that cancel up to rounding become zero, so that no figure shows rounding errors."""
    if attribution.shape[axis] == 1:
        return np.asarray(attribution.squeeze(axis), dtype=np.float64)
    total = attribution.sum(axis=axis, dtype=np.float64)
    sizes = np.abs(attribution).sum(axis=axis, dtype=np.float64)
    rounding = 16 * (np.finfo(attribution.dtype).eps if attribution.dtype.kind == "f" else 0) * sizes
    return np.asarray(np.where(np.abs(total) <= rounding, 0, total))


def over_width(attribution: Array, per_unit: bool) -> Array:
    """One number per token: the sum of its shares, or the Euclidean norm of its slopes.

    The sum of a gradient over the width of an embedding is the slope along one direction of no meaning; where a layer
    normalization follows, it is zero but for rounding, since that takes the mean away. The norm is what inseq takes too.

    Args:
        attribution: [..., width].
        per_unit: whether attributions are slopes, per unit of the input.

    Returns:
        float64 [...].
    """
    if per_unit:
        return np.asarray(np.linalg.norm(attribution.astype(np.float64), axis=-1))
    return summed_over(attribution, -1)


def one_per_token(attributions: Sequence[Array], rank: int, per_unit: bool) -> Array:
    """The same of tokens that are looked up in several tables, whose widths are taken together.

    Args:
        attributions: one array per table, the tokens along axis `rank` − 1, and what their embeddings have behind it.
        rank: how many axes the result has.
        per_unit: as in `over_width`.
    """
    flat = [v.reshape(*v.shape[:rank], -1) for v in attributions]
    return over_width(np.concatenate(flat, axis=-1), per_unit)
