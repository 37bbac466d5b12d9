"""Which operators ONNX Runtime's CPU provider runs on images in blocks of channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.ir.ops import traits_of
from onnxplain.ir.tensor import Shape, Tensor

__all__ = ["in_blocks", "is_image"]

BLOCK_CHANNELS = 16
"""The channels of a block, with AVX-512 (else 8, which divides it)."""

GRAIN = 4
"""Convolutions pad channels to whole blocks, from multiples of this."""


def in_blocks(op: str, inputs: Sequence[Tensor], blocked: Sequence[bool], attributes: Mapping[str, Any], output: Tensor) -> bool:
    """Whether the result of an operator is in blocks; `blocked` tells which of its inputs are."""
    if not is_image(output):
        return False
    if op == "Conv":
        return _convolves(inputs[0].shape, output.shape, attributes.get("group") or 1)
    kept = traits_of(op).keeps_blocks
    if kept == "pool":  # those over windows bring what they read into blocks
        return whole(output) and (blocked[0] or not op.startswith("Global"))
    if op == "Concat":
        return all(blocked) and all(whole(t) for t in inputs)
    if op == "Resize":
        return blocked[0] and _repeats(attributes)
    # Clips are part of the convolution before them, where nothing else reads it; those that do nothing are taken out.
    return (kept == "first" and blocked[0]) or (kept == "all" and all(blocked))


def is_image(t: Tensor) -> bool:
    """Whether a tensor has the type and rank of what can be in blocks."""
    return t.dtype == np.float32 and t.shape is not None and len(t.shape) == 4 and isinstance(t.shape[1], int)


def whole(t: Tensor) -> bool:
    """Whether an image's channels fill its blocks."""
    channels = t.dim(1)
    return isinstance(channels, int) and channels % BLOCK_CHANNELS == 0


def _convolves(read: Shape, made: Shape, group: int) -> bool:
    """Whether a convolution can be computed in blocks; the channels of its result are padded where it is."""
    inward, outward = (None if shape is None or len(shape) != 4 else shape[1] for shape in (read, made))
    if not isinstance(inward, int) or not isinstance(outward, int):
        return False
    if group == 1:
        return inward < BLOCK_CHANNELS or inward % GRAIN == 0
    if inward == outward == group:
        return outward % GRAIN == 0
    return (inward // group) % BLOCK_CHANNELS == 0 and (outward // group) % BLOCK_CHANNELS == 0


def _repeats(attributes: Mapping[str, Any]) -> bool:
    """Whether a Resize repeats every pixel a whole number of times, as those do that the builder emits."""
    modes = (attributes.get(k) for k in ("mode", "coordinate_transformation_mode", "nearest_mode"))
    return [m.decode() if isinstance(m, bytes) else m for m in modes] == ["nearest", "asymmetric", "floor"]
