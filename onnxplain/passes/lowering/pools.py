"""Max pooling, lowered: the pooling that finds each window's winner, which is what costs, finds the maxima too.

Who asks for the maxima alone gets them from it, unless the images are in the blocked layout, where it has no kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from onnxplain.builder.emitter import Emitter
from onnxplain.ir.graph import Emitted
from onnxplain.ir.node import Call
from onnxplain.ir.tensor import Tensor

__all__ = ["pooled"]


Pool: TypeAlias = "Emitted | Call"


def pooled(b: Emitter, calls: Sequence[Emitted], model: Sequence[Call], fits: Callable[[Tensor], bool]) -> list[Emitted]:
    """The calls of one scope with one max pooling in place of two.

    Args:
        b: emitted them.
        calls: of the scope, in order.
        model: the model's own calls in the same scope.
        fits: tells which images the blocked layout takes.
    """
    winners = [call for call in calls if call.op == "MaxPool" and not call.domain and len(call.outputs) == 2]
    if not winners:
        return list(calls)
    every: list[Pool] = [*calls, *model]
    pools = [call for call in every if call.op == "MaxPool" and not call.domain]
    made = list(calls)
    for winner in winners:
        made = _joined(b, made, winner, _maxima(winner, pools), fits)
    return made


def _maxima(winner: Emitted, pools: Iterable[Pool]) -> Pool | None:
    """The pooling of the same windows that gives their maxima alone: of this scope, or of the model's top level."""

    def settings(call: Pool) -> dict[str, Any]:
        return {k: v for k, v in call.attributes.items() if (k, v) != ("storage_order", 0)}

    same = (call for call in pools if call.inputs[0] == winner.inputs[0] and settings(call) == settings(winner))
    return next((call for call in same if sum(t is not None for t in call.outputs) == 1), None)


def _joined(
    b: Emitter, calls: list[Emitted], winner: Emitted, other: Pool | None, fits: Callable[[Tensor], bool]
) -> list[Emitted]:  # fmt: skip
    """The calls with one pooling in place of two."""
    if other is None or other.outputs[0] is None or fits(b.known(other.outputs[0])):
        return calls
    if isinstance(other, Call):
        names = Counter(node.name for node in b.graph.model.graph.node)
        if names[other.name] != 1:
            return calls
        one = replace(winner, outputs=(other.outputs[0], winner.outputs[1]), replaces=other.name)
        return [one, *(call for call in calls if call is not winner)]
    one = replace(other, outputs=(other.outputs[0], winner.outputs[1]), attributes=winner.attributes)
    return [one if call is other else call for call in calls if call is not winner]
