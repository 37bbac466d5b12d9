"""Reductions over axes and cumulative ones. Messages of the reduced output are stretched back over the reduced axes."""

from onnxplain import Builder, Call, Messages, Tensor, rule


@rule("ReduceSum", role="sum")
def reduce_sum(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy"""
    return b.expand(b.keepdims(dy, call), call.x), None


@rule("ReduceMean", role="sum")
def reduce_mean(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy / n, n elements in each mean"""
    n = b.count(call.x, b.ints(call.inputs[1]), call.y)
    return b.expand(b.keepdims(b.Div(dy, n), call), call.x), None


@rule("ReduceMax", "ReduceMin", role="select")
def reduce_extremum(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy / n at each of the n elements that are the extremum, else 0"""
    hit = b.Equal(call.x, b.keepdims(call.y, call))
    n = _sum(b, call, b.cast(hit, dy))
    return b.Where(hit, b.Div(b.keepdims(dy, call), n), 0), None


@rule("ReduceProd", role="function")
def reduce_prod(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy · the product of the others, also where some are zero"""
    zero = b.cast(b.Equal(call.x, 0), dy)
    x = b.Add(call.x, zero)  # zeros made ones
    product = b.ReduceProd(x, call.inputs[1], keepdims=1, noop_with_empty_axes=call["noop_with_empty_axes"])
    others = b.Div(product, x)
    alone = b.Equal(_sum(b, call, zero), zero)  # no zero among the others
    return b.Where(alone, b.Mul(b.keepdims(dy, call), others), 0), None


@rule("ReduceL1", role="function")
def reduce_l1(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy · sign x"""
    return b.Mul(b.keepdims(dy, call), b.Sign(call.x)), None


@rule("ReduceL2", role="function")
def reduce_l2(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy · x / y, 0 where y = 0"""
    y = b.keepdims(call.y, call)
    return b.Mul(b.keepdims(dy, call), b.Div(call.x, b.Where(b.Equal(y, 0), 1, y))), None


@rule("ReduceLogSum", role="function")
def reduce_log_sum(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy / eʸ"""
    return b.expand(b.keepdims(b.Div(dy, b.Exp(call.y)), call), call.x), None


@rule("ReduceLogSumExp", role="function")
def reduce_log_sum_exp(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy · e^(x − y)"""
    return b.Mul(b.keepdims(dy, call), b.Exp(b.Sub(call.x, b.keepdims(call.y, call)))), None


@rule("ReduceSumSquare", role="function")
def reduce_sum_square(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dx = dy · 2x"""
    return b.Mul(b.keepdims(dy, call), b.Mul(call.x, 2)), None


@rule("CumSum", role="sum")
def cumsum(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dxᵢ = Σ dyⱼ over the sums j that xᵢ is in: the cumulative sum from the other end"""
    return b.CumSum(dy, call.input(1), exclusive=call["exclusive"], reverse=1 - call["reverse"]), None


@rule("CumProd", role="function")
def cumprod(b: Builder, call: Call, dy: Tensor) -> Messages:
    """dxᵢ = Σ dyⱼ yⱼ / xᵢ over the products j that xᵢ is in; at the first zero yⱼ / xᵢ is the product of the others."""
    x, axis = call.input(0), call.input(1)
    exclusive, reverse, back = call["exclusive"], call["reverse"], 1 - call["reverse"]
    zero = b.Equal(x, 0)
    zeros = b.CumSum(b.cast(zero, dy), axis, reverse=reverse)
    first = b.And(zero, b.Equal(zeros, 1))
    others = b.CumProd(b.Where(first, 1, x), axis, exclusive=exclusive, reverse=reverse)
    at_first = b.CumSum(b.Mul(dy, others), axis, exclusive=exclusive, reverse=back)
    before = b.CumSum(b.Mul(dy, call.y), axis, exclusive=exclusive, reverse=back)
    return b.Where(b.Equal(zeros, 0), b.Div(before, b.Where(zero, 1, x)), b.Where(first, at_first, 0)), None


@rule("ArgMax", "ArgMin", role="zero")
def arg_extremum(b: Builder, call: Call, dy: Tensor | None) -> Messages:
    """dx = 0: the result is an index"""
    return None


def _sum(b: Builder, call: Call, x: Tensor) -> Tensor:
    """The sum over the axes the call reduces, kept as axes of extent 1."""
    return b.ReduceSum(x, call.inputs[1], keepdims=1, noop_with_empty_axes=call["noop_with_empty_axes"])
