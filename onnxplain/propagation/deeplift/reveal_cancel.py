"""The RevealCancel rule of DeepLIFT.

What raises and what lowers the input of a nonlinearity is weighed separately, which reveals contributions that cancel.
"""

from __future__ import annotations

from typing import TypeAlias

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import PAPER, change, only_live, reference_of, secant
from onnxplain.propagation.operands import negative, operands, positive
from onnxplain.propagation.rule import named

__all__ = ["reveal_cancel"]

Pair: TypeAlias = "tuple[Tensor, Tensor]"
"""Of what rises, and of what falls."""


@named(
    "reveal-cancel", "m⁺ = m_y · (Δf(z₀, z₀+Δz⁺) + Δf(z₀+Δz⁻, z)) / 2Δz⁺, m⁻ likewise; m_x = w (m⁺ where w Δx > 0, else m⁻)",
    f"{PAPER}, sections 3.5.1 and 3.5.2",
)  # fmt: skip
def reveal_cancel(b: Builder, node: Node, m: Tensor) -> Messages:
    """A nonlinearity f of z, and the linear map or sum that makes z: m⁺ and m⁻ are those of the rising and falling parts of z."""
    before, function = node.parts
    # operators: the sums that a neuron may begin with
    if before.op in ("Add", "Sub"):
        changes = _changes_of_sum(b, before)
        rising, falling = _multipliers(b, before, function, m, changes)
        sent = _back_through_sum(b, before, rising, falling)
    else:
        rising, falling = _multipliers(b, before, function, m, _changes_of_map(b, before))
        sent = {before.input(_live(before)): _back_through_map(b, before, rising, falling)}
    return tuple(None if x is None else sent.get(x) for x in node.inputs)


def _multipliers(b: Builder, before: Node, function: Node, m: Tensor, changes: Pair) -> Pair:
    """m⁺ and m⁻ of z, each the mean of two secants: added to the baseline alone, and to the other part."""
    place = only_live(function)
    z0 = b.reference(before.y)

    def at(part: Tensor) -> Node:
        z = b.Add(z0, part)
        return b.replay(function, [z if i == place else t for i, t in enumerate(function.inputs)])

    base, raised, lowered = reference_of(b, function), at(changes[0]), at(changes[1])

    def half(first: Tensor, second: Tensor) -> Tensor:
        return b.Mul(m, b.Mul(b.Add(first, second), 0.5))

    return (
        half(secant(b, raised, base), secant(b, function, lowered)),
        half(secant(b, lowered, base), secant(b, function, raised)),
    )


# -- linear maps -------------------------------------------------------------------------------------------------------


def _live(node: Node) -> int:
    return next(i for i in range(len(node.inputs)) if node.needs_input_grad(i))


def _changes_of_map(b: Builder, node: Node) -> Pair:
    """Δz⁺ = w⁺ Δx⁺ + w⁻ Δx⁻ and Δz⁻ = w⁺ Δx⁻ + w⁻ Δx⁺"""
    dx = change(b, node.input(_live(node)))
    up, down = positive(b, dx), negative(b, dx)
    assert down is not None
    return _mapped(b, node, up, down), _mapped(b, node, down, up)


def _mapped(b: Builder, node: Node, along: Tensor, against: Tensor) -> Tensor:
    """w⁺ · along + w⁻ · against, without a bias."""
    made = [b.replay(part, part.inputs).y for part in _signed(b, node, along, against)]
    return b.total(made)


def _signed(b: Builder, node: Node, along: Tensor, against: Tensor) -> list[Node]:
    """The map with weights above zero applied to one tensor, and with those below zero to another."""
    places = operands(b, node, needs_weights=True)
    made = []
    for part, value in ((positive, along), (negative, against)):
        assert places.w is not None
        weights = part(b, node.input(places.w))
        if weights is not None:
            given = {places.x: value, places.w: weights}
            inputs = [given.get(i) for i in range(len(node.inputs))]
            made.append(b.replay(node, inputs))
    return made


def _back_through_map(b: Builder, node: Node, rising: Tensor, falling: Tensor) -> Tensor:
    """w⁺ m⁺ + w⁻ m⁻ where x rose, w⁺ m⁻ + w⁻ m⁺ where it fell, the mean of both where it did not change."""
    place = _live(node)
    x = node.input(place)
    dx = change(b, x)

    def back(along: Tensor, against: Tensor) -> Tensor:
        sent = []
        parts = _signed(b, node, dx, dx)
        messages = (along, against) if len(parts) == 2 else (along,)
        for part, message in zip(parts, messages, strict=True):
            found = b.gradient(part, message)[place]
            if found is None:
                raise RuleError(f"its gradient rule sends nothing to input {place}")
            sent.append(found)
        return b.total(sent)

    return _chosen(b, dx, back(rising, falling), back(falling, rising))


# -- sums --------------------------------------------------------------------------------------------------------------


def _signs(node: Node) -> tuple[int, int]:
    return (1, 1) if node.op == "Add" else (1, -1)


def _changes_of_sum(b: Builder, node: Node) -> Pair:
    """Δz⁺ = Σ (± Δx)⁺ and Δz⁻ = Σ (± Δx)⁻"""
    steps = [change(b, node.input(i)) if sign > 0 else b.Neg(change(b, node.input(i))) for i, sign in enumerate(_signs(node))]
    return b.Add(*(b.Max(s, 0) for s in steps)), b.Add(*(b.Min(s, 0) for s in steps))


def _back_through_sum(b: Builder, node: Node, rising: Tensor, falling: Tensor) -> dict[Tensor, Tensor]:
    sent = {}
    for i, sign in enumerate(_signs(node)):
        x = node.input(i)
        pair = (rising, falling) if sign > 0 else (b.Neg(falling), b.Neg(rising))
        sent[x] = b.sum_to(_chosen(b, change(b, x), *pair), x, node.y.shape)
    return sent


def _chosen(b: Builder, dx: Tensor, rose: Tensor, fell: Tensor) -> Tensor:
    """One where dx > 0, the other where dx < 0, their mean where it is 0."""
    return b.Where(b.Greater(dx, 0), rose, b.Where(b.Less(dx, 0), fell, b.Mul(b.Add(rose, fell), 0.5)))
