"""Which columns of a table each element of a tensor depends on.

Scalers, imputers, encoders and selections stand in front of trees and linear models. An attribution belongs to the columns of the
table that goes in, not to what these make of them. So one sample is followed through the graph, with sets of columns in place of
numbers. What cannot be followed exactly depends on more columns than it may need, never on fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import OpTraits, Traits
from onnxplain.ir.own_kernels import as_shown
from onnxplain.ir.tensor import Tensor

__all__ = ["Column", "ColumnFlow", "Columns"]

Column: TypeAlias = "tuple[str, int]"
"""The name of an input, and the place of an element in one sample of it, in row-major order."""

Columns: TypeAlias = "np.ndarray[Any, Any]"
"""What the elements of one sample of a tensor depend on: frozensets of columns, in the tensor's shape."""

Array: TypeAlias = "np.ndarray[Any, Any]"

MOST_ELEMENTS = 100_000
"""Tensors with more elements in a sample are no tables: they are not followed."""

NOTHING: frozenset[Column] = frozenset()


@dataclass(frozen=True)
class _Traced:
    """A tensor that depends on inputs, by what its elements depend on."""

    columns: Columns


_Value: TypeAlias = "_Traced | Array | None"
"""What is known of a tensor: its columns, its values where it depends on no input, or nothing."""


@dataclass
class ColumnFlow:
    """Follows the columns of a table through a graph. What has been followed is remembered.

    Args:
        graph: the model.
        traits: the facts about its operators.

    Example:
        >>> import onnx
        >>> from onnxplain.ir.graph import Graph
        >>> from onnxplain.ir.ops import standard_traits
        >>> text = 'g (float[n, 3] x) => (float[n, 2] y) <int64[2] i = {2, 0}> { z = Neg(x)  y = Gather <axis = 1> (z, i) }'
        >>> model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 18]>' + text)
        >>> flow = ColumnFlow(Graph(model), standard_traits)
        >>> [sorted(columns) for columns in flow.of(flow.graph.outputs[0])[0]]
        [[('x', 2)], [('x', 0)]]
    """

    graph: Graph
    traits: Traits
    _values: dict[str, _Value] = field(default_factory=dict)
    _protos: dict[str, onnx.NodeProto] = field(default_factory=dict)
    _weights: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._protos = {name: node for node in as_shown(self.graph.model.graph.node) for name in node.output if name}
        self._weights = {t.name: t for t in self.graph.model.graph.initializer}
        self._values.update((t.name, _as_columns(t)) for t in self.graph.inputs)

    def of(self, tensor: Tensor) -> Columns | None:
        """What the elements of one sample of a tensor depend on.

        Args:
            tensor: a tensor of the graph.

        Returns:
            Sets of columns in the tensor's shape, with 1 for a free number of samples; empty sets for what depends on no input.
            None where the tensor cannot be followed: its shape is not known, it is a sequence, or it is too large for a table.
        """
        for node in self._before(tensor):
            made = self._node(node)
            self._values.update((t.name, value) for t, value in zip(node.outputs, made, strict=True) if t is not None)
        value = self._value(tensor)
        if isinstance(value, np.ndarray):
            return _filled(value.shape, NOTHING)
        return None if value is None else value.columns

    def _before(self, tensor: Tensor) -> list[Node]:
        """The nodes a tensor is made by that have not been followed, in their order."""
        wanted, found = {tensor.name}, []
        for node in reversed(self.graph.nodes):
            mine = [t.name for t in node.outputs if t is not None]
            if wanted.intersection(mine) and not all(name in self._values for name in mine):
                wanted.update(t.name for t in node.reads if t is not None)
                found.append(node)
        return found[::-1]

    def _value(self, tensor: Tensor | None) -> _Value:
        if tensor is None:
            return None
        if tensor.name not in self._values and tensor.name in self._weights:
            weight = self._weights[tensor.name]
            known = weight.data_location != onnx.TensorProto.EXTERNAL and prod(weight.dims) <= MOST_ELEMENTS
            self._values[tensor.name] = numpy_helper.to_array(weight) if known else None
        return self._values.get(tensor.name)

    def _node(self, node: Node) -> list[_Value]:
        """What is known of the outputs of a node."""
        inputs = [self._value(t) for t in node.inputs]
        given = [v for t, v in zip(node.inputs, inputs, strict=True) if t is not None]
        unknown: list[_Value] = [None] * len(node.outputs)
        facts = self.traits(node)
        if any(v is None for v in given) or facts.makes_sequence or facts.runs_subgraphs or node.captures or facts.random:
            return unknown
        traced = [v for v in given if isinstance(v, _Traced)]
        if not traced or facts.shape_only:
            return self._evaluated(node, [np.zeros(v.columns.shape) if isinstance(v, _Traced) else v for v in inputs])
        made = self._followed(node, facts, inputs)
        if made is None:
            every = frozenset().union(*(c for v in traced for c in v.columns.flat))
            made = [None if (shape := _one_sample(t)) is None else _filled(shape, every) for t in node.outputs]
        return [None if columns is None or columns.size > MOST_ELEMENTS else _Traced(columns) for columns in made]

    def _followed(self, node: Node, facts: OpTraits, inputs: Sequence[_Value]) -> Sequence[Columns | None] | None:
        """The columns of the outputs of a node some of whose inputs depend on columns; None where all of them may mix."""
        settings = not any(isinstance(v, _Traced) for v in inputs[1:])
        if node.domain == "ai.onnx.ml" and node.op in ML:
            return [ML[node.op](node, *inputs)]
        if facts.elementwise:
            # Further outputs, such as the mask of a Dropout, are not followed.
            rest = [None] * (len(node.outputs) - 1)
            return [_united(inputs), *rest] if facts.elementwise == "all" or settings else None
        # What selects elements by their places is linear in them; what does so by their values (maxima) is not.
        by_place = facts.moves_elements or (facts.selects_elements == "first" and facts.linear_in)
        if facts.moves_elements == "all" or (settings and by_place):
            return self._moved(node, inputs)
        if node.op == "Gather" and isinstance(inputs[0], np.ndarray) and isinstance(inputs[1], _Traced):
            return [_looked_up(inputs[0], inputs[1].columns, node["axis"])]
        if facts.reduces and settings:
            return _reduced(node, inputs)
        if facts.multiplies and settings and isinstance(inputs[0], _Traced) and isinstance(inputs[1], np.ndarray):
            return _multiplied(node, inputs[0].columns, inputs[1])
        return None

    def _evaluated(self, node: Node, values: Sequence[Array | None]) -> list[_Value]:
        """The outputs of a node whose inputs are known, as ONNX's own implementation computes them."""
        from onnx.reference import ReferenceEvaluator  # reads all schemas first

        proto = self._protos[next(t.name for t in node.outputs if t is not None)]
        names = {t.name: v for t, v in zip(node.inputs, values, strict=True) if t is not None and v is not None}
        outputs = [t.name for t in node.outputs if t is not None]
        graph = onnx.helper.make_graph(
            [proto],
            "node",
            [onnx.helper.make_empty_tensor_value_info(n) for n in names],
            [onnx.helper.make_empty_tensor_value_info(n) for n in outputs],
        )
        model = onnx.helper.make_model(graph, opset_imports=self.graph.model.opset_import, ir_version=10)
        try:
            found = dict(zip(outputs, ReferenceEvaluator(model).run(None, names), strict=True))
        except Exception:  # the reference has not every operator and type; what it has not is not followed
            return [None] * len(node.outputs)
        return [None if t is None else np.asarray(found[t.name]) for t in node.outputs]

    def _moved(self, node: Node, inputs: Sequence[_Value]) -> list[Columns | None]:
        """Elements in other places: the node moves their numbers, counted through all inputs; 0 stands for what it fills in."""
        sets, numbered = [NOTHING], []
        every = self.traits(node).moves_elements == "all"
        for i, value in enumerate(inputs):
            if value is None or (i and not every):
                numbered.append(value if isinstance(value, np.ndarray) else None)
                continue
            columns = value.columns if isinstance(value, _Traced) else _filled(value.shape, NOTHING)
            numbered.append(np.arange(len(sets), len(sets) + columns.size).reshape(columns.shape))
            sets.extend(columns.flat)
        table = np.empty(len(sets), object)
        table[:] = sets
        return [table[v] if isinstance(v, np.ndarray) else None for v in self._evaluated(node, numbered)]


def _as_columns(tensor: Tensor) -> _Value:
    """The columns of an input: one for each element of a sample."""
    shape = _one_sample(tensor)
    if shape is None or prod(shape) > MOST_ELEMENTS:
        return None
    columns = _filled(shape, NOTHING)
    for i in range(columns.size):
        columns.flat[i] = frozenset({(tensor.name, i % max(1, prod(shape[1:])))})
    return _Traced(columns)


def _one_sample(tensor: Tensor | None) -> tuple[int, ...] | None:
    """The extents of one sample: a free first extent is 1, all others are known."""
    if tensor is None or tensor.shape is None or tensor.is_sequence:
        return None
    first, rest = tensor.shape[:1], tensor.shape[1:]
    extents = [d if isinstance(d, int) else 1 for d in first] + [d for d in rest if isinstance(d, int)]
    return tuple(extents) if len(extents) == len(tensor.shape) else None


def _filled(shape: Sequence[int], columns: frozenset[Column]) -> Columns:
    """The same columns everywhere."""
    made = np.empty(tuple(shape), object)
    made.fill(columns)
    return made


_union: Callable[..., Any] = np.frompyfunc(lambda a, b: a | b, 2, 1)


def _united(values: Sequence[_Value]) -> Columns:
    """What the elements of all operands at one place depend on."""
    parts = [v.columns if isinstance(v, _Traced) else _filled(v.shape, NOTHING) for v in values if v is not None]
    return np.asarray(reduce(_union, parts), object)


def _along(columns: Columns, axes: Sequence[int], *, keepdims: bool) -> Columns:
    """What all elements along axes depend on."""
    made = columns
    for axis in sorted({a % columns.ndim for a in axes}, reverse=True):
        rows = [np.take(made, [i], axis) for i in range(made.shape[axis])]
        made = np.asarray(reduce(_union, rows), object)
        made = made if keepdims else np.squeeze(made, axis)
    return made


def _looked_up(table: Array, places: Columns, axis: int) -> Columns:
    """Entries of a constant table: each depends on what its place depends on."""
    axis %= table.ndim
    before, behind = table.shape[:axis], table.shape[axis + 1 :]
    made = np.empty(before + places.shape + behind, object)
    made[...] = places.reshape((1,) * len(before) + places.shape + (1,) * len(behind))
    return made


def _reduced(node: Node, inputs: Sequence[_Value]) -> list[Columns | None] | None:
    """Sums, means and extremes along axes, which stand in an attribute or, later, in an input."""
    (x, *rest) = inputs
    assert isinstance(x, _Traced)
    axes = rest[0] if rest and isinstance(rest[0], np.ndarray) else node.get("axes", node.get("axis"))
    if axes is None:
        if node.get("noop_with_empty_axes"):
            return None
        axes = range(x.columns.ndim)
    return [_along(x.columns, [int(a) for a in np.atleast_1d(axes)], keepdims=bool(node.get("keepdims", 1)))]


def _multiplied(node: Node, x: Columns, w: Array) -> list[Columns | None] | None:
    """A product with a constant matrix: where an entry is zero, nothing comes through."""
    # operators: the products that are written out below
    if node.op not in ("MatMul", "Gemm") or w.ndim != 2 or x.ndim < 1 or node.get("transA"):
        return None
    matrix = w.T if node.get("transB") else w
    uses = [np.flatnonzero(matrix[:, j]) for j in range(matrix.shape[1])]
    made = np.empty((*x.shape[:-1], len(uses)), object)
    for place in np.ndindex(*x.shape[:-1]):
        row = x[place]
        for j, used in enumerate(uses):
            made[place][j] = NOTHING.union(*row[used])
    return [made]


# -- encoders and their like ---------------------------------------------------------------------------------------------


def _same(node: Node, x: _Traced, *_: _Value) -> Columns:
    """Each element by itself."""
    return x.columns


def _row(node: Node, x: _Traced) -> Columns:
    """Each element by all of its row."""
    made = np.empty_like(x.columns)
    made[...] = _along(x.columns, [-1], keepdims=True)
    return made


def _one_hot(node: Node, x: _Traced) -> Columns:
    """A further axis with an element for each category."""
    count = len(node.get("cats_int64s") or node.get("cats_strings") or ())
    return np.repeat(x.columns[..., None], count, -1)


def _extracted(node: Node, x: _Traced, places: _Value) -> Columns | None:
    """Chosen elements of the last axis; of a single row, as a table of one."""
    if not isinstance(places, np.ndarray):
        return None
    made = x.columns[..., places.ravel().astype(np.int64)]
    return made if x.columns.ndim > 1 else made[None]


def _side_by_side(node: Node, *inputs: _Value) -> Columns | None:
    """Columns of several inputs, each as wide as it is said to be."""
    parts = []
    for x, width in zip(inputs, node["inputdimensions"], strict=False):
        if not isinstance(x, _Traced):
            return None
        rows = x.columns if x.columns.ndim > 1 else x.columns[None]
        part = rows.reshape(len(rows), -1)[:, :width]
        missing = _filled((len(rows), width - part.shape[1]), NOTHING)
        parts.append(np.concatenate([part, missing], 1))
    return np.concatenate(parts, 1)


# operators: how each passes columns on
ML: Mapping[str, Callable[..., Columns | None]] = {
    **dict.fromkeys(("Scaler", "Imputer", "Binarizer", "LabelEncoder", "CategoryMapper"), _same),
    "Normalizer": _row,
    "OneHotEncoder": _one_hot,
    "ArrayFeatureExtractor": _extracted,
    "FeatureVectorizer": _side_by_side,
}
"""Operators of ai.onnx.ml that stand before models of tables."""
