"""Names of extents through shape arithmetic: a tensor reshaped to [Shape(x)[0], 12, 64] has x's first extent, by name.

The standard's inference follows single extents only, and makes up a new symbol where several are sliced or gathered at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeGuard

import numpy as np
import onnx

from onnxplain.ir.ops import traits_of
from onnxplain.ir.tensor import Dim

__all__ = ["name_extents"]

Values: TypeAlias = "list[Dim]"
"""The elements of a small integer tensor, in order: numbers, names of extents, or None."""


def name_extents(graph: onnx.GraphProto, inferred: Mapping[str, onnx.ValueInfoProto]) -> None:
    """Replace symbols that inference made up (`unk__7`) by the extents that shape arithmetic shows they are, in place."""
    values: dict[str, Values] = {t.name: v for t in graph.initializer if (v := _constant(t)) is not None}
    same: dict[str, Dim] = {}

    def extents(name: str) -> list[Dim] | None:
        info = inferred.get(name) or declared.get(name)
        if info is None or not info.type.tensor_type.HasField("shape"):
            return None
        return [_extent(d, same) for d in info.type.tensor_type.shape.dim]

    declared = {v.name: v for v in graph.input}
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        made = _value(node, values, extents)
        rank = len(extents(node.output[0]) or ()) if made is not None else 2
        if made is not None and rank < 2:  # rows of rows have another order of axes
            values[node.output[0]] = made
        # operators: the second operand of these is the shape of the result
        if node.op_type in ("Reshape", "Expand") and len(node.input) > 1:
            mine, wanted = extents(node.output[0]) or [], _wanted(node, values, extents) or []
            for old, new in zip(mine, wanted, strict=True) if len(mine) == len(wanted) else ():
                old, new = _settled(old, same), _settled(new, same)
                if _is_made_up(old) and new is not None and new != old:
                    same[old] = new
    if same:
        for info in inferred.values():
            for dim in info.type.tensor_type.shape.dim:
                found = _extent(dim, same)
                if isinstance(found, int):
                    dim.dim_value = found
                elif found is not None:
                    dim.dim_param = found


def _extent(dim: onnx.TensorShapeProto.Dimension, same: Mapping[str, Dim]) -> Dim:
    return _settled(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None, same)


def _settled(extent: Dim, same: Mapping[str, Dim]) -> Dim:
    while isinstance(extent, str) and extent in same:
        extent = same[extent]
    return extent


def _is_made_up(extent: Dim) -> TypeGuard[str]:
    return isinstance(extent, str) and extent.startswith("unk__")


def _constant(tensor: onnx.TensorProto) -> Values | None:
    if tensor.data_type != onnx.TensorProto.INT64 or len(tensor.dims) > 1 or tensor.data_location:
        return None
    return [int(v) for v in np.ravel(onnx.numpy_helper.to_array(tensor))]


def _value(node: onnx.NodeProto, values: Mapping[str, Values], extents: Callable[[str], Values | None]) -> Values | None:
    """The elements of what a node makes, where it is shape arithmetic."""
    settings = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Shape":
        shape = extents(node.input[0])
        return None if shape is None else shape[settings.get("start", 0) : settings.get("end")]
    known = [values.get(name) for name in node.input]
    if not known or any(v is None for v in known):
        return None
    first, *rest = [v for v in known if v is not None]
    if traits_of(node.op_type).keeps_order:  # the same elements, be they one or a vector
        return first
    if node.op_type == "Cast":
        return first if settings["to"] in (onnx.TensorProto.INT32, onnx.TensorProto.INT64) else None
    if node.op_type == "Concat":
        return [v for part in (first, *rest) for v in part]
    numbers = [[v for v in part if isinstance(v, int)] for part in rest]
    if any(len(n) < len(part) for n, part in zip(numbers, rest, strict=True)):
        return None
    if node.op_type == "Gather" and len(numbers) == 1 and all(-len(first) <= i < len(first) for i in numbers[0]):
        return [first[i] for i in numbers[0]]
    if node.op_type == "Slice" and len(numbers) > 1 and all(len(n) == 1 for n in numbers):
        (start,), (end,), step = numbers[0], numbers[1], numbers[3][0] if len(numbers) > 3 else 1
        return first[start:end:step] if step > 0 else None
    return None


def _wanted(node: onnx.NodeProto, values: Mapping[str, Values], extents: Callable[[str], Values | None]) -> Values | None:
    """The extents that a Reshape or Expand asks for; −1 solved where one extent is left over."""
    wanted, given = values.get(node.input[1]), extents(node.input[0])
    if wanted is None:
        return None
    if node.op_type == "Expand":  # a name may stand for one, and leave the input's extent as it is, unless that is one too
        if given is None or len(given) > len(wanted):
            return None
        own: Values = [*[1] * (len(wanted) - len(given)), *given]
        return [d if mine == 1 else None for mine, d in zip(own, wanted, strict=True)]
    if given is None or any(a.name == "allowzero" and a.i for a in node.attribute):
        return [None if d in (0, -1) else d for d in wanted]
    kept = [given[i] if d == 0 and i < len(given) else d for i, d in enumerate(wanted)]
    return [_left_over(given, kept) if d == -1 else d for d in kept]


def _left_over(given: Sequence[Dim], wanted: Sequence[Dim]) -> Dim:
    """What −1 stands for: the one extent of the input that no other extent uses up."""
    others = list(wanted)
    others.remove(-1)
    if None in given or None in others:
        return None
    left = Counter(d for d in given if isinstance(d, str))
    left.subtract(d for d in others if isinstance(d, str))
    sizes = [int(np.prod([d for d in dims if isinstance(d, int)])) for dims in (given, others)]
    names = [name for name, count in left.items() if count]
    if 0 in sizes or any(left[n] < 0 for n in names):
        return None
    if not names:
        return sizes[0] // sizes[1]
    return names[0] if len(names) == 1 and left[names[0]] == 1 and sizes[0] == sizes[1] else None
