"""Geometry of sliding windows, and the adjoints of convolution and pooling.

A convolution moves a window over an image. Its two adjoints are `conv_input_gradient` and `conv_weight_gradient`; the gradients
of transposed convolutions and pooling are made of the same two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.builder.extents import Extents
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Dim, Tensor

__all__ = [
    "Windows",
    "conv_forward",
    "conv_input_gradient",
    "conv_weight_gradient",
    "repeat_pixels",
    "spread",
    "transposed_windows",
    "window_count",
    "windows",
]

END = np.iinfo(np.int64).max


# -- windows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Windows:
    """How windows lie on an image.

    Attributes:
        kernel: the extents of a window.
        strides: the distance between windows, per spatial axis.
        dilations: the distance between elements of a window, per spatial axis.
        begin: the padding before each spatial axis.
        end: the padding behind each spatial axis.
        ceil: whether the last window may reach beyond the padding.

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows
        >>> over = Windows(Extents(b, [3, 3]), (2, 2), (1, 1), Extents(b, [1, 1]), Extents(b, [1, 1]))
        >>> over.pads, over.reach(Extents(b, [4, 4])).known
        ([1, 1, 1, 1], (9, 9))
    """

    kernel: Extents
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: Extents
    end: Extents
    ceil: bool = False

    @property
    def span(self) -> Extents:
        """The extent of one window, gaps included."""
        return (self.kernel - 1) * self.dilations + 1

    @property
    def pads(self) -> list[int] | None:
        """The padding as an attribute; None where it is known only at run time."""
        if self.begin.known is None or self.end.known is None:
            return None
        return [*self.begin.known, *self.end.known]

    def reach(self, count: Extents) -> Extents:
        """The extent that windows cover.

        Args:
            count: the number of windows, per spatial axis.

        Returns:
            The extents.
        """
        return (count - 1) * self.strides + self.span


def windows(b: Builder, node: Node, image: Tensor, kernel: Extents | None = None, axes: Dim = None) -> Windows:
    """The windows of a convolution or pooling node.

    Args:
        b: where nodes are emitted.
        node: the node.
        image: its image, [n, channels, …].
        kernel: the extents of a window; None for a pooling node, whose attribute says them.
        axes: the number of spatial axes; None for all behind the first two.

    Returns:
        The windows.

    Raises:
        RuleError: with auto_pad, runtimes differ in where the windows of a pooling node lie.

    Example:
        >>> from onnxplain import Tensor
        >>> from onnxplain.ir.node import Node
        >>> from onnxplain.rulekit.windows import windows
        >>> image = Tensor("image", x.dtype, (1, 1, 8, 8))
        >>> pool = Node("MaxPool", "", 12, "pool", "", (image,), (y,), {"kernel_shape": [2, 2], "strides": [2, 2]})
        >>> windows(b, pool, image).strides
        (2, 2)
    """
    n = axes if isinstance(axes, int) else image.rank - 2
    pooling = kernel is None
    kernel = kernel or Extents(b, node["kernel_shape"])
    strides = tuple(node.get("strides") or (1,) * n)
    dilations = tuple(node.get("dilations") or (1,) * n)
    begin, end = _explicit_pads(b, node, n)
    if _auto_pad(node).startswith("SAME"):
        size = Extents.of(b, image, 2)
        span = (kernel - 1) * dilations + 1
        count = (size + [s - 1 for s in strides]) // strides
        total = (count - 1) * strides + span - size
        gaps = any(s > t for s, t in zip(strides, span.known or (), strict=False))
        if pooling and (gaps if total.known is None else min(total.known) < 0):
            raise RuleError("with auto_pad its strides leave gaps, where runtimes differ; give pads instead")
        if pooling and any(d > 1 and k != 1 for d, k in zip(dilations, kernel.known or (), strict=False)):
            # ONNX Runtime pads as for windows without gaps, and so makes fewer of them than the standard says.
            raise RuleError("with auto_pad and dilations runtimes differ in the number of its windows; give pads instead")
        begin, end = _halves(total.at_least(0), _auto_pad(node) == "SAME_UPPER")
    return Windows(kernel, strides, dilations, begin, end, bool(node.get("ceil_mode", 0)))


def transposed_windows(b: Builder, node: Node, image: Tensor, kernel: Extents) -> Windows:
    """The windows of a transposed convolution, which lie on its *output*.

    Args:
        b: where nodes are emitted.
        node: the node.
        image: its input, [n, channels, …].
        kernel: the extents of a window.

    Returns:
        The windows.

    Example:
        >>> from onnxplain import Extents, Tensor
        >>> from onnxplain.ir.node import Node
        >>> from onnxplain.rulekit.windows import transposed_windows
        >>> image = Tensor("image", x.dtype, (1, 1, 4, 4))
        >>> node = Node("ConvTranspose", "", 11, "up", "", (image,), (y,), {"strides": [2, 2]})
        >>> transposed_windows(b, node, image, Extents(b, [2, 2])).pads
        [0, 0, 0, 0]
    """
    n = image.rank - 2
    strides = tuple(node.get("strides") or (1,) * n)
    dilations = tuple(node.get("dilations") or (1,) * n)
    begin, end = _explicit_pads(b, node, n)
    span = (kernel - 1) * dilations + 1
    full = span + tuple(node.get("output_padding") or (0,) * n)  # without the (count − 1) · strides of the other windows
    if node.get("output_shape"):
        count = Extents.of(b, image, 2)
        total = ((count - 1) * strides + full - node["output_shape"][-n:]).at_least(0)
        begin, end = _halves(total, _auto_pad(node) == "SAME_UPPER")
    elif _auto_pad(node).startswith("SAME"):
        begin, end = _halves((full - strides).at_least(0), _auto_pad(node) == "SAME_UPPER")
    return Windows(kernel, strides, dilations, begin, end)


def _explicit_pads(b: Builder, node: Node, n: int) -> tuple[Extents, Extents]:
    pads = (node.get("pads") if _auto_pad(node) == "NOTSET" else None) or [0] * (2 * n)
    return Extents(b, pads[:n]), Extents(b, pads[n:])


def _auto_pad(node: Node) -> str:
    return str(node.get("auto_pad", "NOTSET"))


def _halves(total: Extents, upper: bool) -> tuple[Extents, Extents]:
    """Padding dealt out to both sides; the odd one goes to the end (upper) or to the beginning."""
    less = total // 2
    return (less, total - less) if upper else (total - less, less)


# -- convolution -------------------------------------------------------------------------------------------------------


def conv_input_gradient(b: Builder, over: Windows, dy: Tensor, w: Tensor, x: Tensor, y: Tensor, group: int = 1) -> Tensor:
    """The message on the image of a convolution: every window gives back what it read.

    This is the transposed convolution of dy with the same weight. It is written in the form that ONNX Runtime's CPU kernels run
    fastest:

    - With strides of 1, as an ordinary convolution with the flipped, transposed weight: up to 14 times as fast for depthwise
      ones, unless there are few channels.
    - For depthwise windows with larger strides, as such a convolution of dy with zeros between its elements: 2 to 4 times as
    fast.
    - For a window as large as the image, as a matrix product.

    Args:
        b: where nodes are emitted.
        over: the windows.
        dy: the message on the output.
        w: the weight, [channels out, channels in / group, …].
        x: the image, [n, channels in, …].
        y: the output, [n, channels out, …].
        group: the number of groups.

    Returns:
        The message, in the shape of the image.

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows, conv_input_gradient
        >>> row = b.Reshape(x, [1, 1, 6])
        >>> row = b.know(b.reshape(row, b.const(np.zeros((1, 1, 6), np.float32))))
        >>> over = Windows(Extents(b, [2]), (1,), (1,), Extents(b, [0]), Extents(b, [0]))
        >>> dy = b.const([[[1.0, 1.0, 1.0, 1.0, 1.0]]])
        >>> run(conv_input_gradient(b, over, dy, b.const([[[1.0, 2.0]]]), row, dy))
        array([[[1., 3., 3., 3., 3., 2.]]], dtype=float32)
    """
    turned = _as_product(b, over, dy, w, x, y, group)
    if turned is None:
        turned = _as_convolution(b, over, dy, w, group)
    if turned is None:
        turned = _as_spread_convolution(b, over, dy, w, x, y, group)
    if turned is not None:
        return turned
    size, count, n = Extents.of(b, x, 2), Extents.of(b, y, 2), len(over.strides)
    # ConvTranspose with asymmetric padding has no CUDA kernel: then the whole is made, and cut.
    even = over.pads is not None and over.begin.known == over.end.known
    pads = [*(over.pads or ())] if even else [0] * (2 * n)
    first = Extents(b, [0] * n) if even else over.begin
    made = over.reach(count) - [pads[i] + pads[n + i] for i in range(n)]
    # The windows may leave out up to stride − 1 elements at the end of the image; they get zero.
    short = [s - 1 for s in over.strides]
    exact = even and not over.ceil and not any(short)
    if size.known is not None and made.known is not None and first.known is not None:
        short = [max(f + s - m, 0) for f, s, m in zip(first.known, size.known, made.known, strict=True)]
        exact = first.known == (0,) * n and size.known == (made + short).known
    dx = b.ConvTranspose(
        dy,
        w,
        group=group if group > 1 else None,
        pads=pads if any(pads) else None,
        strides=list(over.strides),
        dilations=list(over.dilations) if set(over.dilations) != {1} else None,
        output_padding=short if any(short) else None,
    )
    return dx if exact else b.Slice(dx, first.operand, (first + size).operand, list(range(2, 2 + n)))


def _as_product(b: Builder, over: Windows, dy: Tensor, w: Tensor, x: Tensor, y: Tensor, group: int) -> Tensor | None:
    """The same as a matrix product where a single window covers the image, as where a network ends in dense layers."""
    shape, size, count = w.static_shape, Extents.of(b, x, 2).known, Extents.of(b, y, 2).known
    if shape is None or size is None or count is None or over.pads is None or any(over.pads) or group > 1:
        return None
    if prod(count) != 1 or prod(size) == 1 or size != over.kernel.known:
        return None
    return b.reshape(b.MatMul(b.Reshape(dy, [-1, shape[0]]), b.Reshape(w, [shape[0], -1])), x)


def _as_convolution(b: Builder, over: Windows, dy: Tensor, w: Tensor, group: int) -> Tensor | None:
    """The same as an ordinary convolution where that is possible and quicker, else None."""
    turned, shape = _turned_pads(over), w.static_shape
    if turned is None or shape is None:
        return None
    n = len(over.strides)
    outward, inward = shape[0] // group, shape[1]
    if not (inward * group >= 12 or outward == inward == 1):  # the blocked layout rounds up to 16 channels
        return None
    spatial = list(shape[2:])
    if set(spatial) != {1}:
        w = b.Slice(w, [-1] * n, [-END] * n, list(range(2, 2 + n)), [-1] * n)
    if group == 1:
        w = b.Transpose(w, perm=[1, 0, *range(2, 2 + n)])
    elif outward > 1 or inward > 1:
        w = b.Reshape(w, [group, outward, inward, *spatial])
        w = b.Reshape(b.Transpose(w, perm=[0, 2, 1, *range(3, 3 + n)]), [group * inward, outward, *spatial])
    return b.Conv(
        dy,
        w,
        group=group if group > 1 else None,
        pads=turned if any(turned) else None,
        dilations=list(over.dilations) if set(over.dilations) != {1} else None,
    )


def _as_spread_convolution(b: Builder, over: Windows, dy: Tensor, w: Tensor, x: Tensor, y: Tensor, group: int) -> Tensor | None:
    """The same for depthwise windows of larger strides, as a convolution of dy with strides − 1 zeros after each element."""
    shape, size, count = w.static_shape, Extents.of(b, x, 2).known, Extents.of(b, y, 2).known
    span, begin, n = over.span.known, over.begin.known, len(over.strides)
    if shape is None or size is None or count is None or span is None or begin is None or n != 2:
        return None
    first = [s - 1 - p for s, p in zip(span, begin, strict=True)]
    wide = [c * s for c, s in zip(count, over.strides, strict=True)]
    last = [z - v - f + s - 1 for z, v, f, s in zip(size, wide, first, span, strict=True)]
    if shape[0] != group or shape[1] != 1 or group == 1 or min(*first, *last) < 0:
        return None
    taken = [np.arange(v) % s == 0 for v, s in zip(wide, over.strides, strict=True)]
    spread = b.Where(b.And(b.const(taken[0][:, None]), b.const(taken[1])), repeat_pixels(b, dy, over.strides), 0)
    one_by_one = Windows(over.kernel, (1,) * n, over.dilations, Extents(b, first), Extents(b, last))
    return conv_forward(b, one_by_one, spread, b.Slice(w, [-1] * n, [-END] * n, list(range(2, 2 + n)), [-1] * n), group)


def _turned_pads(over: Windows) -> list[int] | None:
    """The padding with which windows of stride 1 on y give x back; None where that is not possible or not known."""
    span, pads = over.span.known, over.pads
    if set(over.strides) != {1} or over.ceil or span is None or pads is None:
        return None
    turned = [s - 1 - p for s, p in zip(span * 2, pads, strict=True)]
    return None if min(turned) < 0 else turned


def conv_weight_gradient(b: Builder, over: Windows, image: Tensor, dy: Tensor, group: int = 1, *, spare: bool = False) -> Tensor:
    """The message on the weight of a convolution: dy slid over the image, with their batches as channels.

    Strides and dilations change places.

    Args:
        b: where nodes are emitted.
        over: the windows.
        image: the image, [n, channels in, …].
        dy: the message on the output, [n, channels out, …].
        group: the number of groups.
        spare: whether there is room for more windows at the end of the image.

    Returns:
        The message, in the shape of the weight.

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows, conv_weight_gradient
        >>> over = Windows(Extents(b, [2]), (1,), (1,), Extents(b, [0]), Extents(b, [0]))
        >>> image, dy = b.const([[[1.0, 2.0, 3.0]]]), b.const([[[1.0, 10.0]]])
        >>> run(conv_weight_gradient(b, over, image, dy))
        array([[[21., 32.]]], dtype=float32)
    """
    n = len(over.strides)
    if group == 1:
        swapped = b.Transpose(image, perm=[1, 0, *range(2, 2 + n)])
    else:  # [N, g·C, …] → [C, g·N, …]
        size = Extents.of(b, image, 2)
        split = Extents(b, b.dim(image, 0)).then([group, -1], size)
        swapped = b.Transpose(b.Reshape(image, split.operand), perm=[2, 1, 0, *range(3, 3 + n)])
        swapped = b.Reshape(swapped, Extents(b, [0, -1]).then(size).operand)
    swapped, pads = _padded(b, over, swapped)
    dw = b.Conv(
        swapped,
        b.Transpose(dy, perm=[1, 0, *range(2, 2 + n)]),
        group=group if group > 1 else None,
        pads=pads if any(pads) else None,
        strides=list(over.dilations),
        dilations=list(over.strides),
    )
    dw = b.Transpose(dw, perm=[1, 0, *range(2, 2 + n)])
    # Less than a stride of the image may be left over at its end; it would count as one more weight.
    if spare or any(s > d for s, d in zip(over.strides, over.dilations, strict=True)):
        dw = b.Slice(dw, [0] * n, over.kernel.operand, list(range(2, 2 + n)))
    return dw


def _padded(b: Builder, over: Windows, image: Tensor) -> tuple[Tensor, list[int]]:
    """The image, and the padding left to the operator: where it is known at run time only, the image gets it here."""
    if over.pads is not None:
        return image, over.pads
    pads = Extents(b, [0, 0]).then(over.begin, [0, 0], over.end)
    return b.Pad(image, pads.operand), [0] * (2 * len(over.strides))


def conv_forward(b: Builder, over: Windows, image: Tensor, w: Tensor, group: int = 1) -> Tensor:
    """The convolution itself.

    Args:
        b: where nodes are emitted.
        over: the windows.
        image: the image, [n, channels in, …].
        w: the weight, [channels out, channels in / group, …].
        group: the number of groups.

    Returns:
        The output, [n, channels out, …].

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows, conv_forward
        >>> over = Windows(Extents(b, [2]), (1,), (1,), Extents(b, [0]), Extents(b, [0]))
        >>> run(conv_forward(b, over, b.const([[[1.0, 2.0, 3.0]]]), b.const([[[1.0, 10.0]]])))
        array([[[21., 32.]]], dtype=float32)
    """
    image, pads = _padded(b, over, image)
    return b.Conv(
        image,
        w,
        group=group if group > 1 else None,
        pads=pads if any(pads) else None,
        strides=list(over.strides),
        dilations=list(over.dilations) if set(over.dilations) != {1} else None,
    )


# -- pooling -----------------------------------------------------------------------------------------------------------


def spread(b: Builder, over: Windows, dy: Tensor, x: Tensor, y: Tensor, count: Tensor | None = None) -> Tensor:
    """Every window's value for each element that the window covers. The adjoint of the sums over windows, or of their means.

    Args:
        b: where nodes are emitted.
        over: the windows.
        dy: one value per window, [n, channels, …].
        x: the image, [n, channels, …].
        y: the output of the pooling, in the shape of `dy`.
        count: what to divide by, such as the number of elements of a window; None for nothing.

    Returns:
        The sums, in the shape of the image.

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows, spread
        >>> over = Windows(Extents(b, [2]), (2,), (1,), Extents(b, [0]), Extents(b, [0]))
        >>> image, dy = b.const([[[0.0, 0.0, 0.0, 0.0]]]), b.const([[[1.0, 5.0]]])
        >>> run(spread(b, over, dy, image, dy))
        array([[[1., 1., 5., 5.]]], dtype=float32)
    """
    turned, kernel = _turned_pads(over), list(over.kernel.known or ())
    size, known = float(np.prod(kernel)), b.value(count)
    quick = turned is not None and set(over.dilations) == {1}  # the windows turned round, summed by the quick kernel for means
    full = quick and known is not None and float(known) == size
    dy = dy if count is None or full else b.Div(dy, count)
    if quick:
        mean = b.AveragePool(dy, kernel_shape=kernel, pads=turned, count_include_pad=1)
        return mean if full else b.Mul(mean, size)
    planes = b.Reshape(dy, Extents(b, [-1, 1]).then(Extents.of(b, y, 2)).operand)
    ones = b.const(np.ones((1, 1, *kernel)), x.dtype)
    return b.reshape(conv_input_gradient(b, over, planes, ones, x, y), x)


def repeat_pixels(b: Builder, t: Tensor, times: Sequence[int]) -> Tensor:
    """Every pixel of an image several times along each spatial axis.

    Args:
        b: where nodes are emitted.
        t: the image, [n, channels, …].
        times: how often, per spatial axis.

    Returns:
        The larger image.

    Example:
        >>> from onnxplain.rulekit.windows import repeat_pixels
        >>> run(repeat_pixels(b, b.const([[[1.0, 2.0]]]), [2]))
        array([[[1., 1., 2., 2.]]], dtype=float32)
    """
    made = b.Resize(
        t,
        None,
        b.const([1.0, 1.0, *map(float, times)]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return made if t.shape is None else b.know(made)


def window_count(b: Builder, over: Windows, x: Tensor, y: Tensor, include_pad: bool) -> Tensor:
    """How many elements each window covers.

    Args:
        b: where nodes are emitted.
        over: the windows.
        x: the image, [n, channels, …].
        y: the output of the pooling, [n, channels, …].
        include_pad: whether padding counts.

    Returns:
        One number for all windows, or one per window.

    Example:
        >>> from onnxplain import Extents
        >>> from onnxplain.rulekit.windows import Windows, window_count
        >>> over = Windows(Extents(b, [3]), (1,), (1,), Extents(b, [1]), Extents(b, [1]))
        >>> row = b.const([[[4.0, 5.0, 6.0]]])
        >>> run(window_count(b, over, row, row, include_pad=False))
        array([[[2., 3., 2.]]], dtype=float32)
    """
    kernel, n = over.kernel.known or (), len(over.strides)
    loose = over.ceil or not _fits(b, over, x)
    if not over.ceil and (include_pad or not (loose or any(over.pads or [1]))):
        return b.const(float(np.prod(kernel)), x.dtype)
    ones = b.Expand(b.const(1.0, x.dtype), Extents(b, [1, 1]).then(Extents.of(b, x, 2)).operand)
    zero = Extents(b, [0] * n)
    begin, end = over.begin, over.end
    if include_pad:
        ones = b.Pad(ones, Extents(b, [0, 0]).then(begin, [0, 0], end).operand, 1)
        begin = end = zero
    if loose:
        end = end + [s - 1 for s in over.strides]
    whole = Windows(over.kernel, over.strides, over.dilations, begin, end)
    count = conv_forward(b, whole, ones, b.const(np.ones((1, 1, *kernel)), x.dtype))
    return b.Slice(count, [0] * n, Extents.of(b, y, 2).operand, list(range(2, 2 + n))) if loose else count


def _fits(b: Builder, over: Windows, x: Tensor) -> bool:
    """Whether a window is known to fit into the padded image. ONNX Runtime lays one over smaller images all the same, as far as
    they go."""
    size, span, pads = Extents.of(b, x, 2).known, over.span.known, over.pads
    if span is None or pads is None:
        return False
    n = len(span)
    least = size or (1,) * n
    return all(least[i] + pads[i] + pads[n + i] >= span[i] for i in range(n))
