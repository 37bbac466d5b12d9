"""Robustness: how much an explanation changes where the input hardly does.

The target stays that of the sample itself, whatever the model makes of its neighbours. Options that metrics share:

    samples: neighbours drawn for each sample.
    radius: their distance: half the width of uniform noise, the deviation of normal noise, in units of `scale`.
    noise: "uniform" or "normal".
    scale: "data" takes the deviation of each column of a table, the range of all values of pictures and series; or a number, 1
        for the input's own unit.
    relative: whether changes are divided by the size of the attribution itself, which makes methods of different units
        comparable (the sensitivities always are).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._parts import check_between, check_choice, check_extent, check_truth, check_whole, extent
from onnxplain.runtime.scorer import Array

__all__ = ["drawn", "scale_of", "shifted"]

NOISES = ("uniform", "normal")


def scale_of(data: Data, scale: float | str) -> Array:
    """The unit of changes to the explained input, an array that broadcasts to a sample."""
    x = data.x
    if scale != "data":
        return np.full((1,) * (x.ndim - 1), float(scale))
    if x.ndim == 2:
        return np.where(np.ptp(x, axis=0) > 0, x.std(axis=0, dtype=np.float64), 0.0)
    return np.full((1,) * (x.ndim - 1), float(x.max()) - float(x.min()))


def drawn(batch: MetricBatch, what: str, noise: str, samples: int) -> Iterator[Array]:
    """Noise of unit radius for every sample, `samples` times [n, …]: the same for a sample whatever the batch."""
    sources = [batch.random(row, what) for row in range(len(batch))]
    for _ in range(samples):
        if noise == "uniform":
            yield np.stack([s.uniform(-1, 1, batch.x.shape[1:]) for s in sources])
        else:
            yield np.stack([s.standard_normal(batch.x.shape[1:]) for s in sources])


def _neighbours(
    batch: MetricBatch, measure: Callable[[Array, Array], Array], samples: int, radius: float, noise: str, scale: float | str
) -> Array:
    """A measure of (change of the attribution, change of the input), both [n, elements], for each neighbour: [samples, n]."""
    unit = radius * scale_of(batch.data, scale)
    found = []
    for draw in drawn(batch, "neighbours", noise, samples):
        near = (batch.x + draw * unit).astype(batch.x.dtype)
        found.append(measure(_rows(batch.explain(near) - batch.attribution), _rows(near.astype(np.float64) - batch.x)))
    return np.stack(found)


def _rows(values: Array) -> Array:
    return values.reshape(len(values), -1)


def _relative(batch: MetricBatch) -> Callable[[Array, Array], Array]:
    size = np.linalg.norm(_rows(batch.attribution), axis=1)
    return lambda change, _: _over(np.linalg.norm(change, axis=1), size)


def _over(change: Array, size: Array) -> Array:
    return np.asarray(np.divide(change, size, out=np.full(len(change), np.nan), where=size > 0))


def _check(
    context: MetricContext, *, samples: int, radius: float, noise: str, scale: Any, relative: bool = False
) -> Iterator[str]:
    yield from check_whole("samples", samples, 1)
    yield from check_between("radius", radius, 0)
    yield from check_choice("noise", noise, NOISES)
    yield from check_truth("relative", relative)
    if scale != "data":
        yield from check_between("scale (unless it is 'data')", scale, 0)
    elif not (scale_of(context.data, scale) > 0).any():
        yield "the samples do not vary, so they give no scale for small changes; set scale to a number"


@metric(
    "max-sensitivity",
    family="robustness",
    better="lower",
    summary="The largest change of the attribution among close neighbours, relative to its size",
    formula="max ‖R(x′) − R(x)‖₂ / ‖R(x)‖₂, ‖x′ − x‖∞ ≤ r",
    source="Yeh et al. 2019, On the (in)fidelity and sensitivity of explanations",
    needs=("method", "numbers"),
    check=_check,
)
def max_sensitivity(
    batch: MetricBatch, *, samples: int = 10, radius: float = 0.05, noise: str = "uniform", scale: float | str = "data"
) -> Array:
    return np.asarray(_neighbours(batch, _relative(batch), samples, radius, noise, scale).max(axis=0))


@metric(
    "average-sensitivity",
    family="robustness",
    better="lower",
    summary="The mean change of the attribution among close neighbours, relative to its size",
    formula="E ‖R(x′) − R(x)‖₂ / ‖R(x)‖₂, ‖x′ − x‖∞ ≤ r",
    source="Bhatt, Weller, Moura 2020, Evaluating and aggregating feature-based model explanations",
    needs=("method", "numbers"),
    check=_check,
)
def average_sensitivity(
    batch: MetricBatch, *, samples: int = 10, radius: float = 0.05, noise: str = "uniform", scale: float | str = "data"
) -> Array:
    return np.asarray(_neighbours(batch, _relative(batch), samples, radius, noise, scale).mean(axis=0))


def _slope(batch: MetricBatch, order: int, relative: bool) -> Callable[[Array, Array], Array]:
    """Changes of the attribution by that norm (relative to its own) per change of the input."""
    own = np.linalg.norm(_rows(batch.attribution), order, axis=1) if relative else np.ones(len(batch))
    return lambda change, step: _over(np.linalg.norm(change, order, axis=1), own * np.linalg.norm(step, axis=1))


@metric(
    "local-lipschitz",
    family="robustness",
    better="lower",
    summary="The steepest change of the attribution towards a close neighbour, per change of the input",
    formula="max ‖R(x) − R(x′)‖₂ / ‖x − x′‖₂, x′ near x",
    source="Alvarez-Melis, Jaakkola 2018, On the robustness of interpretability methods",
    needs=("method", "numbers"),
    check=_check,
)
def local_lipschitz(
    batch: MetricBatch, *, samples: int = 10, radius: float = 0.05, noise: str = "normal", scale: float | str = "data",
    relative: bool = False,
) -> Array:  # fmt: skip
    return np.asarray(_neighbours(batch, _slope(batch, 2, relative), samples, radius, noise, scale).max(axis=0))


@metric(
    "continuity",
    family="robustness",
    better="lower",
    summary="The steepest change of the attribution, all elements' changes added up, towards a close neighbour",
    formula="max ‖R(x) − R(x′)‖₁ / ‖x − x′‖₂, x′ near x",
    source="Montavon, Samek, Müller 2017, Methods for interpreting and understanding deep neural networks, section 7.1",
    needs=("method", "numbers"),
    check=_check,
)
def continuity(
    batch: MetricBatch, *, samples: int = 10, radius: float = 0.05, noise: str = "uniform", scale: float | str = "data",
    relative: bool = False,
) -> Array:  # fmt: skip
    return np.asarray(_neighbours(batch, _slope(batch, 1, relative), samples, radius, noise, scale).max(axis=0))


# -- along a translation -------------------------------------------------------------------------------------------------


def shifted(x: Array, fill: Array, axis: int, by: int) -> Array:
    """The batch moved by some places along an axis; what comes into sight is taken from `fill`, which broadcasts to x."""
    size = x.shape[axis]
    made = np.array(np.broadcast_to(fill, x.shape), x.dtype)
    if abs(by) < size:
        to, of = (slice(by, None), slice(None, size - by)) if by >= 0 else (slice(None, by), slice(-by, None))
        made[(slice(None),) * axis + (to,)] = x[(slice(None),) * axis + (of,)]
    return made


def _check_translation(context: MetricContext, *, reach: int | float, axis: int, pairs: str, relative: bool) -> Iterator[str]:
    data = context.data
    if data.x.ndim < 3:
        yield "moves pictures or series, and the columns of a table have no order"
        return
    if not isinstance(axis, int) or not -len(data.space) <= axis < len(data.space):
        yield f"axis counts the axes of places, of which there are {len(data.space)}, got {axis}"
        return
    yield from check_extent("reach", reach, data.x.shape[data.space[axis]])
    yield from check_choice("pairs", pairs, ("consecutive", "original"))
    yield from check_truth("relative", relative)


@metric(
    "translation-continuity",
    family="robustness",
    better="lower",
    summary="The steepest change of the attribution while the input moves across, place by place",
    formula="max ‖R(x_t) − R(x_{t+1})‖₁ / ‖x_t − x_{t+1}‖₂, x_t moved by t",
    source="Montavon, Samek, Müller 2017, Methods for interpreting and understanding deep neural networks, section 7.1",
    needs=("method", "numbers"),
    check=_check_translation,
)
def translation_continuity(
    batch: MetricBatch, *, reach: int | float = 0.25, axis: int = -1, pairs: str = "consecutive", relative: bool = False
) -> MetricResult:
    """`slope` is the curve over the shifts; a pair of equal inputs has no slope and is left out.

    Args:
        reach: how far it moves to either side: places, or with a decimal point a share of the extent.
        axis: which axis of places, −1 the last: to the right of a picture, along time in a series.
        pairs: "consecutive" compares each position with the next, "original" with the input where it was.
        relative: whether changes are divided by the size of the attribution where it was.
    """
    along = batch.space[axis]
    steps = extent(reach, batch.x.shape[along])
    at = np.arange(-steps, steps + 1)
    measure = _slope(batch, 1, relative)

    def position(by: int) -> tuple[Array, Array]:
        moved = shifted(batch.x, batch.baseline, along, by)
        return moved, batch.attribution if by == 0 else batch.explain(moved)

    def slope(one: tuple[Array, Array], other: tuple[Array, Array]) -> Array:
        return measure(_rows(one[1] - other[1]), _rows(one[0].astype(np.float64) - other[0]))

    found, before = [], None
    for by in at:
        here = position(int(by))
        if pairs == "original":
            found.append(slope(here, (batch.x, batch.attribution)))
        elif before is not None:
            found.append(slope(before, here))
        before = here
    curve = np.stack(found, axis=1)
    most = np.where(np.isnan(curve), -np.inf, curve).max(axis=1)
    return MetricResult(np.where(np.isinf(most), np.nan, most), {"slope": curve}, at if pairs == "original" else at[1:])
