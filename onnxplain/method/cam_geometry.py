"""Maps: a layer's tensor as channels × places, and one number per place laid out over the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.spatial_axes import Layout, token_layout
from onnxplain.errors import MethodError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Dim, Tensor
from onnxplain.method.context import AttributionContext

__all__ = ["SpatialMap", "places"]


@dataclass(frozen=True)
class SpatialMap:
    """The places of a layer, and of the input that a map of them lies on."""

    job: AttributionContext
    layer: Explained
    layout: Layout
    input: Explained

    @property
    def samples(self) -> Dim:
        """The extent of the sample axis; 1 where there is none."""
        return 1 if self.layer.axis is None else self.layer.tensor.dim(self.layer.axis)

    @property
    def channels(self) -> int | Tensor:
        """How many channels there are: a number where it is known, else int64 [1]."""
        b, x = self.job.b, self.layer.tensor
        over = self.layout.channels(x.rank, self.layer.axis)
        known = [x.dim(a) for a in over]
        numbers = [d for d in known if isinstance(d, int)]
        if len(numbers) == len(known):
            return prod(numbers)
        return b.ReduceProd(b.Concat(*(b.dim(x, a) for a in over), axis=0), keepdims=1)

    def extents(self) -> list[int | Tensor]:
        """The extents of the places: height, width."""
        b, x = self.job.b, self.layer.tensor
        if self.layout.grid:
            return list(self.layout.grid)
        known = [(x.dim(a), a) for a in self.layout.space]
        return [e if isinstance(e, int) else b.dim(x, a) for e, a in known]

    def count(self) -> Dim:
        """How many places there are, where that is known."""
        known = [e for e in self.extents() if isinstance(e, int)]
        return prod(known) if len(known) == len(self.extents()) else None

    def flat(self, x: Tensor) -> Tensor:
        """Something in the layer's shape as [samples, channels, places]."""
        b, layer = self.job.b, self.layer.tensor
        samples = [] if self.layer.axis is None else [self.layer.axis]
        over = self.layout.channels(layer.rank, self.layer.axis)
        x = b.shaped(x, layer.shape)  # with the samples that `places` puts back
        if self.layout.skip:
            (axis,) = self.layout.space
            x = b.Slice(x, [self.layout.skip], [np.iinfo(np.int64).max], [axis])
        moved = b.transpose(x, [*samples, *over, *self.layout.space])
        lead: list[Any] = [0] if samples else [1]
        channels = self.channels
        shape = [*lead, channels, -1] if isinstance(channels, int) else b.Concat(lead, channels, [-1], axis=0)
        return b.Reshape(moved, shape)

    def finished(self, flat: Tensor, *, relu: bool, upsample: bool) -> Tensor:
        """A map [samples, targets or 1, places] as [samples, targets where there are many, 1, height, width]."""
        b = self.job.b
        if relu:
            flat = b.Relu(flat)
        many = self.job.identity_cotangents is not None
        laid = self.laid(flat, upsample=upsample)
        if not many:
            return laid if self.job.batched else b.Squeeze(laid, [0])
        made = b.Unsqueeze(laid, [2])
        return made if self.job.batched else b.Squeeze(made, [0])

    def laid(self, flat: Tensor, *, upsample: bool) -> Tensor:
        """[samples, maps, places] as [samples, maps, height, width], over the layer's places or enlarged to the input's."""
        b, sizes = self.job.b, self.extents()
        target = b.Concat([0, 0], *([e] if isinstance(e, int) else e for e in sizes), axis=0)
        numbers = [e for e in sizes if isinstance(e, int)]
        made = b.Reshape(flat, [0, 0, *numbers] if len(numbers) == len(sizes) else target)
        return self.enlarged(made) if upsample else made

    def enlarged(self, x: Tensor) -> Tensor:
        """[…, height, width] of the layer's places, linearly between them to those of the input (half-pixel centres)."""
        assert self.input.layout is not None
        source, over = self.input.tensor, self.input.layout.space
        rank, first = x.rank, x.rank - len(over)
        for place, axis in enumerate(over):
            swapped = list(range(rank))
            swapped[first + place], swapped[-1] = swapped[-1], swapped[first + place]
            moved = self.job.b.transpose(x, swapped)
            product = self.job.b.MatMul(moved, self._between(x, first + place, source, axis))
            x = self.job.b.transpose(product, swapped)
        return x

    def _between(self, x: Tensor, axis: int, source: Tensor, over: int) -> Tensor:
        """The weights of linear interpolation, [from, to]: max(0, 1 − |position − place|), position kept within the places."""
        b, have, want = self.job.b, x.dim(axis), source.dim(over)
        if isinstance(have, int) and isinstance(want, int):
            known = np.clip((np.arange(want) + 0.5) * have / want - 0.5, 0, have - 1)
            return b.const(np.maximum(0, 1 - np.abs(known[None] - np.arange(have)[:, None])), x.dtype)
        one = Tensor("", np.dtype(np.float32), ())
        few, many = (b.Squeeze(b.dim(t, a)) for t, a in ((x, axis), (source, over)))
        scale = b.Div(b.cast(few, one), b.cast(many, one))
        at = b.Sub(b.Mul(b.Add(b.cast(b.Range(0, many, 1), one), 0.5), scale), 0.5)
        at = b.Min(b.Max(at, 0.0), b.Sub(b.cast(few, one), 1.0))
        places = b.cast(b.Range(0, few, 1), one)
        apart = b.Abs(b.Sub(b.Unsqueeze(at, [0]), b.Unsqueeze(places, [1])))
        return b.cast(b.Relu(b.Sub(1.0, apart)), x)

    def over_input(self, x: Tensor, lead: int = 0) -> Tensor:
        """[lead …, samples, height, width] in the axes of the input, with extents of 1 where that has its channels."""
        source, layout = self.input.tensor, self.input.layout
        assert layout is not None
        b = self.job.b
        samples = self.input.axis
        places = sorted(range(len(layout.space)), key=lambda i: layout.space[i])
        order = [lead + 1 + i for i in places]
        if samples is None:
            x = b.transpose(x, [*range(lead + 1), *order])
            x = b.Squeeze(x, [lead])
        else:
            order.insert(sum(a < samples for a in layout.space), lead)
            x = b.transpose(x, [*range(lead), *order])
        channels = [lead + a for a in layout.channels(source.rank, samples)]
        return b.Unsqueeze(x, channels) if channels else x


def places(context: AttributionContext, axes: Sequence[int] | None = None, grid: Sequence[int] | None = None) -> SpatialMap:
    """The places of the context's layer.

    Args:
        context: with one layer and one input.
        axes: the axes of the layer that count places; None takes what the dataflow says.
        grid: height and width, where one axis counts tokens; what they are more than the grid stands before them.

    Raises:
        MethodError: nothing tells which axes count places, or what is given does not fit.
    """
    (layer,), (on,) = context.layers, context.explained
    x = layer.tensor
    assert on.layout is not None
    if context.selection.axes.merged(x):
        raise MethodError(
            f"'{layer.name}' {named_dims(x)} counts samples and more along one axis: name another layer for a map of each sample"
        )
    layout = layer.layout
    if axes is not None or grid is not None:
        over = tuple(a % x.rank for a in axes or () if -x.rank <= a < x.rank)
        if grid is not None:
            layout = token_layout(x, [tuple(int(e) for e in grid)], over[0] if over else 1)
            if layout is None or layout.grid != tuple(grid):
                raise MethodError(f"the grid {list(grid)} does not fit the tokens of '{layer.name}' {named_dims(x)}")
        elif len(over) != len(axes or ()) or len(over) != len(on.layout.space) or layer.axis in over:
            raise MethodError(
                f"axes are those of '{layer.name}' {named_dims(x)} that count places, {len(on.layout.space)}; got {axes!r}"
            )
        else:
            layout = Layout(over)
    if layout is None:
        raise MethodError(
            f"nothing tells which axes of '{layer.name}' {named_dims(x)} count places: give them as axes=[2, 3], or for tokens "
            "grid=[height, width]"
        )
    if context.batched:  # exporters lose sight of the samples among tokens
        samples = 0 if layer.axis is None else layer.axis
        extents = list(x.shape or ())
        extents[samples] = context.target.dim(context.target_axis or 0)
        layer = replace(layer, tensor=context.b.shaped(x, tuple(extents)), axis=samples)
    return SpatialMap(context, layer, layout, on)
