"""A softmax written as Exp, ReduceSum and Div, with or without the maximum taken off first."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Node
from onnxplain.ir.pattern import Pattern, match, op, var

__all__ = ["group_softmax"]


def _share(e: Pattern) -> Pattern:
    return e / op.ReduceSum(e, ...).named("sum")


X = var("x")
SPELLINGS = (
    _share(op.Exp(X - op.ReduceMax(X, ...).named("max"))),
    _share(op.Exp(X)),
)
"""Ways to write a softmax, the largest first."""


def group_softmax(flow: Dataflow) -> Sequence[Node]:
    """`Softmax(x)` for e / Σ e with e = exp(x) or exp(x − max x), over one axis."""
    found = [c for node in flow.nodes if node.op == "Div" and (c := _softmax(flow, node)) is not None]
    return flow.replaced(found)


def _softmax(flow: Dataflow, div: Node) -> Node | None:
    for spelling in SPELLINGS:
        found = match(flow, spelling, div.y)
        axes = {_axis(flow, reduction) for reduction in found.named.values()} if found else {None}
        if found and len(axes) == 1 and axes != {None}:
            return flow.group("Softmax", found, [found["x"]], axis=axes.pop())
    return None


def _axis(flow: Dataflow, reduction: Node) -> int | None:
    """The one axis that a reduction with kept axes goes over, counted from the end."""
    given = reduction.inputs[1] if len(reduction.inputs) > 1 else None
    values = flow.value(given)
    axes = reduction.get("axes") if values is None else [int(v) for v in values.ravel()]
    if not reduction["keepdims"] or axes is None or len(axes) != 1:
        return None
    if axes[0] < 0:
        return int(axes[0])
    return None if reduction.x.shape is None else int(axes[0]) - len(reduction.x.shape)
