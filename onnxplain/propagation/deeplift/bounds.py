"""DeepLIFT of Clip whose bounds change with the input: a minimum of a maximum."""

from __future__ import annotations

from onnxplain.builder.builder import Builder
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import change, maximum
from onnxplain.propagation.rule import named

__all__ = ["bounded"]


@named("bounded", "as the maximum with the lower bound, then the minimum with the upper one", maximum.source)
def bounded(b: Builder, node: Node, m: Tensor) -> Messages:
    """Multipliers of x and of the bounds of y = min(max(x, low), high)."""
    x, low, high = node.input(0), *(node.inputs[i] if i < len(node.inputs) else None for i in (1, 2))
    at, at0 = x, b.reference(x)
    if low is not None:
        at, at0 = b.Max(x, low), b.Max(at0, b.reference(low))
    of_x, of_low, of_high = m, None, None
    if high is not None:
        here, there, dy = b.LessOrEqual(at, high), b.LessOrEqual(at0, b.reference(high)), change(b, node.y)
        takes = _either(b, b.Less(dy, 0), here, there)
        of_high = _of_bound(b, of_x, dy, high, takes, here) if node.needs_input_grad(2) else None
        of_x = _of_value(b, of_x, dy, b.Sub(at, at0), takes, here)
    if low is not None:
        here, there, dy = b.GreaterOrEqual(x, low), b.GreaterOrEqual(b.reference(x), b.reference(low)), b.Sub(at, at0)
        takes = _either(b, b.Greater(dy, 0), here, there)
        of_low = _of_bound(b, of_x, dy, low, takes, here) if node.needs_input_grad(1) else None
        of_x = _of_value(b, of_x, dy, change(b, x), takes, here)
    return of_x, of_low, of_high


def _of_value(b: Builder, m: Tensor, dy: Tensor, dx: Tensor, takes: Tensor, here: Tensor) -> Tensor:
    """The value's multiplier: the change of y over its own where it `takes` that; where it did not change, the gradient."""
    same = b.Equal(dx, 0)
    return b.Where(same, b.Where(here, m, 0), b.Div(b.Where(takes, b.Mul(m, dy), 0), b.Where(same, 1, dx)))


def _of_bound(b: Builder, m: Tensor, dy: Tensor, bound: Tensor, takes: Tensor, here: Tensor) -> Tensor:
    """The bound's multiplier: the changes that the value does not take, over its own."""
    step = change(b, bound)
    same = b.Equal(step, 0)
    moved = b.Div(b.sum_to(b.Where(takes, 0, b.Mul(m, dy)), bound, dy.shape), b.Where(same, 1, step))
    return b.Where(same, b.sum_to(b.Where(here, 0, m), bound, dy.shape), moved)


def _either(b: Builder, condition: Tensor, yes: Tensor, no: Tensor) -> Tensor:
    """One of two truth values; ONNX Runtime has no Where for them."""
    return b.Or(b.And(condition, yes), b.And(b.Not(condition), no))
