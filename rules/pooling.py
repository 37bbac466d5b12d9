"""Pooling: what a window is reduced to. `geometry.spread` gives a window's value back to each element it covers."""

from math import inf, prod

from onnxplain import Builder, Extents, Messages, Node, RuleError, Tensor, rule
from onnxplain.rulekit import scatter as placing
from onnxplain.rulekit import windows as geometry
from onnxplain.rulekit import winners as tiling

# -- averages ----------------------------------------------------------------------------------------------------------


@rule("AveragePool", role="sum")
def average_pool(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy / n over the windows an element lies in, n being the number of elements its window averages"""
    over = geometry.windows(b, node, node.x)
    n = geometry.window_count(b, over, node.x, node.y, bool(node["count_include_pad"]))
    return geometry.spread(b, over, dy, node.x, node.y, n)


@rule("GlobalAveragePool", role="sum")
def global_average_pool(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / n, n being the number of elements of a channel"""
    x = node.x
    size = Extents.of(b, x, 2)
    n = prod(size.known) if size.known is not None else b.cast(b.ReduceProd(size.operand, keepdims=0), x)
    return b.Expand(b.Div(dy, n), b.shape(x))


# -- norms -------------------------------------------------------------------------------------------------------------


@rule("LpPool", role="function")
def lp_pool(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = (Σ |x|ᵖ)^(1/p): dx = sign(x) · |x|^(p−1) · Σ dy · y^(1−p) over the windows an element lies in"""
    over = geometry.windows(b, node, node.x)
    return b.Mul(_lp_slope(b, node), geometry.spread(b, over, _lp_share(b, node, dy), node.x, node.y))


@rule("GlobalLpPool", role="function")
def global_lp_pool(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = (Σ |x|ᵖ)^(1/p): dx = sign(x) · |x|^(p−1) · dy · y^(1−p)"""
    return b.Mul(_lp_slope(b, node), _lp_share(b, node, dy))


def _lp_slope(b: Builder, node: Node) -> Tensor:
    """sign(x) · |x|^(p−1)"""
    x, p = node.x, node["p"]
    slope: Tensor = x if p == 2 else b.Sign(x) if p == 1 else b.Mul(b.Sign(x), b.Pow(b.Abs(x), b.const(p - 1.0, x.dtype)))
    return slope


def _lp_share(b: Builder, node: Node, dy: Tensor) -> Tensor:
    """dy · y^(1−p), and 0 where y is 0"""
    y, p = node.y, node["p"]
    share: Tensor = dy if p == 1 else b.Where(b.Greater(y, 0), b.Mul(dy, b.Pow(y, b.const(1.0 - p, y.dtype))), 0)
    return share


# -- maxima ------------------------------------------------------------------------------------------------------------


@rule("MaxPool", role="select")
def max_pool(b: Builder, node: Node, dy: Tensor, _: Tensor | None = None) -> Messages:
    """dx = Σ dy over the windows whose maximum an element is; of equal elements the first is the maximum."""
    x = node.x
    over = geometry.windows(b, node, x)
    if tiling.tile(over, x):
        numbers = _numbers(b, x)
        y = node.y if numbers == x else b.MaxPool(numbers, **node.attributes)
        places = tiling.winners(b, over, numbers, y)
        return b.moved(node, dy, lambda m: tiling.place_winners(b, over, places, m, x))
    settings = {k: v for k, v in node.attributes.items() if k != "storage_order"}
    first = b.MaxPool(_numbers(b, x), outputs=2, **settings)[1]  # counted through the whole of x

    def place(m: Tensor) -> Tensor:
        return b.reshape(placing.add_elements(b, b.size(x), b.Reshape(first, [-1]), b.Reshape(m, [-1]), 0), x)

    return b.moved(node, dy, place)


@rule("MaxUnpool", role="select")
def max_unpool(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy at the places x was put"""
    _, indices, shape = node.inputs
    kernel, strides = node["kernel_shape"], node.get("strides") or [1] * len(node["kernel_shape"])
    if any(s < k for s, k in zip(strides, kernel, strict=True)):
        raise RuleError("its windows overlap, so one element may overwrite another")
    if shape is not None and not _is_full_size(b, node, kernel, strides):
        raise RuleError("its output_shape is not that of the windows, and runtimes put the elements in different places")
    places = b.Reshape(indices, [-1])
    return b.reshape(b.GatherElements(b.Reshape(dy, [-1]), places, axis=0), node.x), None, None


def _is_full_size(b: Builder, node: Node, kernel: list[int], strides: list[int]) -> bool:
    """Whether output_shape is known to be the extents that the windows have anyway."""
    wanted, n, size = b.ints(node.inputs[2]), len(kernel), node.x.static_shape
    if wanted is None or size is None:
        return False
    pads = node.get("pads") or [0] * (2 * n)
    return wanted[2:] == [(size[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[n + i] for i in range(n)]


@rule("GlobalMaxPool", role="select")
def global_max_pool(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy at the channel's first maximum, else 0"""
    x = node.x
    rows = b.Reshape(_numbers(b, x), [0, 0, -1])
    first = b.ArgMax(rows, axis=2, keepdims=1)

    def place(m: Tensor) -> Tensor:
        return b.reshape(placing.add_elements(b, b.Shape(rows), first, b.Reshape(m, [0, 0, 1]), 2), x)

    return b.moved(node, dy, place)


def _numbers(b: Builder, x: Tensor) -> Tensor:
    """x with −∞ for NaN: maxima pass NaN by, but ONNX Runtime's search for their places stops at one that comes first."""
    return b.Where(b.IsNaN(x), -inf, x) if x.is_float and not b.finite(x) else x
