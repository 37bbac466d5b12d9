"""What ONNX Runtime makes of where a constant lies: which ones the graph of a loop's body should hold itself."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from onnxplain.ir.graph import READABLE_ELEMENTS

__all__ = ["needs_local_copy"]


def needs_local_copy(extents: Sequence[int]) -> bool:
    """Whether the graph of a loop's body must hold a constant of these extents itself: kernels of convolutions, and small ones.

    ONNX Runtime brings weights into the processor's layout, and fuses norms and activations, only where a graph holds the
    constants itself. Matrices are exempt: it packs those of outer graphs too.
    """
    return len(extents) > 2 or prod(extents) <= READABLE_ELEMENTS
