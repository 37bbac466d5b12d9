"""Targets: which element of the explained output is explained."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from onnxplain.errors import TargetError
from onnxplain.ir.tensor import Dim

__all__ = ["Axis", "Target", "TargetLike", "at_run_time", "parse_target", "text_of"]

TargetLike: TypeAlias = "None | int | str | Sequence[Any] | Mapping[Any, float] | Target | np.ndarray[Any, Any]"

Axis: TypeAlias = "int | str"
"""The choice along one axis: an index, "top" (where the score is greatest), or ":" (the sum over the axis)."""

ONE_EACH = "one target per sample is chosen at run time: rewrite with target='input', or hand the list to the Explainer"

KINDS = ("element", "contrast", "input", "seed", "all")


@dataclass(frozen=True)
class Target:
    """What is explained.

    kind "element": one element per sample, chosen axis by axis (`axes`; a single "top" stands for all axes);
    "contrast": a weighted sum of elements (`terms`); "input": an index per sample given at run time; "seed": an arbitrary
    vector given at run time; "all": every element, one attribution each.
    """

    kind: str = "element"
    axes: tuple[Axis, ...] = ("top",)
    terms: tuple[tuple[float, tuple[Axis, ...]], ...] = ()

    def __str__(self) -> str:
        if self.kind == "element":
            return text_of(self.axes)
        if self.kind == "contrast":
            return " ".join(f"{weight:+g}·({text_of(axes)})" for weight, axes in self.terms)
        return self.kind


def parse_target(value: TargetLike) -> Target:
    """A target from what users write.

    None or "top" is each sample's top prediction; 3 an index; (3, 10, 12) one index per axis, negative ones counted from
    the end; (3, ":", ":") sums over axes; (-1, "top") is the top element at the last position; {3: 1, 5: -1} or "3-5" a
    contrast; "input", "cotangent" and "all" as the words say. Text may be any of these: "3,:,:".

    Raises:
        TargetError: the form is none of these.
    """
    if isinstance(value, Target):
        return value
    if value is None:
        return Target()
    if isinstance(value, str):
        return _parse_text(value)
    if isinstance(value, Mapping):
        terms = tuple((float(weight), _axes(key)) for key, weight in value.items())
        if not terms:
            raise TargetError("a contrast needs at least one output, e.g. target={3: 1, 5: -1}")
        return Target("contrast", (), terms)
    if isinstance(value, list | np.ndarray) and np.ndim(value) > 0:
        raise TargetError(ONE_EACH)
    return Target("element", _axes(value))


def at_run_time(
    value: TargetLike, cotangent: np.ndarray[Any, Any] | None, count: int, extents: Sequence[Dim], reason: str = ""
) -> tuple[Target, np.ndarray[Any, Any] | None]:
    """What an Explainer is asked for: the kind of target, and an index per sample (negative: the top one) where it takes some.

    Args:
        value: as in `parse_target`, or one index per sample, or one tuple of indices per sample.
        cotangent: an arbitrary vector instead.
        count: the number of samples.
        extents: of one sample of the explained output.
        reason: why there are so many samples.

    Raises:
        TargetError: the form is none of these, or there are not as many indices as samples.
    """
    if cotangent is not None:
        if value is not None:
            raise TargetError("give a target or a cotangent, not both")
        return Target("seed", ()), None
    run_time = Target("input", ())
    value = _per_sample(value) if isinstance(value, str) and ";" in value else value
    if isinstance(value, list | np.ndarray) and len(np.shape(value)) > 0:
        return run_time, _indices(np.asarray(value), count, extents, reason)
    parsed = parse_target(value)
    if parsed.kind in ("input", "seed"):
        raise TargetError(f"target='{value}' is for rewrite; hand the Explainer the indices or the cotangent themselves")
    if parsed.kind == "element" and parsed.axes == ("top",):
        return run_time, np.full(count, -1, np.int64)
    if parsed.kind == "element" and len(parsed.axes) == 1 and isinstance(parsed.axes[0], int) and len(extents) <= 1:
        _refuse_negative(np.array(parsed.axes))
        return run_time, np.full(count, parsed.axes[0], np.int64)
    known = all(isinstance(v, int) for v in (*parsed.axes, *extents))
    if parsed.kind == "element" and len(parsed.axes) == len(extents) and known:
        return run_time, _indices(np.tile(np.array(parsed.axes, np.int64), (count, 1)), count, extents, reason)
    return parsed, None


def _per_sample(text: str) -> list[Any]:
    """One choice per sample as text: "3;5", "7,3;6,5"."""
    rows = [_axes_of_text(part) for part in text.split(";")]
    return [row[0] if len(row) == 1 else row for row in rows]


def _indices(chosen: np.ndarray[Any, Any], count: int, extents: Sequence[Dim], reason: str) -> np.ndarray[Any, Any]:
    """One index per sample, counted row by row over the sample's elements, from indices [n] or one index per axis [n, axes]."""
    axes = len(extents)
    wanted = f"int [{count}]" if axes < 2 else f"int [{count}], or one for each axis, [{count}, {axes}]"
    if chosen.dtype.kind not in "iu" or chosen.shape not in ((count,), (count, axes)):
        why = f"; {reason}" if reason and len(chosen) != count else ""
        raise TargetError(f"expected one index per sample ({wanted}), got {chosen.dtype} {list(chosen.shape)}{why}")
    if chosen.ndim == 1:
        _refuse_negative(chosen)
        return chosen.astype(np.int64)
    known = [d for d in extents if isinstance(d, int)]
    if len(known) < axes:
        raise TargetError(
            f"the extents {list(extents)} of a sample's output are not known before a run: give indices counted over its elements"
        )
    for axis, extent in enumerate(known):
        wrong = chosen[(chosen[:, axis] < -extent) | (chosen[:, axis] >= extent)]
        if len(wrong):
            raise TargetError(f"target {tuple(wrong[0].tolist())} is out of range: a sample's output has the extents {known}")
    places = np.where(chosen < 0, chosen + np.array(known), chosen)
    return np.asarray(np.ravel_multi_index(tuple(places.T), known), np.int64)


def _refuse_negative(chosen: np.ndarray[Any, Any]) -> None:
    """At run time −1 is the top prediction; what lies below has no meaning."""
    if chosen.size and chosen.min() < -1:
        raise TargetError(f"target {chosen.min()} is out of range: outputs are counted from 0, and -1 is the top prediction")


def _axes(value: Any) -> tuple[Axis, ...]:
    parts = value if isinstance(value, tuple) else _axes_of_text(value) if isinstance(value, str) else (value,)
    return tuple(_axis(p) for p in parts)


def _axis(part: Any) -> Axis:
    if part is None or part == "top":
        return "top"
    if part == ":" or part is Ellipsis or (isinstance(part, slice) and part == slice(None)):
        return ":"
    if isinstance(part, int | np.integer) and not isinstance(part, bool):
        return int(part)
    raise TargetError(f"{part!r} is no target: expected an index, 'top', or ':' for the sum over an axis")


def _axes_of_text(text: str) -> tuple[Axis, ...]:
    parts = [p.strip() for p in text.split(",")]
    if not all(re.fullmatch(r"-?\d+|top|:", p) for p in parts):
        raise TargetError(f"'{text}' is no target: expected e.g. top, 3, 3,10,12 or 3,:,: (: sums over an axis), 3-5 (contrast)")
    return tuple(int(p) if p not in ("top", ":") else p for p in parts)


def _parse_text(text: str) -> Target:
    text = text.strip()
    if text == "seed":
        warnings.warn(
            "target='seed' is called target='cotangent' now; the next version drops the old name",
            DeprecationWarning,
            stacklevel=2,
        )
    if text in ("input", "seed", "cotangent", "all"):
        return Target("seed" if text == "cotangent" else text, ())  # "seed" is the contract's name for the input
    if ";" in text:
        raise TargetError(ONE_EACH)
    contrast = re.fullmatch(r"(\d+|top)\s*-\s*(\d+|top)", text)
    if contrast and contrast[1] == contrast[2]:
        raise TargetError(f"'{text}' is the difference of an output from itself, which is 0; name two outputs, e.g. 3-5")
    if contrast:
        return Target("contrast", (), tuple((w, _axes_of_text(p)) for w, p in zip((1.0, -1.0), contrast.groups(), strict=True)))
    axes = _axes_of_text(text)
    if axes == (-1,):  # as at run time: a negative index is the top prediction
        axes = ("top",)
    return Target("element", axes)


def text_of(axes: tuple[Axis, ...]) -> str:
    """A choice per axis as users write it."""
    return ",".join(str(a) for a in axes)
