"""Operators that have an expansion in the registry, written out in standard ones: those outside the standard always, others
where a composite asks for it.

ONNX Runtime's optimizer, its quantizer and export tools leave operators of `com.microsoft` in files. Each of them has an
exact meaning in standard operators; written out, gradient and relevance rules reach every part, and the file runs outside
ONNX Runtime too, which fuses again what it can when it loads it. Where kernels round, what is written approximates them, and they
stay beside it to make the prediction (`ir/own_kernels.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx.shape_inference import infer_node_outputs

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError, UnsupportedOperatorError
from onnxplain.ir.edit import Names, graphs_in, names_in, set_nodes, subgraphs
from onnxplain.ir.emitted import Emitted, tensor_proto, written
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.own_kernels import beside, copied, kernel_results
from onnxplain.ir.registry import Expansion, Registry, load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.passes.shapes import infer_shapes

__all__ = ["claim_contrib", "expand_contrib", "expand_operators"]

CONTRIB = "com.microsoft"

IN_STANDARD_DOMAIN = {"SimplifiedLayerNormalization": 1 << 30, "LayerNormalization": 17}
"""Operators that ONNX Runtime registers in the standard's domain, below the opset in which the standard has them."""

INSPECTED_ELEMENTS = 1024
"""Elements up to which an initializer's values are looked at."""

Types = Mapping[str, onnx.TypeProto]


def claim_contrib(model: onnx.ModelProto) -> bool:
    """Give ONNX Runtime's own operators their own domain where they sit in the standard's.

    The standard's converters and checkers reject what they do not know in their own domain and leave other domains alone.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    names = {op for op, below in IN_STANDARD_DOMAIN.items() if opset < below}
    found = [n for g in graphs_in(model.graph) for n in g.node if n.domain in ("", "ai.onnx") and n.op_type in names]
    for node in found:
        node.domain = CONTRIB
    if found and all(o.domain != CONTRIB for o in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(CONTRIB, 1))
    return bool(found)


def expand_contrib(model: onnx.ModelProto, registry: Registry | None = None) -> bool:
    """Write out every operator that has an expansion, in nested graphs too, and drop operator sets nothing uses.

    Raises:
        UnsupportedOperatorError: forms of them that have no exact meaning in standard operators, all at once, with reasons.
    """
    registry = registry or load_registry()
    changed = _expand(model, registry.expansions)
    return _drop_unused_domains(model) or changed


def expand_operators(model: onnx.ModelProto, registry: Registry, wanted: Iterable[str]) -> bool:
    """Write out the nodes of operators that a composite needs in smaller ones: relevance then goes through their parts.

    Args:
        model: prepared already; changed in place.
        wanted: names of operators, those outside the standard with their domains. Ones without an expansion stay.

    Raises:
        UnsupportedOperatorError: as `expand_contrib`.
    """
    names = set(wanted)
    return _expand(model, {k: e for k, e in registry.on_demand.items() if e.operator in names})


def _expand(model: onnx.ModelProto, expansions: Mapping[tuple[str, str], Expansion]) -> bool:
    if not any((n.domain, n.op_type) in expansions for g in graphs_in(model.graph) for n in g.node):
        return False
    infer_shapes(model)
    writer = _Writer(model, expansions, rounds=any(_rounds(n, expansions) for n in model.graph.node))
    writer.rewrite(model.graph, {})
    writer.finish()
    return True


def _rounds(node: onnx.NodeProto, expansions: Mapping[tuple[str, str], Expansion]) -> bool:
    """Whether a node rounds to a few steps, so that a difference in the last place before it may become a whole step."""
    known = expansions.get((node.domain, node.op_type))
    # operators: those of the standard that round to integers of few bits
    quantizes = node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul")
    return known.approximates if known is not None else quantizes


def _drop_unused_domains(model: onnx.ModelProto) -> bool:
    """ONNX Runtime lists every operator set it knows in a model it has optimized; other hosts know fewer."""
    nodes = [n for g in graphs_in(model.graph) for n in g.node] + [n for f in model.functions for n in f.node]
    used = {"", "ai.onnx", *(n.domain for n in nodes)}
    kept = [o for o in model.opset_import if o.domain in used]
    if len(kept) == len(model.opset_import):
        return False
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return True


class _Draft(Graph):
    """What a builder asks of a graph: names, constants and types, without the nodes."""

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.opset = next(o.version for o in self.model.opset_import if o.domain == "")
        self.initializers = {t.name: t for t in graph.initializer}
        self._names = names_in(graph)

    @property
    def names(self) -> Names:
        """The names that are taken."""
        return self._names

    def is_constant(self, tensor: Tensor) -> bool:
        return tensor.name in self.initializers

    def value(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        known = self.initializers.get(tensor.name)
        return None if known is None or not _is_small(known) else np.asarray(onnx.numpy_helper.to_array(known))


def _is_same(made: list[onnx.NodeProto], node: onnx.NodeProto) -> bool:
    """Whether a node stayed, as what an expansion leaves to the operator itself does."""
    return any((each.domain, each.op_type) == (node.domain, node.op_type) for each in made)


class _Writer:
    """Replaces nodes by their expansions, in the order of the nodes, so that each stands where its node stood."""

    def __init__(self, model: onnx.ModelProto, expansions: Mapping[tuple[str, str], Expansion], *, rounds: bool) -> None:
        self.model = model
        self.expansions = expansions
        self.draft = _Draft(model)
        self.constants: dict[str, np.ndarray[Any, Any]] = {}
        self.refused: list[str] = []
        self.keeps = {key for key, e in expansions.items() if e.approximates or rounds}

    def rewrite(self, graph: onnx.GraphProto, outer: Types) -> None:
        """One graph, the nested ones first; `outer` holds the types of what it can see outside itself."""
        types = {**outer, **_types(graph)}
        b = Builder(self.draft)
        b.constants = self.constants
        names: dict[str, str] = {}
        nodes: list[onnx.NodeProto] = []
        outermost = graph is self.model.graph
        kept = kernel_results(graph.node)
        for node in graph.node:
            if kept.intersection(node.output):  # by an earlier expansion
                nodes.append(node)
                continue
            own = copied(node)
            for inner in subgraphs(node):
                self.rewrite(inner, types)
            made = self.expanded(b, node, types, names)
            rounds = not _is_same(made, node) if (node.domain, node.op_type) in self.keeps else self.approximates(own, node)
            if rounds and outermost:
                self.refuse_sequences(own, types)
                made = beside(own, made, self.draft.names)
            nodes += made
        set_nodes(graph, nodes)

    def approximates(self, own: onnx.NodeProto, node: onnx.NodeProto) -> bool:
        """Whether what is written in a node's branches or bodies only approximates kernels that its own copy has there."""
        before, after = (
            Counter((n.domain, n.op_type) for g in subgraphs(each) for inner in graphs_in(g) for n in inner.node)
            for each in (own, node)
        )
        return any(key in self.keeps for key in before - after)

    def refuse_sequences(self, own: onnx.NodeProto, types: Types) -> None:
        """Note a node that cannot stand beside what is written for it: no join takes a sequence."""
        if any(name in types and types[name].HasField("sequence_type") for name in own.output):
            self.refused.append(
                f"  {own.op_type} '{own.name}' returns a sequence, and kernels in it round: what is written for them would "
                "change the prediction; export it with a tensor instead"
            )

    def expanded(
        self, b: Builder, node: onnx.NodeProto, types: dict[str, onnx.TypeProto], names: dict[str, str]
    ) -> list[onnx.NodeProto]:
        """The nodes that stand for a node: itself, or those of its expansion, expanded in turn."""
        known = self.expansions.get((node.domain, node.op_type))
        if known is not None:
            written = self.written(b, known, node, types, names)
            if written:  # what an expansion leaves to the operator itself stays
                same = [(each.domain, each.op_type) == (node.domain, node.op_type) for each in written]
                for each in (each for each, is_same in zip(written, same, strict=True) if is_same):
                    _leave_out(each, node)
                return [
                    n
                    for each, is_same in zip(written, same, strict=True)
                    for n in ([each] if is_same else self.expanded(b, each, types, names))
                ]
        self.learn(node, types)
        return [node]

    def written(
        self, b: Builder, known: Expansion, node: onnx.NodeProto, types: Types, names: dict[str, str]
    ) -> list[onnx.NodeProto]:
        """The nodes of a node's expansion, none where it is refused. `names` keeps what emitted tensors are called."""
        start = len(b.nodes)
        model_node = _call(node, known, types)
        try:
            with b.scope(node.name):
                made = known.write(b, model_node)
                outputs = made if isinstance(made, tuple) else (made,)
                self.name_outputs(b, model_node, outputs, b.nodes[start:], names)
        except RuleError as error:
            self.refused.append(f"  {model_node}: {error}")
            return []
        emitted = [_in_file(e, names, node) for e in b.nodes[start:]]
        last = next(e for e in reversed(emitted) if set(e.output) & set(node.output))
        last.name = node.name
        return emitted

    def name_outputs(
        self, b: Builder, node: Node, made: tuple[Tensor | None, ...], emitted: list[Emitted], names: dict[str, str]
    ) -> None:
        """Give the results the names of the node's outputs; what was there before passes through Identity."""
        fresh = {t.name for e in emitted for t in e.outputs}
        for i, wanted in enumerate(node.outputs):
            if wanted is None:
                continue
            result = made[i] if i < len(made) else None
            if result is None:
                raise RuleError(f"its output {i} ('{wanted.name}') is not supported")
            if result.name in fresh and result.name not in names:
                names[result.name] = wanted.name
            else:
                name = self.draft.fresh(f"{node.name}/Identity")
                output = Tensor(name, result.dtype, result.shape)
                b.nodes.append(Emitted("Identity", "", name, (result,), (output,), {}))
                names[name] = wanted.name

    def learn(self, node: onnx.NodeProto, types: dict[str, onnx.TypeProto]) -> None:
        """Infer the types of a node's outputs where the file does not tell them."""
        if all(_has_shape(types.get(o)) for o in node.output if o) or node.domain not in ("", "ai.onnx"):
            return
        constants = {n: self.constants[n] for n in node.input if n in self.constants}
        data = {i: t for i in node.input if (t := self.draft.initializers.get(i)) is not None and _is_small(t)}
        data |= {n: onnx.numpy_helper.from_array(a, n) for n, a in constants.items() if a.size <= INSPECTED_ELEMENTS}
        kinds = {n: _type(onnx.numpy_helper.from_array(a)) for n, a in constants.items()}
        given = {i: kinds[i] if i in kinds else types[i] for i in node.input if i in kinds or i in types}
        try:
            schema = onnx.defs.get_schema(node.op_type, self.draft.opset)
            found = infer_node_outputs(schema, node, given, data, opset_imports=list(self.model.opset_import), ir_version=10)
        except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError, RuntimeError, KeyError):
            return
        if node.op_type == "Reshape":
            _rank_of_reshape(found[node.output[0]], given.get(node.input[1]))
        types.update({name: kind for name, kind in found.items() if kind.HasField("tensor_type")})

    def finish(self) -> None:
        """Put the constants into the model; refuse where something was left."""
        if self.refused:
            raise UnsupportedOperatorError(
                "\n".join([f"{len(self.refused)} nodes cannot be written in standard operators:", *self.refused[:20]])
            )
        used = {name for g in graphs_in(self.model.graph) for n in g.node for name in n.input}
        for name, array in self.constants.items():
            if name in used:
                self.model.graph.initializer.append(tensor_proto(name, array))


def _leave_out(kept: onnx.NodeProto, node: onnx.NodeProto) -> None:
    """Let what an expansion leaves to the operator itself make what the node made, and no more: kernels may differ by it."""
    if len(kept.output) >= len(node.output):
        del kept.output[len(node.output) :]
        for i, name in enumerate(node.output):
            kept.output[i] = kept.output[i] if name else ""


def _types(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    return {
        **{v.name: v.type for v in (*graph.input, *graph.value_info, *graph.output)},
        **{t.name: _type(t) for t in graph.initializer},
    }


def _type(tensor: onnx.TensorProto) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))


def _is_small(tensor: onnx.TensorProto) -> bool:
    return int(np.prod(tensor.dims)) <= INSPECTED_ELEMENTS and not tensor.external_data


def _has_shape(kind: onnx.TypeProto | None) -> bool:
    return kind is not None and kind.tensor_type.elem_type != 0 and kind.tensor_type.HasField("shape")


def _rank_of_reshape(made: onnx.TypeProto, shape: onnx.TypeProto | None) -> None:
    """The rank at least, where inference does not know the extents."""
    if shape is not None and not _has_shape(made) and _has_shape(shape) and len(shape.tensor_type.shape.dim) == 1:
        for _ in range(shape.tensor_type.shape.dim[0].dim_value):
            made.tensor_type.shape.dim.add()


def _call(node: onnx.NodeProto, known: Expansion, types: Types) -> Node:
    def tensor(name: str) -> Tensor | None:
        return _tensor(name, types.get(name)) if name else None

    def padded(names: Iterable[str], count: int) -> tuple[Tensor | None, ...]:
        found = [tensor(n) for n in names]
        return tuple(found + [None] * (count - len(found)))

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(v) for v in value]
        return value.decode() if isinstance(value, bytes) else value

    plain = {a.name: text(onnx.helper.get_attribute_value(a)) for a in node.attribute}
    return Node(
        op=node.op_type,
        domain=node.domain,
        version=1,
        name=node.name,
        scope="",
        inputs=padded(node.input, known.inputs),
        outputs=padded(node.output, known.outputs),
        attributes={**known.defaults, **plain},
    )


def _tensor(name: str, kind: onnx.TypeProto | None) -> Tensor:
    if kind is None or not kind.HasField("tensor_type") or kind.tensor_type.elem_type == 0:
        return Tensor(name)
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.tensor_type.elem_type))
    if not kind.tensor_type.HasField("shape"):
        return Tensor(name, dtype)
    dims = kind.tensor_type.shape.dim
    return Tensor(name, dtype, tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims))


def _in_file(model_node: Emitted, names: Mapping[str, str], origin: onnx.NodeProto) -> onnx.NodeProto:
    """The file's node for an emitted one. Its name, and those of nodes within it, begin with that of the node it came from, whose
    metadata they have."""
    node = written(model_node, names)
    for each in (node, *(n for g in subgraphs(node) for inner in graphs_in(g) for n in inner.node)):
        each.name = f"{origin.name}.{each.name.removeprefix(f'{origin.name}/')}"
        each.metadata_props.extend(origin.metadata_props)
    return node
