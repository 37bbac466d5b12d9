"""Sliding window: explanations of inputs larger than the model's own, put together from overlapping windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxplain.analysis.target import TargetLike
from onnxplain.errors import InputError, TargetError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor
from onnxplain.results.explanation import Explanation

__all__ = ["slide"]

Array = np.ndarray[Any, Any]


def slide(
    explain: Callable[..., Explanation],
    inputs: Sequence[Tensor],
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
        x: the input array [n, …], along some axes larger than the model's input; or a dict with one such array.
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
    large = _large(arrays, inputs)
    array = arrays[large.name]
    places = _places(array, large, stride)
    window = tuple(d if isinstance(d, int) else n for n, d in zip(array.shape[1:], (large.shape or ())[1:], strict=True))
    count, many = len(array), len(places)

    def cut(place: Sequence[int]) -> tuple[slice, ...]:
        return (slice(None), *(slice(start, start + size) for start, size in zip(place, window, strict=True)))

    feeds = {name: np.concatenate([values] * many) for name, values in arrays.items() if name != large.name}
    feeds[large.name] = np.concatenate([array[cut(place)] for place in places])
    chosen: Any = np.tile(np.asarray(target), many) if isinstance(target, list | np.ndarray) else target
    found = explain(feeds, chosen, **run_time)
    canvas = np.zeros(array.shape, np.float64)
    covered = np.zeros(array.shape[1:])
    for place, part in zip(places, np.split(found.attributions[large.name], many), strict=True):
        canvas[cut(place)] += part
        covered[cut(place)[1:]] += 1
    whole = canvas / covered if combine == "mean" else canvas
    attributions = {
        name: whole.astype(values.dtype) if name == large.name else _mean(values, count, many)
        for name, values in found.attributions.items()
    }
    outputs = {name: _mean(values, count, many) for name, values in found.outputs.items()}
    about = {**found.about, "windows": {"count": many, "stride": stride, "combine": combine}}
    kept = found.target[:count] if found.target is not None else None
    return Explanation(attributions, arrays, outputs, kept, about, found.labels)


def _large(arrays: Mapping[str, Array], inputs: Sequence[Tensor]) -> Tensor:
    """The input that is larger than the model's own."""
    found = []
    for tensor in inputs:
        array = arrays.get(tensor.name)
        if array is None or tensor.shape is None or array.ndim != tensor.rank:
            got = "nothing" if array is None else list(array.shape)
            raise InputError(f"input '{tensor.name}' expects {named_dims(tensor)}, or more along some axes; got {got}")
        pairs = [(n, d) for n, d in zip(array.shape[1:], tensor.shape[1:], strict=True) if isinstance(d, int)]
        if any(n < d for n, d in pairs):
            raise InputError(f"input '{tensor.name}' {list(array.shape)} is smaller than the model's {named_dims(tensor)}")
        if any(n > d for n, d in pairs):
            found.append(tensor)
    if len(found) != 1:
        what = "none is" if not found else f"{', '.join(repr(t.name) for t in found)} are"
        raise InputError(f"one input must be larger than the model's own, along axes of fixed extents; {what}")
    return found[0]


def _places(array: Array, tensor: Tensor, stride: int | Sequence[int]) -> list[tuple[int, ...]]:
    """Where windows start, along all axes but the first."""
    pairs = list(zip(array.shape[1:], (tensor.shape or ())[1:], strict=True))
    slid = [i for i, (n, d) in enumerate(pairs) if isinstance(d, int) and n > d]
    steps = [stride] * len(slid) if isinstance(stride, int) else list(stride)
    if len(steps) != len(slid) or any(isinstance(s, bool) or s < 1 for s in steps):
        raise InputError(f"stride is one positive number, or one for each of the {len(slid)} axes that are larger; got {stride}")
    starts: list[list[int]] = [[0] for _ in pairs]
    for axis, step in zip(slid, steps, strict=True):
        n, d = pairs[axis]
        assert isinstance(d, int)
        starts[axis] = sorted({*range(0, n - d + 1, step), n - d})
    return list(product(*starts))


def _mean(values: Any, count: int, many: int) -> Any:
    """The mean over windows of what has one row per window and sample; anything else as it is."""
    if not isinstance(values, np.ndarray) or values.ndim == 0 or len(values) != count * many or values.dtype.kind != "f":
        return values
    return values.reshape(many, count, *values.shape[1:]).mean(0)
