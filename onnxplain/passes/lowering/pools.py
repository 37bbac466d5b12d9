"""Max pooling, lowered: the pooling that finds each window's winner, which is what costs, finds the maxima too.

Who asks for the maxima alone gets them from it, unless the images are in the blocked layout, where it has no kernel. The model's
own pooling stays: the kernel for maxima alone treats NaN in its own way, and the prediction must be the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from onnxplain.builder.emitter import Emitter
from onnxplain.ir.emitted import Emitted
from onnxplain.ir.tensor import Tensor

__all__ = ["pooled"]


def pooled(b: Emitter, nodes: Sequence[Emitted], fits: Callable[[Tensor], bool]) -> list[Emitted]:
    """The nodes of one scope with one max pooling in place of two.

    Args:
        b: emitted them.
        nodes: of the scope, in order.
        fits: tells which images the blocked layout takes.
    """
    pools = [node for node in nodes if node.op == "MaxPool" and not node.domain]
    made = list(nodes)
    for winner in pools:
        if len(winner.outputs) == 2:
            made = _joined(b, made, winner, _maxima(winner, pools), fits)
    return made


def _maxima(winner: Emitted, pools: Iterable[Emitted]) -> Emitted | None:
    """The pooling of the same windows that gives their maxima alone."""

    def settings(node: Emitted) -> dict[str, Any]:
        return {k: v for k, v in node.attributes.items() if (k, v) != ("storage_order", 0)}

    same = (node for node in pools if node.inputs[0] == winner.inputs[0] and settings(node) == settings(winner))
    return next((node for node in same if len(node.outputs) == 1), None)


def _joined(
    b: Emitter, nodes: list[Emitted], winner: Emitted, other: Emitted | None, fits: Callable[[Tensor], bool]
) -> list[Emitted]:  # fmt: skip
    """The nodes with one pooling in place of two."""
    if other is None or fits(b.known(other.outputs[0])):
        return nodes
    one = replace(other, outputs=(other.outputs[0], winner.outputs[1]), attributes=winner.attributes)
    return [one if node is other else node for node in nodes if node is not winner]
