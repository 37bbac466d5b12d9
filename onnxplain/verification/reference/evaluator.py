"""onnx's reference evaluator, with operators that it computes wrongly or not at all replaced.

Repaired against onnx 1.23: MaxPool gives no Indices where all strides are 1, pooling with ceil_mode shifts the windows
by half of what they reach beyond the padding, a grouped ConvTranspose reads the wrong weights, Erf,
DynamicQuantizeLinear and MeanVarianceNormalization compute in float32, LpNormalization sums signed elements for p = 1,
LRN does only as many channels as there are samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import erf
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from onnxplain.verification.reference.bodies import WITH_BODY
from onnxplain.verification.reference.loops import Loop, Scan, SequenceInsert
from onnxplain.verification.reference.ml import LEARNED
from onnxplain.verification.reference.recurrent import RECURRENT
from onnxplain.verification.reference.sampling import SAMPLING

__all__ = ["REPAIRED", "Evaluator", "evaluate_reference"]

Array: TypeAlias = "np.ndarray[Any, Any]"


class Evaluator:
    """A model made ready once, to be run at many points."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._reference = ReferenceEvaluator(model, new_ops=REPAIRED)

    def run(self, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> list[Any]:
        """Some outputs of the model, all by default."""
        with np.errstate(all="ignore"):
            return list(self._reference.run(outputs, dict(inputs)))


def evaluate_reference(model: onnx.ModelProto, inputs: Mapping[str, Any], outputs: Sequence[str] | None = None) -> list[Any]:
    """Some outputs of a model at one point, all by default."""
    return Evaluator(model).run(inputs, outputs)


class _Pool(OpRun):
    def _windows(self, x: Array, outside: float, padding: float, given: Mapping[str, Any]) -> tuple[Array, Array]:
        """The elements of each window [N, C, …, window] and where in the image they lie [1, 1, …, window], −1 outside.

        Elements beyond the padding are `outside`, those in it `padding`.
        """
        kernel = given["kernel_shape"]
        n, size = len(kernel), x.shape[2:]
        strides, dilations = given["strides"] or [1] * n, given["dilations"] or [1] * n
        pads = [*(given["pads"] or [0] * (2 * n))]
        auto = given["auto_pad"] or "NOTSET"
        span = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        positions = []
        for i in range(n):
            if auto.startswith("SAME"):
                count = -(-size[i] // strides[i])
                total = max(0, (count - 1) * strides[i] + span[i] - size[i])
                pads[i] = total // 2 if auto == "SAME_UPPER" else total - total // 2
                pads[n + i] = total - pads[i]
            elif auto == "VALID":
                pads[i] = pads[n + i] = 0
            room = size[i] + pads[i] + pads[n + i] - span[i]
            count = room // strides[i] + 1
            if given["ceil_mode"] and not auto.startswith("SAME"):
                count = -(-room // strides[i]) + 1
                count -= (count - 1) * strides[i] >= size[i] + pads[i]  # the last window starts within the image
            at = np.arange(count)[:, None] * strides[i] - pads[i] + np.arange(kernel[i])[None, :] * dilations[i]
            positions.append(at)
        far = [span[i] + pads[n + i] + strides[i] for i in range(n)]
        padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)], constant_values=padding)
        padded = np.pad(padded, [(0, 0), (0, 0), *((0, f) for f in far)], constant_values=outside)
        flat = np.pad(np.arange(int(np.prod(size))).reshape(size), [*zip(pads[:n], pads[n:], strict=True)], constant_values=-1)
        flat = np.pad(flat, [(0, f) for f in far], constant_values=-1)
        # Index arrays [o1, 1, …, k1, 1, …], …: the windows' axes first, then those within a window.
        index: Any = tuple(
            (at + pads[i]).reshape([-1 if a == i else 1 for a in range(n)] + [at.shape[1] if a == i else 1 for a in range(n)])
            for i, at in enumerate(positions)
        )
        counts = [at.shape[0] for at in positions]
        within: Any = (slice(None), slice(None), *index)
        values = padded[within].reshape(*x.shape[:2], *counts, -1)
        return values, flat[index].reshape(1, 1, *counts, -1)


class MaxPool(_Pool):
    """The maximum of each window, and where its first maximum lies."""

    def _run(self, x: Array, storage_order: int = 0, **given: Any) -> tuple[Array, ...]:
        values, where = self._windows(x, -np.inf, -np.inf, given)
        first = np.argmax(values, axis=-1)
        y = np.take_along_axis(values, first[..., None], -1)[..., 0].astype(x.dtype)
        at = np.take_along_axis(np.broadcast_to(where, values.shape), first[..., None], -1)[..., 0]
        if storage_order:
            at = np.ravel_multi_index(np.unravel_index(at, x.shape[2:]), x.shape[2:], order="F")
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * (x.ndim - 2))
        indices = planes * int(np.prod(x.shape[2:])) + at
        return (y, indices.astype(np.int64))[: len(self.output)]


class AveragePool(_Pool):
    """The mean of each window: of what lies in the image, or in the padded image."""

    def _run(self, x: Array, count_include_pad: int = 0, **given: Any) -> tuple[Array, ...]:
        values, _ = self._windows(x, np.nan, 0.0 if count_include_pad else np.nan, {"dilations": None, **given})
        return (np.nanmean(values, axis=-1).astype(x.dtype),)


class LpPool(_Pool):
    """The p-norm of each window."""

    def _run(self, x: Array, p: int = 2, **given: Any) -> tuple[Array, ...]:
        values, _ = self._windows(x, 0.0, 0.0, {"dilations": None, "ceil_mode": 0, **given})
        return ((np.abs(values) ** p).sum(-1).astype(x.dtype) ** (1.0 / p),)


class ConvTranspose(OpRun):
    """Every input element writes its multiple of the weight; what lies in the padding is cut off."""

    def _run(self, x: Array, w: Array, bias: Array | None = None, group: int = 1, **given: Any) -> tuple[Array, ...]:
        n, size, kernel = x.ndim - 2, x.shape[2:], w.shape[2:]
        strides, dilations = given["strides"] or [1] * n, given["dilations"] or [1] * n
        extra = given["output_padding"] or [0] * n
        pads = [*(given["pads"] or [0] * (2 * n))]
        auto = given["auto_pad"] or "NOTSET"
        reach = [strides[i] * (size[i] - 1) + (kernel[i] - 1) * dilations[i] + 1 for i in range(n)]
        wanted = given["output_shape"]
        if wanted is None and auto.startswith("SAME"):
            wanted = [s * t for s, t in zip(size, strides, strict=True)]
        if wanted is not None:
            for i in range(n):
                total = max(0, reach[i] + extra[i] - wanted[i])
                pads[i] = total // 2 if auto == "SAME_UPPER" else total - total // 2
                pads[n + i] = total - pads[i]
        else:
            if auto == "VALID":
                pads = [0] * (2 * n)
            wanted = [reach[i] + extra[i] - pads[i] - pads[n + i] for i in range(n)]
        batch, channels = x.shape[:2]
        xs = x.reshape(batch, group, channels // group, *size)
        ws = w.reshape(group, channels // group, w.shape[1], *kernel)
        whole = np.zeros(
            (batch, group * w.shape[1], *[max(r, p + o) for r, p, o in zip(reach, pads, wanted, strict=False)]), x.dtype
        )
        for offset in product(*map(range, kernel)):
            taken: Any = (Ellipsis, *offset)
            part = np.einsum("ngc...,gcm->ngm...", xs, ws[taken]).reshape(batch, -1, *size)
            steps = [
                slice(o * d, o * d + s * (c - 1) + 1, s) for o, d, s, c in zip(offset, dilations, strides, size, strict=True)
            ]
            written: Any = (slice(None), slice(None), *steps)
            whole[written] += part
        kept = [slice(p, p + o) for p, o in zip(pads, wanted, strict=False)]
        inside: Any = (slice(None), slice(None), *kept)
        y = whole[inside]
        return (y if bias is None else y + bias.reshape(1, -1, *[1] * n),)


class Erf(OpRun):
    """The error function in the precision of its input."""

    def _run(self, x: Array) -> tuple[Array]:
        return (np.vectorize(erf, otypes=[np.float64])(x).astype(x.dtype),)


class Gelu(OpRun):
    """x · Φ(x), or its approximation by tanh. The standard's body would use the evaluator's own Erf."""

    def _run(self, x: Array, approximate: str) -> tuple[Array]:
        if approximate == "tanh":
            return (0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),)
        return (0.5 * x * (1 + np.vectorize(erf, otypes=[np.float64])(x / np.sqrt(2))),)


class LpNormalization(OpRun):
    """Divided by the p-norm along an axis; zero stays zero."""

    def _run(self, x: Array, axis: int, p: int) -> tuple[Array]:
        norm = np.linalg.norm(x, p, axis, keepdims=True)
        return (x / np.where(norm == 0, 1, norm),)


class LRN(OpRun):
    """Divided by a power of the mean square over a window of channels."""

    def _run(self, x: Array, alpha: float, beta: float, bias: float, size: int) -> tuple[Array]:
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(x * x, [(0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)])
        sums = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        return (x / (bias + alpha / size * sums) ** beta,)


class MeanVarianceNormalization(OpRun):
    """Mean taken away, divided by the standard deviation."""

    def _run(self, x: Array, axes: Sequence[int]) -> tuple[Array]:
        centred = x - x.mean(tuple(axes), keepdims=True)
        deviation = np.sqrt(np.square(centred).mean(tuple(axes), keepdims=True))
        return (centred / (deviation + 1e-9),)


class DynamicQuantizeLinear(OpRun):
    """Rounded to 8 bits, with a scale that fits the range of the values."""

    def _run(self, x: Array) -> tuple[Array, ...]:
        high, low = max(0, x.max()), min(0, x.min())
        scale = np.asarray((high - low) / 255 if high > low else 1 / 255, x.dtype)
        zero = np.rint(np.clip(-low / scale, 0, 255))
        return np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8), scale, np.asarray(zero, np.uint8)


class Scatter(OpRun):
    """The old name of ScatterElements."""

    def _run(self, x: Array, indices: Array, updates: Array, axis: int = 0) -> tuple[Array, ...]:
        y = x.copy()
        np.put_along_axis(y, indices, updates, axis)
        return (y,)


class GlobalLpPool(OpRun):
    """The p-norm of each channel."""

    def _run(self, x: Array, p: int = 2) -> tuple[Array, ...]:
        return ((np.abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1.0 / p),)


class GlobalMaxPool(OpRun):
    """The maximum of each channel."""

    def _run(self, x: Array) -> tuple[Array, ...]:
        return (x.max(tuple(range(2, x.ndim)), keepdims=True),)


class Pad(OpRun):
    """Padding, negative padding removing elements."""

    def _run(
        self, x: Array, pads: Any = None, value: Any = None, axes: Array | None = None, mode: str = "constant"
    ) -> tuple[Array, ...]:
        which = range(x.ndim) if axes is None else [int(a) % x.ndim for a in axes]
        width = np.zeros((x.ndim, 2), np.int64)
        width[list(which)] = np.reshape(pads, (2, -1)).T
        cut = np.maximum(-width, 0)
        kept = x[tuple(slice(int(first), n - int(last)) for (first, last), n in zip(cut, x.shape, strict=True))]
        options = {"constant_values": 0 if value is None else np.asarray(value).item()} if mode == "constant" else {}
        return (np.pad(kept, np.maximum(width, 0), mode=mode, **options).astype(x.dtype),)  # type: ignore[call-overload]


REPAIRED: list[Any] = [
    *RECURRENT,
    *WITH_BODY,
    *SAMPLING,
    *LEARNED,
    Erf,
    Gelu,
    LpNormalization,
    LRN,
    MeanVarianceNormalization,
    MaxPool,
    AveragePool,
    LpPool,
    ConvTranspose,
    DynamicQuantizeLinear,
    GlobalLpPool,
    GlobalMaxPool,
    Pad,
    Scatter,
    Loop,
    Scan,
    SequenceInsert,
]
