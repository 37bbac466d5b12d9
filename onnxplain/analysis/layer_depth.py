"""Where a call stands among the linear layers of a model, from the dataflow alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onnxplain.ir.node import Call

__all__ = ["NOWHERE", "Layers", "Place", "find_layers"]


@dataclass(frozen=True)
class Place:
    """Where a node stands among the linear layers.

    Attributes:
        depth: the number of linear layers on the longest path from an explained tensor to the node, itself included.
        first: whether it is a linear layer with no other before it.
        last: whether it is a linear layer with no other behind it.
    """

    depth: int = 0
    first: bool = False
    last: bool = False


NOWHERE = Place()


@dataclass(frozen=True)
class Layers:
    """Where nodes stand among the linear layers, by their names, and the greatest depth."""

    places: dict[str, Place] = field(default_factory=dict)
    depth: int = 0

    def place(self, call: Call) -> Place:
        """Where a node stands. Nodes in subgraphs have no position among the layers."""
        return self.places.get(call.name, NOWHERE)


def find_layers(calls: Sequence[Call], is_layer: Callable[[Call], bool]) -> Layers:
    """The places of live calls, given in topological order.

    A call with linear layers in its subgraphs (the steps of an LSTM) lies before or behind others as a layer does, but has no
    rule for linear layers itself, so it is neither first nor last.
    """

    def counts(call: Call) -> bool:
        return is_layer(call) or any(counts(inner) for body in call.bodies.values() for inner in body.calls)

    depths: dict[str, int] = {}
    by_call: dict[str, int] = {}
    for call in calls:
        before = max((depths.get(t.name, 0) for t in call.reads if t is not None), default=0)
        by_call[call.name] = depth = before + counts(call)
        depths.update((t.name, depth) for t in call.outputs if t is not None)
    followed: set[str] = set()
    places: dict[str, Place] = {}
    for call in reversed(calls):
        layer, held = is_layer(call), counts(call)
        behind = any(t is not None and t.name in followed for t in call.outputs)
        if held or behind:
            followed.update(t.name for i, t in enumerate(call.reads) if t is not None and call.wants(i))
        depth = by_call[call.name]
        places[call.name] = Place(depth, layer and depth == 1, layer and not behind)
    return Layers(places, max(by_call.values(), default=0))
