"""One number per channel and image, [N, C, 1, 1]: gates and means over the pixels, repeated and summed up in blocks."""

from __future__ import annotations

import math

import numpy as np

from onnxplain.ir.emitted import Emitted
from onnxplain.ir.tensor import Tensor, same_dim
from onnxplain.passes.lowering.blocks import whole
from onnxplain.passes.lowering.scope import Scope

__all__ = ["gated", "offset", "scaled", "stretched_channels", "summed"]

NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def gated(s: Scope, node: Emitted) -> Emitted | None:
    """An image times one number per channel: the number is repeated over the image."""
    image, gate = sorted((t for t in node.inputs if t is not None), key=lambda t: -math.prod(_size(s, t) or (0,)))
    if not s.is_blocked(image) or _size(s, gate) != (1, 1):
        return None
    full = _over(s, gate, _size(s, image))
    return None if full is None or not s.alike(full, image) else s.instead(node, "Mul", image, full)


def stretched_channels(s: Scope, node: Emitted) -> Emitted | None:
    """One number per channel stretched over images, of which some are in blocks."""
    (made,), number = node.outputs, node.inputs[0]
    if number is None or _size(s, number) != (1, 1) or s.b.known(made).shape not in s.extents:
        return None
    moved, size = s.in_blocks(number), _size(s, made)
    full = None if moved is None or size is None or not _same_samples(s, moved, made) else _over(s, moved, size)
    return None if full is None else s.instead(node, "Identity", full)


def summed(s: Scope, node: Emitted) -> Emitted | None:
    """The sum over an image's pixels, as their mean times how many they are."""
    image, axes = node.inputs[0], s.b.ints(node.inputs[1]) if len(node.inputs) > 1 else None
    if not s.is_blocked(image) or image is None or axes is None or sorted(a % 4 for a in axes) != [2, 3]:
        return None
    size, made = _size(s, image), node.outputs[0]
    if size is None or not whole(s.b.known(image)) or not node.attributes.get("keepdims", 1):
        return None
    mean = s.emit("GlobalAveragePool", image, like=made, hint="mean")
    return s.instead(node, "Conv", *s.affine(mean, math.prod(size)), group=s.channels(made))


def scaled(s: Scope, node: Emitted) -> Emitted | None:
    """An image in blocks times or divided by a number."""
    image, other = node.inputs
    if node.op == "Mul" and s.number(image) is not None:
        image, other = other, image
    number = s.number(other)
    if image is None or not s.is_blocked(image) or not number:
        return None
    factor = number if node.op == "Mul" else 1 / number
    if abs(factor) > float(np.finfo(np.float32).max):
        return None
    return s.instead(node, "Conv", *s.affine(image, factor), group=s.channels(image))


def offset(s: Scope, node: Emitted) -> Emitted | None:
    """A number less an image in blocks."""
    number, image = s.number(node.inputs[0]), node.inputs[1]
    if image is None or number is None or not s.is_blocked(image) or not s.alike(image, node.outputs[0]):
        return None
    return s.instead(node, "Conv", *s.affine(image, -1.0, number), group=s.channels(image))


def _over(s: Scope, number: Tensor, size: tuple[int, int] | None) -> Tensor | None:
    """One number per channel, in blocks, repeated over images of a size."""
    if size is None or not s.is_blocked(number):
        return None
    height, width = size
    known = s.b.known(number)
    assert known.shape is not None
    full = Tensor("", known.dtype, (*known.shape[:2], height, width))
    scales = s.b.const([1.0, 1.0, float(height), float(width)])
    return s.once(("over", number.name, size), lambda: s.emit("Resize", number, None, scales, like=full, hint="over", **NEAREST))


def _size(s: Scope, t: Tensor) -> tuple[int, int] | None:
    """Height and width of images, where they are known."""
    shape = s.b.known(t).shape
    if shape is None or len(shape) != 4 or not isinstance(shape[2], int) or not isinstance(shape[3], int):
        return None
    return shape[2], shape[3]


def _same_samples(s: Scope, one: Tensor, other: Tensor) -> bool:
    """Whether two images have the same samples and channels."""
    mine, its = s.b.known(one).shape, s.b.known(other).shape
    return mine is not None and its is not None and all(same_dim(x, y) for x, y in zip(mine[:2], its[:2], strict=True))
