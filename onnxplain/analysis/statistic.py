"""Statistics: what reductions and functions of each element make, such as √(mean x² − (mean x)² + ε)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from onnxplain.ir.ops import OpTraits

__all__ = ["is_statistic"]

V = TypeVar("V")
N = TypeVar("N")


def is_statistic(
    tensor: V,
    maker: Callable[[V], N | None],
    operands: Callable[[N], Iterable[V]],
    traits: Callable[[N], OpTraits],
    passed: Callable[[N], None] = lambda node: None,
) -> bool:
    """Whether a tensor is made of reductions by functions of each element and moves alone.

    Args:
        tensor: the tensor.
        maker: the node that makes a tensor, None where it is given.
        operands: what a node reads that is not the same for every input.
        traits: the facts about a node's operator.
        passed: is told of every node behind the reductions.
    """
    waiting, seen = [tensor], {tensor}
    while waiting:
        node = maker(waiting.pop())
        if node is None:
            return False
        facts = traits(node)
        if facts.reduces:
            continue
        if not facts.elementwise and not facts.moves_elements:
            return False
        passed(node)
        fresh = [t for t in operands(node) if t not in seen]
        seen.update(fresh)
        waiting += fresh
    return True
