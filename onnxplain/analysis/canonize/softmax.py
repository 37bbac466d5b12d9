"""A softmax written as Exp, ReduceSum and Div, with or without the maximum taken off first."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Call

__all__ = ["group_softmax"]


def group_softmax(flow: Dataflow) -> Sequence[Call]:
    """`Softmax(x)` for e / Σ e with e = exp(x) or exp(x − max x), over one axis."""
    found = [c for call in flow.calls if call.op == "Div" and not call.domain and (c := _softmax(flow, call)) is not None]
    return flow.replaced(found)


def _softmax(flow: Dataflow, div: Call) -> Call | None:
    exp, total = flow.maker(div.input(0)), flow.maker(div.input(1))
    if exp is None or total is None or exp.op != "Exp" or total.op != "ReduceSum" or total.x != exp.y:
        return None
    axis = _axis(flow, total)
    if axis is None:
        return None
    parts, x = [exp, total, div], exp.x
    shifted = flow.maker(exp.x)
    if shifted is not None and shifted.op == "Sub":
        largest = flow.maker(shifted.input(1))
        if largest is not None and largest.op == "ReduceMax" and largest.x == shifted.x and _axis(flow, largest) == axis:
            parts, x = [largest, shifted, *parts], shifted.x
    return flow.compound("Softmax", parts, [x], axis=axis)


def _axis(flow: Dataflow, reduction: Call) -> int | None:
    """The one axis that a reduction with kept axes goes over, counted from the end."""
    given = reduction.inputs[1] if len(reduction.inputs) > 1 else None
    values = flow.value(given)
    axes = reduction.get("axes") if values is None else [int(v) for v in values.ravel()]
    if not reduction["keepdims"] or axes is None or len(axes) != 1:
        return None
    if axes[0] < 0:
        return int(axes[0])
    return None if reduction.x.shape is None else int(axes[0]) - len(reduction.x.shape)
