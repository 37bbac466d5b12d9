"""Linear maps with constant weights, as they lie in a file, and what gives one other weights and another bias."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx

from onnxplain.ir.edit import Names, NodeWriter
from onnxplain.passes.channel_steps import Channels, Step
from onnxplain.passes.view import FileView

__all__ = ["LinearMap", "MapWriter", "linear_map"]


@dataclass(frozen=True)
class LinearMap:
    """A convolution or dense layer whose weights are a constant.

    Attributes:
        node: the node.
        dims: the extents of its weights.
        groups: how many groups its channels are in.
        rank: the number of axes of what it reads and makes; None where unknown.
        sees_parts: whether some of its outputs see only a part of its kernel: beside the padding of a convolution, and
            everywhere in a transposed one, where an output lies under one tap in so many as the stride says.
    """

    node: onnx.NodeProto
    dims: tuple[int, ...]
    groups: int
    rank: int | None
    sees_parts: bool

    @property
    def weights(self) -> str:
        """The name of its weights."""
        return self.node.input[1]

    @property
    def bias(self) -> str:
        """The name of its bias, "" for none."""
        return self.node.input[2] if len(self.node.input) > 2 else ""

    @property
    def grouped(self) -> tuple[int, ...]:
        """The extents of its weights with an axis for the groups, where there are several, in front of that of their channels."""
        return self.dims if self.groups == 1 else (self.groups, self.dims[0] // self.groups, *self.dims[1:])

    def axis(self, *, outgoing: bool) -> int:
        """The axis of `grouped` that counts the outgoing or incoming channels of a group."""
        transposed = any(a.name == "transB" and a.i for a in self.node.attribute)
        first = outgoing == (self.node.op_type == "Conv" or transposed)
        return (0 if first else 1) + (self.groups > 1)

    def channels(self, *, outgoing: bool) -> Channels:
        """The channels of what it makes, or reads."""
        # the axis of the groups multiplies that of outgoing channels of a convolution, and of both of a transposed one
        count = self.grouped[self.axis(outgoing=outgoing)] * self.groups
        axis = -1 if self.node.op_type in DENSE else 1 - len(self.dims)
        return Channels(count, axis, self.rank)


DENSE = ("Gemm", "MatMul")  # operators: maps along the last axis

KINDS = ("Conv", "ConvTranspose", *DENSE)  # operators: maps that a norm may be folded into


def linear_map(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], view: FileView) -> LinearMap | None:
    """A node as a linear map of its first operand; None for other nodes, and for forms that no norm is folded into."""
    if node.op_type not in KINDS or node.domain or len(node.input) < 2 or node.input[1] not in constants:
        return None
    settings: dict[str, Any] = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    dims = tuple(constants[node.input[1]].dims)
    bias = node.input[2] if len(node.input) > 2 else ""
    if bias and (bias not in constants or len(constants[bias].dims) != 1):
        return None
    if any(settings.get(k, 1.0) != 1.0 for k in ("alpha", "beta")) or settings.get("transA"):
        return None
    if node.op_type in DENSE and len(dims) != 2:
        return None
    shape = view.shape(node.input[0]) if node.op_type == "MatMul" else dims
    rank = None if shape is None else len(shape)
    return LinearMap(node, dims, int(settings.get("group", 1)), rank, _sees_parts(node, dims, settings))


def _sees_parts(node: onnx.NodeProto, dims: Sequence[int], settings: Mapping[str, Any]) -> bool:
    if node.op_type == "ConvTranspose":
        stretched = any(s != 1 for s in settings.get("strides", ())) or any(settings.get("output_padding", ()))
        return stretched or "output_shape" in settings or any(k != 1 for k in dims[2:]) or any(settings.get("pads", ()))
    return any(settings.get("pads", ())) or settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


class MapWriter:
    """Writes what makes a map's new weights and bias, before it, and a bias behind it where it takes none.

    Args:
        linear: the map.
        model: the model.
        names: the names taken.
        view: of the graph; what is written is constant too.
        infos: types and extents of tensors, by name.
        before: where nodes before the map are appended.
        behind: where nodes behind the map are appended.
    """

    def __init__(
        self,
        linear: LinearMap,
        model: onnx.ModelProto,
        names: Names,
        view: FileView,
        infos: Mapping[str, onnx.ValueInfoProto],
        before: MutableSequence[onnx.NodeProto],
        behind: MutableSequence[onnx.NodeProto],
    ) -> None:
        self.linear, self.graph, self.names, self.view, self.infos, self.behind = linear, model.graph, names, view, infos, behind
        self.new = NodeWriter(names, f"{linear.node.name}/", before, model.graph.initializer)
        self.kind = view.constants[linear.weights].data_type

    @property
    def bias(self) -> str:
        """The map's own bias, or the one that was written behind it; "" for none."""
        return self.linear.bias or (self.behind[0].input[1] if self.behind else "")

    def __call__(self, op: str, *inputs: str, like: Sequence[int] | None = None, **attributes: Any) -> str:
        """A constant made of constants; as large as the largest of them unless `like` gives its extents."""
        shape = max((self._dims(i) for i in inputs), key=prod) if like is None else like
        name = self.new.op(op, *inputs, **attributes)
        self.graph.value_info.append(onnx.helper.make_tensor_value_info(name, self.kind, list(shape)))
        self.view.constants[name] = onnx.TensorProto(data_type=self.kind, dims=shape)
        return name

    # -- factors and shifts ----------------------------------------------------------------------------------------------

    def taken(self, steps: Sequence[Step], shift: str) -> tuple[str, str]:
        """The factor and the shift that steps make of x + shift: a · x + c; "" for 1 and for 0."""
        factor = ""
        for step in steps:
            if step.kind == "normalize":
                scale = self._norm_factor(step)
                mean, beta = step.constants["mean"], step.constants["shift"]
                shift = self("Sub", shift, mean) if shift else self("Neg", mean)
                shift = self("Add", self("Mul", shift, scale), beta)
                factor = self("Mul", factor, scale) if factor else scale
                continue
            c = self._flat(step.constants["c"])
            if step.kind == "add":
                shift = self("Add", shift, c) if shift else c
            elif step.kind == "subtract":
                shift = self("Sub", shift, c) if shift else self("Neg", c)
            elif step.kind == "take from":
                shift = self("Sub", c, shift) if shift else c
                factor = self("Neg", factor or self._number(1))
            else:
                how = "Mul" if step.kind == "multiply" else "Div"
                shift = shift and self(how, shift, c)
                factor = c if how == "Mul" and not factor else self(how, factor or self._number(1), c)
        return factor, shift

    def _norm_factor(self, step: Step) -> str:
        """a = s / √(v + ε)"""
        epsilon = next((a.f for a in step.node.attribute if a.name == "epsilon"), 1e-5)
        deviation = self("Sqrt", self("Add", step.constants["variance"], self._number(epsilon)))
        return self("Div", step.constants["scale"], deviation)

    def _number(self, value: float) -> str:
        name = self.new.constant(np.asarray([value], onnx.helper.tensor_dtype_to_np_dtype(self.kind)))
        self.view.constants[name] = onnx.TensorProto(data_type=self.kind, dims=[1])
        return name

    def _flat(self, name: str) -> str:
        """A constant with one axis."""
        dims = self._dims(name)
        return name if len(dims) == 1 else self("Reshape", name, self._integers([-1]), like=[prod(dims)])

    def _dims(self, name: str) -> list[int]:
        return list(self.view.constants[name].dims)

    def _integers(self, values: Sequence[int]) -> str:
        return self.new.constant(np.asarray(values, np.int64))

    # -- weights ---------------------------------------------------------------------------------------------------------

    def scale_weights(self, factor: str, *, outgoing: bool) -> None:
        """W · a"""
        scaled = self("Mul", self._grouped(), self._along(factor, outgoing=outgoing), like=self.linear.grouped)
        if self.linear.groups > 1:
            scaled = self("Reshape", scaled, self._integers(self.linear.dims), like=self.linear.dims)
        self.linear.node.input[1] = scaled

    def map_of_constant(self, shift: str) -> str:
        """b + Σ W · c: what the map makes of its shift where it does not pad."""
        grouped, axis = self.linear.grouped, self.linear.axis(outgoing=True)
        kept = [0, axis] if self.linear.groups > 1 else [axis]
        others = [i for i in range(len(grouped)) if i not in kept]
        shifted = self("Mul", self._grouped(), self._along(shift, outgoing=False), like=grouped)
        bias = self("ReduceSum", shifted, self._integers(others), like=[grouped[i] for i in kept], keepdims=0)
        bias = self._flat(bias)
        return self("Add", bias, self.bias) if self.bias else bias

    def map_of_plane(self, shift: str, extents: Sequence[int]) -> str:
        """What the map makes of a plane of its shift: a bias for every place."""
        channels = self.linear.channels(outgoing=False).count
        column, full = [1, self._dims(shift)[0], *[1] * len(extents)], [1, channels, *extents]
        plane = self("Expand", self("Reshape", shift, self._integers(column), like=column), self._integers(full), like=full)
        made = onnx.NodeProto.FromString(self.linear.node.SerializeToString())
        made.name = self.new.name(made.op_type)
        made.input[0], made.output[0] = plane, made.name
        self.new.nodes.append(made)
        self._declare(made.name, batch=1)
        self.view.constants[made.name] = onnx.TensorProto(data_type=self.kind, dims=[])
        return made.name

    def set_bias(self, bias: str) -> None:
        """Give the map this bias, one number for all or for each outgoing channel."""
        node, channels = self.linear.node, self.linear.channels(outgoing=True).count
        if self._dims(bias) != [channels]:
            bias = self("Expand", bias, self._integers([channels]), like=[channels])
        if self.behind:
            self.behind[0].input[1] = bias
        elif node.op_type == "MatMul":
            self.add_behind(bias)
        else:
            del node.input[2:]
            node.input.append(bias)

    def add_behind(self, bias: str) -> None:
        """Add a bias behind the map, which has none of its own then."""
        node = self.linear.node
        del node.input[2:]
        product, name = self.names.fresh(f"{node.name}/product"), self.names.fresh(f"{node.name}/Add")
        total = onnx.helper.make_node("Add", [product, bias], [node.output[0]], name)
        self._declare(product)
        node.output[0] = product
        self.behind.insert(0, total)
        self.view.makers.update({product: node, total.output[0]: total})

    def _grouped(self) -> str:
        """The weights with an axis for their groups."""
        name, grouped = self.linear.weights, self.linear.grouped
        return name if self.linear.groups == 1 else self("Reshape", name, self._integers(grouped), like=grouped)

    def _along(self, vector: str, *, outgoing: bool) -> str:
        """A vector over the channels, shaped to broadcast along their axes of the grouped weights."""
        if self._dims(vector) == [1]:
            return vector
        grouped, axes = self.linear.grouped, {self.linear.axis(outgoing=outgoing), *([0] if self.linear.groups > 1 else [])}
        full = [n if i in axes else 1 for i, n in enumerate(grouped)]
        return self("Reshape", vector, self._integers(full), like=full)

    def _declare(self, name: str, batch: int | None = None) -> None:
        """A tensor has the type and extents of the map's output, or those of so many samples."""
        like = self.infos.get(self.linear.node.output[0])
        if like is not None:
            info = self.graph.value_info.add()
            info.CopyFrom(like)
            info.name = name
            if batch is not None and len(info.type.tensor_type.shape.dim):
                info.type.tensor_type.shape.dim[0].dim_value = batch
