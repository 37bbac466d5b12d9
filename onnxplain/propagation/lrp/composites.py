"""The composites of the literature, built from rules for linear layers over one base for everything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from onnxplain.ir.registry import Rule
from onnxplain.propagation.composite import Composite, NodePattern
from onnxplain.propagation.lrp import linear_rules as lrp
from onnxplain.propagation.lrp.linear_rules import STABILIZER, Bias, LinearRule
from onnxplain.propagation.lrp.role_rules import (
    half,
    move,
    normalize,
    pass_on,
    quantize,
    scatter,
    share,
    share_positive,
    signal,
    softmax,
    stop,
)

__all__ = ["Sums", "attention", "base", "layered", "modified_backprop", "uniform"]

# operators of this file: which rule serves which is a composite's choice, and no fact

CONVOLUTIONS = ("Conv", "ConvTranspose")

SAMPLERS = ("GridSample", "RoiAlign", "DeformConv")
"""What reads an image at places that may depend on the input too: the image is the signal, the places are its gate."""

Sums: TypeAlias = Literal["contribution", "positive"]
"""How a sum of live tensors shares relevance: by contribution, or among summands above zero only."""

HOMOGENEOUS = ("LpPool", "GlobalLpPool", "ReduceL1", "ReduceL2")
"""Functions with f(a·x) = a·f(x) for a > 0, so that contributions x · ∂f/∂x add up to f."""

EXPANDED = (
    *("LSTM", "GRU", "RNN", "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger"),
    *("ai.onnx.ml.LinearClassifier", "ai.onnx.ml.LinearRegressor"),
)
"""Operators that relevance goes through in smaller ones."""


def base(value: float = STABILIZER, sums: Sums = "contribution") -> list[tuple[NodePattern, Rule]]:
    """What serves everything that is no linear layer.

    Sums and averages share by contribution, activations pass relevance on, layout and selection move it (winner takes all),
    of a signal and its gate the signal takes all, other products of live operands give half to each, softmax and norms are
    treated as in AttnLRP. With `sums` "positive" only summands above zero get a share, as under z⁺.
    """
    shares = [(NodePattern(operators=("Add", "Sum", "Mean")), share_positive(value))] if sums == "positive" else []
    return [
        *shares,
        (NodePattern(operators=("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")), quantize),
        (NodePattern(traits=("weightless",)), lrp.epsilon(value)),
        (NodePattern(operators=HOMOGENEOUS), share(value)),
        (NodePattern(operators=SAMPLERS), signal(value)),
        (NodePattern(roles=("sum",)), share(value)),
        (NodePattern(roles=("elementwise", "scale")), pass_on),
        (NodePattern(operators=("ScatterElements", "ScatterND")), scatter(value)),
        (NodePattern(roles=("layout", "select", "control")), move),
        (NodePattern(operators=("onnxplain.Attend", "onnxplain.GatedUnit")), half(value)),
        (NodePattern(roles=("gate",)), signal(value)),
        (NodePattern(operators=("Div",)), signal(value)),
        (NodePattern(roles=("bilinear", "product")), half(value)),
        (NodePattern(roles=("softmax",)), softmax),
        (NodePattern(roles=("norm",)), normalize(value)),
    ]


def layered(
    name: str,
    *,
    convolution: LinearRule,
    dense: LinearRule,
    first: Rule | None = None,
    value: float = STABILIZER,
    sums: Sums = "contribution",
    more: Sequence[tuple[NodePattern, Rule]] = (),
) -> Composite:
    """A composite by kind of linear layer: one rule for the first, one for convolutions, one for dense layers."""
    entries: list[tuple[NodePattern, Rule]] = list(more)
    if first is not None:
        entries.append((NodePattern(first=True), first))
    entries.append((NodePattern(operators=CONVOLUTIONS, roles=("linear",)), convolution))
    entries.append((NodePattern(traits=("weightless",)), lrp.epsilon(value)))
    entries.append((NodePattern(roles=("linear",)), dense))
    return Composite(name, (*entries, *base(value, sums)), canonize=True, norms=True, strict=True, expands=EXPANDED, float32=True)


def uniform(
    name: str, rule: LinearRule, first: Rule | None = None, value: float = STABILIZER, sums: Sums = "contribution"
) -> Composite:
    """A composite with one rule for all linear layers, but for the first if that has its own."""
    return layered(name, convolution=rule, dense=rule, first=first, value=value, sums=sums)


def attention(name: str, value: float, bias: Bias, *, constant_attention: bool) -> Composite:
    """AttnLRP, and CP-LRP, which takes attention weights and gates for constants."""
    rule = lrp.epsilon(value, bias)
    more: list[tuple[NodePattern, Rule]] = []
    if constant_attention:
        constant = NodePattern(operators=("onnxplain.Attend", "onnxplain.GatedUnit"))
        more += [(NodePattern(roles=("softmax",)), stop), (constant, signal(value))]
    return layered(name, convolution=rule, dense=rule, value=value, more=more)


def modified_backprop(name: str, rule: Rule) -> Composite:
    """Gradients, but for activations that let through what is above zero."""
    return Composite(name, ((NodePattern(traits=("lets_through",)), rule),), canonize=True, expands=())
