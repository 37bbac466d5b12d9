"""Layer-wise relevance propagation through linear maps: rules as data, one generic replay.

A linear map is applied again to parts of its input x, weights w and bias β (only positive ones, squared ones, …). Relevance
R on its output is divided by the replayed output z and sent back by the operator's own gradient rule:

    R_x = Σ over groups: weight · Σ over branches: ± x′ · ∇_w′ (R / Σ ± z(x′, w′, β′))

so no rule knows what a convolution is. Denominators are stabilized as z + ε · sign(z) with sign(0) = +1, so nothing finite
becomes infinite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from onnxplain.builder.builder import STABILIZER, Builder
from onnxplain.builder.factored_relevance import Sign
from onnxplain.errors import MethodError, RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.operands import LinearOperands, negative, operands, positive
from onnxplain.propagation.rule import RelevanceRule

__all__ = [
    "BIASES",
    "STABILIZER",
    "Branch",
    "Group",
    "LinearRule",
    "Part",
    "alpha_beta",
    "box",
    "epsilon",
    "flat",
    "gamma",
    "w_square",
    "z_plus",
]

Bias: TypeAlias = Literal["absorb", "ignore", "distribute"]

BIASES = {
    "absorb": "the bias keeps its share of the relevance",
    "ignore": "the bias is left out of the denominator; the inputs share everything",
    "distribute": "the bias's share is spread evenly over the inputs of each output (Bach et al. 2015, eq. 58)",
}
"""What can become of the relevance that a bias contributed to."""

Part: TypeAlias = "Callable[[Builder, Tensor], Tensor | None]"
"""A part of an operand: the tensor itself, its positive values, …; None for "left out"."""


def whole(b: Builder, t: Tensor) -> Tensor:
    """The tensor itself."""
    return t


def squared(b: Builder, t: Tensor) -> Tensor:
    """The squared elements."""
    return b.Mul(t, t)


def ones(b: Builder, t: Tensor) -> Tensor:
    """1 everywhere."""
    return b.full_like(t, 1)


def none(b: Builder, t: Tensor) -> None:
    """Leave the tensor out."""


SIGNS: dict[Part, int] = {positive: 1, squared: 1, ones: 1, negative: -1}
"""The sign of the parts that have one."""


def favoured(part: Part, factor: float) -> Part:
    """The tensor with one part of it added once more, times a factor: t + factor · part(t)."""

    def made(b: Builder, t: Tensor) -> Tensor:
        more = part(b, t)
        return t if more is None else b.Add(t, b.Mul(more, factor))

    return made


@dataclass(frozen=True)
class Branch:
    """One replay: which part of input, weights and bias, and the sign of its contribution."""

    x: Part
    w: Part
    bias: Part
    sign: int = 1

    def sign_of(self, b: Builder, x: Tensor, *, biased: bool) -> Sign:
        """What is known of what it contributes, given its part of the input."""
        signs = [1 if b.nonnegative(x) else SIGNS.get(self.x, 0), SIGNS.get(self.w, 0)]
        product = self.sign * signs[0] * signs[1]
        added = product if self.bias is none or not biased else self.sign * SIGNS.get(self.bias, 0)
        return "" if product == 0 or added != product else "positive" if product > 0 else "negative"


@dataclass(frozen=True)
class Group:
    """Branches that share a denominator, and the weight of what they send. `where` takes only outputs of that sign."""

    branches: tuple[Branch, ...]
    weight: float = 1.0
    where: Literal["", "positive", "negative"] = ""


Branches: TypeAlias = Sequence[tuple[Branch, Node]]
"""Branches with the replays of their call."""


@dataclass(frozen=True)
class LinearRule(RelevanceRule):
    """A relevance rule for linear maps. Called as every rule: `(b, node, R) -> R of the needs_grad input`."""

    name: str
    formula: str
    source: str
    groups: tuple[Group, ...]
    epsilon: float = STABILIZER
    bias: Bias = "absorb"

    def __call__(self, b: Builder, node: Node, *messages: Tensor | None) -> Messages:
        """The relevance of the live input."""
        node, places = self._operands(b, node)
        sent: list[Tensor] = []
        for group, made, share in self._shares(b, node, places, messages[0]):
            sent += self._sent(b, node, places, group, made, share)
        shares: list[Tensor | None] = [None] * len(node.inputs)
        shares[places.x] = b.total(sent) if sent else b.zeros_like(node.input(places.x))
        return tuple(shares)

    def bias_relevance(self, b: Builder, node: Node, *messages: Tensor | None) -> list[Tensor]:
        """The shares of the bias, group by group. The operators that the rule itself emitted are found again, not doubled."""
        node, places = self._operands(b, node)
        if (places.bias is None and places.w is not None) or self.bias == "distribute":
            return []
        shares = self._shares(b, node, places, messages[0])
        return [_scaled(b, b.Mul(share, _of_bias(b, places, made)), group.weight) for group, made, share in shares]

    @property
    def factors_input(self) -> bool:
        """Whether an input that is zero gets nothing."""
        parts = [branch.x for group in self.groups for branch in group.branches]
        return self.bias != "distribute" and all(part in (whole, positive, negative) for part in parts)

    @property
    def for_linear_maps(self) -> bool:
        """It serves linear maps alone."""
        return True

    @property
    def splits_weights(self) -> bool:
        """Whether a branch takes other weights than the node's own."""
        return any(branch.w is not whole for group in self.groups for branch in group.branches)

    def _operands(self, b: Builder, node: Node) -> tuple[Node, LinearOperands]:
        """The node as the rule sees it, and where its operands stand."""
        places = operands(b, node, self.splits_weights)
        return (_unscaled(b, node, places) if self.splits_weights else node), places

    def _shares(
        self, b: Builder, node: Node, places: LinearOperands, relevance: Tensor | None
    ) -> Iterator[tuple[Group, Branches, Tensor]]:
        """Group by group the branches that are not provably zero, and the relevance per unit of what they give together."""
        assert relevance is not None
        for group in self.groups:
            made = [(branch, copy) for branch in group.branches if (copy := self._replayed(b, node, places, branch)) is not None]
            if not made or (group.where == "negative" and b.rectified(node.y)):
                continue
            share = self._divided(b, node, places, made, self._sign(b, places, group, made), relevance)
            if group.where and not b.rectified(node.y):
                outside = b.Less(node.y, 0) if group.where == "positive" else b.GreaterOrEqual(node.y, 0)
                share = b.Where(outside, 0, share)
            yield group, made, share

    def _sent(self, b: Builder, node: Node, places: LinearOperands, group: Group, made: Branches, share: Tensor) -> list[Tensor]:
        """What a group sends to the input."""
        sent = [
            b.product(copy.input(places.x), _back(b, copy, places, share, group.weight * branch.sign)) for branch, copy in made
        ]
        if places.bias is not None and self.bias == "distribute":
            of_bias = b.Mul(share, _of_bias(b, places, made))
            sent.append(_scaled(b, _spread(b, node, places, of_bias), group.weight))
        return sent

    def _sign(self, b: Builder, places: LinearOperands, group: Group, made: Sequence[tuple[Branch, Node]]) -> Sign:
        """What is known of a group's denominator."""
        signs = {branch.sign_of(b, copy.input(places.x), biased=self._biased(places)) for branch, copy in made}
        if signs in ({"positive"}, {"negative"}):
            return signs.pop()
        if group.where and self._biased(places) == (places.bias is not None):  # it has the sign of the output there
            return "rectified" if group.where == "positive" else "capped"
        return ""

    def _divided(
        self, b: Builder, node: Node, places: LinearOperands, made: Sequence[tuple[Branch, Node]], sign: Sign, relevance: Tensor
    ) -> Tensor:
        """R / (z + ε·sign z). Where the sign is known, the bias of a replay takes ε: one operator less."""
        (branch, first), *others = made
        epsilon = self.epsilon or STABILIZER
        shift = -epsilon if sign in ("negative", "capped") else epsilon
        moved = _shifted(b, node, first, shift * branch.sign) if sign and first.y.name != node.y.name else None
        if moved is None:
            return b.quotient(relevance, _output(b, node, made), epsilon, sign)
        z = _output(b, node, [(branch, moved), *others])
        if sign == "rectified":
            z = b.Clip(z, shift, None)
        elif sign == "capped":
            z = b.Clip(z, None, shift)
        return b.Div(relevance, z)

    def _biased(self, places: LinearOperands) -> bool:
        """Whether denominators hold the bias."""
        return places.bias is not None and self.bias != "ignore"

    def _replayed(self, b: Builder, node: Node, places: LinearOperands, branch: Branch) -> Node | None:
        """The node on a branch's operands; None where it is provably zero."""
        inputs = list(node.inputs)
        inputs[places.x] = branch.x(b, node.input(places.x))
        if inputs[places.x] is None:
            return None
        if places.w is not None:
            inputs[places.w] = branch.w(b, node.input(places.w))
        if places.bias is not None:
            inputs[places.bias] = None if self.bias == "ignore" else branch.bias(b, node.input(places.bias))
        return b.replay(node, inputs)


def _output(b: Builder, node: Node, made: Sequence[tuple[Branch, Node]]) -> Tensor:
    """What branches give together."""
    (_, first), *others = made
    z = first.y
    for branch, copy in others:
        z = b.Add(z, copy.y) if branch.sign > 0 else b.Sub(z, copy.y)
    return z


def _shifted(b: Builder, node: Node, copy: Node, shift: float) -> Node | None:
    """A replay with a number added to its outputs by way of its bias; None where it takes none."""
    place, channels = b.spec(copy).bias, node.y.dim(1) if node.y.rank > 1 else None
    if copy.parts or place is None or not isinstance(channels, int):
        return None
    inputs = [*copy.inputs, *[None] * (place + 1 - len(copy.inputs))]
    bias = inputs[place]
    number = b.const(np.full(channels, shift), copy.y.dtype)
    inputs[place] = number if bias is None else b.Add(bias, number)
    return b.replay(copy, inputs)


def _of_bias(b: Builder, places: LinearOperands, made: Sequence[tuple[Branch, Node]]) -> Tensor:
    """What the biases add to the branches' outputs; of maps without weights (norms with stored statistics) the value at 0."""
    parts = []
    for branch, copy in made:
        x, without = copy.input(places.x), _without(copy.inputs, places.bias)
        bare = b.replay(copy, [b.zeros_like(x) if t is x else t for t in copy.inputs] if places.bias is None else without).y
        parts.append(_scaled(b, bare if places.bias is None else b.Sub(copy.y, bare), branch.sign))
    return b.total(parts)


def _spread(b: Builder, node: Node, places: LinearOperands, relevance: Tensor) -> Tensor:
    """Relevance on the outputs, spread evenly over the inputs that each reads."""
    inputs = list(node.inputs)
    inputs[places.x] = ones(b, node.input(places.x))
    if places.w is not None:
        inputs[places.w] = ones(b, node.input(places.w))
    if places.bias is not None:
        inputs[places.bias] = None
    even = b.replay(node, inputs)
    return _back(b, even, places, b.Div(relevance, even.y))


def _scaled(b: Builder, t: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return t
    made: Tensor = b.Neg(t) if factor == -1 else b.Mul(t, factor)
    return made


def _without(inputs: Sequence[Tensor | None], index: int | None) -> tuple[Tensor | None, ...]:
    return tuple(None if i == index else t for i, t in enumerate(inputs))


def _back(b: Builder, node: Node, places: LinearOperands, message: Tensor, factor: float = 1) -> Tensor:
    """What the map's own gradient rule sends to its input, times a factor. Weights take the factor if they are constant."""
    if factor != 1 and places.fixed and places.w is not None:
        w, inputs = node.input(places.w), list(node.inputs)
        inputs[places.w] = _scaled(b, w, factor)
        node, factor = b.replay(node, inputs), 1
    sent = b.gradient(node, message)[places.x]
    if sent is None:
        raise RuleError(f"its gradient rule sends nothing to input {places.x}")
    return _scaled(b, sent, factor)


def _unscaled(b: Builder, node: Node, places: LinearOperands) -> Node:
    """The node with Gemm's factors alpha and beta made part of the weights and the bias that they multiply."""
    gemm = node.parts[0] if node.parts else node
    factors = ((places.w, gemm.get("alpha", 1.0)), (None if node.parts else places.bias, gemm.get("beta", 1.0)))
    scaled = {node.input(i): _scaled(b, node.input(i), factor) for i, factor in factors if i is not None and factor != 1}
    if gemm.op != "Gemm" or not scaled:
        return node

    def plain(node: Node) -> Node:
        return replace(node, attributes={**node.attributes, "alpha": 1.0, "beta": 1.0}) if node.op == "Gemm" else node

    moved = node.reading(scaled)
    return replace(plain(moved), parts=tuple(plain(part) for part in moved.parts))


# -- the rules of the literature ---------------------------------------------------------------------------------------


def epsilon(value: float = STABILIZER, bias: Bias = "absorb") -> LinearRule:
    """LRP-ε: each input gets its share of the output; ε takes some of what is contradictory or weak.

    ε = 0 (as small as the stabilizer) is LRP-0. Bach et al. 2015, On Pixel-Wise Explanations, eq. 58.
    """
    group = Group((Branch(whole, whole, whole),))
    return LinearRule(
        "epsilon", "R_i = Σ_j x_i w_ij / (z_j + ε sign z_j) · R_j", "Bach et al. 2015, eq. 58", (group,), value, bias
    )


def z_plus(value: float = STABILIZER, bias: Bias = "absorb") -> LinearRule:
    """z⁺: only contributions above zero count: x⁺w⁺ and, where inputs may be negative, x⁻w⁻.

    Montavon et al. 2017, Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition, the z⁺-rule.
    """
    group = Group((Branch(positive, positive, positive), Branch(negative, negative, none)))
    formula = "R_i = Σ_j (x_i w_ij)⁺ / Σ_i (x_i w_ij)⁺ · R_j"
    return LinearRule("z-plus", formula, "Montavon et al. 2017, Deep Taylor Decomposition, the z⁺-rule", (group,), value, bias)


def alpha_beta(alpha: float = 2.0, beta: float = 1.0, value: float = STABILIZER, bias: Bias = "absorb") -> LinearRule:
    """LRP-αβ: contributions above and below zero, each with its own denominator; α − β = 1 conserves.

    Bach et al. 2015, eq. 60.
    """
    if abs(alpha - beta - 1) > 1e-9:
        raise MethodError(f"the αβ rule needs α − β = 1 to conserve relevance, found α = {alpha:g}, β = {beta:g}")
    above = Group((Branch(positive, positive, positive), Branch(negative, negative, none)), alpha)
    below = Group((Branch(positive, negative, negative), Branch(negative, positive, none)), -beta)
    formula = "R_i = Σ_j (α (x_i w_ij)⁺ / z_j⁺ − β (x_i w_ij)⁻ / z_j⁻) · R_j"
    groups = (above, below) if beta else (above,)
    return LinearRule(f"alpha{alpha:g}-beta{beta:g}", formula, "Bach et al. 2015, eq. 60", groups, value, bias)


def gamma(factor: float = 0.25, value: float = STABILIZER, bias: Bias = "absorb") -> LinearRule:
    """LRP-γ: contributions of the output's own sign are favoured by γ, for inputs and outputs of both signs.

    Montavon et al. 2019, Layer-Wise Relevance Propagation: An Overview, section 10.2.3; for both signs Andéol et al. 2021,
    Learning Domain Invariant Representations by Joint Wasserstein Distance Minimization, appendix.
    """
    more, less = favoured(positive, factor), favoured(negative, factor)
    above = Group((Branch(positive, more, more), Branch(negative, less, none)), where="positive")
    below = Group((Branch(positive, less, less), Branch(negative, more, none)), where="negative")
    formula = "R_i = Σ_j (x_i w_ij + γ (x_i w_ij)^s) / Σ_i (…) · R_j with s = sign z_j"
    return LinearRule("gamma", formula, "Montavon et al. 2019, section 10.2.3", (above, below), value, bias)


def box(low: Part, high: Part, value: float = STABILIZER) -> LinearRule:
    """z^B: inputs between bounds low and high, for pixels. The bias cancels.

    Montavon et al. 2017, Deep Taylor Decomposition, the z^B-rule.
    """
    group = Group((Branch(whole, whole, none), Branch(low, positive, none, -1), Branch(high, negative, none, -1)))
    formula = "R_i = Σ_j (x_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) / Σ_i (…) · R_j"
    return LinearRule("box", formula, "Montavon et al. 2017, Deep Taylor Decomposition, the z^B-rule", (group,), value, "ignore")


def w_square(value: float = STABILIZER, bias: Bias = "ignore") -> LinearRule:
    """w²: shares by squared weights, whatever the input, for unbounded real inputs.

    Montavon et al. 2017, Deep Taylor Decomposition, the w²-rule.
    """
    group = Group((Branch(ones, squared, squared),))
    formula = "R_i = Σ_j w_ij² / Σ_i w_ij² · R_j"
    return LinearRule("w-square", formula, "Montavon et al. 2017, Deep Taylor Decomposition, the w²-rule", (group,), value, bias)


def flat(value: float = STABILIZER, bias: Bias = "ignore") -> LinearRule:
    """Flat: every input that an output reads gets the same share.

    Bach et al. 2016, Controlling Explanatory Heatmap Resolution and Semantics via Decomposition Depth.
    """
    group = Group((Branch(ones, ones, ones),))
    return LinearRule(
        "flat", "R_i = Σ_j 1 / Σ_i 1 · R_j", "Bach et al. 2016, Controlling Heatmap Resolution", (group,), value, bias
    )
