"""GELU written out with Erf, as exporters write it below opset 20.

The derivative of the whole needs x alone. Propagated operator by operator it would keep three tensors as large as x, and it would
read inner tensors of the forward operators, which ONNX Runtime then could not fuse.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Call
from onnxplain.ir.tensor import Tensor

__all__ = ["group_gelus"]


def group_gelus(flow: Dataflow) -> Sequence[Call]:
    """`Gelu(x)` with `scale` and `factor` for factor · x · (1 + erf(scale · x)), its numbers multiplied in any order."""
    found = [c for call in flow.calls if call.op == "Erf" and not call.domain and (c := _gelu(flow, call)) is not None]
    return flow.replaced(found)


def _gelu(flow: Dataflow, erf: Call) -> Call | None:
    scaled = _multiple(flow, flow.maker(erf.x))
    one = _reader(flow, erf.y)
    if scaled is None or one is None or one.op != "Add" or not _is_one(flow, one, erf.y):
        return None
    inner, x, scale = scaled
    parts, last, factor, gated = [inner, erf, one], one, 1.0, False
    while (reader := _reader(flow, last.y)) is not None:
        number = _multiple(flow, reader)
        if number is not None:
            factor *= number[2]
        elif gated or reader.op != "Mul":
            break
        else:
            other = reader.inputs[1] if reader.inputs[0] == last.y else reader.inputs[0]
            if other != x:
                times = _multiple(flow, flow.maker(other))
                if times is None or times[1] != x:
                    break
                parts.append(times[0])
                factor *= times[2]
            gated = True
        parts.append(reader)
        last = reader
    if not gated:
        return None
    ordered = sorted({part.name: part for part in parts}.values(), key=lambda part: flow.order[part.name])
    return flow.compound("Gelu", ordered, [x], scale=scale, factor=factor)


def _reader(flow: Dataflow, tensor: Tensor) -> Call | None:
    """The one call that reads a tensor, where nobody asks for it."""
    readers = flow.readers.get(tensor.name, [])
    alone = len(readers) == 1 and tensor.name not in flow.kept and not readers[0].domain
    return readers[0] if alone else None


def _multiple(flow: Dataflow, call: Call | None) -> tuple[Call, Tensor, float] | None:
    """A call that multiplies a tensor with a number, with both."""
    if call is None or call.domain or call.op not in ("Mul", "Div"):
        return None
    live = [i for i in range(2) if call.wants(i)]
    if len(live) != 1 or (call.op == "Div" and live != [0]):
        return None
    x, number = call.input(live[0]), flow.value(call.input(1 - live[0]))
    if x is None or number is None or not _fits(number.shape, x) or (call.op == "Div" and not number.item()):
        return None
    return call, x, float(number.item()) if call.op == "Mul" else 1 / float(number.item())


def _is_one(flow: Dataflow, add: Call, x: Tensor) -> bool:
    number = flow.value(add.inputs[1] if add.inputs[0] == x else add.inputs[0])
    return number is not None and _fits(number.shape, x) and number.item() == 1


def _fits(shape: tuple[int, ...], x: Tensor) -> bool:
    """Whether a constant of this shape is a single number that leaves x its shape."""
    return set(shape) <= {1} and len(shape) <= (0 if x.shape is None else len(x.shape))
