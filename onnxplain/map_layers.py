"""The layer that a map is made from: the one named, or the last place where everything passes that has height and width."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain.call import Call
from onnxplain.errors import LayerError
from onnxplain.graph import Graph, named_dims
from onnxplain.layout import Axes, Layout, extents, layouts, token_layout
from onnxplain.liveness import Live, liveness
from onnxplain.sources import Explained
from onnxplain.tensor import Tensor

__all__ = ["map_layer"]

EACH_TOKEN = frozenset({"elementwise", "sum", "scale", "product", "norm", "softmax", "linear", "bilinear", "straight-through"})
"""Roles of operators that may treat every token by itself; a product does where its other operand is a constant matrix."""


def map_layer(
    graph: Graph, target: Tensor, sources: Sequence[Explained], layer: Explained | None, role: Callable[[Call], str]
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
    axes = layouts(graph.calls, lambda t: _ints(graph.value(t)) if t is not None else None)
    for e in spatial:
        live = liveness(graph.calls, [e.tensor], [target], role)
        over = axes.get(e.tensor.name) or _usual(e.tensor)
        on = replace(e, layout=Layout(over))
        if layer is not None:
            if layer.tensor.name in live.tensors:
                return on, replace(layer, layout=_layout(graph, layer.tensor, live, axes, len(over)))
            continue
        found = [
            (t, layout)
            for t in _passages(live, e.tensor, target)
            if (layout := _layout(graph, t, live, axes, len(over))) is not None
            and _places(t, layout) > 1
            and not _partly_read(live, t, layout, role, target)
        ]
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


def _ints(values: np.ndarray[Any, Any] | None) -> list[int] | None:
    return None if values is None else [int(v) for v in values.ravel()]


def _usual(tensor: Tensor) -> Axes:
    """The places of an input that nothing tells of: all after the channels, which come first, or last where those are few."""
    assert tensor.shape is not None
    rank = len(tensor.shape)
    last = tensor.shape[-1] in (1, 3, 4) and tensor.shape[1] not in (1, 3, 4)
    return tuple(range(1, rank - 1)) if last else tuple(range(2, rank))


def _layout(graph: Graph, tensor: Tensor, live: Live, axes: dict[str, Axes], count: int) -> Layout | None:
    """The layout of a tensor whose input has `count` axes of places."""
    over = axes.get(tensor.name, ())
    if len(over) == count:
        return Layout(over)
    if count != 2:
        return None
    grids = []
    for call in live.calls:
        grids += [g for y in call.outputs if y is not None and len(g := extents(y, axes)) == 2 and g not in grids]
        if any(y == tensor for y in call.outputs):
            break
    return token_layout(tensor, grids, over[0] if len(over) == 1 else None)


def _places(tensor: Tensor, layout: Layout) -> int:
    """How many places there are; 2 where that is not known before a run."""
    assert tensor.shape is not None
    found = layout.grid or [tensor.shape[a] for a in layout.space]
    known = [e for e in found if isinstance(e, int)]
    return int(np.prod(known)) if len(known) == len(found) else 2


def _passages(live: Live, source: Tensor, target: Tensor) -> Iterator[Tensor]:
    """The tensors between source and target that every way passes, in topological order."""
    last = {source.name: -1}
    for i, call in enumerate(live.calls):
        last.update((t.name, i) for j, t in enumerate(call.reads) if t is not None and call.wants(j))
    reach = last[source.name]
    for i, call in enumerate(live.calls):
        made = [t for t in call.outputs if t is not None and t.name in live.tensors]
        if reach <= i and len(made) == 1 and made[0] != target:
            yield made[0]
        reach = max([reach, *(last.get(t.name, i) for t in made)])


def _partly_read(live: Live, tensor: Tensor, layout: Layout, role: Callable[[Call], str], target: Tensor) -> bool:
    """Whether the score reads only some of the tokens: the class token, from here on alone."""
    if not layout.grid:
        return False
    axis, count = layout.space[0], tensor.dim(layout.space[0])
    readers: dict[str, list[Call]] = {}
    for call in live.calls:
        for name in {t.name for i, t in enumerate(call.reads) if t is not None and call.wants(i)}:
            readers.setdefault(name, []).append(call)

    waiting, seen = [tensor], {tensor.name}
    while waiting:
        x = waiting.pop()
        if x == target:
            return False
        for call in readers.get(x.name, ()):
            y = call.y
            if call.op in ("Gather", "Slice", "Split") and _fewer(call, x, axis, _places(tensor, layout)):
                continue
            same = y.shape is not None and x.shape is not None and len(y.shape) == len(x.shape) and y.shape[axis] == count
            if not same or role(call) not in EACH_TOKEN or not _by_itself(call, x, axis):
                return False
            if y.name not in seen:
                seen.add(y.name)
                waiting.append(y)
    return True


def _fewer(call: Call, x: Tensor, axis: int, places: int) -> bool:
    """Whether a selection takes fewer tokens than there are places."""
    if call.op in ("Gather", "Split") and call["axis"] % x.rank != axis:
        return False
    if call.y.shape is None or len(call.y.shape) < x.rank:
        return call.y.shape is not None
    kept = call.y.shape[axis]
    return isinstance(kept, int) and kept < places


def _by_itself(call: Call, x: Tensor, axis: int) -> bool:
    """Whether a call treats every token alone."""
    if call.op in ("MatMul", "Gemm", "Einsum", "Conv"):
        w = call.inputs[1]
        return call.op == "MatMul" and call.inputs[0] == x and w is not None and w.shape is not None and len(w.shape) == 2
    if call.op in ("Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"):
        return int(call["axis"]) % x.rank > axis
    return not call.op.endswith("Normalization") or call.op == "BatchNormalization"
