"""A softmax, or its logarithm, written in several operators."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.analysis.probabilities import probabilities_of
from onnxplain.ir.node import Node

__all__ = ["group_softmax"]


def group_softmax(flow: Dataflow) -> Sequence[Node]:
    """`Softmax(x)` and `LogSoftmax(x)` for every spelling of them."""
    if not {"Exp", "Log", "ReduceLogSumExp"} & {node.op for node in flow.nodes}:  # operators: every spelling has one of them
        return flow.nodes
    made: list[Node] = []
    inside: set[str] = set()
    for node in reversed(flow.nodes):  # the largest first: a softmax may be a part of its logarithm
        if node.name in inside or not node.outputs or node.outputs[0] is None:
            continue
        found = probabilities_of(flow, node.y)
        if found is None or found.axis is None:  # a sigmoid is a function of each element
            continue
        group = flow.group(found.kind, found.found, [found.scores], axis=found.axis)
        if group is not None:
            made.append(group)
            inside.update(part.name for part in group.parts)
    return flow.replaced(made)
