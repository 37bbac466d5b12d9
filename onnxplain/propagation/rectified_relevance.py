"""Where relevance is provably zero: on tensors below zero whose only way to the target is a rectifier.

A rule that treats positive and negative outputs apart then needs the positive half only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from onnxplain.ir.node import Call
from onnxplain.ir.registry import Rule
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.rule import RelevanceRule

__all__ = ["MOVES", "one_sided_tensors"]

RECTIFIERS = frozenset({"Relu"})
"""Functions that are zero below zero."""

ZERO_AT_ZERO = frozenset(
    {"Relu", "LeakyRelu", "PRelu", "Tanh", "Gelu", "Swish", "HardSwish", "Elu", "Selu", "Celu", "Abs", "Neg", "Identity", "Cast"}
    | {"Softsign", "Erf", "Sqrt", "Mish", "Dropout", "Mul", "Div"}
)
"""Functions with f(0) = 0; products with a constant are."""

MOVES = frozenset(
    {
        "MaxPool",
        "GlobalMaxPool",
        "ReduceMax",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Slice",
        "Split",
        "Gather",
    }
    | {"Concat", "Identity"}
)
"""Operators whose outputs are elements of their inputs, with the relevance of the element they are."""


def one_sided_tensors(
    calls: Sequence[Call], rule: Callable[[Call], Rule | None], targets: Mapping[Tensor, bool]
) -> frozenset[str]:
    """The names of tensors whose relevance is zero wherever they are below zero.

    Args:
        calls: the live calls of a walk, in topological order.
        rule: the rule of a call. It says by `factors_input` that it sends nothing to elements that are zero, by `passes` that
            elements get the relevance of what they become.
        targets: where the walk starts; whether the seed is zero where the target is.
    """
    vanishes = {t.name: zero for t, zero in targets.items()}  # relevance is zero where the tensor is
    one_sided = {t.name: False for t in targets}
    for call in reversed(calls):
        chosen = rule(call)
        outputs = [t.name for t in call.outputs if t is not None and t.name in vanishes]
        known = chosen if isinstance(chosen, RelevanceRule) else RelevanceRule()
        passes = known.passes and not call.domain and all(vanishes[name] for name in outputs)
        inverse = call.op == "Div" and not call.wants(0)  # c / x is not zero where x is
        zero = known.factors_input or (passes and call.op in ZERO_AT_ZERO | MOVES and not inverse)
        cut = passes and (call.op in RECTIFIERS or (call.op in MOVES and all(one_sided[name] for name in outputs)))
        for i, x in enumerate(call.inputs):
            if x is not None and call.wants(i):
                vanishes[x.name] = vanishes.get(x.name, True) and zero
                one_sided[x.name] = one_sided.get(x.name, True) and cut
    return frozenset(name for name, holds in one_sided.items() if holds)
