"""Whether two runs gave the same outputs, as far as rounding lets one say.

Two correct ways to compute a model differ by rounding: kernels add in another order, and each rounds to its type. How much of
that reaches an output depends on the network. So outputs are first held against a few units of their type's last place, which is
all that most networks need. Where they differ by more, the same outputs from runs that were moved by no more than rounding
("noise") say how much this network makes of it, and only what exceeds that several times over counts as different.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxplain.ir.tensor import is_float

__all__ = ["Apart", "apart", "disagreement", "largest", "machine_epsilon", "moved"]

Array: TypeAlias = "np.ndarray[Any, Any]"

UNITS = {8: 256, 4: 64, 2: 8, 1: 1}
"""By bytes per number, how many machine epsilons of the largest value two correct runs may differ by. Half-precision numbers are
added up in single precision, so that they are rounded once per operator and not once per term."""

NOISE = 3
"""How many times the measured noise may be exceeded: a few draws of it are an estimate. Over the models that tests are made with,
quantized ones included, what correct runs differ by is at most 1.3 times the noise."""

SLICE = 8
"""Elements from which the largest of a slice says how large its values are."""


@dataclass(frozen=True)
class Apart:
    """How far two values of one output lie apart.

    The channels of an output may differ in size (a box's corners and its score), so they are judged one by one: along the
    shortest axis but the first, where that leaves enough elements in each slice.

    Attributes:
        most: the largest difference in each slice; infinite where values are of another kind, shape or finiteness. Of whole
            numbers and text, how many elements differ.
        size: the largest finite value of each slice; 1 for whole numbers and text.
        allowed: the difference that rounding to the type explains, in each slice.
    """

    most: Array
    size: Array
    allowed: Array

    def with_noise(self, noise: Sequence[Apart]) -> Array:
        """By how much each slice exceeds what rounding explains, where `noise` has been measured; infinite differences count as
        noise too. At most 0 where nothing does."""
        made = np.zeros(()) if not noise else np.max([np.broadcast_to(n.most, self.most.shape) for n in noise], axis=0)
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(self.most - self.allowed - NOISE * made, nan=0.0, posinf=np.inf)


def apart(expected: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Apart]:
    """How far the outputs of two runs lie apart, by name.

    Args:
        expected: outputs of the run that counts: arrays, sequences of them, and maps or lists of maps, as ONNX Runtime has them.
        found: the same of the other run; what it has beside them does not matter.
    """
    made: dict[str, Apart] = {}
    for name, value in expected.items():
        mine, theirs = _arrays(value), _arrays(found.get(name))
        if mine.keys() != theirs.keys():
            made[name] = _unlike()
            continue
        made |= {f"{name}{key}": _compared(mine[key], theirs[key]) for key in mine}
    return made


def disagreement(differences: Mapping[str, Apart], noise: Iterable[Mapping[str, Apart]] = ()) -> str:
    """The output that differs most beyond rounding, and by how much, in words; empty where all agree."""
    measured = list(noise)
    worst, words = 0.0, ""
    for name, difference in differences.items():
        excess = difference.with_noise([n[name] for n in measured if name in n])
        slot = int(np.argmax(excess))
        much = excess.flat[slot] / max(float(difference.size.flat[slot]), 1e-300) if excess.size else 0.0
        if excess.size and excess.flat[slot] > 0 and much > worst:
            worst, words = much, f"output '{name}' {_in_words(difference, slot)}"
    return words


def largest(differences: Mapping[str, Apart]) -> float:
    """The largest difference of all outputs, over the largest value of its slice."""
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [np.nan_to_num(d.most / d.size, nan=0.0).max(initial=0.0) for d in differences.values()]
    return float(max(shares, default=0.0))


def _in_words(difference: Apart, slot: int) -> str:
    most, size, allowed = (float(a.flat[slot]) for a in (difference.most, difference.size, difference.allowed))
    if np.isinf(most):
        return "is of another shape, kind or finiteness"
    if allowed == 0 and size == 1:
        return f"differs in {most:.0f} element{'s' if most > 1 else ''}"
    return f"differs by {most:.3g}, its largest value being {size:.3g}"


def _arrays(value: Any) -> dict[str, Array]:
    """An output as arrays: one, those of a sequence by position, or the values of maps beside their keys."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        return {"": np.asarray(value)}
    if value and all(isinstance(row, Mapping) for row in value):
        keys = sorted(value[0])
        if any(sorted(row) != keys for row in value):
            return {f"[{i}][{k}]": np.asarray(v) for i, row in enumerate(value) for k, v in row.items()}
        numbers = np.array([[row[k] for k in keys] for row in value])
        single = numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers  # which is what maps hold in ONNX Runtime
        return {"": single, "'s keys": np.array(keys)}
    return {f"[{i}]{key}": array for i, v in enumerate(value) for key, array in _arrays(v).items()}


def _compared(mine: Array, theirs: Array) -> Apart:
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return _unlike()
    steps = mine.dtype.kind in "iu" and mine.dtype.itemsize == 1  # quantized numbers, whose last step may round either way
    if mine.size == 0:
        return Apart(np.zeros(1), np.ones(1), np.zeros(1))
    if not (is_float(mine.dtype) or steps):
        return Apart(np.array([float(np.count_nonzero(mine != theirs))]), np.ones(1), np.zeros(1))
    a, b = mine.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    same = finite | (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        difference = np.where(finite, np.abs(a - b), np.where(same, 0.0, np.inf))
    sizes = np.where(finite, np.abs(a), 0.0)
    over = _within_slices(mine.shape)
    size = sizes.max(axis=over)
    allowed = np.ones_like(size) if steps else UNITS[mine.dtype.itemsize] * machine_epsilon(mine.dtype) * size
    return Apart(np.atleast_1d(difference.max(axis=over)), np.atleast_1d(size), np.atleast_1d(allowed))


def _within_slices(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes along which the elements of a slice lie."""
    size = int(np.prod(shape))
    channels = [axis for axis in range(1, len(shape)) if 1 < shape[axis] <= size // SLICE]
    apart_along = min(channels, key=lambda axis: shape[axis], default=None)
    return tuple(axis for axis in range(len(shape)) if axis != apart_along)


def _unlike() -> Apart:
    return Apart(np.array([np.inf]), np.ones(1), np.zeros(1))


def machine_epsilon(dtype: np.dtype[Any]) -> float:
    """The distance from 1 to the next number of a floating-point type, 2⁻² for those of 8 bits; float32's for other types."""
    if dtype.name == "bfloat16":
        return 2.0**-7
    if dtype.name.startswith("float") and dtype.itemsize == 1:
        return 2.0**-2
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-23


def moved(array: Array, epsilon: float, random: np.random.Generator) -> Array:
    """Numbers moved at random by a few units in the last place of that precision; zeros and whole numbers stay."""
    if not is_float(array.dtype):
        return array
    units = 8 if epsilon < 1e-4 else 2
    step = units * max(epsilon, machine_epsilon(array.dtype))
    return np.asarray((array.astype(np.float64) * (1 + step * random.choice([-1.0, 1.0], array.shape))).astype(array.dtype))
