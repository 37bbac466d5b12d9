"""Which tensors carry messages: those that depend on a source and that a target depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["Live", "liveness"]

KEEPS = frozenset({"layout", "select", "sum"})
"""Roles whose outputs are quantized tensors where their inputs are."""


@dataclass(frozen=True)
class Live:
    """What lies between sources and targets.

    Attributes:
        nodes: the nodes in topological order, each of which knows the inputs that need a message.
        tensors: the names of the tensors that carry messages.
    """

    nodes: tuple[Node, ...]
    tensors: frozenset[str]


def liveness(
    nodes: Sequence[Node],
    sources: Iterable[Tensor],
    targets: Iterable[Tensor],
    role: Callable[[Node], str] = lambda node: "",
    inputs_served: Callable[[Node], tuple[int, ...] | None] = lambda node: None,
) -> Live:
    """Calls and tensors on the way from sources to targets, in one pass forward and one backward.

    What a node with derivative zero makes carries no message. Nor does an integer tensor, unless it is quantized: made by
    a straight-through node, or by moving or adding such tensors. `role` tells the role of a node's operator, `inputs_served` the
    inputs that its rule sends messages to where these are not all (a gate gets none): what only makes others is not live.
    """
    reached = {t.name for t in sources if t.is_float}
    quantized: set[str] = set()
    for node in nodes:
        found = [t.name for t in node.reads if t is not None and t.name in reached]
        if not found or (kind := role(node)) == "zero":
            continue
        integers = kind == "straight-through" or (kind in KEEPS and not quantized.isdisjoint(found))
        made = [t for t in node.outputs if t is not None and (t.is_float or integers)]
        reached.update(t.name for t in made)
        quantized.update(t.name for t in made if not t.is_float)
    wanted = {t.name for t in targets} & reached
    kept: list[Node] = []
    for node in reversed(nodes):
        if not any(t is not None and t.name in wanted for t in node.outputs):
            continue
        live = tuple(t is not None and t.name in reached for t in node.reads)
        if any(live) and role(node) != "zero":
            to = inputs_served(node)
            served = [t for i, t in enumerate(node.reads) if live[i] and (to is None or i in to)]
            wanted.update(t.name for t in served if t is not None)
            kept.append(node if node.needs_grad == live else replace(node, needs_grad=live))
    return Live(tuple(reversed(kept)), frozenset(wanted))
