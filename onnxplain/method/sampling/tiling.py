"""Copies: all samples of a batch several times along the sample axis, so that one run of the model serves many points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxplain.analysis.sample_axis import only_axis
from onnxplain.builder.builder import Builder
from onnxplain.ir.tensor import Dim, Tensor

__all__ = ["Copies"]


TILED = tuple(np.dtype(t) for t in ("float16", "float32", "float64", "int32", "int64"))
"""Types that ONNX Runtime has the operator Tile for, on CPU and CUDA."""


@dataclass(frozen=True)
class Copies:
    """`count` (int64 [1]) copies of every sample, copy by copy: sample i of copy k is row k·n + i.

    `symbol` is the extent of a sample axis, before and after: in the copied world all extents are consistent again. No inference
    can know that, so what is made here is `shaped`.
    """

    b: Builder
    count: Tensor
    symbol: Dim

    def axis(self, like: Tensor) -> int:
        """The sample axis of a tensor that has one."""
        found = only_axis(like, self.symbol)
        assert found is not None
        return found

    def tile(self, x: Tensor, axis: int | None = None) -> Tensor:
        """[…, n, …] → […, count·n, …]: every copy the same."""
        axis = self.axis(x) if axis is None else axis
        before, after = [1] * axis, [1] * (x.rank - axis - 1)
        if x.dtype in TILED:
            parts = [part for part in (before, self.count, after) if isinstance(part, Tensor) or part]
            return self.b.shaped(self.b.Tile(x, self.b.Concat(*parts, axis=0)), x.shape)
        wide = self.b.Expand(self.b.Unsqueeze(x, [axis]), self.b.Concat(before, self.count, [1], after, axis=0))
        return self.b.shaped(self._laid(wide, x, axis), x.shape)

    def merge(self, x: Tensor, like: Tensor) -> Tensor:
        """[count, …, n, …] → […, count·n, …], the points of the copies as one batch; `like` is […, n, …]."""
        axis = self.axis(like)
        moved = self.b.transpose(x, [*range(1, axis + 1), 0, *range(axis + 1, like.rank + 1)])
        return self.b.shaped(self._laid(moved, like, axis), like.shape)

    def split(self, x: Tensor, like: Tensor) -> Tensor:
        """[…, count·n, …] → [count, …, n, …]; `like` is […, n, …]."""
        axis = self.axis(like)
        wide = self._laid(x, self.b.shaped(x, like.shape), axis, apart=True)
        assert like.shape is not None
        wide = self.b.shaped(wide, (*like.shape[:axis], "points", *like.shape[axis:]))
        return self.b.transpose(wide, [axis, *(i for i in range(like.rank + 1) if i != axis)])

    def _laid(self, x: Tensor, like: Tensor, axis: int, *, apart: bool = False) -> Tensor:
        """The elements of `x` in the extents of `like`, but those of all copies along `axis`, or with `apart` copies and samples.

        Where another extent may turn out to be 0, nothing can be left for the reshaping to work out (-1).
        """
        b, static = self.b, all(isinstance(d, int) and d for i, d in enumerate(like.shape or ()) if i != axis)
        here = b.const([-1]) if static else b.dim(like, axis)
        if apart:
            middle = [self.count, here if static else b.Div(here, self.count)]
        else:
            middle = [here if static else b.Mul(self.count, here)]
        around = [[d] if isinstance(d, int) else b.dim(like, i) for i, d in enumerate(like.shape or ())]
        wanted = b.Concat(*around[:axis], *middle, *around[axis + 1 :], axis=0)
        return b.Reshape(x, wanted, allowzero=None if static else 1)
