"""Operators that read an image between its elements, for the reference evaluator.

onnx's GridSample computes positions in float32, its DeformConv stands on that and has two axes only, MaxRoiPool is missing.
"""

from __future__ import annotations

from itertools import product
from typing import Any, TypeAlias

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["SAMPLING"]

Array: TypeAlias = "np.ndarray[Any, Any]"


def interpolate(x: Array, at: list[Array], mode: str, padding: str, aligned: bool = False) -> Array:
    """The values of an image x [C, …] at positions `at` (elements, one array per axis): [C, positions]."""
    size = x.shape[1:]
    if mode != "cubic" and padding != "zeros":
        at = [np.clip(p if padding == "border" else mirror(p, n, aligned), 0, n - 1) for p, n in zip(at, size, strict=True)]
    corners = [kernel(p, mode) for p in at]
    y = np.zeros((x.shape[0], at[0].size), x.dtype)
    for chosen in product(*corners):
        inside = np.ones(at[0].size, bool)
        weight, index = np.ones(at[0].size), []
        for (place, share), n in zip(chosen, size, strict=True):
            if padding == "reflection":
                place = np.rint(mirror(place, n, aligned))
            kept = np.clip(place, 0, n - 1).astype(np.int64)
            inside &= (kept == place) | (padding != "zeros")
            index.append(kept)
            weight = weight * share
        taken: Any = (slice(None), *index)
        y += x[taken] * np.where(inside, weight, 0)
    return y


def mirror(p: Array, n: int, aligned: bool) -> Array:
    """Positions reflected into an axis of n elements, at its first and last elements' centres or outer edges."""
    low, high = (0.0, n - 1.0) if aligned else (-0.5, n - 0.5)
    if high == low:
        return np.zeros_like(p)
    turned = np.mod(p - low, 2 * (high - low))
    return np.where(turned > high - low, 2 * (high - low) - turned, turned) + low


def kernel(p: Array, mode: str) -> list[tuple[Array, Array]]:
    """The elements around positions on an axis, with their weights."""
    if mode == "nearest":
        return [(np.rint(p), np.ones_like(p))]
    first = np.floor(p)
    if mode == "linear":
        return [(first, first + 1 - p), (first + 1, p - first)]

    def share(d: Array) -> Array:
        a = -0.75
        return np.where(d <= 1, (a + 2) * d**3 - (a + 3) * d**2 + 1, a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a)

    return [(first + i, share(np.abs(p - first - i))) for i in (-1, 0, 1, 2)]


class GridSample(OpRun):
    """The image at the positions of a grid, which count from −1 to 1, the last axis first."""

    def _run(self, x: Array, grid: Array, align_corners: int, mode: str, padding_mode: str) -> tuple[Array, ...]:
        n, aligned = x.ndim - 2, bool(align_corners)
        size = x.shape[2:]
        rows = []
        for image, where in zip(x, grid, strict=True):
            points = [where[..., n - 1 - a].ravel() for a in range(n)]
            at = [(g + 1) / 2 * (s - 1) if aligned else ((g + 1) * s - 1) / 2 for g, s in zip(points, size, strict=True)]
            rows.append(interpolate(image, at, mode.removeprefix("bi"), padding_mode, aligned))
        return (np.stack(rows).reshape(*x.shape[:2], *grid.shape[1:-1]),)


class DeformConv(OpRun):
    """A convolution whose window elements lie at positions of their own and have factors of their own."""

    def _run(
        self, x: Array, w: Array, offset: Array, bias: Array | None = None, mask: Array | None = None,
        group: int = 1, offset_group: int = 1, **given: Any,
    ) -> tuple[Array, ...]:  # fmt: skip
        n, kernel, out = x.ndim - 2, w.shape[2:], offset.shape[2:]
        count = int(np.prod(kernel))
        strides, dilations = given["strides"] or [1] * n, given["dilations"] or [1] * n
        pads = given["pads"] or [0] * (2 * n)
        shifts = offset.reshape(len(x), offset_group, count, n, -1)
        factors = np.ones((len(x), offset_group, count, 1)) if mask is None else mask.reshape(len(x), offset_group, count, -1)
        shared, per_group = x.shape[1] // offset_group, x.shape[1] // group
        starts = np.stack(np.meshgrid(*map(np.arange, out), indexing="ij")).reshape(n, -1)
        y = np.zeros((len(x), w.shape[0], starts.shape[1]), x.dtype)
        for i, (k, tap) in product(range(len(x)), enumerate(product(*map(range, kernel)))):
            column = []
            for part in range(offset_group):
                at = [starts[a] * strides[a] - pads[a] + tap[a] * dilations[a] + shifts[i, part, k, a] for a in range(n)]
                image = x[i, part * shared : (part + 1) * shared]
                column.append(interpolate(image, at, "linear", "zeros") * factors[i, part, k])
            columns = np.concatenate(column).reshape(group, per_group, -1)
            taken = w.reshape(group, -1, per_group, count)[..., k]
            y[i] += np.einsum("gic,gco->gio", taken, columns).reshape(w.shape[0], -1)
        y = y.reshape(len(x), w.shape[0], *out)
        return (y if bias is None else y + bias.reshape(1, -1, *[1] * n),)


class MaxRoiPool(OpRun):
    """The maximum of each bin of each region, whose edges are rounded."""

    def _run(self, x: Array, rois: Array, pooled_shape: Any, spatial_scale: float) -> tuple[Array, ...]:
        y = np.zeros((len(rois), x.shape[1], *pooled_shape), x.dtype)
        for r, (which, *box) in enumerate(rois):
            x1, y1, x2, y2 = (int(np.sign(c) * np.floor(abs(c * spatial_scale) + 0.5)) for c in box)
            for place in product(*map(range, pooled_shape)):
                cut = []
                for i, first, last, bins, size in zip(place, (y1, x1), (y2, x2), pooled_shape, x.shape[2:], strict=True):
                    step = max(last - first + 1, 1) / bins
                    edges = int(np.floor(i * step)) + first, int(np.ceil((i + 1) * step)) + first
                    cut.append(slice(*np.clip(edges, 0, size)))
                read: Any = (int(which), slice(None), *cut)
                written: Any = (r, slice(None), *place)
                if x[read].size:
                    y[written] = x[read].max((1, 2))
        return (y,)


SAMPLING: list[type[OpRun]] = [GridSample, DeformConv, MaxRoiPool]
