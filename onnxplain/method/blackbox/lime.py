"""LIME: a linear model fitted to the scores of copies near the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.bins import FeatureColumn, feature_columns
from onnxplain.method.blackbox.fit import Fit, fit_line
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.players import Players
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["cosine_distances", "euclidean", "kernel", "local_fit"]


@method(
    "lime",
    summary="The weights of a linear model that imitates the score near the input, with how well it does (R²)",
    formula="w that minimises Σ_z exp(−d(x, z)²/2σ²) (f(z) − b − w·z′)² + λ |w|²",
    source="Ribeiro, Singh, Guestrin 2016, “Why Should I Trust You?” Explaining the Predictions of Any Classifier",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    forward_only=True,
)
def lime(
    context: PerturbationContext, *, samples: int = 1000, kernel_width: float | None = None, ridge: float = 1.0,
    keep: int | None = None, groups: Any = None, parts: int = 50, axes: Any = None, background: Any = None, bins: int | None = 4,
    categorical: Sequence[int] = (), seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    if samples < 2 or ridge < 0 or (keep is not None and keep < 1) or (kernel_width is not None and kernel_width <= 0):
        raise MethodError(
            f"lime needs samples from 2 on, ridge from 0 on, keep from 1 on and a kernel_width above 0; "
            f"got {samples}, {ridge}, {keep}, {kernel_width}"
        )
    kind = groups if groups is not None else _usual_groups(context.x, background)
    columnwise = isinstance(kind, str) and kind == "columns"
    if background is not None and columnwise:
        if context.baseline is not None:
            raise MethodError("give a baseline or a background, not both: absent features take one value or are drawn from rows")
        return _on_columns(context, samples, kernel_width, ridge, keep, background, bins, categorical, seed, chunk)

    def solve(game: Game) -> PlayerValues:
        random, count = np.random.default_rng(seed), game.players.count
        masks = _drawn(random, samples, count, by_number=_are_tokens(context.x))
        scores = game.values(masks)
        z = masks.astype(np.float64)
        weight = kernel(cosine_distances(z), kernel_width or 0.25)
        made = local_fit(z, scores.reshape(samples, -1), weight, ridge, keep)
        return _shares(made, scores.shape[1:], count)

    return context.play(solve, context.base(background), groups=None if columnwise else kind, parts=parts, axes=axes, chunk=chunk)


def _usual_groups(x: Arrays, background: Any) -> str:
    """Superpixels for pictures, segments for series, tokens and columns as they are."""
    ranks = {v.ndim for v in x.values()}
    if _are_tokens(x):
        return "elements"
    if ranks == {4}:
        return "superpixels"
    if ranks == {3}:
        return "segments"
    return "columns" if ranks <= {1, 2} else "elements"


def _are_tokens(x: Arrays) -> bool:
    return all(v.dtype.kind in "iu" and v.ndim == 2 for v in x.values())


def _drawn(random: np.random.Generator, samples: int, count: int, by_number: bool) -> Array:
    """Random masks, the first of them whole: each player there or not by a coin; of tokens, first how many leave, then which."""
    if by_number:
        gone = random.integers(1, count + 1, size=samples)
        masks = random.random((samples, count)).argsort(axis=1).argsort(axis=1) >= gone[:, None]
    else:
        masks = random.random((samples, count)) < 0.5
    masks[0] = True
    return np.asarray(masks)


# -- the local model -------------------------------------------------------------------------------------------------


def euclidean(z: Array) -> Array:
    """The distance of each row from the first, [k]."""
    return np.asarray(np.sqrt(((z - z[:1]) ** 2).sum(axis=1)))


def cosine_distances(z: Array) -> Array:
    """The cosine distance of each row from the first, [k]; 1 from a row of zeros."""
    size = np.linalg.norm(z, axis=1) * np.linalg.norm(z[0])
    return np.asarray(np.where(size > 0, 1 - (z @ z[0]) / np.where(size > 0, size, 1), 1.0))


def kernel(distance: Array, width: float) -> Array:
    """√exp(−d² / width²): the exponential kernel of the reference implementation."""
    return np.asarray(np.exp(-(distance**2) / (2 * width**2)))


def local_fit(z: Array, y: Array, weight: Array, ridge: float = 1.0, keep: int | None = None) -> Fit:
    """The weighted ridge fit; with `keep`, on the features with the largest weights in a first fit only (the others get 0).

    Args:
        z: the features of the copies, the input itself first, [k, features].
        y: scores, [k, columns].
        weight: how near each copy is, [k].
    """
    if keep is None or keep >= z.shape[1]:
        return fit_line(z, y, weight, ridge)
    first = fit_line(z, y, weight, 0.01).slope * z[0][:, None]
    slope, intercept, r2 = np.zeros_like(first), np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for column in range(y.shape[1]):
        kept = np.argsort(-np.abs(first[:, column]), kind="stable")[:keep]
        made = fit_line(z[:, kept], y[:, column : column + 1], weight, ridge)
        slope[kept, column], intercept[column], r2[column] = made.slope[:, 0], made.intercept[0], made.r2[0]
    return Fit(slope, intercept, r2)


def _shares(made: Fit, shape: tuple[int, ...], count: int) -> PlayerValues:
    values = np.moveaxis(made.slope.reshape(count, *shape), 0, -1)
    return PlayerValues(values, facts={"r2": made.r2.reshape(shape), "intercept": made.intercept.reshape(shape)})


# -- tables, with rows of data to draw from ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Drawn:
    """Rows made of values drawn column by column: the same for all samples, so that the model runs once for all of them."""

    rows: Arrays
    places: list[Array]


def _on_columns(
    context: PerturbationContext, samples: int, width: float | None, ridge: float, keep: int | None, background: Any,
    bins: int | None, categorical: Sequence[int], seed: int, chunk: Any,
) -> PerturbationResult:  # fmt: skip
    """Each column drawn from the data on its own; z′ says whether a value lies in the sample's bin (or category)."""
    data = background_rows(background, context.x)
    table = feature_columns(data, bins, categorical)
    drawn = _draw(table, data, samples - 1, np.random.default_rng(seed))
    scores = _scores(context, drawn.rows, context.rows(chunk))
    own = context.scores
    near = width or 0.75 * np.sqrt(len(table))
    made = []
    for i in range(context.count):
        mine = [np.asarray(c.of(context.x[c.input][i])) for c in table]
        z = np.stack([c.like(m, place) for c, m, place in zip(table, mine, drawn.places, strict=True)], axis=1)
        z = np.concatenate([np.array([[c.here(m) for c, m in zip(table, mine, strict=True)]], np.float64), z])
        y = np.concatenate([own[i][None], context.read(scores[:, None, None], slice(i, i + 1))[:, 0, 0]])
        made.append(local_fit(z, y, kernel(euclidean(z), near), ridge, keep))
    values = np.stack([m.slope.T for m in made])
    facts = {"r2": np.stack([m.r2 for m in made]), "intercept": np.stack([m.intercept for m in made])}
    offset, numbers = 0, {}
    for name, x in context.x.items():
        size = int(np.prod(x.shape[1:]))
        numbers[name] = np.arange(size).reshape(x.shape[1:]) + offset
        offset += size
    return PerturbationResult(Players(offset, numbers, True).spread(values), facts)


def _draw(table: Sequence[FeatureColumn], data: Arrays, count: int, random: np.random.Generator) -> _Drawn:
    many = len(next(iter(data.values())))
    rows = {name: np.repeat(values[:1], count, axis=0) for name, values in data.items()}
    places = []
    for column in table:
        values = column.of(data[column.input])[random.integers(0, many, size=count)]
        rows[column.input].reshape(count, -1)[:, column.index] = values
        places.append(column.place(values))
    return _Drawn(rows, places)


def _scores(context: PerturbationContext, rows: Arrays, size: int) -> Array:
    """The scores of rows that belong to no sample; other inputs are those of the first sample."""
    if any(n in context.scorer.sampled for n in context.fixed):
        others = ", ".join(n for n in context.fixed if n in context.scorer.sampled)
        raise MethodError(f"rows drawn from data need all inputs of the samples, but {others} stay as they are; explain them too")
    count = len(next(iter(rows.values())))
    parts = []
    for start in range(0, count, size):
        feeds = {n: np.ascontiguousarray(v[start : start + size]) for n, v in rows.items()}
        parts.append(context.scorer.scores({**feeds, **context.fixed}))
    return np.concatenate(parts)
