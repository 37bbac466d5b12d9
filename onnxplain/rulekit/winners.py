"""The first maximum of every window, for windows that lie side by side: found and written to without a list of places.

ONNX Runtime's own search for the places of maxima, and the scattering that follows, take ten times as long as the pooling. Where
windows tile the image, the elements of all windows that have the same place in theirs form an image of their own, of the size of
the maxima. Comparing each with the maxima tells the winner of every window, in one byte.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
from onnx import TensorProto

from onnxplain.builder.builder import Builder
from onnxplain.builder.extents import Extents
from onnxplain.ir.tensor import Tensor
from onnxplain.rulekit.windows import Windows, repeat_pixels

__all__ = ["place_winners", "tile", "winners"]

LARGEST = 4
"""The windows for which comparing is quicker than searching have at most this extent."""


def tile(over: Windows, x: Tensor) -> bool:
    """Whether windows are small squares side by side, and the image of a type whose elements can be compared and repeated.

    Args:
        over: the windows.
        x: the image.

    Returns:
        Whether `winners` and `place_winners` apply.
    """
    kernel = over.kernel.known
    if kernel is None or len(kernel) != 2 or x.dtype not in (np.float32, np.float16):
        return False
    square = kernel == over.strides == (kernel[0],) * 2 and 2 <= kernel[0] <= LARGEST
    return square and over.pads == [0] * 4 and over.dilations == (1, 1) and not over.ceil


def winners(b: Builder, over: Windows, x: Tensor, y: Tensor) -> Tensor:
    """Which element of each window is its first maximum, counted row by row from 0; the last where none is.

    Args:
        b: where nodes are emitted.
        over: the windows, which must tile the image.
        x: the image, [n, channels, height, width].
        y: its maxima.

    Returns:
        The places within the windows, uint8, in the shape of the maxima.

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows
        >>> from onnxplain.rulekit.winners import winners
        >>> over = Windows(Extents(b, [2, 2]), (2, 2), (1, 1), Extents(b, [0, 0]), Extents(b, [0, 0]))
        >>> run(winners(b, over, b.const([[[[1.0, 2.0], [5.0, 5.0]]]]), b.const([[[[5.0]]]])))
        array([[[[2]]]], dtype=uint8)
    """
    side = over.strides[0]
    if not _covers(b, over, x, y):
        # Elements that no window covers go; an image that is smaller than the one window over it grows.
        missing = Extents.of(b, y, 2) * over.strides - Extents.of(b, x, 2)
        x = b.Pad(x, Extents(b, [0] * 6).then(missing).operand, b.const(-np.inf, x.dtype))
    apart = Extents(b, [0, side * side]).then(Extents.of(b, y, 1)).operand
    equal = b.Equal(b.Reshape(b.SpaceToDepth(x, blocksize=side), apart), b.Unsqueeze(y, [1]))
    won = b.Split(equal, [1] * side**2, axis=1, outputs=side**2)
    *before, last = range(side * side)
    first = reduce(lambda later, i: b.Where(won[i], b.const(np.uint8(i)), later), reversed(before), b.const(np.uint8(last)))
    return b.reshape(first, y)


def place_winners(b: Builder, over: Windows, places: Tensor, m: Tensor, x: Tensor) -> Tensor:
    """One number per window at the place of its winner, with zeros elsewhere.

    Args:
        b: where nodes are emitted.
        over: the windows, which must tile the image.
        places: from `winners`.
        m: one number per window.
        x: the image.

    Returns:
        A tensor in the shape of the image.

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows
        >>> from onnxplain.rulekit.winners import place_winners
        >>> over = Windows(Extents(b, [2, 2]), (2, 2), (1, 1), Extents(b, [0, 0]), Extents(b, [0, 0]))
        >>> image = b.const(np.zeros((1, 1, 2, 2), np.float32))
        >>> run(place_winners(b, over, b.const(np.array([[[[2]]]], np.uint8)), b.const([[[[7.0]]]]), image))
        array([[[[0., 0.],
                 [7., 0.]]]], dtype=float32)
    """
    side, count, covered = over.strides[0], Extents.of(b, m, 2), _covers(b, over, x, m)
    numbers = b.const(np.arange(side * side, dtype=np.int32).reshape(1, 1, side, side))
    own = b.Tile(numbers, Extents(b, [1, 1]).then(count).operand)
    # Plane by plane: ONNX Runtime would bring images into its own layout to repeat them, and the larger image out of it again.
    plane = Extents(b, [-1, 1]).then(count).operand
    # Bytes are what is kept; CUDA compares nothing below int32.
    wide = b.Cast(places, to=TensorProto.INT32)
    wide, m = (repeat_pixels(b, b.Reshape(t, plane), over.strides) for t in (wide, m))
    placed = b.Where(b.Equal(wide, own), m, 0)
    if not covered:
        placed = b.Pad(placed, Extents(b, [0] * 6).then(Extents.of(b, x, 2) - count * over.strides).operand)
    return b.reshape(placed, x)


def _covers(b: Builder, over: Windows, x: Tensor, y: Tensor) -> bool:
    """Whether the windows are known to cover the whole image."""
    size, count = Extents.of(b, x, 2), Extents.of(b, y, 2)
    return size.known is not None and size.known == (count * over.strides).known
