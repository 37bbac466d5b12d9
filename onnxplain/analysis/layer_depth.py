"""Where a node stands among the linear layers of a model, from the dataflow alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from onnxplain.ir.node import Node

__all__ = ["NOWHERE", "LayerPosition", "LayerPositions", "layer_positions"]


@dataclass(frozen=True)
class LayerPosition:
    """Where a node stands among the linear layers.

    Attributes:
        depth: the number of linear layers on the longest path from an explained tensor to the node, itself included.
        first: whether it is a linear layer with no other before it.
        last: whether it is a linear layer with no other behind it.
    """

    depth: int = 0
    first: bool = False
    last: bool = False


NOWHERE = LayerPosition()


@dataclass(frozen=True)
class LayerPositions:
    """Where nodes stand among the linear layers, by their names, and the greatest depth."""

    positions: dict[str, LayerPosition] = field(default_factory=dict)
    depth: int = 0

    def position(self, node: Node) -> LayerPosition:
        """Where a node stands. Nodes in subgraphs have no position among the layers."""
        return self.positions.get(node.name, NOWHERE)


def layer_positions(nodes: Sequence[Node], is_layer: Callable[[Node], bool]) -> LayerPositions:
    """The places of live nodes, given in topological order.

    A node with linear layers in its subgraphs (the steps of an LSTM) lies before or behind others as a layer does, but has no
    rule for linear layers itself, so it is neither first nor last.
    """

    def counts(node: Node) -> bool:
        return is_layer(node) or any(counts(inner) for body in node.bodies.values() for inner in body.nodes)

    depths: dict[str, int] = {}
    by_node: dict[str, int] = {}
    for node in nodes:
        before = max((depths.get(t.name, 0) for t in node.reads if t is not None), default=0)
        by_node[node.name] = depth = before + counts(node)
        depths.update((t.name, depth) for t in node.outputs if t is not None)
    followed: set[str] = set()
    places: dict[str, LayerPosition] = {}
    for node in reversed(nodes):
        layer, held = is_layer(node), counts(node)
        behind = any(t is not None and t.name in followed for t in node.outputs)
        if held or behind:
            followed.update(t.name for i, t in enumerate(node.reads) if t is not None and node.needs_input_grad(i))
        depth = by_node[node.name]
        places[node.name] = LayerPosition(depth, layer and depth == 1, layer and not behind)
    return LayerPositions(places, max(by_node.values(), default=0))
