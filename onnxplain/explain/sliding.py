"""Sliding window: explanations of inputs larger than the model's own, put together from overlapping windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.analysis.target import TargetLike
from onnxplain.errors import InputError, TargetError
from onnxplain.io.metadata import sample_axis_in
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.results.explanation import Explanation

__all__ = ["slide"]

Array = np.ndarray[Any, Any]


def slide(
    explain: Callable[..., Explanation],
    inputs: Sequence[Tensor],
    axes: SampleAxes,
    x: Any,
    target: TargetLike,
    *,
    stride: int | Sequence[int] = 1,
    combine: str = "mean",
    **run_time: Any,
) -> Explanation:
    """Explain every window of a larger input, and put the explanations together where the windows were.

    Args:
        explain: explains a batch of windows, as `Explainer.__call__` does.
        inputs: the inputs of the model that sees one window.
        axes: which axes of the model count samples. Along these windows are not cut, but laid one after the other; where nothing
            counts samples, every window is a run of its own.
        x: the input array, [n, …] as a rule, along some other axes larger than the model's input; or a dict with one such array.
        target: what to explain in every window: an index, one per sample, a tuple, or a contrast. It has to be given: windows may
            differ in their own top predictions, and a sum of their explanations would then explain nothing.
        stride: the distance from one window to the next, for all axes or one number per axis that is larger. The last window
            ends where the input does.
        combine: "mean" of the windows that cover an element, or their "sum", which keeps the total of all windows.
        **run_time: what else the method expects at run time, such as a baseline, for one window.

    Returns:
        Attributions in the shape of `x`; the outputs are means over the windows.

    Raises:
        InputError: no input or more than one is larger, or one is smaller than the model's.
        TargetError: no target was given.

    Source: Montavon, Samek, Müller 2017, "Methods for interpreting and understanding deep neural networks", section 6.
    """
    if target is None or (isinstance(target, str) and target in ("top", "all")):
        raise TargetError("say which output to explain in every window: an index, or a list with one for each sample")
    if combine not in ("mean", "sum"):
        raise InputError(f"combine is 'mean' or 'sum', got '{combine}'")
    arrays = dict(x) if isinstance(x, Mapping) else {inputs[0].name: x}
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    large = _large(arrays, inputs, axes)
    cuts = _cuts(arrays[large.name], large, axes.of_input(large.name), stride)
    windows = [{**arrays, large.name: arrays[large.name][cut]} for cut in cuts]
    if axes.batched:
        found, parts = _together(explain, windows, target, axes, run_time)
    else:
        parts = [explain(feeds, target, **run_time) for feeds in windows]
        found = parts[0]
    canvas, covered = np.zeros(arrays[large.name].shape, np.float64), np.zeros(arrays[large.name].shape)
    for cut, part in zip(cuts, parts, strict=True):
        canvas[cut] += part.attributions[large.name]
        covered[cut] += 1
    whole = canvas / covered if combine == "mean" else canvas
    attributions = {
        name: whole.astype(values.dtype) if name == large.name else _mean([part.attributions[name] for part in parts])
        for name, values in found.attributions.items()
    }
    outputs = {name: _mean([part.outputs[name] for part in parts]) for name in found.outputs}
    about = {**found.about, "windows": {"count": len(cuts), "stride": stride, "combine": combine}}
    return Explanation(attributions, arrays, outputs, parts[0].target, about, found.labels)


def _together(
    explain: Callable[..., Explanation],
    windows: Sequence[Mapping[str, Array]],
    target: TargetLike,
    axes: SampleAxes,
    run_time: Mapping[str, Any],
) -> tuple[Explanation, list[Explanation]]:
    """All windows as samples of one batch: its explanation, and that of each window."""
    many = len(windows)
    feeds = {
        name: np.concatenate([w[name] for w in windows], axis) if (axis := axes.of_input(name)) is not None else array
        for name, array in windows[0].items()
    }
    chosen: Any = list(target) * many if isinstance(target, list | np.ndarray) else target
    found = explain(feeds, chosen, **run_time)

    def of_each(values: Any, axis: int | None) -> list[Any]:
        if axis is not None and isinstance(values, np.ndarray) and values.ndim > axis and values.shape[axis] % many == 0:
            return np.split(values, many, axis)
        if isinstance(values, list) and len(values) % many == 0:
            size = len(values) // many
            return [values[i * size : (i + 1) * size] for i in range(many)]
        return [values] * many

    attributions = {name: of_each(values, found.sample_axis(name)) for name, values in found.attributions.items()}
    outputs = {name: of_each(values, sample_axis_in(found.about, name)) for name, values in found.outputs.items()}
    targets = of_each(found.target, 0)
    return found, [
        replace(
            found,
            attributions={name: parts[i] for name, parts in attributions.items()},
            outputs={name: parts[i] for name, parts in outputs.items()},
            target=targets[i],
        )
        for i in range(many)
    ]


def _large(arrays: Mapping[str, Array], inputs: Sequence[Tensor], axes: SampleAxes) -> Tensor:
    """The input that is larger than the model's own, along axes that do not count samples."""
    found = []
    for tensor in inputs:
        array = arrays.get(tensor.name)
        if array is None or tensor.shape is None or array.ndim != tensor.rank:
            got = "nothing" if array is None else list(array.shape)
            raise InputError(f"input '{tensor.name}' expects {named_dims(tensor)}, or more along some axes; got {got}")
        own = [None if i == axes.of_input(tensor.name) else d for i, d in enumerate(tensor.shape)]
        pairs = [(n, d) for n, d in zip(array.shape, own, strict=True) if isinstance(d, int)]
        if any(n < d for n, d in pairs):
            raise InputError(f"input '{tensor.name}' {list(array.shape)} is smaller than the model's {named_dims(tensor)}")
        if any(n > d for n, d in pairs):
            found.append(tensor)
    if len(found) != 1:
        what = "none is" if not found else f"{', '.join(repr(t.name) for t in found)} are"
        raise InputError(f"one input must be larger than the model's own, along axes of fixed extents; {what}")
    return found[0]


def _cuts(array: Array, tensor: Tensor, samples: int | None, stride: int | Sequence[int]) -> list[tuple[slice, ...]]:
    """Where the windows lie in the array; all of it along the axis that counts samples."""
    window = [d if isinstance(d, int) and i != samples else n for i, (n, d) in enumerate(_pairs(array, tensor))]
    slid = [i for i, (n, d) in enumerate(zip(array.shape, window, strict=True)) if n > d]
    steps = [stride] * len(slid) if isinstance(stride, int) else list(stride)
    if len(steps) != len(slid) or any(isinstance(s, bool) or s < 1 for s in steps):
        raise InputError(f"stride is one positive number, or one for each of the {len(slid)} axes that are larger; got {stride}")
    starts: list[list[int]] = [[0] for _ in window]
    for axis, step in zip(slid, steps, strict=True):
        last = array.shape[axis] - window[axis]
        starts[axis] = sorted({*range(0, last + 1, step), last})
    return [tuple(slice(s, s + d) for s, d in zip(place, window, strict=True)) for place in product(*starts)]


def _pairs(array: Array, tensor: Tensor) -> list[tuple[int, Any]]:
    """The extents of an array, each with the model's own."""
    return list(zip(array.shape, tensor.shape or (), strict=True))


def _mean(values: Sequence[Any]) -> Any:
    """The mean over windows of numbers; anything else as the first window has it."""
    first = values[0]
    return np.mean(values, axis=0, dtype=first.dtype) if isinstance(first, np.ndarray) and first.dtype.kind == "f" else first
