"""Pooling: what a window is reduced to. `geometry.spread` gives a window's value back to each element it covers."""

from onnxplain import Builder, Call, Messages, Tensor, geometry, rule

# -- averages ----------------------------------------------------------------------------------------------------------


@rule("AveragePool", role="sum")
def average_pool(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = Σ dy / n over the windows an element lies in, n being the number of elements its window averages"""
    over = geometry.windows(b, call, call.x)
    n = geometry.window_count(b, over, call.x, call.y, bool(call["count_include_pad"]))
    return geometry.spread(b, over, b.Div(dy, n), call.x, call.y)


@rule("GlobalAveragePool", role="sum")
def global_average_pool(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy / n, n being the number of elements of a channel"""
    x = call.x
    n = b.cast(b.ReduceProd(b.Shape(x, start=2), keepdims=0), x)
    return b.Expand(b.Div(dy, n), b.shape(x))


# -- norms -------------------------------------------------------------------------------------------------------------


@rule("LpPool", role="function")
def lp_pool(b: Builder, call: Call, dy: Tensor) -> Messages:
    """y = (Σ |x|ᵖ)^(1/p): dx = sign(x) · |x|^(p−1) · Σ dy · y^(1−p) over the windows an element lies in"""
    over = geometry.windows(b, call, call.x)
    return b.Mul(_lp_slope(b, call), geometry.spread(b, over, _lp_share(b, call, dy), call.x, call.y))


@rule("GlobalLpPool", role="function")
def global_lp_pool(b: Builder, call: Call, dy: Tensor) -> Messages:
    """y = (Σ |x|ᵖ)^(1/p): dx = sign(x) · |x|^(p−1) · dy · y^(1−p)"""
    return b.Mul(_lp_slope(b, call), _lp_share(b, call, dy))


def _lp_slope(b: Builder, call: Call) -> Tensor:
    """sign(x) · |x|^(p−1)"""
    x, p = call.x, call["p"]
    slope: Tensor = x if p == 2 else b.Sign(x) if p == 1 else b.Mul(b.Sign(x), b.Pow(b.Abs(x), b.const(p - 1.0, x.dtype)))
    return slope


def _lp_share(b: Builder, call: Call, dy: Tensor) -> Tensor:
    """dy · y^(1−p), and 0 where y is 0"""
    y, p = call.y, call["p"]
    share: Tensor = dy if p == 1 else b.Where(b.Greater(y, 0), b.Mul(dy, b.Pow(y, b.const(1.0 - p, y.dtype))), 0)
    return share


# -- maxima ------------------------------------------------------------------------------------------------------------


@rule("MaxPool", role="select")
def max_pool(b: Builder, call: Call, dy: Tensor, _: Tensor | None = None) -> Messages:
    """dx = Σ dy over the windows whose maximum an element is; of equal elements the first is the maximum."""
    x = call.x
    settings = {k: v for k, v in call.attributes.items() if k != "storage_order"}
    _, first = b.MaxPool(x, outputs=2, **settings)  # counted through the whole of x
    size = b.Unsqueeze(b.Size(x), [0])
    return b.reshape(geometry.add_elements(b, size, b.Reshape(first, [-1]), b.Reshape(dy, [-1]), 0), x)


@rule("GlobalMaxPool", role="select")
def global_max_pool(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy at the channel's first maximum, else 0"""
    x = call.x
    rows = b.Reshape(x, [0, 0, -1])
    first = b.ArgMax(rows, axis=2, keepdims=1)
    return b.reshape(geometry.add_elements(b, b.Shape(rows), first, b.Reshape(dy, [0, 0, 1]), 2), x)

