"""Chunks: a batch goes through a session a few samples at a time, and results come back as one batch."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.errors import InputError

__all__ = ["chunks", "joined", "run_in_chunks"]

Array = np.ndarray[Any, Any]


def run_in_chunks(
    run: Callable[[dict[str, Array]], Mapping[str, Any]],
    feeds: Mapping[str, Array],
    axes: Mapping[str, int | None],
    count: int,
    size: int,
    *,
    filled: bool = False,
    over: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """The results of all chunks, joined.

    A result that does not count samples is kept where it is the same in all chunks, and left out with a warning where it is not.

    Args:
        run: a session, or what stands for one.
        feeds: arrays by input name.
        axes: the axis of each input and of each result that counts samples; None where none does.
        count, size, filled, over: as in `chunks`.
    """
    parts = []
    for rows, part in chunks(feeds, axes, count, size, filled=filled, over=over):
        made = run(part)
        parts.append({k: _first(v, axes.get(k), rows) if filled and rows < size else v for k, v in made.items()})
    return joined(parts, axes)


def _first(value: Any, axis: int | None, rows: int) -> Any:
    """The first rows of a result, along the axis that counts samples."""
    if isinstance(value, np.ndarray):
        return value if axis is None or value.ndim <= axis else value[(slice(None),) * axis + (slice(0, rows),)]
    return value[:rows] if hasattr(value, "__len__") else value


def chunks(
    feeds: Mapping[str, Array],
    axes: Mapping[str, int | None],
    count: int,
    size: int,
    *,
    filled: bool = False,
    over: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Iterator[tuple[int, dict[str, Array]]]:
    """So many samples at a time: how many, and the arrays with these.

    Args:
        feeds: arrays by input name.
        axes: the axis of each that counts samples; None where none does. An array with another extent there serves all samples
            and is not cut.
        count: the number of samples.
        size: samples in one chunk.
        filled: whether the last chunk is filled up to this size with copies of its last sample, for a model of fixed batch.
        over: goes through the chunks, as a progress bar does.
    """
    if count == size:
        yield count, dict(feeds)
        return
    for start in over(range(0, count, size)):
        rows = min(size, count - start)
        missing = size - rows if filled else 0
        yield rows, {name: _cut(array, axes.get(name), count, start, rows, missing) for name, array in feeds.items()}


def _cut(array: Array, axis: int | None, count: int, start: int, rows: int, missing: int) -> Array:
    """Some samples of an array, with copies of the last for those that are missing."""
    if axis is None or array.ndim <= axis or array.shape[axis] != count:
        return array
    part = array[(slice(None),) * axis + (slice(start, start + rows),)]
    if missing:
        part = np.concatenate([part, np.repeat(part.take([-1], axis), missing, axis)], axis)
    return np.ascontiguousarray(part)


def joined(parts: Sequence[Mapping[str, Any]], axes: Mapping[str, int | None]) -> dict[str, Any]:
    """The results of all chunks as one, along the axis of each that counts samples; what is no array is a list with one entry per
    sample."""
    if len(parts) == 1:
        return dict(parts[0])
    made: dict[str, Any] = {}
    for name, first in parts[0].items():
        values, axis = [part[name] for part in parts], axes.get(name)
        if not isinstance(first, np.ndarray):
            made[name] = [v for value in values for v in value]
        elif axis is not None and first.ndim > axis:
            _check_alike(name, values, axis)
            made[name] = np.concatenate(values, axis)
        elif all(np.array_equal(first, v, equal_nan=first.dtype.kind == "f") for v in values):
            made[name] = first
        else:
            warnings.warn(
                f"output '{name}' has no axis that counts samples and differs from run to run: it is left out; explain all "
                "samples in one run to see it",
                stacklevel=2,
            )
    return made


def _check_alike(name: str, values: Sequence[Array], axis: int) -> None:
    """Refuse results whose elements are not the same from run to run.

    Raises:
        InputError: one has another extent than another, along an axis that does not count samples.
    """
    shapes = [(*v.shape[:axis], *v.shape[axis + 1 :]) for v in values]
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is not None:
        raise InputError(
            f"'{name}' has the shape {list(shapes[0])} for one sample and {list(other)} for another (copies that are perturbed "
            "count): explain one at a time, or a tensor before it that always has one shape (output=), or a detection by d-rise"
        )
