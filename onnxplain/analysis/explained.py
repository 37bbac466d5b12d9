"""Which tensors get an attribution: inputs, embeddings that stand in for integer inputs, or inner tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count

from onnxplain.analysis.forward_only_advice import instead
from onnxplain.analysis.liveness import liveness
from onnxplain.analysis.lookups import entrances
from onnxplain.analysis.spatial_axes import Layout
from onnxplain.errors import LayerError, nearest
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["Explained", "find_layer_inputs", "find_layers", "find_origins", "find_sources", "find_tables", "left_out"]


@dataclass(frozen=True)
class Explained:
    """A tensor that gets an attribution.

    Attributes:
        name: what the user calls it: an input or a tensor name.
        tensor: the tensor that the attribution belongs to.
        kind: "input", "embedding" (the rows that an integer input looks up), "cast" (an integer input as a float), "column" (an
            input of any type, whose attribution is a number for each element), "layer", or "map" (a map over the spatial axes of
            an input, made from the tensor).
        layout: its spatial axes, where a map needs them.
        source: the input that it comes from.
        axis: the axis that counts samples; None where none does.
    """

    name: str
    tensor: Tensor
    kind: str
    layout: Layout | None = None
    source: str = ""
    axis: int | None = None


def find_sources(
    graph: Graph, target: Tensor, inputs: Sequence[str] | None, role: Callable[[Node], str]
) -> tuple[Explained, ...]:
    """The explained inputs: those named, or all that the target depends on by differentiable operators.

    A floating-point input is explained itself. An integer input is explained at every look-up of it that the target depends on
    (`onnxplain.analysis.lookups`), and so is one that holds tokens as floats, which has no derivative. Where the model has none
    of these (an image of bytes), an integer input is explained at the casts that make it floats.

    Raises:
        LayerError: no such input, or the target does not depend on it by differentiable operators.
    """
    known = {t.name: t for t in graph.inputs}
    for name in inputs or ():
        if name not in known:
            raise LayerError(f"no input '{name}' in the model; {nearest(name, known)}")
    wanted = [known[name] for name in inputs] if inputs is not None else list(graph.inputs)
    found = _live(graph, wanted, target, role)
    if inputs is None and any(c.kind != "cast" for c in found):
        found = [c for c in found if c.kind != "cast"]
    lost = [t.name for t in wanted if t.name not in {c.source for c in found}]
    if (inputs is not None and lost) or not found:
        raise LayerError(_why_not(graph, lost, target, role))
    return tuple(found)


def find_tables(graph: Graph, target: Tensor, inputs: Sequence[str] | None) -> tuple[Explained, ...]:
    """The inputs as they are, of any type, that the target depends on by any operator: those named, or all.

    Raises:
        LayerError: no such input, or the target does not depend on it.
    """
    known = {t.name: t for t in graph.inputs}
    for name in inputs or ():
        if name not in known:
            raise LayerError(f"no input '{name}' in the model; {nearest(name, known)}")
    needed = {target.name}
    for node in reversed(graph.nodes):
        if any(t is not None and t.name in needed for t in node.outputs):
            needed.update(t.name for t in node.reads if t is not None)
    found = tuple(Explained(n, known[n], "column", source=n) for n in (inputs if inputs is not None else known) if n in needed)
    lost = [name for name in inputs or () if name not in needed]
    if lost or not found:
        raise LayerError(f"'{target.name}' does not depend on {', '.join(map(repr, lost)) or 'any input'}")
    return found


def find_origins(graph: Graph, target: Tensor, role: Callable[[Node], str]) -> tuple[Tensor, ...]:
    """Where the model begins: its floating-point inputs, and what stands in for the others; empty where the target depends on
    no input by differentiable operators."""
    return tuple(e.tensor for e in _live(graph, graph.inputs, target, role))


def left_out(graph: Graph, target: Tensor, explained: Sequence[Explained], role: Callable[[Node], str]) -> dict[str, str]:
    """The inputs that get no attribution, with the reason, by name."""
    served = {e.source or e.name for e in explained}
    alive = {e.source for e in _live(graph, graph.inputs, target, role)}
    reasons: dict[str, str] = {}
    for t in graph.inputs:
        if t.name in served:
            continue
        if t.dtype is not None and t.dtype.kind in "OSU":
            reasons[t.name] = (
                "holds text, which has no derivative; methods that need forward passes only take it, such as feature-ablation"
            )
            continue
        found, indexed = ([], []) if t.is_float or t.dtype is None else entrances(graph, t)
        if t.name in alive:
            how = "numbers beside what is looked up" if found else "a tensor that was not asked for"
            reasons[t.name] = f"enters as {how}; name it to explain it"
        elif indexed:
            reasons[t.name] = f"says where to look in '{indexed[0]}', which depends on inputs: a position has no derivative"
        else:
            reasons[t.name] = f"'{target.name}' does not depend on it by differentiable operators"
    return reasons


def _live(graph: Graph, inputs: Sequence[Tensor], target: Tensor, role: Callable[[Node], str]) -> list[Explained]:
    """Where the attributions of inputs can land, of what the target depends on: every look-up of an input, else every cast. The
    first has the input's name, further ones a number behind it."""
    candidates = {t: _stand_ins(graph, t) for t in inputs}
    live = liveness(graph.nodes, [e.tensor for made in candidates.values() for e in made], [target], role).tensors
    taken = {t.name for t in graph.inputs}
    found: list[Explained] = []
    for made in candidates.values():
        alive = [e for e in made if e.tensor.name in live or e.tensor == target]
        alive = [e for e in alive if e.kind == "input"] or alive
        for e in [e for e in alive if e.kind != "cast"] or alive:
            name = e.source if e.source not in {f.name for f in found} else _numbered(e.source, taken)
            taken.add(name)
            found.append(replace(e, name=name))
    return found


def find_layer_inputs(
    graph: Graph, explained: Sequence[Explained], inputs: Sequence[str] | None, role: Callable[[Node], str]
) -> tuple[Explained, ...]:
    """The inputs (or embeddings) that explained layers depend on; none where a layer depends on none: a weight."""
    layers = [e.tensor for e in explained if e.kind == "layer"]
    try:
        return tuple(dict.fromkeys(e for layer in layers for e in find_sources(graph, layer, inputs, role)))
    except LayerError:
        return ()


def _numbered(name: str, taken: set[str]) -> str:
    """A name with the first number behind it that makes it another."""
    return next(made for n in count(2) if (made := f"{name}_{n}") not in taken)


def _stand_ins(graph: Graph, tensor: Tensor) -> list[Explained]:
    """The tensors that can carry an input's attribution in its place."""
    if tensor.dtype is None:
        return []
    own = [Explained(tensor.name, tensor, "input", source=tensor.name)] if tensor.is_float else []
    found, _ = entrances(graph, tensor)
    return own + [Explained(tensor.name, e.tensor, e.kind, source=tensor.name) for e in found]


def _why_not(graph: Graph, names: Sequence[str], target: Tensor, role: Callable[[Node], str]) -> str:
    """Where the paths from the inputs to the target have no derivative, in words."""
    if not graph.inputs:
        return "the model has no inputs to explain"
    shown = ", ".join(f"'{n}'" for n in names)
    wanted = {target.name}
    for node in reversed(graph.nodes):
        if any(t is not None and t.name in wanted for t in node.outputs):
            if role(node) == "zero" or not any(t is not None and t.is_float for t in node.inputs):
                return (
                    f"'{target.name}' does not depend on {shown} by differentiable operators: the way ends at {node}; "
                    f"explain another output or a tensor before it (--output), or {_otherwise(graph, node)}"
                )
            wanted.update(t.name for t in node.reads if t is not None)
    return f"'{target.name}' does not depend on {shown} by differentiable operators; {instead(graph.inputs)}"


def _otherwise(graph: Graph, node: Node) -> str:
    """A phrase that names methods for a score whose way ends at a node."""
    forward = instead(graph.inputs)
    trees = node.domain == "ai.onnx.ml" and node.op.startswith("TreeEnsemble")
    return f"use -m tree-shap, exact on trees, or {forward.removeprefix('use ')}" if trees else forward


def find_layers(graph: Graph, target: Tensor, layers: Sequence[str], role: Callable[[Node], str]) -> tuple[Explained, ...]:
    """Inner tensors by name; `onnxplain.analysis.tensor_names` brings other addresses to names.

    Raises:
        LayerError: nothing has that name, it is no floating-point tensor, or the target does not depend on it by
            differentiable operators.
    """
    found = tuple(_layer(graph, layer) for layer in layers)
    for explained in found:
        live = liveness(graph.nodes, [explained.tensor], [target], role).tensors
        if explained.tensor.name not in live and explained.tensor != target:
            raise LayerError(_why_not(graph, [explained.name], target, role))
    return found


def _layer(graph: Graph, layer: str) -> Explained:
    if not graph.has_tensor(layer):
        names = {t.name for c in graph.nodes for t in c.outputs if t is not None}
        names |= {n for c in graph.nodes for n in (c.name, c.scope) if n}
        raise LayerError(
            f"no tensor, node or module scope '{layer}' in the model, and no operator with its number as Conv:-1; "
            f"{nearest(layer, names)}"
        )
    tensor = graph.tensor(layer)
    if not tensor.is_float:
        raise LayerError(f"'{tensor.name}' holds {tensor.dtype}: only floating-point tensors can be explained")
    return Explained(tensor.name, tensor, "layer")
