"""A linear map, or a sum, and the nonlinearity behind it, as one call: what the RevealCancel rule looks at as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import COMPOUND, Dataflow
from onnxplain.ir.node import Call

__all__ = ["group_neurons"]


def group_neurons(flow: Dataflow) -> Sequence[Call]:
    """`Neuron(x)` for every nonlinearity of one live operand that alone reads a linear map of one, or a sum of two."""
    made: list[Call] = []
    for call in flow.calls:
        live = [i for i in range(len(call.inputs)) if call.wants(i)]
        if len(live) != 1 or not _bends(flow, call, live[0]):
            continue
        before = flow.maker(call.input(live[0]))
        if before is None or not _adds_up(flow, before):
            continue
        inputs = [t for i, t in enumerate(before.inputs) if t is not None and before.wants(i)]
        neuron = flow.compound("Neuron", [before, call], list(dict.fromkeys(inputs)))
        if neuron is not None:
            made.append(neuron)
    return flow.replaced(made)


def _bends(flow: Dataflow, call: Call, live: int) -> bool:
    """Whether a function of each element of one operand is not linear in it."""
    facts = flow.traits(call)
    if call.domain == COMPOUND:
        return call.op == "Activation"
    return bool(facts.elementwise) and (not facts.linear_in or (facts.linear_in == "first" and live != 0))


def _adds_up(flow: Dataflow, call: Call) -> bool:
    """Whether a call is a linear map of one live operand with weights of their own sign, or a sum of two operands."""
    live = sum(call.wants(i) for i in range(len(call.inputs)))
    product = call.parts[0] if call.op == "Linear" and call.domain == COMPOUND else call
    if product is call and call.domain:
        return False
    if product.op in ("Add", "Sub"):  # operators: the sums that the rule knows
        return live == 2 and call.x != call.input(1)
    return flow.traits(product).multiplies and live == 1 and call.wants(0) and product.get("alpha", 1.0) > 0
