"""Occlusion: a window moves over the input, and each element gets the mean loss of the windows that covered it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.players import player_axes
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__: list[str] = []


@method(
    "occlusion",
    summary="What the score loses when a window of the input is covered, averaged over the windows that cover an element",
    formula="mean over windows W with i in W of f(x) − f(x without W)",
    source="Zeiler, Fergus 2014, Visualizing and Understanding Convolutional Networks, section 4.2",
    axioms=("dummy", "implementation-invariance"),
    needs_baseline=True,
    forward_only=True,
)
def occlusion(
    context: PerturbationContext,
    *,
    window: Any = None,
    stride: Any = None,
    axes: Any = None,
    background: Any = None,
    chunk: int | str | None = None,
) -> PerturbationResult:
    shapes = {n: x.shape for n, x in context.x.items()}
    boxes = [box for n, x in context.x.items() for box in _windows(n, x, player_axes(x.shape, axes), window, stride)]
    offsets = np.cumsum([0, *(int(np.prod(s[1:])) for s in shapes.values())])
    first = dict(zip(shapes, offsets.tolist(), strict=False))

    def solve(game: Game) -> PlayerValues:
        size = game.players.count

        def covered(start: int, stop: int) -> Array:
            masks = np.ones((stop - start, size), bool)
            for mask, (name, box) in zip(masks, boxes[start:stop], strict=True):
                inner = shapes[name][1:]
                mask[first[name] : first[name] + int(np.prod(inner))].reshape(inner)[box] = False
            return masks

        whole = game.values(np.ones((1, size), bool))
        total = np.zeros((*whole.shape[1:], size))
        times = np.zeros(size)
        for masks, values in game.stream(len(boxes), covered):
            gone = (~masks).astype(np.float64)
            total += np.moveaxis(whole - values, 0, -1) @ gone
            times += gone.sum(axis=0)
        return PlayerValues(total / np.maximum(times, 1))

    return context.play(solve, context.base(background), chunk=chunk)


Box = tuple[str, tuple[slice, ...]]


def _windows(name: str, x: Array, space: Sequence[int], window: Any, stride: Any) -> list[Box]:
    """The windows over an input, all channels together; the last along an axis may stick out and is cut off."""
    extents = [x.shape[a] for a in space]
    sizes = _per_axis("window", window if window is not None else _usual_window(x, extents), extents, name)
    steps = _per_axis("stride", stride if stride is not None else [max(1, s // 2) for s in sizes], extents, name)
    for size, step, extent in zip(sizes, steps, extents, strict=True):
        if step > size:
            raise MethodError(f"stride {step} is longer than the window {size}: elements in between would never be covered")
        if size > extent:
            raise MethodError(f"the window {size} is longer than '{name}' along its axis, {extent}")
    starts = [range(0, max(1, -(-(e - s) // step) * step + 1), step) for e, s, step in zip(extents, sizes, steps, strict=True)]
    boxes = []
    for corner in product(*starts):
        box = [slice(None)] * (x.ndim - 1)
        for axis, at, size in zip(space, corner, sizes, strict=True):
            box[axis - 1] = slice(at, at + size)
        boxes.append((name, tuple(box)))
    return boxes


def _usual_window(x: Array, extents: Sequence[int]) -> list[int]:
    """An eighth of the input; of a row of whole numbers, such as tokens, one: how long it is depends on what it is padded to."""
    return [1] if x.dtype.kind in "iu" and x.ndim == 2 else [max(1, round(e / 8)) for e in extents]


def _per_axis(what: str, given: Any, extents: Sequence[int], name: str) -> list[int]:
    numbers = [given] * len(extents) if isinstance(given, int) else list(given)
    if len(numbers) != len(extents) or not all(isinstance(n, int | np.integer) and n >= 1 for n in numbers):
        raise MethodError(
            f"{what} is a whole number from 1 on, or one per axis of space or time of '{name}' ({len(extents)}); got {given}"
        )
    return [int(n) for n in numbers]
