"""A linear map, or a sum, and the nonlinearity behind it, as one node: what the RevealCancel rule looks at as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxplain.analysis.canonize.dataflow import COMPOUND, Dataflow
from onnxplain.analysis.canonize.gate import statistic_of
from onnxplain.ir.node import Node

__all__ = ["group_neurons"]


def group_neurons(flow: Dataflow) -> Sequence[Node]:
    """`Neuron(x)` for every nonlinearity of one live operand, however many operators it is written in, that alone reads a linear
    map of one, or a sum of two. Its parts are these two. A statistic, such as the variance E[x²] − E[x]², is no neuron."""
    made: list[Node] = []
    inside: set[str] = set()
    for node in reversed(flow.nodes):  # the longest chains first
        if node.name in inside or not _bends(flow, node):
            continue
        before, chain = _chain(flow, node)
        if before is None or not _adds_up(flow, before) or statistic_of(flow, node.y):
            continue
        start = next(t for i, t in enumerate(chain[0].inputs) if chain[0].needs_input_grad(i))
        function = node if len(chain) == 1 else flow.compound("Function", chain, [start])
        inputs = [t for i, t in enumerate(before.inputs) if t is not None and before.needs_input_grad(i)]
        neuron = flow.compound("Neuron", [before, *chain], list(dict.fromkeys(inputs)))
        if neuron is not None and function is not None:
            made.append(replace(neuron, parts=(before, function)))
            inside.update(part.name for part in (before, *chain))
    return flow.replaced(made)


def _chain(flow: Dataflow, node: Node) -> tuple[Node | None, list[Node]]:
    """The node before a chain of functions of each element, and the chain, which ends in the given node."""
    chain = [node]
    while True:
        (live,) = (i for i in range(len(chain[0].inputs)) if chain[0].needs_input_grad(i))
        before = flow.live_maker(chain[0].input(live))
        if before is None or not _is_function(flow, before):
            return before, chain
        chain.insert(0, before)


def _is_function(flow: Dataflow, node: Node) -> bool:
    """Whether a node is a function of each element of one live operand."""
    live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
    elementwise = flow.traits(node).elementwise
    return len(live) == 1 and bool(elementwise) and (elementwise == "all" or live == [0])


def _bends(flow: Dataflow, node: Node) -> bool:
    """Whether a function of each element of one operand is not linear in it."""
    if not _is_function(flow, node):
        return False
    facts = flow.traits(node)
    if node.domain == COMPOUND:
        return node.op in ("Activation", "Function")  # operators: compounds of several
    return not facts.linear_in or (facts.linear_in == "first" and not node.needs_input_grad(0))


def _adds_up(flow: Dataflow, node: Node) -> bool:
    """Whether a node is a linear map of one live operand with weights of their own sign, or a sum of two operands."""
    live = sum(node.needs_input_grad(i) for i in range(len(node.inputs)))
    product = node.parts[0] if node.op == "Linear" and node.domain == COMPOUND else node
    if product is node and node.domain:
        return False
    if product.op in ("Add", "Sub"):  # operators: the sums that the rule knows
        return live == 2 and node.x != node.input(1)
    return flow.traits(product).multiplies and live == 1 and node.needs_input_grad(0) and product.get("alpha", 1.0) > 0
