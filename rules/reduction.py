"""Reductions over axes and cumulative ones. Messages of the reduced output are stretched back over the reduced axes."""

from onnxplain import Builder, Messages, Node, Tensor, rule


@rule("ReduceSum", role="sum")
def reduce_sum(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy"""
    return b.expand(b.keepdims(dy, node), node.x), None


@rule("ReduceMean", role="sum")
def reduce_mean(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / n, n elements in each mean"""
    n = b.count(node.x, b.ints(node.inputs[1]), node.y)
    return b.expand(b.keepdims(b.Div(dy, n), node), node.x), None


@rule("ReduceMax", "ReduceMin", role="select")
def reduce_extremum(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / n at each of the n elements that are the extremum, else 0"""
    hit = b.Equal(node.x, b.keepdims(node.y, node))
    n = _sum(b, node, b.cast(hit, dy))
    return b.Where(hit, b.Div(b.keepdims(dy, node), n), 0), None


@rule("ReduceProd", role="function")
def reduce_prod(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · the product of the others, also where some are zero"""
    zero = b.cast(b.Equal(node.x, 0), dy)
    x = b.Add(node.x, zero)  # zeros made ones
    product = b.ReduceProd(x, node.inputs[1], keepdims=1, noop_with_empty_axes=node["noop_with_empty_axes"])
    others = b.Div(product, x)
    alone = b.Equal(_sum(b, node, zero), zero)  # no zero among the others
    return b.Where(alone, b.Mul(b.keepdims(dy, node), others), 0), None


@rule("ReduceL1", role="function")
def reduce_l1(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · sign x"""
    return b.Mul(b.keepdims(dy, node), b.Sign(node.x)), None


@rule("ReduceL2", role="function")
def reduce_l2(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · x / y, 0 where y = 0"""
    y = b.keepdims(node.y, node)
    return b.Mul(b.keepdims(dy, node), b.Div(node.x, b.Where(b.Equal(y, 0), 1, y))), None


@rule("ReduceLogSum", role="function")
def reduce_log_sum(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / eʸ"""
    return b.expand(b.keepdims(b.Div(dy, b.Exp(node.y)), node), node.x), None


@rule("ReduceLogSumExp", role="function")
def reduce_log_sum_exp(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · e^(x − y)"""
    return b.Mul(b.keepdims(dy, node), b.Exp(b.Sub(node.x, b.keepdims(node.y, node)))), None


@rule("ReduceSumSquare", role="function")
def reduce_sum_square(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · 2x"""
    return b.Mul(b.keepdims(dy, node), b.Mul(node.x, 2)), None


@rule("CumSum", role="sum")
def cumsum(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dxᵢ = Σ dyⱼ over the sums j that xᵢ is in: the cumulative sum from the other end"""
    return b.CumSum(dy, node.input(1), exclusive=node["exclusive"], reverse=1 - node["reverse"]), None


@rule("CumProd", role="function")
def cumprod(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dxᵢ = Σ dyⱼ yⱼ / xᵢ over the products j that xᵢ is in; at the first zero yⱼ / xᵢ is the product of the others."""
    x, axis = node.input(0), node.input(1)
    exclusive, reverse, back = node["exclusive"], node["reverse"], 1 - node["reverse"]
    zero = b.Equal(x, 0)
    zeros = b.CumSum(b.cast(zero, dy), axis, reverse=reverse)
    first = b.And(zero, b.Equal(zeros, 1))
    others = b.CumProd(b.Where(first, 1, x), axis, exclusive=exclusive, reverse=reverse)
    at_first = b.CumSum(b.Mul(dy, others), axis, exclusive=exclusive, reverse=back)
    before = b.CumSum(b.Mul(dy, node.y), axis, exclusive=exclusive, reverse=back)
    return b.Where(b.Equal(zeros, 0), b.Div(before, b.Where(zero, 1, x)), b.Where(first, at_first, 0)), None


@rule("ArgMax", "ArgMin", role="zero")
def arg_extremum(b: Builder, node: Node, dy: Tensor | None) -> Messages:
    """dx = 0: the result is an index"""
    return None


def _sum(b: Builder, node: Node, x: Tensor) -> Tensor:
    """The sum over the axes the node reduces, kept as axes of extent 1."""
    return b.ReduceSum(x, node.inputs[1], keepdims=1, noop_with_empty_axes=node["noop_with_empty_axes"])
