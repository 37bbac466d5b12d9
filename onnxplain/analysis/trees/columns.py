"""Columns: which columns of the explained inputs each feature of the trees is made of.

A column of a tensor is one element of every sample. What prepares a table for trees (scaling, filling in, encoding, putting
side by side) makes most features of one column each; then a column satisfies what a leaf asks of it where all its features do,
and SHAP values of columns stay exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["Column", "Columns", "columns_of"]

Column = tuple[str, int]
"""A column of an explained tensor: the tensor's name, and the number of the element within a sample."""

Columns = tuple[frozenset[Column], ...]
"""For each column of a tensor, those that it is made of."""

Value = Callable[[Tensor], "np.ndarray[Any, Any] | None"]
"""The values of a small constant."""

# operators: functions of each element of ai.onnx.ml, of which the standard table claims nothing
EACH = {"ai.onnx.ml.Binarizer", "ai.onnx.ml.LabelEncoder", "ai.onnx.ml.CategoryMapper", "ai.onnx.ml.Scaler", "ai.onnx.ml.Imputer"}


def columns_of(nodes: Sequence[Node], sources: Sequence[Tensor], value: Value) -> dict[str, Columns]:
    """What the columns of tensors are made of, by the tensors' names; tensors that depend on no source are left out.

    Args:
        nodes: the model's nodes in topological order.
        sources: the explained tensors, whose first axis counts samples.
        value: the values of small constants.
    """
    made: dict[str, Columns] = {}
    for source in sources:
        made[source.name] = tuple(frozenset({(source.name, i)}) for i in range(_width(source) or 0))
    for node in nodes:
        if all(t is None or t.name not in made for t in node.reads):
            continue
        found = _through(node, made, value)
        for t in (t for t in node.outputs if t is not None and t.name not in made):
            fits = found is not None and (_width(t) in (None, len(found)))
            made[t.name] = found if fits and found is not None else _mixed(node, t, made)
    return made


def _width(tensor: Tensor) -> int | None:
    """The elements of a sample; None where their number is unknown."""
    extents = (tensor.shape or (None, None))[1:]
    known = [d for d in extents if isinstance(d, int)]
    return prod(known) if len(known) == len(extents) else None


def _mixed(node: Node, output: Tensor, made: Mapping[str, Columns]) -> Columns:
    """Every column made of all that the node reads."""
    every = frozenset(c for t in node.reads if t is not None for columns in made.get(t.name, ()) for c in columns)
    return (every,) * (_width(output) or 1)


def _through(node: Node, made: Mapping[str, Columns], value: Value) -> Columns | None:
    """What the columns of the first result are made of; None where they may be mixed."""
    handler = HANDLERS.get(node.operator)
    if handler is not None:
        return handler(node, made, value)
    facts = standard_traits(node)
    first = made.get(node.x.name) if node.inputs and node.inputs[0] is not None else None
    if facts.elementwise == "first" or node.operator in EACH:
        return first
    if facts.elementwise == "all":
        return _side(node, made)
    if facts.keeps_order and first is not None and all(t is None or t.name not in made for t in node.inputs[1:]):
        return first if node.y.shape is None or _width(node.y) == len(first) else None
    return None


def _side(node: Node, made: Mapping[str, Columns]) -> Columns | None:
    """Of an operator that takes elements of its operands at the same place, of which some may have one column for all."""
    mine = [made[t.name] for t in node.inputs if t is not None and t.name in made]
    ranks = {len(t.shape) for t in node.inputs if t is not None and t.name in made and t.shape is not None}
    width = _width(node.y) or max(len(columns) for columns in mine)
    if len(ranks) > 1 or any(len(columns) not in (1, width) for columns in mine):
        return None
    return tuple(frozenset().union(*(c[i if len(c) > 1 else 0] for c in mine)) for i in range(width))


def _joined(node: Node, made: Mapping[str, Columns], value: Value) -> Columns | None:
    """Of Concat along the columns: the only axis beside that of the samples with an extent of more than 1 before its end."""
    parts: list[frozenset[Column]] = []
    for t in node.inputs:
        assert t is not None
        axis = node["axis"] % len(t.shape) if t.shape else 0
        columns = made.get(t.name) or ((frozenset(),) * (_width(t) or 0))
        if axis == 0 or not columns or any(d != 1 for d in (t.shape or ())[1:axis]):
            return None
        parts += columns
    return tuple(parts)


def _vectorized(node: Node, made: Mapping[str, Columns], value: Value) -> Columns | None:
    """Of FeatureVectorizer: inputs side by side."""
    parts = [made.get(t.name, ()) if t is not None else () for t in node.inputs]
    widths = node["inputdimensions"]
    if any(len(p) != w for p, w in zip(parts, widths, strict=True)):
        return None
    return tuple(c for p in parts for c in p)


def _picked(node: Node, made: Mapping[str, Columns], value: Value) -> Columns | None:
    """Of Gather along the columns, and ArrayFeatureExtractor."""
    x, at = node.input(0), value(node.input(1))
    columns = made.get(x.name)
    along = node.op == "ArrayFeatureExtractor" or (node.get("axis", 0) in (1, -1) and x.shape is not None and len(x.shape) == 2)
    if columns is None or at is None or not along:
        return None
    return tuple(columns[int(i)] for i in at.ravel())


def _sliced(node: Node, made: Mapping[str, Columns], value: Value) -> Columns | None:
    """Of Slice along the columns."""
    x, columns = node.x, made.get(node.x.name)
    settings = [None if t is None else value(t) for t in (*node.inputs[1:], None, None)[:4]]
    starts, ends, axes, strides = settings
    if columns is None or starts is None or ends is None or x.shape is None or len(x.shape) != 2 or axes is None:
        return None
    if [int(a) % 2 for a in axes.ravel()] != [1]:
        return None
    step = 1 if strides is None else int(strides.ravel()[0])
    numbers = list(range(len(columns)))
    at, end = int(starts.ravel()[0]), int(ends.ravel()[0])
    return tuple(columns[i] for i in numbers[at:end:step]) if step > 0 else None


def _one_hot(node: Node, made: Mapping[str, Columns], value: Value) -> Columns | None:
    """Of OneHotEncoder: as many columns for each as there are categories."""
    count = len(node.get("cats_int64s") or node.get("cats_strings") or ())
    columns = made.get(node.x.name)
    return None if columns is None else tuple(c for c in columns for _ in range(count))


HANDLERS: dict[str, Callable[[Node, Mapping[str, Columns], Value], Columns | None]] = {
    "Concat": _joined,
    "Gather": _picked,
    "Slice": _sliced,
    "ai.onnx.ml.ArrayFeatureExtractor": _picked,
    "ai.onnx.ml.FeatureVectorizer": _vectorized,
    "ai.onnx.ml.OneHotEncoder": _one_hot,
}
"""Operators that put columns elsewhere."""
