"""Few samples per run: an explained model that takes a batch of any size through the model a few samples at a time.

A backward pass keeps the activations of all the samples that it runs for. So the whole explained graph becomes the body of a
Loop, and its memory is bounded by the samples of one run, whatever the batch.

Weights stay outside, and so does what is made of matrices alone: of what lies or is folded within a body, ONNX Runtime keeps a
copy that it does not need. But it brings kernels of convolutions into the processor's layout only where a graph holds them itself
(`needs_layout`). So the body reads each of these through a Reshape to its own shape, which is folded when the file is loaded:
then it is the body's own, and the outer one is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.external_data_helper import uses_external_data

from onnxplain.errors import MethodError
from onnxplain.ir.edit import Names, NodeWriter, names_in, replace_uses
from onnxplain.ir.graph import READABLE_ELEMENTS
from onnxplain.ir.layout_hints import needs_local_copy
from onnxplain.ir.ops import traits_of

__all__ = ["Samples", "in_batches"]

PREFIX = "onnxplain/samples"
"""What the names of the loop and of all around it begin with."""

BODY_FIELDS = ("sparse_initializer", "quantization_annotation")
"""What goes into the body as it is, beside nodes and small constants."""


@dataclass(frozen=True)
class Samples:
    """Samples run `size` at a time; `symbol` is the extent that counts them. `chosen` are inputs that hold one number per sample,
    or one for all, and have another extent."""

    size: int
    symbol: str
    chosen: tuple[str, ...] = ()

    def axis(self, value: onnx.ValueInfoProto) -> int | None:
        """The axis of an input or output that counts samples: the only one of that extent; None where there is none."""
        if value.name in self.chosen:
            return 0
        axes = [i for i, dim in enumerate(value.type.tensor_type.shape.dim) if dim.dim_param == self.symbol]
        return axes[0] if len(axes) == 1 else None


def in_batches(model: onnx.ModelProto, samples: Samples) -> onnx.ModelProto:
    """The model with its graph as the body of a Loop over samples: a new message. External data stays where it is.

    All runs take the same number of samples, the least with which there are no more runs. The last one begins so early that it
    is as large as the others, and what it computes a second time is left out of the results.

    Raises:
        MethodError: an output cannot be joined: it is no tensor, or has no axis that counts samples.
    """
    made = onnx.ModelProto()
    for field, value in model.ListFields():
        if hasattr(value, "extend"):
            getattr(made, field.name).extend(value)
        elif field.name != "graph":
            setattr(made, field.name, value)
    _Loop(model.graph, made.graph, samples, names_in(model.graph)).write()
    return made


@dataclass(frozen=True)
class _Runs:
    """Tensors that say which samples a run takes, int64: `count` of all samples, of `runs`, of the samples in `each` [1], the
    numbers of those `within` one [each], and the `last` sample that a run can begin with [1]."""

    count: str
    runs: str
    each: str = ""
    within: str = ""
    last: str = ""


@dataclass(frozen=True)
class _Inside:
    """What of a graph lies in the body: `small` constants by name, copies of those that are to be `laid_out`, and `nodes`."""

    small: dict[str, onnx.TensorProto]
    laid_out: list[onnx.TensorProto]
    nodes: list[onnx.NodeProto]


def _writer(graph: onnx.GraphProto, names: Names) -> NodeWriter:
    """What adds to a graph."""
    return NodeWriter(names, f"{PREFIX}/", graph.node, graph.initializer)


def _range(new: NodeWriter, count: str) -> str:
    """0, 1, … below a count."""
    zero, one = (new.constant(np.asarray(i, np.int64)) for i in (0, 1))
    return new.op("Range", zero, new.op("Squeeze", count), one)


class _Loop:
    """A graph, `old`, to be put into a Loop, of which `new` consists."""

    def __init__(self, old: onnx.GraphProto, new: onnx.GraphProto, samples: Samples, names: Names) -> None:
        self.old, self.samples = old, samples
        self.single = samples.size == 1
        self.inputs = {v.name: axis for v in old.input if (axis := samples.axis(v)) is not None}
        self.outputs = _joined(old, samples)
        self.new, self.outer, self.names = new, _writer(new, names), names

    def write(self) -> None:
        """Fill the new graph."""
        new, outer = self.new, self.outer
        new.name, new.doc_string = self.old.name, self.old.doc_string
        new.input.extend(self.old.input)
        new.output.extend(self.old.output)
        runs = self._runs()
        places = self._places(runs.count)
        inside = self._divide()
        start = [outer.op("Squeeze", runs.runs), outer.constant(np.asarray(True))]
        loop = new.node.add(op_type="Loop", name=outer.name("Loop"), input=start)
        self._fill(loop.attribute.add(name="body", type=onnx.AttributeProto.GRAPH).g, inside, runs, places)
        loop.output.extend(outer.name(value.name) for value, _ in self.outputs)
        for (value, axis), made in zip(self.outputs, loop.output, strict=True):
            joined = self._join(made, len(value.type.tensor_type.shape.dim), axis, runs)
            new.node.append(helper.make_node("Identity", [joined], [value.name], outer.name(value.name)))

    def _runs(self) -> _Runs:
        outer = self.outer
        first, axis = next(iter(self.inputs.items()))
        count = outer.op("Shape", first, start=axis, end=axis + 1)
        if self.single:
            return _Runs(count, count)
        runs = outer.op("Div", outer.op("Add", count, [self.samples.size - 1]), [self.samples.size])
        each = outer.op("Div", outer.op("Sub", outer.op("Add", count, runs), [1]), outer.op("Max", runs, [1]))
        return _Runs(count, runs, each, _range(outer, each), outer.op("Sub", count, each))

    def _places(self, count: str) -> dict[str, str]:
        """By input, the row of every sample, int64 [n]: its own, or 0 where there is one row for all; but for the first input,
        which is counted. Any other number of rows ends the run with an error here."""
        outer, made = self.outer, {}
        for name, axis in list(self.inputs.items())[1:]:
            rows = _range(outer, outer.op("Shape", name, start=axis, end=axis + 1))
            made[name] = outer.op("Reshape", outer.op("Expand", rows, count), count)
        return made

    def _fill(self, body: onnx.GraphProto, inside: _Inside, runs: _Runs, places: dict[str, str]) -> None:
        """Write the body: the samples of a run, the old graph, its results."""
        inner = _writer(body, self.names)
        body.name = inner.name("body")
        step, go_on = inner.name("step"), inner.name("go_on")
        body.input.append(helper.make_tensor_value_info(step, TensorProto.INT64, []))
        body.input.append(helper.make_tensor_value_info(go_on, TensorProto.BOOL, []))
        index = inner.op("Unsqueeze", step, [0])
        if not self.single:
            index = inner.op("Add", inner.op("Min", inner.op("Mul", index, runs.each), runs.last), runs.within)
        names = {}
        for name, axis in self.inputs.items():
            rows = inner.op("Gather", places[name], index) if name in places else index
            names[name] = inner.op("Gather", name, rows, axis=axis)
        names |= {value.name: inner.name(value.name) for value, _ in self.outputs}
        names |= {t.name: inner.op("Reshape", t.name, list(t.dims)) for t in inside.laid_out}
        body.initializer.extend(inside.small.values())
        before = len(body.node)
        body.node.extend(inside.nodes)
        replace_uses(body.node[before:], names)
        for node in body.node[before:]:
            node.output[:] = [names.get(name, name) for name in node.output]
        for field in BODY_FIELDS:
            getattr(body, field).extend(getattr(self.old, field))
        outer = {name for node in self.new.node for name in node.output}
        for value in self.old.value_info:
            (self.new if value.name in outer else body).value_info.extend([value] if value.name not in names else [])
        ends = {v.name: v for v in (*self.old.input, *self.old.output) if v.name in names}
        body.value_info.extend(_renamed(v, names) for v in ends.values())
        results = [helper.make_tensor_value_info(inner.op("Identity", go_on), TensorProto.BOOL, [])]
        for value, axis in self.outputs:
            made = names[value.name]
            info = _renamed(value, {value.name: made})
            if self.single:
                info.name = inner.op("Squeeze", made, [axis])
                del info.type.tensor_type.shape.dim[axis]
            results.append(info)
        body.output.extend(results)
        extent = {"dim_value": 1} if self.single else {"dim_param": f"{self.samples.symbol}_per_run"}
        _set_extent(body, self.samples.symbol, onnx.TensorShapeProto.Dimension(**extent))

    def _divide(self) -> _Inside:
        """What lies in the body; the outer graph gets the rest: large constants, and what is made of matrices alone."""
        new, inside = self.new, _Inside({}, [], [])
        matrices = set()
        for tensor in self.old.initializer:
            if prod(tensor.dims) <= READABLE_ELEMENTS and not uses_external_data(tensor):
                inside.small[tensor.name] = tensor
                continue
            new.initializer.append(tensor)
            inside.laid_out.append(tensor) if needs_local_copy(tensor.dims) else matrices.add(tensor.name)
        for node in self.old.node:
            reads = set(node.input)
            facts = traits_of(node.op_type, node.domain)
            rewrites = facts.elementwise or facts.moves_elements == "first"
            if not rewrites or not reads & matrices or not reads <= matrices | inside.small.keys():
                inside.nodes.append(node)
                continue
            matrices.update(node.output)
            made = new.node.add()
            made.CopyFrom(node)
            made.input[:] = [self._copy(inside.small[i]) if i in inside.small else i for i in node.input]
        return inside

    def _copy(self, tensor: onnx.TensorProto) -> str:
        """A small constant in the outer graph too, under a name of its own."""
        made = self.new.initializer.add()
        made.CopyFrom(tensor)
        made.name = self.outer.name("constant")
        return made.name

    def _join(self, blocks: str, rank: int, axis: int, runs: _Runs) -> str:
        """The results of all runs, which lie along an axis in front, as one: without what the last run computed again."""
        outer = self.outer
        if axis:
            order = [*range(1, axis + 1), 0, *range(axis + 1, rank + (not self.single))]
            blocks = outer.op("Transpose", blocks, perm=order)
        if self.single:
            return blocks
        rows = outer.op("Mul", runs.runs, runs.each)
        before, after = outer.op("Shape", blocks, end=axis), outer.op("Shape", blocks, start=axis + 2)
        merged = outer.op("Reshape", blocks, outer.op("Concat", before, rows, after, axis=0), allowzero=1)
        return outer.op("Gather", merged, self._kept(runs), axis=axis)

    def _kept(self, runs: _Runs) -> str:
        """Where every sample lies in the blocks one after the other: those of the last block later by what it begins earlier."""
        outer = self.outer
        number = _range(outer, runs.count)
        begin = outer.op("Mul", outer.op("Div", number, runs.each), runs.each)
        return outer.op("Add", number, outer.op("Max", outer.op("Sub", begin, runs.last), [0]))


def _joined(graph: onnx.GraphProto, samples: Samples) -> list[tuple[onnx.ValueInfoProto, int]]:
    """The outputs with the axis that each is joined along."""
    inputs = {v.name for v in graph.input}
    hint = "leave batch_size out, or the model's own outputs (only_attribution)"
    found = []
    for value in (v for v in graph.output if v.name not in inputs):  # an input is returned as it came
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type"):
            raise MethodError(f"batch_size: output '{value.name}' is no tensor, so that runs cannot be joined; {hint}")
        axis = samples.axis(value)
        if axis is None:
            extents = [d.dim_param or (d.dim_value if d.HasField("dim_value") else "?") for d in tensor.shape.dim]
            expected = f"one axis '{samples.symbol}' to join runs along"
            raise MethodError(f"batch_size: expected {expected} in output '{value.name}', found {extents}; {hint}")
        found.append((value, axis))
    return found


def _renamed(value: onnx.ValueInfoProto, names: Mapping[str, str]) -> onnx.ValueInfoProto:
    made = onnx.ValueInfoProto()
    made.CopyFrom(value)
    made.name = names[value.name]
    return made


def _set_extent(graph: onnx.GraphProto, symbol: str, extent: onnx.TensorShapeProto.Dimension) -> None:
    """Write an extent in place of a symbol; not in the loops within, where the same symbol counts samples times points."""
    for value in (*graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == symbol:
                dim.CopyFrom(extent)
