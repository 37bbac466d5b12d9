"""DeepLIFT through quantization: rounding counts as the identity, saturation as the clipping that it is.

A multiplier on integers is per integer step, as the derivatives of the operators' own rules are. What rounding does to the change
of the score belongs to no input; `delta` reports it.
"""

from __future__ import annotations

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import change, reference_of
from onnxplain.propagation.rule import named

__all__ = ["rounding", "written_out"]


@named("rounding", "m_x = m_y · Δ clip(x) / (s Δx)", "rounding as the identity, saturation by Rescale")
def rounding(b: Builder, node: Node, *m: Tensor | None) -> Messages:
    """Real numbers as integers with a scale, and back."""
    if node.op == "DequantizeLinear" and not node.needs_input_grad(0):  # linear in the scale
        return tuple(b.gradient(node, *m))
    if m[0] is None:
        raise RuleError("its scale is an output that the explained score depends on; DeepLIFT takes its integers only")
    if node.op != "QuantizeLinear":  # nothing saturates: the range follows the numbers, or there is none
        return _first(node, b.gradient(node, *m)[0])
    if b.reference(node.input(1)) != node.input(1):
        raise RuleError("its scale depends on what is explained; DeepLIFT compares integers of one scale")
    if not node.needs_input_grad(0):
        return (None,) * len(node.reads)
    return _first(node, b.Mul(b.cast(m[0], node.x), _secant(b, node)))


@named("written-out", "m to what an operator approximates", "the operator itself stays for the prediction")
def written_out(b: Builder, node: Node, m: Tensor) -> Messages:
    """An approximation that stands for what it approximates: what it rounds belongs to no input."""
    return tuple(b.gradient(node, m))


def _secant(b: Builder, node: Node) -> Tensor:
    """The slope of clip(x) / s between here and the baseline: 1/s where both ends lie in the range of the integers.

    Else it is that of the integers, which rounding cannot raise above 1/s.
    """
    ones = b.full_like(node.x, 1)
    here, there = (b.gradient(each, ones)[0] for each in (node, reference_of(b, node)))
    if here is None or there is None:
        raise RuleError("its own rule sends nothing to what it quantizes")
    dx = change(b, node.x)
    steps = b.Sub(b.cast(node.y, dx), b.cast(b.reference(node.y), dx))
    least, most = b.Min(here, there), b.Max(here, there)
    plain = b.Where(b.Equal(dx, 0), 0, b.Div(steps, b.Where(b.Equal(dx, 0), 1, dx)))
    between: Tensor = b.Where(b.Greater(most, 0), b.Min(plain, most), plain)
    return b.Where(b.Greater(least, 0), least, between)


def _first(node: Node, message: Tensor | None) -> Messages:
    return tuple(message if i == 0 else None for i in range(len(node.reads)))
