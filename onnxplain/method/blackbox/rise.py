"""RISE: random smooth masks, weighed by the score of what they leave visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.players import player_axes
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["faded", "smooth_masks"]


@method(
    "rise",
    summary="How much higher than on average the score of randomly masked inputs is where an element is left visible",
    formula="Σ_k f(x ∘ M_k) (M_k − p) / (m · p); without − p where not centred",
    source="Petsiuk, Das, Saenko 2018, RISE: Randomized Input Sampling for Explanation of Black-box Models, eq. 6",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    forward_only=True,
)
def rise(
    context: PerturbationContext, *, samples: int = 4000, cells: int = 8, probability: float = 0.5, centred: bool = True,
    axes: Any = None, seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    return faded("rise", context, samples, cells, probability, centred, axes, seed, chunk)


def faded(
    called: str, context: PerturbationContext, samples: int, cells: int, probability: float, centred: bool, axes: Any, seed: int,
    chunk: int | str | None,
) -> PerturbationResult:  # fmt: skip
    """What smooth masks that leave an element visible add to what is read off the model. `called` is the method's name."""
    if samples < 1 or cells < 1 or not 0 < probability < 1:
        raise MethodError(
            f"{called} needs samples and cells from 1 on and a probability between 0 and 1; got {samples}, {cells}, {probability}"
        )
    if len(context.x) != 1:
        raise MethodError(f"{called} masks one input, found {len(context.x)}: choose one of {', '.join(context.x)} (--input)")
    name, x = next(iter(context.x.items()))
    if x.dtype.kind != "f":
        raise MethodError(f"{called} fades elements in and out, which '{name}' of {x.dtype} cannot; use shapley-sampling or lime")
    if not np.isfinite(x).all():
        raise InputError(f"{called} fades elements in and out, and '{name}' holds NaN or infinity; use shapley-sampling or lime")
    space = player_axes(x.shape, axes)
    extents = [x.shape[a] for a in space]

    def solve(game: Game) -> PlayerValues:
        drawn = np.random.default_rng(seed).spawn(2)
        total = np.zeros((game.count, context.targets, game.players.count))

        def draw(start: int, stop: int) -> Array:
            return smooth_masks(drawn, stop - start, extents, cells, probability).reshape(stop - start, -1)

        for masks, values in game.stream(samples, draw):
            total += np.tensordot(values, masks - probability if centred else masks, axes=(0, 0))
        return PlayerValues(total / (samples * probability))

    found = context.play(solve, context.base(None), groups="pixels", axes=space, chunk=chunk)
    return PerturbationResult(found.attributions)


def smooth_masks(
    drawn: Sequence[np.random.Generator], count: int, extents: Sequence[int], cells: int, probability: float
) -> Array:
    """Masks of 0 to 1, [count, *extents]: coarse random grids, enlarged by linear interpolation, shifted at random (section 3.2).

    One generator gives the grids and one the shifts: masks come out the same however many are drawn at once.
    """
    grids, shifts = drawn
    masks = (grids.random((count, *[cells] * len(extents))) < probability).astype(np.float64)
    places = shifts.random((count, len(extents)))
    for axis, extent in enumerate(extents, start=1):
        cell = -(-extent // cells)
        table = np.stack([_enlarge(extent, cell, cells, shift) for shift in range(cell)])
        wide = table[np.minimum((places[:, axis - 1] * cell).astype(np.int64), cell - 1)]
        before = np.moveaxis(masks, axis, 1)
        after = (wide @ before.reshape(count, cells, -1)).reshape(count, extent, *before.shape[2:])
        masks = np.moveaxis(after, 1, axis)
    return masks


def _enlarge(extent: int, cell: int, cells: int, shift: int) -> Array:
    """The matrix [extent, cells] that makes (cells + 1) · cell places of a row of cells and cuts `extent` out from `shift` on."""
    place = (np.arange(extent) + shift + 0.5) * cells / ((cells + 1) * cell) - 0.5
    last = cells - 1
    place = np.clip(last - np.abs(last - np.abs(place)), 0, last)  # mirrored at the outermost cells, as the authors' code does
    left = np.minimum(np.floor(place).astype(np.int64), cells - 1)
    share = place - left
    matrix = np.zeros((extent, cells))
    matrix[np.arange(extent), left] += 1 - share
    matrix[np.arange(extent), np.minimum(left + 1, cells - 1)] += share
    return matrix
