"""BatchNormalization folded into the linear map before it, or into the one behind it.

With stored statistics a batch norm multiplies and shifts each channel: y = a · x + c with a = s / √(v + ε), c = β − m · a. The
map's weights take the factor, its bias the shift. Relevance needs the product as one linear map, and a gradient saves a node.
Weights in external files stay unread: their products are nodes, which runtimes fold when they load the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from onnxplain.ir.edit import NodeWriter, names_in, reads, set_nodes
from onnxplain.passes.constants import fold_constants

__all__ = ["fold_batch_norm"]


def fold_batch_norm(model: onnx.ModelProto, keep: Sequence[str] = ()) -> bool:
    """Fold the batch normalizations next to a convolution or dense layer where nobody else reads what lies between them.

    Args:
        model: changed in place.
        keep: names of tensors that the user asks for, which stay what they are.
    """
    folding = _Folding(model, tuple(keep))
    norms = [n for n in model.graph.node if n.op_type == "BatchNormalization" and not n.domain]
    changed = [folding.into_map_before(norm) or folding.into_map_behind(norm) for norm in norms]
    if not any(changed):
        return False
    folding.write()
    fold_constants(model, also={name for nodes in folding.added.values() for n in nodes for name in n.output})
    return True


class _Folding:
    """The graph's links, and what is to be taken out and put in."""

    def __init__(self, model: onnx.ModelProto, keep: tuple[str, ...]) -> None:
        graph = model.graph
        self.model, self.keep = model, keep
        self.constants = {t.name: t for t in graph.initializer}
        self.makers = {o: n for n in graph.node for o in n.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in reads(node):
                self.readers.setdefault(name, []).append(node)
        self.outputs = {o.name for o in graph.output}
        self.names = names_in(graph)
        self.gone: set[int] = set()
        self.added: dict[int, list[onnx.NodeProto]] = {}
        self.behind: dict[int, onnx.NodeProto] = {}
        self.infos = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
        self.extents = {n: [d.dim_value for d in v.type.tensor_type.shape.dim] for n, v in self.infos.items()}

    def into_map_before(self, norm: onnx.NodeProto) -> bool:
        """map → norm becomes a map with weights W · a and bias (b − m) · a + β"""
        linear = self.makers.get(norm.input[0])
        axis = None if linear is None else _channels(linear, outgoing=True)
        if linear is None or axis is None or not self._plain(linear, norm) or not self._between(linear, norm):
            return False
        new = _Weights(self, linear, norm)
        factor = new.factor()
        new.scale_weights(factor, axis)
        centred = new("Sub", linear.input[2], norm.input[3]) if _bias(linear) else new("Neg", norm.input[3])
        new.set_bias(new("Add", new("Mul", centred, factor), norm.input[2]))
        linear.output[0] = norm.output[0]
        self.makers[norm.output[0]] = linear
        self.gone.add(id(norm))
        return True

    def into_map_behind(self, norm: onnx.NodeProto) -> bool:
        """norm → map becomes a map with weights W · a and bias b + Σ W · c; where not every output of the map sees its whole
        kernel, the bias is the map of a plane of c."""
        readers = self.readers.get(norm.output[0], [])
        linear = readers[0] if len(readers) == 1 else None
        axis = None if linear is None else _channels(linear, outgoing=False)
        if linear is None or axis is None or linear.input[0] != norm.output[0]:
            return False
        extents = self.extents.get(norm.output[0], [])
        uneven = _sees_parts(linear, self.constants[linear.input[1]].dims if linear.input[1] in self.constants else ())
        if uneven and (len(extents) < 3 or not all(extents[2:])):
            return False
        if not self._plain(linear, norm) or not self._between(norm, linear):
            return False
        new = _Weights(self, linear, norm)
        factor = new.factor()
        shift = new("Sub", norm.input[2], new("Mul", norm.input[3], factor))
        if uneven:
            new.add_behind(new.map_of_plane(shift, extents[2:]))
        else:
            new.set_bias(new.map_of_constant(shift, axis))
        new.scale_weights(factor, axis)
        linear.input[0] = norm.input[0]
        self.readers.setdefault(norm.input[0], []).append(linear)
        self.makers.update({o: n for n in self.behind.values() for o in n.output})
        self.gone.add(id(norm))
        return True

    def write(self) -> None:
        """Put the new nodes before the maps that read them."""
        kept = [n for n in self.model.graph.node if id(n) not in self.gone]
        following = [[self.behind[id(n)]] if id(n) in self.behind else [] for n in kept]
        nodes = [made for n, after in zip(kept, following, strict=True) for made in (*self.added.get(id(n), ()), n, *after)]
        set_nodes(self.model.graph, nodes)

    def _plain(self, linear: onnx.NodeProto, norm: onnx.NodeProto) -> bool:
        """Whether all parameters are constants of one type, in a norm with stored statistics and a map of plain weights."""
        names = [linear.input[1], *([linear.input[2]] if _bias(linear) else []), *norm.input[1:5]]
        settings = {**_attributes(linear), **{f"norm {k}": v for k, v in _attributes(norm).items()}}
        return (
            all(n in self.constants for n in names)
            and (not _bias(linear) or len(self.constants[linear.input[2]].dims) == 1)
            and len({self.constants[n].data_type for n in names}) == 1
            and not any(norm.output[1:])
            and not settings.get("norm training_mode")
            and settings.get("norm spatial", 1) == 1
            and all(settings.get(k, 1.0) == 1.0 for k in ("alpha", "beta"))
            and not settings.get("transA")
            and (linear.op_type == "Conv" or settings.get("group", 1) == 1)
        )

    def _between(self, first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
        """Whether the tensor between two nodes is theirs alone, and the user does not ask for it."""
        name = first.output[0]
        return name not in self.outputs and name not in self.keep and len(self.readers.get(name, ())) == 1


class _Weights:
    """Writes what makes a map's new weights, before the map."""

    def __init__(self, folding: _Folding, linear: onnx.NodeProto, norm: onnx.NodeProto) -> None:
        self.folding, self.linear, self.norm = folding, linear, norm
        made = folding.added.setdefault(id(linear), [])
        self.new = NodeWriter(folding.names, f"{norm.name}/", made, folding.model.graph.initializer)
        self.weights = folding.constants[linear.input[1]]

    def __call__(self, op: str, *inputs: str, like: Sequence[int] | None = None, **attributes: Any) -> str:
        name = self.new.op(op, *inputs, **attributes)
        shape = self.folding.constants[self.norm.input[1]].dims if like is None else like
        info = onnx.helper.make_tensor_value_info(name, self.weights.data_type, list(shape))
        self.folding.model.graph.value_info.append(info)
        self.folding.constants[name] = onnx.TensorProto(data_type=self.weights.data_type, dims=shape)
        return name

    def factor(self) -> str:
        """a = s / √(v + ε)"""
        epsilon = _attributes(self.norm).get("epsilon", 1e-5)
        small = self.new.constant(np.asarray([epsilon], onnx.helper.tensor_dtype_to_np_dtype(self.weights.data_type)))
        return self("Div", self.norm.input[1], self("Sqrt", self("Add", self.norm.input[4], small)))

    def along(self, vector: str, axis: int) -> str:
        """A vector over the channels, shaped to broadcast along one axis of the weights."""
        shape = [-1 if i == axis else 1 for i in range(len(self.weights.dims))]
        full = [self.weights.dims[axis] if i == axis else 1 for i in range(len(self.weights.dims))]
        return self("Reshape", vector, self.integers(shape), like=full)

    def scale_weights(self, factor: str, axis: int) -> None:
        """W · a"""
        weights = self("Mul", self.linear.input[1], self.along(factor, axis), like=self.weights.dims)
        self.linear.input[1] = weights

    def map_of_constant(self, shift: str, axis: int) -> str:
        """b + Σ W · c: what the map makes of its shift where it does not pad."""
        dims = self.weights.dims
        others = [i for i in range(len(dims)) if i != _channels(self.linear, outgoing=True)]
        channels = [d for i, d in enumerate(dims) if i not in others]
        shifted = self("Mul", self.linear.input[1], self.along(shift, axis), like=dims)
        bias = self("ReduceSum", shifted, self.integers(others), like=channels, keepdims=0)
        return self("Add", bias, self.linear.input[2], like=channels) if _bias(self.linear) else bias

    def map_of_plane(self, shift: str, extents: Sequence[int]) -> str:
        """What the map makes of a plane of its shift: a bias for every place."""
        channels = self.folding.constants[shift].dims[0]
        column = [1, channels, *[1] * len(extents)]
        full = [1, channels, *extents]
        plane = self("Expand", self("Reshape", shift, self.integers(column), like=column), self.integers(full), like=full)
        made = onnx.NodeProto.FromString(self.linear.SerializeToString())
        made.name = self.new.name(self.linear.op_type)
        made.input[0], made.output[0] = plane, made.name
        self.new.nodes.append(made)
        self._declare(made.name, batch=1)
        return made.name

    def add_behind(self, bias: str) -> None:
        """Add a bias behind the map, which has none of its own then."""
        del self.linear.input[2:]
        names = self.folding.names
        product, name = names.fresh(f"{self.linear.name}/product"), names.fresh(f"{self.linear.name}/Add")
        total = onnx.helper.make_node("Add", [product, bias], [self.linear.output[0]], name)
        self._declare(product)
        self.linear.output[0] = product
        self.folding.behind[id(self.linear)] = total

    def _declare(self, name: str, batch: int | None = None) -> None:
        """A tensor has the type and extents of the map's output, or those of so many samples."""
        like = self.folding.infos.get(self.linear.output[0])
        if like is not None:
            info = self.folding.model.graph.value_info.add()
            info.CopyFrom(like)
            info.name = name
            if batch is not None and len(info.type.tensor_type.shape.dim):
                info.type.tensor_type.shape.dim[0].dim_value = batch

    def set_bias(self, bias: str) -> None:
        """Give the map this bias."""
        del self.linear.input[2:]
        self.linear.input.append(bias)

    def integers(self, values: Sequence[int]) -> str:
        """A constant of int64."""
        return self.new.constant(np.asarray(values, np.int64))


def _channels(node: onnx.NodeProto, *, outgoing: bool) -> int | None:
    """The axis of a map's weights that counts its outgoing or incoming channels; None for other nodes, or where groups mix."""
    settings = _attributes(node)
    if node.domain or len(node.input) < 2:
        return None
    if node.op_type == "Conv":
        return 0 if outgoing else 1 if settings.get("group", 1) == 1 else None
    if node.op_type == "ConvTranspose":
        return 1 if outgoing else 0
    if node.op_type == "Gemm":
        return int(outgoing != bool(settings.get("transB")))
    return None


def _sees_parts(node: onnx.NodeProto, weights: Sequence[int]) -> bool:
    """Whether some outputs of a map see only a part of its kernel: beside the padding of a convolution, and everywhere in a
    transposed one, where an output lies under one tap in so many as the stride says."""
    settings = _attributes(node)
    if node.op_type == "ConvTranspose":
        stretched = any(s != 1 for s in settings.get("strides", ())) or any(settings.get("output_padding", ()))
        return stretched or "output_shape" in settings or any(k != 1 for k in weights[2:]) or any(settings.get("pads", ()))
    return any(settings.get("pads", ())) or settings.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")


def _bias(node: onnx.NodeProto) -> bool:
    return len(node.input) > 2 and bool(node.input[2])


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
