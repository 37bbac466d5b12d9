"""Attributions of a context by a method: for one target, or for all of them in one loop over cotangents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Shape, Tensor
from onnxplain.method.context import AttributionContext
from onnxplain.method.cotangent import own_axes, samples_first
from onnxplain.method.registry import Method, graph_method
from onnxplain.method.sampling.chunk_size import Chunk

__all__ = [
    "attributions",
    "beside_targets",
    "between",
    "change_since",
    "contribution",
    "difference",
    "gap",
    "identity_cotangents",
    "inner_method",
    "over_targets",
    "per_sample",
    "result_like",
    "score",
    "with_target_axis",
]  # fmt: skip


def attributions(context: AttributionContext, method: Method, options: Mapping[str, Any]) -> list[Tensor]:
    """One attribution per explained tensor, in its shape (a map in its own) and type; with all targets, an axis for them after
    the samples."""

    def at_seed(context: AttributionContext) -> list[Tensor]:
        with context.b.scope(f"onnxplain/{method.name}"):
            made = method.run(context, **options)
        # A table's columns may hold text: their attributions are numbers of the score's type.
        return [context.b.cast(made[s], s) if s.is_float else made[s] for s in explained(context)]

    def explained(context: AttributionContext) -> tuple[Tensor, ...]:
        return tuple(e.tensor for e in context.layers) if method.attributes_to == "layer" else context.sources

    if method.multi_point or context.identity_cotangents is None:
        return at_seed(context)
    axes = [0 if method.attributes_to == "map" else context.sample_axis(x) for x in explained(context)]
    return over_targets(context, at_seed, axes)


def inner_method(name: str, options: Mapping[str, Any], chunk: Chunk) -> Callable[[AttributionContext], list[Tensor]]:
    """A method to be evaluated at other points, with its options: from a context there to one attribution per explained
    tensor."""
    found = graph_method(name)
    shared = {"chunk": chunk} if any(o.name == "chunk" for o in found.options) else {}
    return lambda context: attributions(context, found, {**options, **shared})


def over_targets(
    context: AttributionContext,
    make: Callable[[AttributionContext], Sequence[Tensor]],
    sample_axes: Sequence[int | None] | None = None,
) -> list[Tensor]:
    """What `make` gives for the cotangent of every target, stacked after the samples; what no cotangent changes stays outside the
    loop.

    For a context of one target it is what `make` gives.

    Args:
        context: where it is explained.
        make: makes results for one target.
        sample_axes: the axis of each result that counts samples; None for those of the explained tensors.
    """
    b, y = context.b, context.target
    if context.identity_cotangents is None:
        return list(make(context))
    shape = b.shape(y)
    element = _element(context)

    def body(row: Tensor) -> list[Tensor]:
        cotangent = b.Expand(b.Reshape(row, element), shape)
        nodes = context.with_local_weights() if context.origin else context.nodes
        alone = replace(context, outputs=context.outputs.without_reports())
        return list(make(alone.with_point(cotangent=cotangent, identity_cotangents=None, nodes=nodes)))

    subgraph = b.body([Tensor("row", y.dtype, (None,))], body)
    count = len(subgraph.outputs)
    along = [context.sample_axis(x) for x in context.sources] if sample_axes is None else sample_axes
    axes = [_targets_at(context, axis) for axis in along]
    made = b.op("Scan", context.identity_cotangents, outputs=count, body=subgraph, num_scan_inputs=1, scan_output_axes=axes)
    stacked = made if isinstance(made, tuple) else (made,)
    return [b.shaped(s, with_target_axis(context, t.shape, at)) for s, t, at in zip(stacked, subgraph.outputs, axes, strict=True)]


def _targets_at(context: AttributionContext, samples: int | None) -> int:
    """The axis of an attribution that counts targets: after that of the samples, in front where there is none."""
    return 0 if samples is None or not context.batched else samples + 1


def identity_cotangents(context: AttributionContext) -> Tensor:
    """The cotangents of all elements of a sample as rows: the identity matrix."""
    b, y = context.b, context.target
    extents = [y.dim(axis) for axis in own_axes(y, context.target_axis)] if y.shape is not None else [None]
    known = [d for d in extents if isinstance(d, int)]
    if len(known) == len(extents):
        return b.const(np.eye(int(np.prod(known)), dtype=y.dtype))
    count = b.ReduceProd(_element(context), keepdims=1)
    numbers = b.Range(0, b.Squeeze(count), 1)
    made = b.cast(b.Equal(b.Unsqueeze(numbers, [0]), b.Unsqueeze(numbers, [1])), y)
    return b.shaped(made, ("targets", "targets"))  # named here: no other extent is the number of targets


def _element(context: AttributionContext) -> Tensor:
    """The extents of one sample's scores, with 1 for the samples."""
    b, y = context.b, context.target
    shape, axis = b.shape(y), context.target_axis
    if axis is None:
        return shape
    behind = b.Slice(shape, [axis + 1], [y.rank])
    return b.Concat(*([b.Slice(shape, [0], [axis])] if axis else []), [1], behind, axis=0)


def with_target_axis(context: AttributionContext, shape: Shape, axis: int) -> Shape:
    """The extents of an attribution: those of what it explains, and at an axis the targets where there are many."""
    if context.identity_cotangents is None or shape is None:
        return shape
    return (*shape[:axis], context.identity_cotangents.dim(0), *shape[axis:])


def result_like(context: AttributionContext, source: Tensor) -> Tensor:
    """A tensor with the extents of a source's attribution."""
    if context.identity_cotangents is None:
        return source
    b, axis = context.b, _targets_at(context, context.sample_axis(source))
    ones: list[Any] = [[1]] * (source.rank + 1)
    ones[axis] = b.dim(context.identity_cotangents, 0)
    return b.Expand(b.Unsqueeze(source, [axis]), b.Concat(*ones, axis=0))


def beside_targets(context: AttributionContext, x: Tensor, source: Tensor, lead: int = 0) -> Tensor:
    """A tensor of an explained tensor's axes, after `lead` others, with an axis of 1 where its attributions have the targets."""
    if context.identity_cotangents is None:
        return x
    return context.b.Unsqueeze(x, [lead + _targets_at(context, context.sample_axis(source))])


def score(context: AttributionContext) -> Tensor:
    """The explained number of every sample, ⟨cotangent, output⟩: [samples]; with all targets [samples, targets]."""
    b, y, axis = context.b, context.target, context.target_axis
    samples = () if axis is None else (y.dim(axis),)
    if context.identity_cotangents is not None:
        made = b.Reshape(samples_first(b, y, axis), [-1] if axis is None else [0, -1])
        return b.shaped(made, (*samples, context.identity_cotangents.dim(0)))
    chosen = b.Where(
        b.Equal(context.cotangent, 0), 0, b.Mul(context.cotangent, y)
    )  # elements that nobody asked about may be infinite
    axes = own_axes(y, axis)
    return b.ReduceSum(chosen, axes, keepdims=0) if axes else chosen


def change_since(context: AttributionContext, there: AttributionContext) -> Tensor:
    """The explained score less the score at another point, in the shape of `score`."""
    b, y = context.b, context.target
    return score(context.with_point(target=b.Sub(y, there.target)))


def gap(context: AttributionContext, made: Sequence[Tensor], change: Tensor) -> Tensor:
    """The convergence delta: by how much the attributions exceed a change of the score, in its shape.

    What is attributed to an input that all samples share is of all together, so that only the sum over samples can be compared:
    then each has the mean.
    """
    b = context.b
    of_each = context.selection.axes.batched
    sums = {x: per_sample(context, m, x) for m, x in zip(made, context.sources, strict=True)}
    shared = [s for x, s in sums.items() if of_each and context.sample_axis(x) is None]
    own = [b.cast(s, change) for s in sums.values() if not any(s is other for other in shared)]
    excess: Tensor = b.Sub(b.total(own), change) if own else b.Neg(change)
    if not shared:
        return excess
    common = b.Add(b.ReduceSum(excess, [0], keepdims=0), b.cast(b.total(shared), change))
    return b.Expand(b.Div(common, b.cast(b.Gather(b.Shape(change), 0, axis=0), change)), b.Shape(change))


def contribution(context: AttributionContext, slope: Tensor, change: Tensor) -> Tensor:
    """slope · change: what a change contributes to the score; nothing where nothing changed, even by an infinite slope, and
    nothing where a value is missing (NaN)."""
    b = context.b
    made = b.Mul(slope, b.cast(change, slope))
    if context.takes_missing:
        return b.Where(b.Greater(b.Abs(change), 0), made, 0)
    if context.has_infinite:  # of what was masked: 0 times an infinite number
        made = b.Where(b.Equal(slope, 0), 0, made)
    return b.Where(b.Equal(change, 0), 0, made) if _may_be_steep(context) else made


def difference(context: AttributionContext, there: Tensor, here: Tensor) -> Tensor:
    """The change from `here` to `there`: none between equal infinite numbers."""
    b = context.b
    made = b.Sub(there, here)
    return b.Where(b.Equal(there, here), 0, made) if context.has_infinite else made


def between(context: AttributionContext, start: Tensor, end: Tensor, step: Tensor, position: Tensor) -> Tensor:
    """The point at a share of the way: start + position · step, which is infinite where an end is that it does not leave out."""
    b = context.b
    if not context.has_infinite:
        return b.Add(start, b.Mul(position, step))
    onward = b.Where(b.Equal(position, 0), 0, b.Mul(position, end))
    return b.Add(b.Where(b.Equal(position, 1), 0, b.Mul(b.Sub(1, position), start)), onward)


def _may_be_steep(context: AttributionContext) -> bool:
    """Whether a slope between what is explained and the score may be infinite."""
    return any(node.bodies or context.registry.traits(node).unbounded_slope for node in context.reached(context.sources))


def per_sample(context: AttributionContext, attribution: Tensor, source: Tensor) -> Tensor:
    """The attribution of an explained tensor, summed for every sample (and target).

    Raises:
        MethodError: an axis of the tensor counts samples and something else too.
    """
    axis = context.sample_axis(source)
    if context.selection.axes.merged(source):
        raise MethodError(
            f"'{source.name}' {named_dims(source)} counts samples and more along one axis, so that nothing can be summed for a "
            "sample: pass delta=False, or explain another tensor"
        )
    kept = [] if axis is None else [axis]
    kept += [_targets_at(context, axis)] if context.identity_cotangents is not None else []
    axes = [i for i in range(attribution.rank) if i not in kept]
    summed: Tensor = context.b.ReduceSum(attribution, axes, keepdims=0) if axes else attribution
    return summed
