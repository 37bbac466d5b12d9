"""Choose the layer that a class activation map is made from: the one named, or the last one with spatial axes on every path."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.liveness import Live, liveness
from onnxplain.analysis.spatial_axes import Axes, Layout, extents, layouts, token_layout
from onnxplain.errors import LayerError
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits, standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["map_layer"]

EACH_TOKEN = frozenset({"elementwise", "sum", "scale", "product", "norm", "softmax", "linear", "bilinear", "straight-through"})
"""Roles of operators that may treat every token by itself; a product does where its other operand is a constant matrix."""


def map_layer(
    graph: Graph,
    target: Tensor,
    sources: Sequence[Explained],
    layer: Explained | None,
    role: Callable[[Node], str],
    traits: Traits,
) -> tuple[Explained, Explained]:
    """The input that a map lies on, and the layer that it is made from, both with their layouts.

    Where no layer is named it is the last tensor with more than one place through which everything passes on its way from the
    input to the target, and of which the score reads every place: the last one before the places are pooled away, or before
    attention gathers them in a class token.

    Raises:
        LayerError: there is no such tensor, or no input with height and width (or time) that the layer depends on.
    """
    spatial = [e for e in sources if e.tensor.shape is not None and len(e.tensor.shape) > 2 and e.kind != "embedding"]
    if not spatial:
        shown = ", ".join(f"'{e.name}' {named_dims(e.tensor)}" for e in sources)
        raise LayerError(f"a map needs an input [samples, channels, height, width] or alike; found {shown}")
    axes = layouts(graph.nodes, lambda t: _ints(graph, t), traits)
    for e in spatial:
        live = liveness(graph.nodes, [e.tensor], [target], role)
        seen = _Seen(live, axes, axes.get(e.tensor.name) or _usual(e.tensor))
        on = replace(e, layout=Layout(seen.over))
        if layer is not None:
            if layer.tensor.name in live.tensors:
                return on, replace(layer, layout=seen.layout(layer.tensor))
            continue
        found = seen.candidates(e.tensor, target, role)
        if found:
            tensor, layout = found[-1]
            return on, Explained(tensor.name, tensor, "layer", layout)
    names = ", ".join(f"'{e.name}'" for e in spatial)
    if layer is not None:
        raise LayerError(f"'{layer.name}' does not depend on {names} by differentiable operators: no map can be made from it")
    raise LayerError(
        f"no tensor with height and width (or time) was found that everything from {names} to '{target.name}' passes through; "
        "name one with --layer (onnxplain plan lists them)"
    )


def _ints(graph: Graph, tensor: Tensor | None) -> list[int] | None:
    """The values of a small constant, an initializer or what a Constant node makes."""
    maker = None if tensor is None else graph.producer(tensor)
    made = maker.get("value") if maker is not None and maker.op == "Constant" else None
    values = graph.value(tensor) if tensor is not None and made is None else made
    return None if values is None else [int(v) for v in np.asarray(values).ravel()]


def _usual(tensor: Tensor) -> Axes:
    """The spatial axes of an input for which the dataflow shows none: all after the channels.

    The channels come first, or last where the last axis is short.
    """
    assert tensor.shape is not None
    rank = len(tensor.shape)
    last = tensor.shape[-1] in (1, 3, 4) and tensor.shape[1] not in (1, 3, 4)
    return tuple(range(1, rank - 1)) if last else tuple(range(2, rank))


class _Seen:
    """The spatial axes of the tensors between one input and the target."""

    def __init__(self, live: Live, axes: dict[str, Axes], over: Axes) -> None:
        self.live, self.axes, self.over = live, axes, over

    def layout(self, tensor: Tensor) -> Layout | None:
        """The layout of a tensor; None where nothing tells it."""
        over = self.axes.get(tensor.name, ())
        if len(over) == len(self.over):
            return Layout(over)
        if len(self.over) != 2:
            return None
        grids: list[Axes] = []
        for node in self.live.nodes:
            grids += [g for y in node.outputs if y is not None and len(g := extents(y, self.axes)) == 2 and g not in grids]
            if any(y == tensor for y in node.outputs):
                break
        return token_layout(tensor, grids, over[0] if len(over) == 1 else None)

    def candidates(self, source: Tensor, target: Tensor, role: Callable[[Node], str]) -> list[tuple[Tensor, Layout]]:
        """The tensors with spatial axes that all paths from the source pass through, and of which the score depends on every
        place.

        With attention there is one more candidate: the norm behind the last such tensor, where everything that bypasses the norm
        is read only at the class token. The channels that a norm divides out have no influence before it.
        """
        found = [(t, layout) for t in _passages(self.live, source, target) if (layout := self._spatial(t)) is not None]
        partly = self._partly_read(target, role)
        found = [(t, layout) for t, layout in found if t.name not in partly]
        if not partly or not found or not found[-1][1].grid:
            return found
        last = found[-1][0]
        whole = replace(self.live, nodes=tuple(c for c in self.live.nodes if not _all_within(c, partly)))
        ends = {x.name for c in self.live.nodes if _all_within(c, partly) for x in _live_inputs(c) if not self._each(c, x, role)}
        more = [(t, layout) for t in _passages(whole, source, target, ends) if (layout := self._spatial(t)) is not None]
        return [*found, *((t, layout) for t, layout in more if layout.grid and t.dim(-1) == last.dim(-1))]

    def _spatial(self, tensor: Tensor) -> Layout | None:
        layout = self.layout(tensor)
        return layout if layout is not None and _places(tensor, layout) > 1 else None

    def _partly_read(self, target: Tensor, role: Callable[[Node], str]) -> set[str]:
        """The tensors of which the score depends on some tokens only: everything behind the point from which only the class token
        is read.
        """
        found: set[str] = set()
        readers: dict[str, list[tuple[Node, Tensor]]] = {}
        for node in reversed(self.live.nodes):
            for y in node.outputs:
                if y is None or y == target or not readers.get(y.name):
                    continue
                layout = self.layout(y) if y.shape is not None and len(y.shape) == 3 else None
                if layout is None or not layout.grid:
                    continue
                reads = readers[y.name]
                if all(_fewer(c, x, layout) or (_all_within(c, found) and self._each(c, x, role)) for c, x in reads):
                    found.add(y.name)
            for x in _live_inputs(node):
                readers.setdefault(x.name, []).append((node, x))
        return found

    def _each(self, node: Node, x: Tensor, role: Callable[[Node], str]) -> bool:
        """Whether a node treats every token of an operand alone, and keeps them all."""
        y = node.y
        if y.shape is None or x.shape is None or len(y.shape) != len(x.shape) or role(node) not in EACH_TOKEN:
            return False
        return y.shape[1] == x.shape[1] and _by_itself(node, x, role(node))


def _live_inputs(node: Node) -> list[Tensor]:
    return [t for i, t in enumerate(node.reads) if t is not None and node.needs_input_grad(i)]


def _all_within(node: Node, names: set[str]) -> bool:
    """Whether all outputs of a node are among the named tensors."""
    return all(y is None or y.name in names for y in node.outputs)


def _places(tensor: Tensor, layout: Layout) -> int:
    """How many places there are; 2 where that is not known before a run."""
    assert tensor.shape is not None
    found = layout.grid or [tensor.shape[a] for a in layout.space]
    known = [e for e in found if isinstance(e, int)]
    return int(np.prod(known)) if len(known) == len(found) else 2


def _passages(live: Live, source: Tensor, target: Tensor, ends: Iterable[str] = ()) -> Iterator[Tensor]:
    """The tensors that lie on every path from the source to the target, or to where a tensor of `ends` is read."""
    last = {source.name: -1}
    for i, node in enumerate(live.nodes):
        last.update((t.name, i) for t in _live_inputs(node))
    last.update((name, len(live.nodes)) for name in ends)
    reach = last[source.name]
    for i, node in enumerate(live.nodes):
        made = [t for t in node.outputs if t is not None and t.name in live.tensors]
        if reach <= i and len(made) == 1 and made[0] != target:
            yield made[0]
        reach = max([reach, *(last.get(t.name, i) for t in made)])


def _fewer(node: Node, x: Tensor, layout: Layout) -> bool:
    """Whether a node selects fewer tokens than there are places."""
    (axis,) = layout.space
    # operators: the forms in which exporters select a class token
    if node.op not in ("Gather", "Slice", "Split") or (node.op != "Slice" and node["axis"] % x.rank != axis):
        return False
    if node.y.shape is None or len(node.y.shape) < x.rank:
        return node.y.shape is not None
    kept = node.y.shape[axis]
    return isinstance(kept, int) and kept < prod(layout.grid)


def _by_itself(node: Node, x: Tensor, role: str) -> bool:
    """Whether a node treats every token, along axis 1, alone."""
    if standard_traits(node).multiplies:
        w = node.inputs[1]
        return node.op == "MatMul" and node.inputs[0] == x and w is not None and w.shape is not None and len(w.shape) == 2
    if role in ("softmax", "norm"):
        axis = node.get("axis")
        return axis is not None and int(axis) % x.rank > 1
    return True
