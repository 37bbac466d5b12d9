"""What of a model's structure bears on its explanations, counted on the way from the inputs to the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.explained import Explained, find_sources
from onnxplain.analysis.layer_depth import LayerPositions, layer_positions
from onnxplain.analysis.score import Score, find_score
from onnxplain.analysis.spatial_axes import Axes, layouts
from onnxplain.analysis.tensor_names import addresses, resolve
from onnxplain.builder.builder import Builder
from onnxplain.errors import LayerError, MethodError
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Activation, OpTraits
from onnxplain.ir.registry import Registry, load_registry
from onnxplain.ir.tensor import Tensor, same_dim
from onnxplain.method.registry import all_methods
from onnxplain.passes import prepared, simplified
from onnxplain.propagation.backward import live_nodes
from onnxplain.propagation.composite import Composite, RuleSelector, effective_role

__all__ = ["LinearLayer", "Structure", "read_structure"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer. `kind` is "convolution", "dense", or "each place" for a dense layer that every place or token goes through
    alone; `biases` and `positive` count its biases other than zero and those above, None where they are not in the file as
    numbers; `stride` is the greatest of a convolution."""

    address: str
    kind: str
    weights: int
    biases: int | None
    positive: int | None
    largest: float
    stride: int = 1
    first: bool = False


@dataclass(frozen=True)
class Structure:
    """What was counted. Lists hold addresses as `onnxplain plan` shows them.

    `inputs` says of each explained input whether it is an "image", a "series", a "table" or "tokens". `depth` is the number of
    linear layers on the longest way. `merging` are layers that read another one with nothing between that bends. `blocked` says
    why no gradient leads from the score to an input; then nothing else is counted but `exact`, the method that has exact SHAP
    values of such a model, where there is one.
    """

    inputs: dict[str, str] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    layers: tuple[LinearLayer, ...] = ()
    depth: int = 0
    merging: tuple[tuple[str, str], ...] = ()
    pools: dict[str, tuple[str, ...]] = field(default_factory=dict)
    activations: dict[Activation, int] = field(default_factory=dict)
    attention: int = 0
    gates: int = 0
    products: int = 0
    norms: int = 0
    recurrent: int = 0
    residual: int = 0
    control: tuple[str, ...] = ()
    dropout: int = 0
    missing: tuple[str, ...] = ()
    score: str = ""
    activation: str = ""
    blocked: str = ""
    exact: str = ""

    def of_kind(self, kind: str) -> tuple[LinearLayer, ...]:
        """The layers of one kind."""
        return tuple(layer for layer in self.layers if layer.kind == kind)

    def bending(self, kind: Activation) -> int:
        """How many activations are of a kind."""
        return self.activations.get(kind, 0)

    @property
    def squashing(self) -> int:
        """Activations that saturate, without those that are gates."""
        return max(0, self.bending("squash") - self.gates)


def read_structure(
    model: ModelLike, *, output: str | None = None, rules: str | Path | Iterable[str | Path] | None = None
) -> Structure:
    """Count what bears on explanations.

    Raises:
        OnnxplainError: the model cannot be read, or the output does not exist.
    """
    registry = load_registry(rules)
    source = read(model)
    dropout = sum(node.op_type == "Dropout" for node in source.model.graph.node)
    source = prepared(source, registry)
    output = None if output is None else resolve(source.model, output)
    called = addresses(source.model)
    source = simplified(source, (output,))
    graph = Graph(source.model)
    if output is not None:
        graph.tensor(output)  # which may not exist
    try:
        scored = find_score(graph, output)
    except LayerError as error:
        return Structure(tensors=graph.inputs, dropout=dropout, blocked=str(error))
    try:
        explained = find_sources(graph, scored.tensor, None, registry.role)
    except LayerError as error:
        return Structure(tensors=graph.inputs, dropout=dropout, blocked=str(error), exact=_exact(graph, scored.tensor, registry))
    b, choose = Builder(graph), RuleSelector(Composite("structure", canonize=True), registry)
    live = live_nodes(b, graph.nodes, [e.tensor for e in explained], [scored.tensor], choose).nodes
    places = layer_positions(live, choose.is_layer)
    return _Reader(source, graph, called, choose, live, places, explained).structure(scored, dropout)


def _exact(graph: Graph, score: Tensor, registry: Registry) -> str:
    """The method that knows models of this kind, of tables, and has exact values of their columns."""
    if any(t.shape is None or t.rank > 2 for t in graph.inputs):
        return ""
    for method in all_methods().values():
        if method.attributes_to == "column" and method.serves is not None:
            with suppress(MethodError):
                method.serves(graph, score, registry.traits)
                return method.name
    return ""


@dataclass(frozen=True)
class _Reader:
    """The live nodes of one model, counted."""

    source: Source
    graph: Graph
    called: dict[str, str]
    choose: RuleSelector
    live: Sequence[Node]
    places: LayerPositions
    explained: Sequence[Explained]

    def structure(self, scored: Score, dropout: int) -> Structure:
        """All counts."""
        explained = self.explained
        axes = layouts(self.graph.nodes, self._ints, self.choose.registry.traits)
        ops = Counter(node.op for node in self.live if node.domain in ("", "onnxplain"))
        linear = [node for node in self.live if self.choose.is_layer(node)]
        return Structure(
            inputs={e.name: _kind_of_input(e) for e in explained},
            tensors=tuple(e.tensor for e in explained),
            layers=tuple(self._layer(node) for node in linear),
            depth=self.places.depth,
            merging=tuple(self._merging(linear)),
            pools=self._pools(axes),
            activations=self._activations(),
            attention=ops["Attend"],
            gates=ops["Gate"] + ops["GatedUnit"],
            products=sum(self._role(node) in ("product", "bilinear") for node in self.live if node.domain != "onnxplain"),
            norms=ops["Normalize"] + ops["BatchNormalization"] + sum(self._role(node) == "norm" for node in self.live),
            recurrent=sum(self._traits(node).recurrent for node in self.live),
            # operators: a residual sum, in either spelling
            residual=sum(node.op in ("Add", "Sum") and sum(node.needs_grad[: len(node.inputs)]) > 1 for node in self.live),
            control=tuple(self._address(node) for node in self.live if node.bodies),
            dropout=dropout,
            missing=tuple(str(node) for node in self.live if self.choose(node) is None),
            score=scored.tensor.name,
            activation=scored.activation,
        )

    def _activations(self) -> dict[Activation, int]:
        """How many activations of each kind there are; a maximum is taken for a rectifier, as max(x, 0) is one."""
        kinds = Counter(self._traits(node).activation if node.op != "Max" else "rectifier" for node in self.live)
        return {kind: n for kind, n in kinds.items() if kind not in ("", "bend")}

    def _traits(self, node: Node) -> OpTraits:
        return self.choose.registry.traits(node)

    def _role(self, node: Node) -> str:
        return effective_role(node, self.choose.registry.find(node))

    def _address(self, node: Node) -> str:
        return self.called.get(node.y.name, "") or node.name

    def _layer(self, node: Node) -> LinearLayer:
        product = node.parts[0] if node.parts else node
        weight = next((t for i, t in enumerate(node.inputs) if t is not None and i < 2 and not node.needs_input_grad(i)), None)
        bias = self._bias(node)
        if self._traits(product).convolves:
            kind = "convolution"
        else:
            x = next(t for i, t in enumerate(node.inputs) if t is not None and node.needs_input_grad(i))
            kind = "each place" if self._at_each_place(x) else "dense"
        weights = len(node.get("coefficients", ())) if node.domain == "ai.onnx.ml" else _size(weight)
        return LinearLayer(
            address=self._address(node),
            kind=kind,
            weights=weights,
            biases=None if bias is None else int((bias != 0).sum()),
            positive=None if bias is None else int((bias > 0).sum()),
            largest=0.0 if bias is None or not bias.size else float(bias.max()),
            stride=max((int(s) for s in product.get("strides") or ()), default=1),
            first=self.places.position(node).first,
        )

    def _at_each_place(self, x: Tensor) -> bool:
        """Whether rows of a tensor are places or tokens rather than samples."""
        if x.shape is None or len(x.shape) != 2:
            return x.shape is not None
        samples = [e.tensor.shape[0] for e in self.explained if e.tensor.shape]
        tokens = any(e.kind == "embedding" for e in self.explained)
        return tokens and not any(same_dim(x.shape[0], n) for n in samples)

    def _bias(self, node: Node) -> Array | None:
        """The biases of a layer; none at all is an empty array, and None what is no number in the file."""
        if node.domain == "ai.onnx.ml":
            return np.asarray(node.get("intercepts", ()), np.float64)
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is None:
            return np.zeros(0)
        proto = next((t for t in self.graph.model.graph.initializer if t.name == bias.name), None)
        if proto is None:
            return None
        values = np.asarray(onnx.numpy_helper.to_array(proto, str(self.source.folder or "")))
        return values.astype(np.float64) * float(node.get("beta", 1.0) if node.op == "Gemm" else 1.0)

    def _merging(self, linear: Sequence[Node]) -> Iterator[tuple[str, str]]:
        """Layers that alone read another one, with nothing but moved elements between."""
        makers = {t.name: node for node in self.live for t in node.outputs if t is not None}
        readers = Counter(
            t.name for node in self.live for i, t in enumerate(node.reads) if t is not None and node.needs_input_grad(i)
        )
        layers = {node.name for node in linear}
        for node in linear:
            x = next(t for i, t in enumerate(node.inputs) if t is not None and node.needs_input_grad(i))
            before = makers.get(x.name)
            while before is not None and before.name not in layers and self._role(before) == "layout":
                live = [t for i, t in enumerate(before.inputs) if t is not None and before.needs_input_grad(i)]
                alone = len(live) == 1 and readers[x.name] == 1
                x, before = live[0], makers.get(live[0].name) if alone else None
            if before is not None and before.name in layers and readers[x.name] == 1:
                yield self._address(before), self._address(node)

    def _pools(self, axes: dict[str, Axes]) -> dict[str, tuple[str, ...]]:
        """Nodes that pool places, by kind."""
        found: dict[str, list[str]] = {"max": [], "sum": []}
        for node in self.live:
            facts = self._traits(node)
            if facts.reduces and not set(self._reduced(node)) & set(axes.get(node.x.name, ())):
                continue
            if facts.pools or (facts.reduces and (facts.selects_elements or facts.linear_in)):
                found["max" if facts.selects_elements else "sum"].append(self._address(node))
        return {kind: tuple(names) for kind, names in found.items()}

    def _reduced(self, node: Node) -> list[int]:
        given = node.inputs[1] if len(node.inputs) > 1 else None
        over = self._ints(given) if given is not None else node.get("axes")
        rank = len(node.x.shape or ())
        return [int(a) % rank for a in over or range(rank)] if rank else []

    def _ints(self, tensor: Tensor | None) -> list[int] | None:
        values = None if tensor is None else self.graph.value(tensor)
        return None if values is None else [int(v) for v in np.asarray(values).ravel()]


def _kind_of_input(explained: Explained) -> str:
    rank = len(explained.tensor.shape or ())
    if explained.kind == "embedding":
        return "tokens"
    return {4: "image", 3: "series"}.get(rank, "table" if rank <= 2 else "volume")


def _size(tensor: Tensor | None) -> int:
    return prod(d for d in (tensor.shape if tensor is not None and tensor.shape else ()) if isinstance(d, int))
