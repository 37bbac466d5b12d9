"""Which tensors are provably not below zero, whatever the input: results of activations and of sums of such results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import ml_dtypes
import numpy as np

from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor

__all__ = ["nonnegative_tensors"]


def nonnegative_tensors(
    nodes: Iterable[Node],
    value: Callable[[Tensor], np.ndarray[Any, Any] | None],
    traits: Traits,
    given: Iterable[Tensor] = (),
) -> frozenset[str]:
    """The names of tensors not below zero, made by nodes in topological order.

    `value` gives the values of small constants, `traits` the facts about operators; `given` are tensors that count as not below
    zero.
    """
    found = {t.name for t in given}

    def known(tensor: Tensor | None) -> bool:
        if tensor is None:
            return False
        if tensor.name in found:
            return True
        values = value(tensor)
        return values is not None and values.dtype.kind in "fiub" and bool((values >= 0).all())

    def proven(node: Node) -> bool:
        facts, inputs = traits(node), [t for t in node.inputs if t is not None]
        if facts.nonnegative:
            return True
        if "first" in (facts.keeps_nonnegative, facts.moves_elements, facts.selects_elements) and known(node.inputs[0]):
            return True
        if "all" in (facts.keeps_nonnegative, facts.moves_elements, facts.selects_elements) and all(known(t) for t in inputs):
            return True
        if node.domain:
            return False
        if node.op == "Mul" and node.inputs[0] == node.inputs[1]:
            return True
        if node.op == "Pow":
            exponents = value(inputs[1])
            return exponents is not None and bool((exponents % 2 == 0).all())
        if node.op == "DequantizeLinear":
            return _is_unsigned(node, value)
        if node.op == "Max":
            return any(known(t) for t in inputs)
        if node.op == "Clip":
            x, low, high = node.inputs
            return (known(x) or known(low)) and (high is None or known(high))
        if node.op == "Pad":  # with zeros or edges
            filled = node.inputs[2] if len(node.inputs) > 2 else None
            return known(node.inputs[0]) and (filled is None or known(filled))
        return False

    for node in nodes:
        if proven(node):
            found.update(t.name for t in node.outputs if t is not None)
    return frozenset(found)


def _is_unsigned(node: Node, value: Callable[[Tensor], np.ndarray[Any, Any] | None]) -> bool:
    """Whether a DequantizeLinear takes the least integer for zero."""
    dtype, zero = node.x.dtype, node.inputs[2]
    if dtype is None or node.x.is_float:
        return False
    least = int(ml_dtypes.iinfo(dtype).min)  # type: ignore[no-untyped-call]
    points = np.zeros(1) if zero is None else value(zero)
    return points is not None and bool((points == least).all())
