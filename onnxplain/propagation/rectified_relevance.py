"""Where relevance is provably zero: on tensors below zero whose only way to the target is a rectifier.

A rule that treats positive and negative outputs apart then needs the positive half only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.registry import Rule
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.rule import RelevanceRule

__all__ = ["one_sided_tensors"]


def one_sided_tensors(
    nodes: Sequence[Node], rule: Callable[[Node], Rule | None], targets: Mapping[Tensor, bool], traits: Traits
) -> frozenset[str]:
    """The names of tensors whose relevance is zero wherever they are below zero.

    Args:
        nodes: the live nodes of a backward pass, in topological order.
        rule: the rule of a node. It says by `factors_input` that it sends nothing to elements that are zero, by `passes` that
            elements get the relevance of what they become.
        targets: where the backward pass starts; whether the target message is zero where the target is.
        traits: the facts about a node's operator.
    """
    vanishes = {t.name: zero for t, zero in targets.items()}  # relevance is zero where the tensor is
    one_sided = {t.name: False for t in targets}
    for node in reversed(nodes):
        chosen = rule(node)
        outputs = [t.name for t in node.outputs if t is not None and t.name in vanishes]
        known = chosen if isinstance(chosen, RelevanceRule) else RelevanceRule()
        facts = traits(node)
        # Of an operator that chooses among several operands (Max), a rule may send relevance to an element that was not chosen.
        moves = bool(facts.moves_elements) or facts.selects_elements == "first"
        passes = known.passes and all(vanishes[name] for name in outputs)
        inverse = node.op == "Div" and not node.needs_input_grad(0)  # c / x is not zero where x is
        zero = known.factors_input or (passes and (facts.zero_at_zero or moves) and not inverse)
        cut = passes and (facts.zero_below_zero or (moves and all(one_sided[name] for name in outputs)))
        for i, x in enumerate(node.inputs):
            if x is not None and node.needs_input_grad(i):
                vanishes[x.name] = vanishes.get(x.name, True) and zero
                one_sided[x.name] = one_sided.get(x.name, True) and cut
    return frozenset(name for name, holds in one_sided.items() if holds)
