"""The translation trick: explanations of shifted copies, shifted back and averaged."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import inner_method
from onnxplain.method.blur import blurred_axes
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method
from onnxplain.method.sampling.accumulate import RunningMean, accumulate

__all__: list[str] = []


@method(
    "translated",
    summary="Another method averaged over shifted copies of the input: without the grid that strides and pooling leave",
    formula="1/|T| Σ τ⁻¹(M(τ(x))), τ the shifts",
    source="Montavon, Samek, Müller 2017, Methods for Interpreting and Understanding DNNs, section 6",
    axioms=("implementation-invariance",),
    multi_point=True,
)
def translated(
    context: AttributionContext,
    *,
    inner: str = "gradient",
    shifts: int | Sequence[Sequence[int]] = 1,
    axes: Sequence[int] | None = None,
    fill: float = 0.0,
    chunk: int | str | None = None,
    **options: Any,
) -> dict[Tensor, Tensor]:
    b = context.b
    over = [blurred_axes(context, e, axes) for e in context.explained]
    tables = [b.const(_shifts(shifts, len(chosen))) for chosen in over]
    if len({t.dim(0) for t in tables}) > 1:
        raise MethodError("the explained inputs differ in their numbers of axes: name one of them as the input to explain")

    def points(numbers: Tensor) -> dict[Tensor, Tensor]:
        made = {}
        for x, chosen, table in zip(context.sources, over, tables, strict=True):
            alone = b.Unsqueeze(x, [0])
            made[x] = shifted(context, alone, b.Gather(table, numbers, axis=0), [a + 1 for a in chosen], fill)
        return made

    def place(numbers: Tensor, index: int, value: Tensor) -> Tensor:
        lead = 1 if context.identity_cotangents is None else 2
        back = b.Neg(b.Gather(tables[index], numbers, axis=0))
        samples = context.explained[index].axis
        axes = [a + (1 if samples is not None and a < samples else lead) for a in over[index]]
        return shifted(context, value, back, axes, 0.0)

    evaluate = inner_method(inner, options, chunk)
    made = accumulate(context, b.Shape(tables[0], start=0, end=1), points, evaluate, RunningMean(), chunk=chunk, place=place)
    return dict(zip(context.sources, made, strict=True))


def shifted(context: AttributionContext, x: Tensor, by: Tensor, axes: Sequence[int], fill: float) -> Tensor:
    """[c or 1, …] shifted along `axes` by int64 [c, axes] elements: [c, …]; what comes in from outside is `fill`."""
    b = context.b
    others = [i for i in range(1, x.rank) if i not in axes]
    order = [0, *axes, *others]
    front = b.transpose(x, order)
    extents = [b.dim(x, axis) for axis in axes]
    rest = [b.dim(x, axis) for axis in others]
    size = b.ReduceProd(b.Concat(*extents, axis=0), keepdims=1)
    flat = b.Reshape(front, b.Concat(b.Shape(x, start=0, end=1), size, *rest, axis=0), allowzero=1)
    one = b.Concat(b.Shape(x, start=0, end=1), [1], *rest, axis=0)
    longer = b.Concat(flat, b.Expand(b.const(fill, x.dtype), one), axis=1)  # its last element is what is outside
    stride, inside, at = b.const([1]), None, None
    for i in reversed(range(len(axes))):
        places = b.Unsqueeze(b.Range(0, b.Squeeze(extents[i]), 1), list(range(1, len(axes) - i)))
        step = b.Reshape(b.Slice(by, [i], [i + 1], [1]), [-1] + [1] * len(axes))
        came_from = b.Sub(b.Unsqueeze(places, list(range(i + 1))), step)
        fits = b.And(b.GreaterOrEqual(came_from, 0), b.Less(came_from, extents[i]))
        inside = fits if inside is None else b.And(inside, fits)
        at = b.Mul(came_from, stride) if at is None else b.Add(at, b.Mul(came_from, stride))
        stride = b.Mul(stride, extents[i])
    index = b.Reshape(b.Where(inside, at, size), b.Concat(b.Shape(by, start=0, end=1), size, axis=0), allowzero=1)
    if x.dim(0) == 1:
        moved = b.Gather(b.Squeeze(longer, [0]), index, axis=0)
    else:
        moved = b.GatherND(longer, b.Unsqueeze(index, [2]), batch_dims=1)
    back = b.Reshape(moved, b.Concat(b.Shape(by, start=0, end=1), *extents, *rest, axis=0), allowzero=1)
    return b.transpose(back, [int(i) for i in np.argsort(order)])


def _shifts(shifts: int | Sequence[Sequence[int]], axes: int) -> np.ndarray[Any, Any]:
    """The shifts, int64 [number, axes]: all up to a number of elements along every axis, or those listed."""
    if isinstance(shifts, int) and not isinstance(shifts, bool) and shifts >= 1:
        return np.array(list(product(range(-shifts, shifts + 1), repeat=axes)), np.int64)
    table = np.asarray(shifts)
    if table.ndim != 2 or table.shape[1] != axes or table.dtype.kind not in "iu" or not len(table):
        raise MethodError(
            f"shifts is how far to shift along every axis, or a list with one number for each of the {axes} axes; got {shifts!r}"
        )
    return table.astype(np.int64)
