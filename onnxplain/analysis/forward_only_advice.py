"""Which forward-only method suits a model that no gradient serves."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from onnxplain.ir.tensor import Tensor

__all__ = ["EXACT_PLAYERS", "instead"]

EXACT_PLAYERS = 12
"""Features or groups that exact Shapley values are computed for: 2^12 coalitions are run."""


def instead(inputs: Sequence[Tensor]) -> str:
    """A phrase that names the method: by the number of features for tables, by kind for pictures, series and texts."""
    ranks = {len(t.shape) for t in inputs if t.shape is not None}
    inner = [t.shape[1:] for t in inputs if t.shape]
    sizes = [prod(d for d in shape if isinstance(d, int)) for shape in inner if None not in shape]
    if ranks == {4}:
        return "use a method that needs forward passes only: -m rise, or -m lime (superpixels)"
    if ranks == {3}:
        return "use a method that needs forward passes only: -m lime (segments), or -m occlusion"
    if any(isinstance(d, str) for shape in inner for d in shape):
        return "use a method that needs forward passes only: -m lime, or -m shapley-sampling"
    if sizes and sum(sizes) <= EXACT_PLAYERS:
        return "use a method that needs forward passes only: -m exact-shapley, or -m kernel-shap"
    return "use a method that needs forward passes only: -m kernel-shap, or -m lime"
