"""Max pooling, lowered: the pooling that finds each window's winner, which is what costs, finds the maxima too.

Who asks for the maxima alone gets them from it, unless the images are in the blocked layout, where it has no kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from onnxplain.builder.emitter import Emitter
from onnxplain.ir.emitted import Emitted
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["pooled"]


Pool: TypeAlias = "Emitted | Node"


def pooled(b: Emitter, nodes: Sequence[Emitted], model: Sequence[Node], fits: Callable[[Tensor], bool]) -> list[Emitted]:
    """The nodes of one scope with one max pooling in place of two.

    Args:
        b: emitted them.
        nodes: of the scope, in order.
        model: the model's own nodes in the same scope.
        fits: tells which images the blocked layout takes.
    """
    winners = [node for node in nodes if node.op == "MaxPool" and not node.domain and len(node.outputs) == 2]
    if not winners:
        return list(nodes)
    every: list[Pool] = [*nodes, *model]
    pools = [node for node in every if node.op == "MaxPool" and not node.domain]
    made = list(nodes)
    for winner in winners:
        made = _joined(b, made, winner, _maxima(winner, pools), fits)
    return made


def _maxima(winner: Emitted, pools: Iterable[Pool]) -> Pool | None:
    """The pooling of the same windows that gives their maxima alone: of this scope, or of the model's top level."""

    def settings(node: Pool) -> dict[str, Any]:
        return {k: v for k, v in node.attributes.items() if (k, v) != ("storage_order", 0)}

    same = (node for node in pools if node.inputs[0] == winner.inputs[0] and settings(node) == settings(winner))
    return next((node for node in same if sum(t is not None for t in node.outputs) == 1), None)


def _joined(
    b: Emitter, nodes: list[Emitted], winner: Emitted, other: Pool | None, fits: Callable[[Tensor], bool]
) -> list[Emitted]:  # fmt: skip
    """The nodes with one pooling in place of two."""
    if other is None or other.outputs[0] is None or fits(b.known(other.outputs[0])):
        return nodes
    if isinstance(other, Node):
        names = Counter(node.name for node in b.graph.model.graph.node)
        if names[other.name] != 1:
            return nodes
        one = replace(winner, outputs=(other.outputs[0], winner.outputs[1]), replaces=other.name)
        return [one, *(model_node for model_node in nodes if model_node is not winner)]
    one = replace(other, outputs=(other.outputs[0], winner.outputs[1]), attributes=winner.attributes)
    return [one if model_node is other else model_node for model_node in nodes if model_node is not winner]
