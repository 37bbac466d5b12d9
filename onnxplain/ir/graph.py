"""The graph facade: the only file that imports onnx_graphsurgeon.

graphsurgeon reads the nodes and tensors and their links. What leaves are messages: those of the file as they came in, since
graphsurgeon loses what it does not know (node metadata, map and sequence types, exotic attributes), and those of emitted nodes.
Weights are never touched.
"""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.importers.onnx_importer import OnnxImporter
from onnx_graphsurgeon.logger import G_LOGGER

from onnxplain.errors import LayerError, nearest
from onnxplain.ir.edit import Names, alive, captures, names_in, reads, set_nodes
from onnxplain.ir.emitted import Body, Emitted, image_infos, needed, tensor_proto, value_info, written
from onnxplain.ir.node import Node, Subgraph
from onnxplain.ir.own_kernels import as_shown, as_written, join_names
from onnxplain.ir.schema import signature
from onnxplain.ir.tensor import Shape, Tensor, shown

__all__ = ["READABLE_ELEMENTS", "Graph", "named_dims", "scope_of"]

G_LOGGER.severity = G_LOGGER.ERROR

READABLE_ELEMENTS = 4096
"""Elements up to which a constant's values are looked at; weights stay unread."""

SCOPE_KEYS = ("pkg.torch.onnx.name_scopes", "namespace")
"""Node metadata in which exporters write the module path, the best first."""


@dataclass
class Graph:
    """A model's top-level graph. It owns the model: `finish` writes into it and hands it out.

    `nodes` are the operator applications in topological order; `inputs` and `outputs` the graph's own tensors. Where nodes are
    written out that approximate a kernel of the model (see `own_kernels`), `nodes` holds those and `kernels` that of the model,
    by the names of what both make.
    """

    model: onnx.ModelProto
    opset: int = 0
    nodes: tuple[Node, ...] = ()
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    kernels: dict[str, Node] = field(default_factory=dict)
    _tensors: dict[str, Tensor] = field(default_factory=dict)
    _constants: dict[str, Any] = field(default_factory=dict)
    _producers: dict[str, Node] = field(default_factory=dict)
    _names: Names = field(default_factory=Names)

    def __post_init__(self) -> None:
        self.opset = next((o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self._versions = {o.domain: o.version for o in self.model.opset_import}
        joined, whole = join_names(self.model.graph.node), list(self.model.graph.node)
        if joined:
            set_nodes(self.model.graph, as_shown(whole))
        read = gs.import_onnx(self.model)
        for name, t in {**_only_in_subgraphs(self.model.graph, read), **read.tensors()}.items():
            self._tensors[name] = _tensor(t)
            if isinstance(t, gs.Constant):
                self._constants[name] = t
        self.nodes = self._read(read.nodes, self.model.graph.node, self._tensors)
        if joined:
            set_nodes(self.model.graph, whole)
            self.nodes = self._apart(joined)
        self.inputs = tuple(self._tensors[t.name] for t in read.inputs)
        self.outputs = tuple(self._tensors[t.name] for t in read.outputs)
        self._producers = {t.name: node for node in self.nodes for t in node.outputs if t is not None}
        self._names = names_in(self.model.graph)
        self._names.take(c.name for c in self.nodes)

    def _apart(self, joined: Mapping[str, str]) -> tuple[Node, ...]:
        """The nodes without those of the model that others are written for, which become `kernels`."""
        shown = []
        for node in self.nodes:
            if not any(t is not None and t.name in joined for t in node.outputs):
                shown.append(node)
                continue
            outputs = tuple(None if t is None else self._tensors[joined[t.name]] for t in node.outputs)
            kernel = replace(node, outputs=outputs)
            self.kernels |= {t.name: kernel for t in outputs if t is not None}
        return tuple(shown)

    def _read(self, nodes: Any, protos: Any, table: Mapping[str, Tensor]) -> tuple[Node, ...]:
        return tuple(self._node(node, proto, table) for node, proto in zip(nodes, protos, strict=True))

    def _node(self, node: Any, proto: onnx.NodeProto, table: Mapping[str, Tensor]) -> Node:
        """The node of a proto; `table` holds the tensors it can see, by name."""
        domain = "" if node.domain in (None, "ai.onnx") else node.domain
        known = signature(node.op, domain, self._versions.get(domain, 1) if domain else self.opset)
        inputs = [table[t.name] if t.name else None for t in node.inputs]
        outputs = [table[t.name] if t.name else None for t in node.outputs]
        if known is not None:
            if not known.variadic_inputs:
                inputs += [None] * (len(known.input_classes) - len(inputs))
            if not known.variadic_outputs:
                outputs += [None] * (len(known.output_classes) - len(outputs))
        graphs = {a.name: a.g for a in proto.attribute if a.type == onnx.AttributeProto.GRAPH}
        given = {k: self._subgraph(v, graphs[k], table) if k in graphs else _plain(v) for k, v in node.attrs.items()}
        attributes = {**(known.defaults if known else {}), **given}
        return Node(
            op=node.op,
            domain=domain,
            version=known.since if known else self._versions.get(domain, 1),
            name=node.name or node.op,
            scope=scope_of(proto),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            attributes=attributes,
            captures=tuple(table[n] for n in captures(proto)),
        )

    def _subgraph(self, graph: Any, proto: onnx.GraphProto, outer: Mapping[str, Tensor]) -> Subgraph:
        found = {**_only_in_subgraphs(proto, graph), **graph.tensors()}
        own = {name: _tensor(t) for name, t in found.items() if name not in outer}
        table = ChainMap(own, dict(outer))
        return Subgraph(
            inputs=tuple(table[t.name] for t in graph.inputs),
            outputs=tuple(table[t.name] for t in graph.outputs),
            nodes=self._read(graph.nodes, proto.node, table),
        )

    def approximated(self) -> dict[str, str]:
        """By the names of what they make: the kernels of the model that others are written for. Of a Loop, Scan or If: those in
        its bodies or branches."""
        return {name: _rounding(kernel, self._producers.get(name)) for name, kernel in self.kernels.items()}

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name, or an error with the nearest names."""
        try:
            return self._tensors[name]
        except KeyError:
            raise LayerError(f"no tensor '{name}' in the model; {nearest(name, self._tensors)}") from None

    def has_tensor(self, name: str) -> bool:
        """Whether the model has a tensor of that name."""
        return name in self._tensors

    def producer(self, tensor: Tensor) -> Node | None:
        """The node that makes a tensor; None for inputs and constants."""
        return self._producers.get(tensor.name)

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the tensor is an initializer."""
        return tensor.name in self._constants

    def value(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """The values of a small constant; None for anything else, and for weights, which stay unread."""
        constant = self._constants.get(tensor.name)
        if constant is None or int(np.prod(constant.shape)) > READABLE_ELEMENTS:
            return None
        values = constant._values
        if isinstance(values, np.ndarray):
            return values
        if values.tensor.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return np.asarray(onnx.numpy_helper.to_array(values.tensor))

    def fresh(self, name: str) -> str:
        """A name that nothing in the model has yet. It counts as taken from then on."""
        return self._names.fresh(name)

    def finish(
        self,
        model_nodes: Iterable[Emitted],
        constants: Mapping[str, np.ndarray[Any, Any]],
        outputs: Sequence[Tensor],
        inputs: Sequence[Tensor] = (),
        *,
        alone: bool = False,
    ) -> onnx.ModelProto:
        """The model with emitted nodes, constants, further inputs and outputs; only what its outputs need is kept.

        With `alone` the given outputs are the only ones, and weights that they do not need leave too.
        """
        graph = self.model.graph
        if self.kernels:
            set_nodes(graph, as_written(graph.node))
        if alone:
            del graph.output[:]
        emitted = needed(list(model_nodes), outputs)
        made = [(node, written(node)) for node in emitted]
        taken_over = {node.replaces: proto for node, proto in made if node.replaces}
        added = [(_is_source(node), proto) for node, proto in made if not node.replaces]
        # What depends on nothing goes first: loops that are extended in place read it.
        nodes = [node for first, node in added if first]
        nodes += [taken_over.get(node.name, node) for node in graph.node] if taken_over else graph.node
        nodes += [node for first, node in added if not first]
        set_nodes(graph, alive(nodes, [*(o.name for o in graph.output), *(t.name for t in outputs)]))
        used = {name for node in graph.node for name in reads(node)} | {t.name for t in outputs}
        for name, array in constants.items():
            if name in used:
                graph.initializer.append(tensor_proto(name, array))
        # What passes made and nothing reads any more goes too: ONNX Runtime has a warning for each.
        kept = [t for t in graph.initializer if t.name in used or not (alone or t.name.startswith("onnxplain/"))]
        if len(kept) < len(graph.initializer):
            del graph.initializer[:]
            graph.initializer.extend(kept)
        ends = {t.name for t in graph.output} | {t.name for t in outputs}
        graph.value_info.extend(image_infos((node for node in emitted if not node.replaces), ends))
        graph.input.extend(value_info(t) for t in inputs)
        graph.output.extend(value_info(t) for t in outputs)
        return self.model


def _rounding(kernel: Node, written: Node | None) -> str:
    """The operator of a kernel, or the operators that its subgraphs have and those written for them have not."""
    theirs = [] if written is None else _operators_within(written)
    mine = [op for op in dict.fromkeys(_operators_within(kernel)) if op not in theirs]
    return ", ".join([op for op in mine if "." in op] or mine) or kernel.operator


def _operators_within(node: Node) -> list[str]:
    """The operators in a node's subgraphs, nested ones included."""
    return [op for inner in node.bodies.values() for n in inner.nodes for op in (n.operator, *_operators_within(n))]


def _only_in_subgraphs(proto: onnx.GraphProto, graph: Any) -> dict[str, Any]:
    """Initializers that subgraphs alone read: graphsurgeon does not list them."""
    wanted = {name for node in proto.node for name in captures(node)} - set(graph.tensors())
    return {t.name: OnnxImporter.import_tensor(t) for t in proto.initializer if t.name in wanted}


def _is_source(node: Emitted) -> bool:
    """Whether it reads nothing at all."""
    return not node.inputs and not any(isinstance(a, Body) for a in node.attributes.values())


def _tensor(tensor: Any) -> Tensor:
    return Tensor(tensor.name, _dtype(tensor), _shape(tensor), isinstance(tensor, gs.Variable) and tensor.type == "sequence_type")


def _dtype(tensor: Any) -> np.dtype[Any] | None:
    if isinstance(tensor, gs.Variable) and tensor.type not in ("tensor_type", "sequence_type"):
        return None
    dtype = tensor.dtype
    if isinstance(dtype, int):  # graphsurgeon keeps types NumPy lacks as numbers; onnx maps them to ml_dtypes
        if dtype == onnx.TensorProto.UNDEFINED:
            return None
        dtype = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    return None if dtype is None else np.dtype(dtype)


def _shape(tensor: Any) -> Shape:
    if isinstance(tensor, gs.Variable) and tensor.type != "tensor_type":
        return None
    return None if tensor.shape is None else tuple(d if d != "" else None for d in tensor.shape)


def _plain(attribute: Any) -> Any:
    if isinstance(attribute, gs.Constant):
        return attribute.values
    return attribute


def scope_of(node: onnx.NodeProto) -> str:
    """The module path a node came from: from the exporter's metadata, else from a path-like node name."""
    metadata = {p.key: p.value for p in node.metadata_props}
    for key in SCOPE_KEYS:
        text = metadata.get(key, "")
        if text.startswith("["):
            try:
                names = [str(s) for s in ast.literal_eval(text) if s]
            except (ValueError, SyntaxError):
                continue
            # The last entry names the operation itself, the one before it the innermost module.
            return names[-2] if len(names) > 1 else ""
        if text:
            return text
    return node.name.strip("/").rpartition("/")[0].replace("/", ".")


def named_dims(tensor: Tensor) -> str:
    """The shape for people: `[batch, 3, 224, 224]`; `?` where an extent is unknown."""
    return shown(tensor.shape)
