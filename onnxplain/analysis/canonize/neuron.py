"""A linear map, or a sum, and the nonlinearity behind it, as one node: what the RevealCancel rule looks at as a whole."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import COMPOUND, Dataflow
from onnxplain.ir.node import Node

__all__ = ["group_neurons"]


def group_neurons(flow: Dataflow) -> Sequence[Node]:
    """`Neuron(x)` for every nonlinearity of one live operand that alone reads a linear map of one, or a sum of two."""
    made: list[Node] = []
    for node in flow.nodes:
        live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
        if len(live) != 1 or not _bends(flow, node, live[0]):
            continue
        before = flow.maker(node.input(live[0]))
        if before is None or not _adds_up(flow, before):
            continue
        inputs = [t for i, t in enumerate(before.inputs) if t is not None and before.needs_input_grad(i)]
        neuron = flow.compound("Neuron", [before, node], list(dict.fromkeys(inputs)))
        if neuron is not None:
            made.append(neuron)
    return flow.replaced(made)


def _bends(flow: Dataflow, node: Node, live: int) -> bool:
    """Whether a function of each element of one operand is not linear in it."""
    facts = flow.traits(node)
    if node.domain == COMPOUND:
        return node.op == "Activation"
    if not facts.elementwise or (facts.elementwise == "first" and live != 0):
        return False
    return not facts.linear_in or (facts.linear_in == "first" and live != 0)


def _adds_up(flow: Dataflow, node: Node) -> bool:
    """Whether a node is a linear map of one live operand with weights of their own sign, or a sum of two operands."""
    live = sum(node.needs_input_grad(i) for i in range(len(node.inputs)))
    product = node.parts[0] if node.op == "Linear" and node.domain == COMPOUND else node
    if product is node and node.domain:
        return False
    if product.op in ("Add", "Sub"):  # operators: the sums that the rule knows
        return live == 2 and node.x != node.input(1)
    return flow.traits(product).multiplies and live == 1 and node.needs_input_grad(0) and product.get("alpha", 1.0) > 0
