"""Operators that stay for the prediction while messages go through what they approximate, written out beside them."""

from __future__ import annotations

from onnxplain.builder.builder import Builder
from onnxplain.ir.markers import STAND_IN
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["stands_for", "stands_in"]


def stands_for(b: Builder, own: Tensor, written: Tensor) -> Tensor:
    """The values of one tensor, with the messages of another, for use in an expansion.

    Args:
        b: where nodes are emitted.
        own: what an operator makes, which has no derivative (role "zero").
        written: what it approximates, in the same shape and type.

    Returns:
        The values of `own`. Messages on them go to `written`.

    Example:
        >>> from onnxplain.rulekit.stand_ins import stands_for
        >>> run(stands_for(b, b.const([1.0, 2.0]), b.const([1.01, 1.99])))
        array([1., 2.], dtype=float32)
    """
    with b.scope(STAND_IN):
        chosen = b.CastLike(own, written)
    made: Tensor = b.Identity(b.shaped(chosen, written.shape))
    return made


def stands_in(node: Node) -> bool:
    """Whether a CastLike was written by `stands_for`.

    Args:
        node: the node.

    Returns:
        True where it was.

    Example:
        >>> from onnxplain.ir.node import Node
        >>> from onnxplain.rulekit.stand_ins import stands_in
        >>> stands_in(Node("CastLike", "", 15, "any", "", (x, x), (x,), {}))
        False
    """
    return node.op == "CastLike" and f"{STAND_IN}/" in node.name
