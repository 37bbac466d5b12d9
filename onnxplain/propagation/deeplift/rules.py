"""DeepLIFT: rules that see each node and its reference, the same node at the baseline.

A message is a multiplier m: what the explained score changes per change of a tensor since the baseline. Every rule sends
multipliers that add up: the inputs' changes times theirs are the outputs' changes times theirs, Σ m_x · Δx = Σ m_y · Δy, so
that the attributions m · Δx of the inputs sum to the change of the score (summation to delta).

For a linear map the multipliers are its gradient, for a function of one element Δy/Δx (the Rescale rule), for a product the
gradient at the mean of here and baseline: Δ(ab) = ā Δb + b̄ Δa. A quotient y = a/d is the product a = y · d solved for Δy, which
stays bounded where d is tiny at the baseline. Everything else is made of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.operands import whole_power
from onnxplain.propagation.rule import named

__all__ = [
    "PAPER",
    "average",
    "change",
    "gated_product",
    "linear",
    "maximum",
    "mean",
    "midpoint",
    "only",
    "only_live",
    "quotient",
    "reference_of",
    "rescale",
    "secant",
    "slope",
]

PAPER = "Shrikumar, Greenside, Kundaje 2017, Learning Important Features Through Propagating Activation Differences"

# -- references -------------------------------------------------------------------------------------------------------------


def reference_of(b: Builder, node: Node) -> Node:
    """The node at the baseline: the same operator, reading what its inputs are there."""

    def there(tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        return tuple(None if t is None else b.reference(t) for t in tensors)

    return replace(
        node, inputs=there(node.inputs), outputs=there(node.outputs), parts=tuple(reference_of(b, part) for part in node.parts)
    )


def change(b: Builder, x: Tensor) -> Tensor:
    """Δx: a tensor less its value at the baseline."""
    return b.Sub(x, b.reference(x))


def mean(b: Builder, x: Tensor) -> Tensor:
    """The mean of a tensor and its value at the baseline; the tensor itself where these are the same."""
    if b.reference(x) == x or not x.is_float:
        return x
    return b.Mul(b.Add(x, b.reference(x)), 0.5)


# -- functions of each element alone -----------------------------------------------------------------------------------


def slope(b: Builder, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, g: Tensor, g0: Tensor) -> Tensor:
    """Δy/Δx; where rounding would make that worse, the mean of the derivatives g and g0 at both ends.

    Rounding moves Δy by about ε(|y| + |y0|), and the mean of the derivatives is off by about half their difference. They do not
    count where Δy, or what they say of it, is far larger than its rounding: a function may be as flat at both ends of a step.
    """
    eps = float(np.finfo(x.dtype if x.dtype is not None and x.dtype.kind == "f" else np.float32).eps)
    small = eps ** (2 / 3)
    dx, dy = b.Sub(x, x0), b.Sub(y, y0)
    bend = b.Mul(b.Abs(b.Sub(g, g0)), 0.5)
    steep = b.Mul(b.Max(b.Abs(g), b.Abs(g0)), small)
    rounding = b.Mul(b.Add(b.Abs(y), b.Abs(y0)), eps)
    near = b.GreaterOrEqual(rounding, b.Max(b.Mul(b.Abs(dx), b.Max(bend, steep)), b.Mul(b.Abs(dy), small)))
    ends = b.Mul(b.Add(g, g0), 0.5)
    return b.Where(near, ends, b.Div(dy, dx))


def exact_slope(b: Builder, x: Tensor, x0: Tensor, y: Tensor, y0: Tensor, g0: Tensor) -> Tensor:
    """Δy/Δx, and the derivative g0 at the baseline where x is there."""
    return b.Where(b.Equal(x, x0), g0, b.Div(b.Sub(y, y0), b.Sub(x, x0)))


def secant(b: Builder, node: Node, other: Node) -> Tensor:
    """The slope of a function of one live operand between the node and the same node at the baseline."""
    index = only_live(node)
    x, x0 = node.input(index), other.input(index)
    if x.shape is not None and node.y.shape is not None and len(x.shape) != len(node.y.shape):
        raise RuleError("a constant operand makes the result larger than its live one; multiply by ones of that shape first")

    def derivative(at: Node) -> Tensor:
        found = b.gradient(at, b.full_like(node.y, 1))[index]
        return b.zeros_like(x) if found is None else found

    if b.spec(node).traits.piecewise_linear and not node.parts:  # evaluated without rounding: Δy/Δx is right however small Δx
        return exact_slope(b, x, x0, node.y, other.y, derivative(other))
    made = slope(b, x, x0, node.y, other.y, derivative(node), derivative(other))
    if not any(_is_root(b, part) for part in node.parts or (node,)):
        return made
    # Where the derivatives are infinite the plain quotient stands, and 0 where nothing changes.
    dx = b.Sub(x, x0)
    same = b.Equal(dx, 0)
    plain = b.Where(same, 0, b.Div(b.Sub(node.y, other.y), dx))
    finite = b.Equal(b.Sub(made, made), 0)
    return b.Where(finite, made, plain)


def _is_root(b: Builder, node: Node) -> bool:
    """Whether a function may be finite where its derivative is not."""
    return node.op == "Sqrt" or (node.op == "Pow" and not whole_power(b, node.input(1)))


@named("rescale", "m_x = m_y · Δy/Δx", f"{PAPER}, section 3.5.1")
def rescale(b: Builder, node: Node, m: Tensor, *rest: Tensor | None) -> Messages:
    """Functions of each element alone, activations written in several operators among them."""
    return only(node, b.Mul(m, secant(b, node, reference_of(b, node))))


# -- linear maps and products ------------------------------------------------------------------------------------------


@named("linear", "m_x = Wᵀ · m_y", f"{PAPER}, section 3.5.1")
def linear(b: Builder, node: Node, *m: Tensor | None) -> Messages:
    """The gradient, for operators that are linear in all their live operands together."""
    live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
    spec = b.spec(node)
    facts = spec.traits
    jointly = facts.linear_in == "together" or facts.moves_elements == "all" or facts.selects_elements == "all"
    if not (jointly or facts.multiplies) and not set(live) <= {0, spec.bias} and (len(live) > 1 or spec.weight not in live):
        raise RuleError(f"DeepLIFT has no rule for it with live operands {live}: it is linear in the first only")
    if node.op == "RoiAlign" and node["mode"] == "max":
        raise RuleError("DeepLIFT has no rule for its maxima over interpolated points; export it with averages")
    reduction = node.get("reduction", "none")
    if reduction not in ("none", "add", "max", "min"):
        raise RuleError(f"DeepLIFT has no rule for its reduction '{reduction}'; export it as a product of what is gathered")
    if node.get("post_transform", "NONE") != "NONE":
        raise RuleError(f"DeepLIFT has no rule for its post_transform {node['post_transform']}; export it without")
    for i, x in enumerate(node.reads):
        if x is not None and not node.needs_input_grad(i) and b.reference(x) != x:
            raise RuleError(
                f"its input {i} ('{x.name}') changes with what is explained, in a way that has no multiplier (an index, a shape, "
                "a rounded value); explain a tensor behind it (--layer)"
            )
    if reduction in ("max", "min"):
        assert m[0] is not None
        return maximum(b, node, m[0])
    return tuple(b.gradient(node, *m))


@named("midpoint", "m_x = ∂y/∂x · m_y with operands and result at the mean of here and baseline", "Δ(ab) = ā Δb + b̄ Δa")
def midpoint(b: Builder, node: Node, *m: Tensor | None) -> Messages:
    """Products, other quadratic functions, and roots of such, whose gradients have y in the denominator."""
    live = sum(node.needs_input_grad(i) for i in range(len(node.inputs)))
    if node.op == "Einsum" and live > 2:
        raise RuleError(f"a product of {live} live operands; multiply two at a time")

    def half_way(tensors: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        return tuple(None if t is None else mean(b, t) for t in tensors)

    return tuple(b.gradient(replace(node, inputs=half_way(node.inputs), outputs=half_way(node.outputs)), *m))


@named("quotient", "m_a = m_y / d̄, m_d = − m_y · ȳ / d̄", "a = y · d, a product: Δa = d̄ Δy + ȳ Δd")
def quotient(b: Builder, node: Node, m: Tensor) -> Messages:
    """Division. Where the divisor changes its sign the mean of its reciprocals stands for 1/d̄, as in a product with 1/d."""
    over, under = node.input(0), node.input(1)
    below = b.reference(under)
    if below == under:
        return b.gradient(node, m)[0], None
    plain = b.Reciprocal(mean(b, under))
    rate, shift = plain, b.Mul(plain, mean(b, node.y))
    if not b.nonnegative(under):
        same = b.Greater(b.Mul(b.Sign(under), b.Sign(below)), 0)
        rate = b.Where(same, rate, b.Mul(b.Add(b.Reciprocal(under), b.Reciprocal(below)), 0.5))
        shift = b.Where(same, shift, b.Div(b.Div(mean(b, over), under), below))
    upper = b.sum_to(b.Mul(m, rate), over, node.y.shape) if node.needs_input_grad(0) else None
    lower = b.sum_to(b.Neg(b.Mul(m, shift)), under, node.y.shape) if node.needs_input_grad(1) else None
    return upper, lower


@named("statistic", "m_x = m_y · 2 s s₀ / (s + s₀), m_s = m_y · ȳ / s̄", "x = y · (1/s), a product: as a quotient by 1/s")
def scaled(b: Builder, node: Node, m: Tensor) -> Messages:
    """A product with a statistic of one sign, such as 1/σ, which may be huge at one end; else as any product."""
    kept = node["signal"]
    x, s = node.input(kept), node.input(1 - kept)
    s0 = b.reference(s)
    same = b.Greater(b.Mul(b.Sign(s), b.Sign(s0)), 0)
    total = b.Where(same, b.Add(s, s0), 1)
    rate = b.Where(same, b.Mul(b.Div(s, total), b.Mul(s0, 2)), mean(b, s))
    shift = b.Where(same, b.Div(b.Add(node.y, b.reference(node.y)), total), mean(b, x))
    messages = {kept: b.sum_to(b.Mul(m, rate), x, node.y.shape), 1 - kept: b.sum_to(b.Mul(m, shift), s, node.y.shape)}
    return messages[0], messages[1]


@named("product", "m_a = m_y · b̄, or as a quotient where one factor is a statistic", "Δ(ab) = ā Δb + b̄ Δa")
def gated_product(b: Builder, node: Node, m: Tensor) -> Messages:
    """What canonization marks as a product of a signal and a gate, or a division by a statistic."""
    whole = replace(node.parts[0], needs_grad=node.needs_grad)
    if whole.op == "Div":
        return quotient(b, whole, m)
    return scaled(b, node, m) if node.op == "Normalize" else midpoint(b, whole, m)


@named("average", "m_x = (∂y/∂x + ∂y/∂x at the reference)/2 · m_y", "a choice taken half as here and half as at the baseline")
def average(b: Builder, node: Node, *m: Tensor | None) -> Messages:
    """Selection by a condition. The effect of a change in the condition belongs to no operand; `delta` reports it."""
    condition = node.input(0)
    here = b.gradient(node, *m)
    if b.reference(condition) == condition:
        return tuple(here)
    there = b.gradient(reference_of(b, node), *m)
    return tuple(None if h is None or t is None else b.Mul(b.Add(h, t), 0.5) for h, t in zip(here, there, strict=True))


# -- maxima ------------------------------------------------------------------------------------------------------------


@named(
    "maximum", "Δy to the maximum here where y grew (|Δy| ≤ |Δx| there), to that at the baseline where it fell; m_x = share / Δx",
    "as DeepExplainer and Captum do for max pooling",
)  # fmt: skip
def maximum(b: Builder, node: Node, m: Tensor, *rest: Tensor | None) -> Messages:
    """Maxima and minima over windows, axes or operands, those of a scatter among them."""
    other = reference_of(b, node)
    dy = change(b, node.y)
    lowest = node.op.endswith("Min") or node.get("reduction") == "min"
    own = b.Less(dy, 0) if lowest else b.Greater(dy, 0)
    share = b.Mul(m, dy)
    here = b.gradient(node, b.Where(own, share, 0))
    there = b.gradient(other, b.Where(own, 0, share))
    plain = b.gradient(node, m)
    sent: list[Tensor | None] = []
    for x, a, c, g in zip(node.inputs, here, there, plain, strict=True):
        if x is None or a is None or c is None or g is None:
            sent.append(None)
            continue
        dx = change(b, x)
        same = b.Equal(dx, 0)
        sent.append(b.Where(same, g, b.Div(b.Add(a, c), dx)))
    return tuple(sent)


# -- helpers -----------------------------------------------------------------------------------------------------------


def only_live(node: Node) -> int:
    """The position of the one live operand."""
    live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
    if len(live) != 1:
        raise RuleError(f"DeepLIFT has no rule for this function of {len(live)} live operands; write it in smaller ones")
    return live[0]


def only(node: Node, message: Tensor) -> Messages:
    """The message of the one live operand."""
    index = only_live(node)
    return tuple(message if i == index else None for i in range(len(node.inputs)))
