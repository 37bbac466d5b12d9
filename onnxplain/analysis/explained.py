"""Which tensors get an attribution: inputs, embeddings that stand in for integer inputs, or inner tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxplain.analysis.forward_only_advice import instead
from onnxplain.analysis.liveness import liveness
from onnxplain.analysis.spatial_axes import Layout
from onnxplain.errors import LayerError, nearest
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Call
from onnxplain.ir.tensor import Tensor

__all__ = ["Explained", "find_layer_inputs", "find_layers", "find_origins", "find_sources"]


MOVES = {
    "Cast",
    "Concat",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
"""Operators that leave integers as they are."""


@dataclass(frozen=True)
class Explained:
    """A tensor that gets an attribution.

    Attributes:
        name: what the user calls it: an input or a tensor name.
        tensor: the tensor that the attribution belongs to.
        kind: "input", "embedding" (the rows that an integer input looks up), "cast" (an integer input as a float), "layer", or
            "map" (a map over the spatial axes of an input, made from the tensor).
        layout: its spatial axes, where a map needs them.
    """

    name: str
    tensor: Tensor
    kind: str
    layout: Layout | None = None


def find_sources(
    graph: Graph, target: Tensor, inputs: Sequence[str] | None, role: Callable[[Call], str]
) -> tuple[Explained, ...]:
    """The explained inputs: those named, or all that the target depends on by differentiable operators.

    A floating-point input is explained itself. An integer input is explained at the embedding rows it looks up; where the
    model has neither (an image of bytes), at the cast that makes it a float.

    Raises:
        LayerError: no such input, or the target does not depend on it by differentiable operators.
    """
    known = {t.name: t for t in graph.inputs}
    for name in inputs or ():
        if name not in known:
            raise LayerError(f"no input '{name}' in the model; {nearest(name, known)}")
    wanted = [known[name] for name in inputs] if inputs is not None else list(graph.inputs)
    candidates = [c for t in wanted for c in _stand_ins(graph, t)]
    if inputs is None and any(c.kind != "cast" for c in candidates):
        candidates = [c for c in candidates if c.kind != "cast"]
    live = liveness(graph.calls, [c.tensor for c in candidates], [target], role).tensors
    found = [c for c in candidates if c.tensor.name in live or c.tensor == target]
    lost = [t.name for t in wanted if t.name not in {c.name for c in found}]
    if (inputs is not None and lost) or not found:
        raise LayerError(_why_not(graph, lost, target, role))
    return tuple(found)


def find_origins(graph: Graph, target: Tensor, role: Callable[[Call], str]) -> tuple[Tensor, ...]:
    """Where the model begins: its floating-point inputs, and what stands in for the others; empty where the target depends on
    no input by differentiable operators."""
    candidates = [c.tensor for t in graph.inputs for c in _stand_ins(graph, t)]
    live = liveness(graph.calls, candidates, [target], role).tensors
    return tuple(c for c in candidates if c.name in live)


def find_layer_inputs(
    graph: Graph, explained: Sequence[Explained], inputs: Sequence[str] | None, role: Callable[[Call], str]
) -> tuple[Explained, ...]:
    """The inputs (or embeddings) that explained layers depend on; none where a layer depends on none: a weight."""
    layers = [e.tensor for e in explained if e.kind == "layer"]
    try:
        return tuple(dict.fromkeys(e for layer in layers for e in find_sources(graph, layer, inputs, role)))
    except LayerError:
        return ()


def _stand_ins(graph: Graph, tensor: Tensor) -> list[Explained]:
    """The tensors that can carry an input's attribution in its place."""
    if tensor.dtype is None:
        return []
    if tensor.is_float:
        return [Explained(tensor.name, tensor, "input")]
    carried = {tensor.name}  # the input's own numbers, moved about; positions counted from a mask are something else
    rows: set[str] = set()  # looked up in a quantized table: real numbers once they are dequantized
    found: list[Explained] = []
    for call in graph.calls:
        reads = [t.name for t in call.inputs if t is not None]
        if rows.intersection(reads):
            if call.op == "DequantizeLinear":
                found.append(Explained(tensor.name, call.y, "embedding"))
            elif call.op in MOVES:
                rows.update(y.name for y in call.outputs if y is not None)
        if not carried.intersection(reads):
            continue
        for y in call.outputs:
            if y is None:
                continue
            if not y.is_float:
                if call.op in MOVES:
                    carried.add(y.name)
                elif call.op == "Gather" and call.x.name not in carried:
                    rows.add(y.name)
            elif call.op == "Gather" and call.x.name not in carried:
                found.append(Explained(tensor.name, y, "embedding"))
            elif call.op == "Cast":
                found.append(Explained(tensor.name, y, "cast"))
    embeddings = [e for e in found if e.kind == "embedding"]
    return embeddings[:1] or found[:1]


def _why_not(graph: Graph, names: Sequence[str], target: Tensor, role: Callable[[Call], str]) -> str:
    """Where the paths from the inputs to the target have no derivative, in words."""
    if not graph.inputs:
        return "the model has no inputs to explain"
    shown = ", ".join(f"'{n}'" for n in names)
    wanted = {target.name}
    for call in reversed(graph.calls):
        if any(t is not None and t.name in wanted for t in call.outputs):
            if role(call) == "zero" or not any(t is not None and t.is_float for t in call.inputs):
                return (
                    f"'{target.name}' does not depend on {shown} by differentiable operators: the way ends at {call}; "
                    f"explain another output or a tensor before it (--output), or {instead(graph.inputs)}"
                )
            wanted.update(t.name for t in call.reads if t is not None)
    return f"'{target.name}' does not depend on {shown} by differentiable operators; {instead(graph.inputs)}"


def find_layers(graph: Graph, target: Tensor, layers: Sequence[str], role: Callable[[Call], str]) -> tuple[Explained, ...]:
    """Inner tensors by name; `onnxplain.analysis.tensor_names` brings other addresses to names.

    Raises:
        LayerError: nothing has that name, it is no floating-point tensor, or the target does not depend on it by
            differentiable operators.
    """
    found = tuple(_layer(graph, layer) for layer in layers)
    for explained in found:
        live = liveness(graph.calls, [explained.tensor], [target], role).tensors
        if explained.tensor.name not in live and explained.tensor != target:
            raise LayerError(_why_not(graph, [explained.name], target, role))
    return found


def _layer(graph: Graph, layer: str) -> Explained:
    if not graph.has_tensor(layer):
        names = {t.name for c in graph.calls for t in c.outputs if t is not None}
        names |= {n for c in graph.calls for n in (c.name, c.scope) if n}
        raise LayerError(
            f"no tensor, node or module scope '{layer}' in the model, and no operator with its number as Conv:-1; "
            f"{nearest(layer, names)}"
        )
    tensor = graph.tensor(layer)
    if not tensor.is_float:
        raise LayerError(f"'{tensor.name}' holds {tensor.dtype}: only floating-point tensors can be explained")
    return Explained(tensor.name, tensor, "layer")
