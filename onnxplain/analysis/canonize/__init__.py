"""Which nodes form one operation, found in the dataflow and never by names of modules.

The forward nodes stay as they are. A compound node (domain `onnxplain`) only tells the backward pass what its parts are as a
whole: a linear map with its bias, an activation written in several operators, a softmax, a signal with its gate. A compound's
inner tensors carry no messages of their own, so none is made around a tensor that is explained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.analysis.canonize.function import group_functions, group_shifts
from onnxplain.analysis.canonize.gate import group_gates
from onnxplain.analysis.canonize.linear import group_biases
from onnxplain.analysis.canonize.softmax import group_softmax
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor

__all__ = ["GROUPINGS", "Grouping", "canonize"]

Grouping: TypeAlias = "Callable[[Dataflow], Sequence[Node]]"
"""Live nodes with compounds in place of some."""

GROUPINGS: tuple[Grouping, ...] = (
    group_softmax,
    group_biases,
    group_functions,
    group_shifts,
    group_gates,
)
"""What is grouped, in this order."""


def canonize(
    nodes: Sequence[Node],
    every: Sequence[Node],
    kept: Iterable[Tensor],
    value: Callable[[Tensor | None], np.ndarray[Any, Any] | None],
    fixed: Callable[[Tensor], bool],
    traits: Traits,
    groupings: Sequence[Grouping] = GROUPINGS,
) -> Sequence[Node]:
    """Live nodes in topological order with compounds in place of what they stand for.

    Args:
        nodes: the live nodes of one backward pass.
        every: all nodes of its graph, in topological order.
        kept: tensors that must stay visible: those explained, and the target.
        value: the values of small constants.
        fixed: whether a tensor is the same for every input.
        traits: the facts about a node's operator.
        groupings: what is grouped, in this order.
    """
    for group in groupings:
        nodes = group(Dataflow(nodes, every, frozenset(t.name for t in kept), value, fixed, traits))
    return nodes
