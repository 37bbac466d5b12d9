"""Which tensors provably hold no NaN and nothing infinite, but for overflow, as long as the model's inputs hold none; and which
are made of the model's own infinite numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor

__all__ = ["finite_tensors", "made_of_infinity"]


def finite_tensors(
    nodes: Iterable[Node], constant: Callable[[Tensor], bool], traits: Traits, given: Iterable[Tensor] = ()
) -> frozenset[str]:
    """The names of tensors that are finite wherever the inputs are, made by nodes in topological order.

    Elements of the inputs themselves, moved or each put through a function, are not among them: NaN may stand for a missing
    value, which a choice behind it mends. Products with weights are: no model mends a NaN that is in all their results.

    Args:
        nodes: the nodes.
        constant: whether a tensor is one of the model's constants, which count as finite.
        traits: the facts about operators.
        given: tensors that count as products with weights.
    """
    made: set[str] = set()
    mixed = {t.name for t in given}
    plain = set(mixed)  # as finite as the inputs are
    for node in nodes:
        outputs = [t.name for t in node.outputs if t is not None]
        made.update(outputs)
        # operators: the one with an infinite result only where its weights, the variances, are not what they stand for
        if not (traits(node).finite or (node.op == "BatchNormalization" and not node.domain)) or node.captures:
            continue
        live = [t.name for t in node.reads if t is not None and not constant(t)]
        if any(name in made and name not in plain for name in live):
            continue
        plain.update(outputs)
        if traits(node).multiplies or any(name in mixed for name in live):
            mixed.update(outputs)
    return frozenset(mixed)


def made_of_infinity(graph: Graph, tensor: Tensor, traits: Traits) -> bool:
    """Whether elements of a tensor may be infinite numbers of a small constant, as additive masks have them: looked up in it,
    chosen by Where, moved, or each put through a function."""
    seen, ahead = {tensor.name}, [tensor]
    while ahead:
        t = ahead.pop()
        known = graph.value(t)
        if known is not None and known.dtype.kind == "f" and np.isinf(known).any():
            return True
        node = graph.producer(t)
        facts = None if node is None else traits(node)
        if node is None or facts is None or not (facts.elementwise or facts.moves_elements or facts.selects_elements):
            continue
        fresh = [x for x in node.inputs if x is not None and x.name not in seen]
        seen.update(x.name for x in fresh)
        ahead += fresh
    return False
