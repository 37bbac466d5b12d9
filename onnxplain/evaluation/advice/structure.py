"""What of a model's structure bears on its explanations, counted on the way from the inputs to the score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.explained import Explained, find_sources
from onnxplain.analysis.layer_depth import Layers, find_layers
from onnxplain.analysis.score import Score, find_score
from onnxplain.analysis.spatial_axes import Axes, layouts
from onnxplain.analysis.tensor_names import addresses, resolve
from onnxplain.builder.builder import Builder
from onnxplain.errors import LayerError
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Call
from onnxplain.ir.ops import Activation, OpTraits
from onnxplain.ir.registry import load_registry
from onnxplain.ir.tensor import Tensor, same_dim
from onnxplain.passes import prepared, simplified
from onnxplain.propagation.backward import on_the_way
from onnxplain.propagation.composite import Choice, Composite, effective_role

__all__ = ["Layer", "Structure", "read_structure"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Layer:
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
    why no gradient leads from the score to an input; then nothing else is counted.
    """

    inputs: dict[str, str] = field(default_factory=dict)
    tensors: tuple[Tensor, ...] = ()
    layers: tuple[Layer, ...] = ()
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

    def of_kind(self, kind: str) -> tuple[Layer, ...]:
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
        explained = find_sources(graph, scored.tensor, None, registry.role)
    except LayerError as error:
        return Structure(tensors=graph.inputs, dropout=dropout, blocked=str(error))
    b, choose = Builder(graph), Choice(Composite("structure", canonize=True), registry)
    live = on_the_way(b, graph.calls, [e.tensor for e in explained], [scored.tensor], choose).calls
    places = find_layers(live, choose.is_layer)
    return _Reader(source, graph, called, choose, live, places, explained).structure(scored, dropout)


@dataclass(frozen=True)
class _Reader:
    """The live calls of one model, counted."""

    source: Source
    graph: Graph
    called: dict[str, str]
    choose: Choice
    live: Sequence[Call]
    places: Layers
    explained: Sequence[Explained]

    def structure(self, scored: Score, dropout: int) -> Structure:
        """All counts."""
        explained = self.explained
        axes = layouts(self.graph.calls, self._ints, self.choose.registry.traits)
        ops = Counter(call.op for call in self.live if call.domain in ("", "onnxplain"))
        linear = [call for call in self.live if self.choose.is_layer(call)]
        return Structure(
            inputs={e.name: _kind_of_input(e) for e in explained},
            tensors=tuple(e.tensor for e in explained),
            layers=tuple(self._layer(call) for call in linear),
            depth=self.places.depth,
            merging=tuple(self._merging(linear)),
            pools=self._pools(axes),
            activations=self._activations(),
            attention=ops["Attend"],
            gates=ops["Gate"] + ops["GatedUnit"],
            products=sum(self._role(call) in ("product", "bilinear") for call in self.live if call.domain != "onnxplain"),
            norms=ops["Normalize"] + ops["BatchNormalization"] + sum(self._role(call) == "norm" for call in self.live),
            recurrent=sum(self._traits(call).recurrent for call in self.live),
            residual=sum(call.op in ("Add", "Sum") and sum(call.live[: len(call.inputs)]) > 1 for call in self.live),
            control=tuple(self._address(call) for call in self.live if call.bodies),
            dropout=dropout,
            missing=tuple(str(call) for call in self.live if self.choose(call) is None),
            score=scored.tensor.name,
            activation=scored.activation,
        )

    def _activations(self) -> dict[Activation, int]:
        """How many activations of each kind there are; a maximum is taken for a rectifier, as max(x, 0) is one."""
        kinds = Counter(self._traits(call).activation if call.op != "Max" else "rectifier" for call in self.live)
        return {kind: n for kind, n in kinds.items() if kind not in ("", "bend")}

    def _traits(self, call: Call) -> OpTraits:
        return self.choose.registry.traits(call)

    def _role(self, call: Call) -> str:
        return effective_role(call, self.choose.registry.find(call))

    def _address(self, call: Call) -> str:
        return self.called.get(call.y.name, "") or call.name

    def _layer(self, call: Call) -> Layer:
        product = call.parts[0] if call.parts else call
        weight = next((t for i, t in enumerate(call.inputs) if t is not None and i < 2 and not call.wants(i)), None)
        bias = self._bias(call)
        if self._traits(product).convolves:
            kind = "convolution"
        else:
            x = next(t for i, t in enumerate(call.inputs) if t is not None and call.wants(i))
            kind = "each place" if self._at_each_place(x) else "dense"
        weights = len(call.get("coefficients", ())) if call.domain == "ai.onnx.ml" else _size(weight)
        return Layer(
            address=self._address(call),
            kind=kind,
            weights=weights,
            biases=None if bias is None else int((bias != 0).sum()),
            positive=None if bias is None else int((bias > 0).sum()),
            largest=0.0 if bias is None or not bias.size else float(bias.max()),
            stride=max((int(s) for s in product.get("strides") or ()), default=1),
            first=self.places.place(call).first,
        )

    def _at_each_place(self, x: Tensor) -> bool:
        """Whether rows of a tensor are places or tokens rather than samples."""
        if x.shape is None or len(x.shape) != 2:
            return x.shape is not None
        samples = [e.tensor.shape[0] for e in self.explained if e.tensor.shape]
        tokens = any(e.kind == "embedding" for e in self.explained)
        return tokens and not any(same_dim(x.shape[0], n) for n in samples)

    def _bias(self, call: Call) -> Array | None:
        """The biases of a layer; none at all is an empty array, and None what is no number in the file."""
        if call.domain == "ai.onnx.ml":
            return np.asarray(call.get("intercepts", ()), np.float64)
        bias = call.inputs[2] if len(call.inputs) > 2 else None
        if bias is None:
            return np.zeros(0)
        proto = next((t for t in self.graph.model.graph.initializer if t.name == bias.name), None)
        if proto is None:
            return None
        values = np.asarray(onnx.numpy_helper.to_array(proto, str(self.source.folder or "")))
        return values.astype(np.float64) * float(call.get("beta", 1.0) if call.op == "Gemm" else 1.0)

    def _merging(self, linear: Sequence[Call]) -> Iterator[tuple[str, str]]:
        """Layers that alone read another one, with nothing but moved elements between."""
        makers = {t.name: call for call in self.live for t in call.outputs if t is not None}
        readers = Counter(t.name for call in self.live for i, t in enumerate(call.reads) if t is not None and call.wants(i))
        layers = {call.name for call in linear}
        for call in linear:
            x = next(t for i, t in enumerate(call.inputs) if t is not None and call.wants(i))
            before = makers.get(x.name)
            while before is not None and before.name not in layers and self._role(before) == "layout":
                live = [t for i, t in enumerate(before.inputs) if t is not None and before.wants(i)]
                alone = len(live) == 1 and readers[x.name] == 1
                x, before = live[0], makers.get(live[0].name) if alone else None
            if before is not None and before.name in layers and readers[x.name] == 1:
                yield self._address(before), self._address(call)

    def _pools(self, axes: dict[str, Axes]) -> dict[str, tuple[str, ...]]:
        """Calls that pool places, by kind."""
        found: dict[str, list[str]] = {"max": [], "sum": []}
        for call in self.live:
            facts = self._traits(call)
            if facts.reduces and not set(self._reduced(call)) & set(axes.get(call.x.name, ())):
                continue
            if facts.pools or (facts.reduces and (facts.selects_elements or facts.linear_in)):
                found["max" if facts.selects_elements else "sum"].append(self._address(call))
        return {kind: tuple(names) for kind, names in found.items()}

    def _reduced(self, call: Call) -> list[int]:
        given = call.inputs[1] if len(call.inputs) > 1 else None
        over = self._ints(given) if given is not None else call.get("axes")
        rank = len(call.x.shape or ())
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
