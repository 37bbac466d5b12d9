"""Max pooling, lowered: finding each window's winner is what costs, and what its messages come to is mostly zeros.

The mask of a Relu before the pooling is applied to the messages of the windows, of which there are fewer than elements: the
winner passes where the maximum does. And who asks for the maxima alone gets them from the pooling that finds the winners too,
unless the images are in the blocked layout, where that has no kernel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from onnxplain.call import Call
from onnxplain.emitter import Emitter
from onnxplain.graph import Emitted
from onnxplain.tensor import Tensor

__all__ = ["pooled"]


Pool: TypeAlias = "Emitted | Call"


def pooled(b: Emitter, calls: Sequence[Emitted], fits: Callable[[Tensor], bool]) -> list[Emitted]:
    """The calls of one scope with max pooling in the forms that run fast; `fits` tells which images the blocked layout takes."""
    winners = [call for call in calls if call.op == "MaxPool" and not call.domain and len(call.outputs) == 2]
    if not winners:
        return list(calls)
    every: list[Pool] = [*calls, *b.graph.calls]
    pools = [call for call in every if call.op == "MaxPool" and not call.domain]
    maxima = {call.outputs[1].name: _maxima(call, pools) for call in winners}
    made = [new for call in calls for new in _masked(b, call, maxima)]
    for winner in winners:
        made = _joined(b, made, winner, maxima[winner.outputs[1].name], fits)
    return made


def _maxima(winner: Emitted, pools: Iterable[Pool]) -> Pool | None:
    """The pooling of the same windows that gives their maxima alone: of this scope, or of the model's top level."""

    def settings(call: Pool) -> dict[str, Any]:
        return {k: v for k, v in call.attributes.items() if (k, v) != ("storage_order", 0)}

    same = (call for call in pools if call.inputs[0] == winner.inputs[0] and settings(call) == settings(winner))
    return next((call for call in same if sum(t is not None for t in call.outputs) == 1), None)


@dataclass(frozen=True)
class Spread:
    """Messages of windows put at their winners: the calls that do so, from last to first."""

    shaped: Emitted
    scattered: Emitted
    places: Emitted
    values: Emitted
    winner: Emitted


def _masked(b: Emitter, call: Emitted, maxima: Mapping[str, Pool | None]) -> list[Emitted]:
    """Where(x > 0, messages put at the winners among x, 0) as (Where(y > 0, messages, 0)) put at the winners."""
    found = _spread(b, call)
    if found is None or found.winner.outputs[1].name not in maxima:
        return [call]
    other = maxima[found.winner.outputs[1].name]
    y = found.winner.outputs[0] if other is None else other.outputs[0]
    message, zero = found.values.inputs[0], call.inputs[2]
    assert message is not None
    assert y is not None

    def make(like: Emitted, *inputs: Tensor | None, output: Tensor | None = None) -> Emitted:
        name = b.graph.fresh(like.name)
        (old,) = like.outputs
        return b.remember(replace(like, name=name, inputs=inputs, outputs=(output or replace(old, name=name),)))

    condition = b.maker(call.inputs[0]) if call.inputs[0] is not None else None
    assert condition is not None
    passes = make(condition, y, condition.inputs[1])
    passes = b.remember(replace(passes, outputs=(replace(passes.outputs[0], shape=y.shape),)))
    kept = make(call, passes.outputs[0], message, zero, output=replace(b.known(message), name=b.graph.fresh(call.name)))
    values = make(found.values, kept.outputs[0], *found.values.inputs[1:])
    scattered = make(found.scattered, *found.scattered.inputs[:2], values.outputs[0])
    shaped = make(found.shaped, scattered.outputs[0], *found.shaped.inputs[1:], output=call.outputs[0])
    return [passes, kept, values, scattered, shaped]


def _spread(b: Emitter, call: Emitted) -> Spread | None:
    """What is masked by x > 0, where it is messages put at the winners among x."""
    if call.op != "Where" or call.domain or not _is_zero(b, call.inputs[2]):
        return None
    condition = _maker(b, call.inputs[0], "Greater")
    shaped = _maker(b, call.inputs[1], "Reshape")
    scattered = None if shaped is None else _maker(b, shaped.inputs[0], "ScatterElements")
    if condition is None or shaped is None or scattered is None or not _is_zero(b, condition.inputs[1]):
        return None
    places, values = _maker(b, scattered.inputs[1], "Reshape"), _maker(b, scattered.inputs[2], "Reshape")
    winner = None if places is None else _maker(b, places.inputs[0], "MaxPool")
    if places is None or values is None or winner is None or winner.inputs[0] != condition.inputs[0]:
        return None
    return Spread(shaped, scattered, places, values, winner)


def _maker(b: Emitter, tensor: Tensor | None, op: str) -> Emitted | None:
    made = None if tensor is None else b.maker(tensor)
    return made if made is not None and made.op == op and not made.domain else None


def _is_zero(b: Emitter, tensor: Tensor | None) -> bool:
    value = b.value(tensor)
    return value is not None and value.size == 1 and not value.any()


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
