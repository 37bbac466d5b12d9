"""SiLU written out, x · σ(x): the derivative of the whole takes half as many passes as those of its two operators."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Node
from onnxplain.ir.pattern import match, number, op, var

__all__ = ["group_silus"]

X = var("x")
SILU = X * op.Sigmoid(X * number("scale") | X)


def group_silus(flow: Dataflow) -> Sequence[Node]:
    """`Silu(x)` with `scale` for x · σ(scale · x)."""
    made: list[Node] = []
    for node in flow.nodes:
        if node.operator != "Mul":
            continue
        found = match(flow, SILU, node.y)
        whole = flow.group("Silu", found, [found["x"]], scale=found.numbers.get("scale", 1.0)) if found else None
        if whole is not None:
            made.append(whole)
    return flow.replaced(made)
