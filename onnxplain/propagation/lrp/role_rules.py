"""Relevance rules for everything that is no linear map with weights: sums, activations, products, softmax, norms, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from onnxplain.builder.builder import STABILIZER, Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.operands import positive
from onnxplain.propagation.rule import NamedRule, named

__all__ = [
    "deconvnet",
    "guided",
    "half",
    "move",
    "normalize",
    "pass_on",
    "proportional",
    "quantize",
    "scatter",
    "share",
    "share_positive",
    "signal",
    "softmax",
    "stop",
]


@named("pass", "R_x = R_y", "Bach et al. 2015, section 3: relevance passes nonlinearities unchanged", passes=True)
def pass_on(b: Builder, node: Node, *relevance: Tensor | None) -> Messages:
    """Hand the relevance of the first output on to the one live input of the same shape."""
    (live,) = _live(node, 1)
    arrived = next((r for r in relevance if r is not None), None)
    x = node.input(live)
    return _at(node, live, None if arrived is None else b.sum_to(arrived, x, node.y.shape))


@named("move", "R_x is R_y put back where it came from", "the gradient of a selection; winner takes all for maxima", passes=True)
def move(b: Builder, node: Node, *relevance: Tensor | None) -> Messages:
    """The operator's own gradient rule, for layout, selection, and maxima, where the winner takes all.

    Relevance y · m on elements y that are elements of x is x · m there.
    """
    rests = [b.cofactor(r, y) for r, y in zip(relevance, node.outputs, strict=False)]
    facts = b.spec(node).traits
    hands_on = bool(facts.moves_elements) or facts.selects_elements == "first"
    hands_on &= not any(t.is_sequence for t in (*node.inputs, *node.outputs) if t is not None)  # which no product takes
    if hands_on and all((m is None) == (r is None) for m, r in zip(rests, relevance, strict=False)):
        return _products(b, node, b.gradient(node, *rests))
    return tuple(b.gradient(node, *relevance))


def share(value: float = STABILIZER) -> NamedRule:
    """Proportional shares: each input gets the share that it contributes to the output.

    x · ∂y/∂x · R / y, for sums, means and other homogeneous functions.
    """

    def kept(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> list[Tensor]:
        return _of_constants(b, node, b.quotient(relevance, node.y, value))

    @named(
        "share",
        "R_x = x · ∂y/∂x · R / (y + ε sign y)",
        "Bach et al. 2015, eq. 56; residual sums and average pooling",
        factors_input=True,
        kept=kept,
    )
    def rule(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> Messages:
        return _contributions(b, node, b.quotient(relevance, node.y, value))

    return rule


def scatter(value: float = STABILIZER) -> NamedRule:
    """Scattering: what is overwritten or outdone gets nothing; what is added to an element shares it by contribution."""

    @named("scatter", "moved, or x · ∂y/∂x · R / (y + ε sign y) where it adds", "Bach et al. 2015, eq. 56, for sums")
    def rule(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> Messages:
        how = node.get("reduction", "none")
        if how == "mul":
            raise RuleError("it multiplies any number of factors, between which no relevance rule decides; choose a rule for it")
        if how == "add":
            return _contributions(b, node, b.quotient(relevance, node.y, value))
        return tuple(b.gradient(node, relevance))

    return rule


def share_positive(value: float = STABILIZER) -> NamedRule:
    """Proportional shares of the summands above zero alone, as under z⁺: summands that cancel then cannot explode."""

    def parts(b: Builder, node: Node, relevance: Tensor) -> tuple[Node, Tensor]:
        copy = b.replay(node, tuple(t if t is None else positive(b, t) for t in node.inputs))
        adds = b.spec(node).traits.keeps_nonnegative == "all"  # a difference of positive parts has any sign
        return copy, b.quotient(relevance, copy.y, value, "positive" if adds else "")

    def kept(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> list[Tensor]:
        return _of_constants(b, *parts(b, node, relevance))

    @named(
        "share-positive",
        "R_x = x⁺ / Σ x⁺ · R",
        "z⁺ with unit weights: Montavon et al. 2017, Deep Taylor Decomposition, the z⁺-rule",
        factors_input=True,
        kept=kept,
    )
    def rule(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> Messages:
        return _contributions(b, *parts(b, node, relevance))

    return rule


def half(value: float = STABILIZER) -> NamedRule:
    """Products of two live operands: each gets half of the relevance (the uniform rule of AttnLRP), shared by contribution."""

    @named("half", "R_a = a · ∂y/∂a · R / (2 y + ε sign y)", "Achtibat et al. 2024, AttnLRP", factors_input=True)
    def rule(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> Messages:
        live = sum(node.needs_input_grad(i) for i in range(len(node.inputs)))
        return _contributions(b, node, b.quotient(relevance, node.y, value, times=live))

    return rule


def signal(value: float = STABILIZER) -> NamedRule:
    """Products of a signal and a gate: the signal takes all relevance, and the gate counts as a constant."""

    @named(
        "signal",
        "R_signal = R_y, R_gate = 0",
        "Arras et al. 2017, Explaining Recurrent Network Predictions, section 3",
        passes=True,
        only=lambda node: (node.get(SIGNAL, 0),),
    )
    def rule(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> Messages:
        kept = node.get(SIGNAL, 0)
        of = node.parts[0] if node.parts else node
        # operators: the products of elements that a gate may be
        if of.op in ("Mul", "Div"):
            return _at(node, kept, b.sum_to(relevance, node.input(kept), node.y.shape))
        shares = _contributions(b, node, b.quotient(relevance, node.y, value))
        return _at(node, kept, shares[kept])

    return rule


SIGNAL = "signal"
"""The attribute of a compound gate node that says which input is the signal."""


@named("softmax", "R_x = x · (R_y − y · Σ R_y)", "Achtibat et al. 2024, AttnLRP", factors_input=True)
def softmax(b: Builder, node: Node, relevance: Tensor) -> Messages:
    """The Taylor expansion at the point itself, x · ∂y/∂x · R / y; masked scores (−∞) get none."""
    if node.op == "LogSoftmax":
        return _contributions(b, node, b.quotient(relevance, node.y, STABILIZER))
    rest = b.Sub(relevance, b.Mul(node.y, b.ReduceSum(relevance, [node["axis"]], keepdims=1)))
    return b.Where(b.IsInf(node.x), 0, b.Mul(node.x, rest))


def normalize(value: float = STABILIZER) -> NamedRule:
    """Norms: linear in their input once the statistic they divide by is taken for a constant."""

    def kept(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> list[Tensor]:
        return _of_constants(b, node, b.quotient(relevance, node.y, value))

    @named(
        "normalize",
        "R_x = x · ∂y/∂x · R / (y + ε sign y), statistics constant",
        "Achtibat et al. 2024, AttnLRP",
        factors_input=True,
        kept=kept,
    )
    def rule(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> Messages:
        message = b.quotient(relevance, node.y, value)
        return _at(node, 0, b.product(node.x, b.detached(node, message)))

    return rule


@named("stop", "R_x = 0", "relevance ends here", only=lambda node: ())
def stop(b: Builder, node: Node, *relevance: Tensor | None) -> Messages:
    """Block all relevance."""
    return (None,) * len(node.reads)


def proportional(value: float = STABILIZER) -> NamedRule:
    """Max pooling treated as average pooling: each element of a window gets its share of the window's sum."""

    @named(
        "proportional",
        "R_x = Σ x / Σ x over the window · R_y",
        "Montavon et al. 2017, Methods for Interpreting, section 5.2",
        factors_input=True,
    )
    def rule(b: Builder, node: Node, relevance: Tensor, *rest: Tensor | None) -> Messages:
        if node.op not in AVERAGES:
            raise RuleError(f"proportional pooling is for {' and '.join(AVERAGES)}")
        average = replace(node, op=AVERAGES[node.op], outputs=node.outputs[:1], attributes=_averaging(b, node))
        made = b.replay(average, average.inputs)
        return _contributions(b, made, b.quotient(relevance, made.y, value))

    return rule


# operators: the average over the same windows as a maximum
AVERAGES = {"MaxPool": "AveragePool", "GlobalMaxPool": "GlobalAveragePool"}


def _averaging(b: Builder, node: Node) -> dict[str, Any]:
    """The attributes of the average over a maximum's windows."""
    if node.op == "GlobalMaxPool":
        return {}
    kept = {k: v for k, v in node.attributes.items() if k not in ("storage_order", "dilations")}
    if any(d != 1 for d in node.get("dilations") or ()):
        if b.graph.opset < 19:
            raise RuleError(f"averages over dilated windows exist from opset 19 on, the model has {b.graph.opset}")
        kept["dilations"] = node["dilations"]
    return {**kept, "count_include_pad": 0}


@named("quantize", "R_x = R_y", "rounding and scaling are the identity on relevance")
def quantize(b: Builder, node: Node, *relevance: Tensor | None) -> Messages:
    """Relevance belongs to the number that an integer stands for."""
    return tuple(relevance[0] if i == 0 and node.needs_input_grad(0) else None for i in range(len(node.inputs)))


@named("guided", "dx = dy where x > 0 and dy > 0, else 0", "Springenberg et al. 2015, Striving for Simplicity, section 3.4")
def guided(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The gradient of the activation, where it and the message are above zero."""
    (live,) = _live(node, 1)
    return _at(node, live, b.gradient(node, b.Relu(dy))[live])


@named("deconvnet", "dx = dy where dy > 0, else 0", "Zeiler, Fergus 2014, Visualizing and Understanding Convolutional Networks")
def deconvnet(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The activation applied to the message."""
    (live,) = _live(node, 1)
    return _at(node, live, b.Relu(dy))


def _at(node: Node, index: int, message: Tensor | None) -> Messages:
    return tuple(message if i == index else None for i in range(len(node.inputs)))


def _live(node: Node, count: int) -> list[int]:
    live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
    if len(live) != count:
        raise RuleError(f"its relevance rule needs {count} live operand, found {len(live)}; choose another rule for it")
    return live


def _contributions(b: Builder, node: Node, message: Tensor) -> tuple[Tensor | None, ...]:
    """x · ∂y/∂x · message for every live input."""
    return _products(b, node, b.gradient(node, message))


def _of_constants(b: Builder, node: Node, message: Tensor) -> list[Tensor]:
    """x · ∂y/∂x · message for what is added and constant: summands, such as codes of positions, and the biases of norms."""
    spec = b.spec(node)
    added = [spec.traits.linear_in == "together" or i == spec.bias for i in range(len(node.inputs))]
    asked = tuple(added[i] and x is not None and not node.needs_input_grad(i) for i, x in enumerate(node.inputs))
    if not any(asked):
        return []
    return [r for r in _contributions(b, replace(node, needs_grad=asked), message) if r is not None]


def _products(b: Builder, node: Node, slopes: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """x · slope for every live input."""
    return tuple(
        None if slope is None or x is None else b.product(x, slope) for x, slope in zip(node.inputs, slopes, strict=True)
    )
