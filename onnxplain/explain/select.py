"""Second station: all analysis. What is explained, from where, and which axes count samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onnxplain.analysis.attention import token_input
from onnxplain.analysis.cam_layer import map_layer
from onnxplain.analysis.explained import (
    Explained,
    find_layer_inputs,
    find_layers,
    find_origins,
    find_sources,
    find_tables,
    left_out,
)
from onnxplain.analysis.liveness import liveness
from onnxplain.analysis.sample_axis import SampleAxes, find_sample_axes, shared_symbol
from onnxplain.analysis.score import Score, find_score
from onnxplain.analysis.selection import Selection
from onnxplain.errors import InputError, MethodError
from onnxplain.explain.prepare import Prepared
from onnxplain.explain.request import Request
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor

__all__ = ["select"]


def select(prepared: Prepared) -> Selection:
    """What is explained of a prepared model.

    Raises:
        LayerError: no such output, input or layer, or the output does not depend on it by differentiable operators.
        MethodError: the method needs a layer, or just one, and that is not what was named; samples cannot take turns.
        InputError: the batch size is no number of samples, or nothing that is explained passes a masked layer.
    """
    request, graph = prepared.request, Graph(prepared.source.model)
    role = request.registry.role
    score = find_score(graph, request.output, request.score)
    axes = find_sample_axes(graph, score, request.sample_axis, request.registry.traits)
    explained, layers = (_with_axes(found, axes) for found in _explained(graph, score, request))
    symbol = "" if request.batch_size is None else _turns(axes, explained, layers, request.batch_size)
    return Selection(
        graph,
        request.registry,
        score,
        explained,
        layers,
        origins=find_origins(graph, score.tensor, role),
        layer_inputs=_with_axes(find_layer_inputs(graph, explained, request.inputs, role), axes),
        axes=axes,
        masked=_masked(graph, score, explained, prepared.masked, request),
        symbol=symbol,
        left_out={} if any(e.kind == "layer" for e in explained) else left_out(graph, score.tensor, explained, role),
    )


def _explained(graph: Graph, score: Score, request: Request) -> tuple[tuple[Explained, ...], tuple[Explained, ...]]:
    """The tensors that a method explains, inputs or layers, and the layers that it looks at beside them."""
    role, method = request.registry.role, request.method
    attributes_to, auto_layer = method.attribution_site(request.options)
    if attributes_to in ("column", "token"):
        if request.layer:
            what = "columns of the inputs" if attributes_to == "column" else "tokens"
            raise MethodError(f"method '{method.name}' explains the {what}, no layers; leave layer out")
        found = find_tables(graph, score.tensor, request.inputs)
        if attributes_to == "column":
            return found, ()
        tokens = token_input(graph, tuple(e.name for e in found))
        return tuple(e for e in found if e.name == tokens), ()
    layers = find_layers(graph, score.tensor, request.layer, role) if request.layer else ()
    if attributes_to == "explained":
        return layers or find_sources(graph, score.tensor, request.inputs, role), ()
    sources = find_sources(graph, score.tensor, request.inputs, role)
    if (attributes_to != "layer" and len(layers) > 1) or not (layers or auto_layer):
        count = "needs a layer" if attributes_to == "layer" else "goes through one layer"
        named = ", ".join(f"'{e.name}'" for e in layers) or "none"
        raise MethodError(f"method '{method.name}' {count}, as --layer Relu:-1 (onnxplain plan lists them); named: {named}")
    if not auto_layer:
        return sources, layers
    source, picked = map_layer(graph, score.tensor, sources, layers[0] if layers else None, role, request.registry.traits)
    return (source,), (picked,)


def _with_axes(found: tuple[Explained, ...], axes: SampleAxes) -> tuple[Explained, ...]:
    """The same tensors, with the axis of each that counts samples."""
    return tuple(replace(e, axis=axes.of(e.tensor)) for e in found)


def _turns(axes: SampleAxes, explained: tuple[Explained, ...], layers: tuple[Explained, ...], size: object) -> str:
    """The extent that counts samples, where samples can take turns: where every tensor has just one axis of it."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"batch_size is the number of samples per run, at least 1; got {size!r}")
    if axes.open:
        raise MethodError(f"batch_size: {axes.question()}")
    mine = axes.extent
    if isinstance(mine, int):
        raise MethodError(f"batch_size: the model was exported for batches of {mine}; export it with a free first axis")
    if mine is None:
        raise MethodError(
            f"batch_size: no axis of '{axes.score.name}' that has a name counts samples ({axes.reason}); leave batch_size out"
        )
    sources = [e.tensor for e in explained]
    symbol = shared_symbol(axes, [(e.tensor, e.axis) for e in (*explained, *layers)])
    if symbol is None or not any(mine in (t.shape or ()) for t in axes.inputs):
        shown = ", ".join(f"'{t.name}' {list(t.shape or ())}" for t in dict.fromkeys((*axes.inputs, *sources)))
        raise MethodError(
            f"batch_size: expected one axis '{mine}', which counts samples, in each of {shown}; leave batch_size out"
        )
    return symbol


def _masked(
    graph: Graph, score: Score, explained: tuple[Explained, ...], masked: Mapping[str, str], request: Request
) -> dict[str, Tensor]:
    """The tensors that masks belong to, each between what is explained and the score."""
    role, made = request.registry.role, {}
    for name, tensor in masked.items():
        (found,) = find_layers(graph, score.tensor, [tensor], role)
        live = liveness(graph.nodes, [e.tensor for e in explained], [score.tensor], role).tensors
        if found.tensor.name not in live and found.tensor != score.tensor:
            raise InputError(f"nothing that is explained passes '{name}', so a mask there says nothing; mask a layer behind it")
        made[name] = found.tensor
    return made
