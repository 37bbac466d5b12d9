"""Pooling whose last window would begin in the padding behind the image, without ceil_mode.

With ceil_mode, windows reach beyond the padding where that covers more of the image, and one that begins behind the image is left
out. So do the kernels of ONNX Runtime; the shape inference with which it loads a model counts that window (onnx 1.23). Where
extents are numbers, it then refuses what has the extents that kernels make, or reuses memory of another size. Padding that ends
where the last window does says the same to both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx.helper import get_attribute_value, make_attribute

from onnxplain.ir.edit import subgraphs

__all__ = ["settle_last_windows"]

# operators: those of the standard with a ceil_mode
POOLS = ("AveragePool", "LpPool", "MaxPool")

Shapes = Mapping[str, list[int | None]]


def settle_last_windows(model: onnx.ModelProto) -> bool:
    """Give pooling nodes that would begin a window behind the image the padding that their windows need, and no ceil_mode.

    Extents have to be known as numbers; where they are not, no inference contradicts the kernels.
    """
    return _settle(model.graph, {})


def _settle(graph: onnx.GraphProto, outer: Shapes) -> bool:
    infos = (*graph.input, *graph.value_info, *graph.output)
    shapes: dict[str, list[int | None]] = {
        **outer,
        **{v.name: _extents(v) for v in infos},
        **{t.name: list(t.dims) for t in graph.initializer},
    }
    changed = False
    for node in graph.node:
        for inner in subgraphs(node):
            changed |= _settle(inner, shapes)
        if node.op_type in POOLS and not node.domain:
            changed |= _settle_node(node, shapes.get(node.input[0], [])[2:])
    return changed


def _settle_node(node: onnx.NodeProto, extents: list[int | None]) -> bool:
    given: dict[str, Any] = {a.name: get_attribute_value(a) for a in node.attribute}
    pads = _ends(given, extents) if given.get("ceil_mode") == 1 and not given.get("auto_pad", b"").startswith(b"SAME") else None
    if pads is None:
        return False
    for attribute in [a for a in node.attribute if a.name in ("ceil_mode", "auto_pad", "pads")]:
        node.attribute.remove(attribute)
    node.attribute.append(make_attribute("pads", pads))
    return True


def _ends(given: Mapping[str, Any], extents: list[int | None]) -> list[int] | None:
    """The padding that the windows need; None where none begins behind the image, or a padding cannot say the same."""
    n = len(given["kernel_shape"])
    strides, dilations, pads = (given.get(name, [default] * times) for name, default, times in
                                (("strides", 1, n), ("dilations", 1, n), ("pads", 0, 2 * n)))  # fmt: skip
    beyond, ends = False, []
    for axis, x in enumerate(extents):
        if x is None:
            return None
        step, begin, end = strides[axis], pads[axis], pads[n + axis]
        span = (given["kernel_shape"][axis] - 1) * dilations[axis] + 1
        counted, within = -(-(x + begin + end - span) // step) + 1, -(-(x + begin) // step)
        beyond |= counted > within
        needed = max(0, (min(counted, within) - 1) * step + span - x - begin)
        if needed >= given["kernel_shape"][axis] or (needed > end and given.get("count_include_pad", 0)):
            return None  # refused by runtimes, or counted among what is averaged
        ends.append(needed)
    return [*pads[:n], *ends] if beyond else None


def _extents(info: onnx.ValueInfoProto) -> list[int | None]:
    return [d.dim_value if d.HasField("dim_value") else None for d in info.type.tensor_type.shape.dim]
