"""Targets: which element of the explained output is explained, and the seed that says so in the graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import TargetError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor, same_dim

__all__ = ["Axis", "Target", "TargetLike", "at_run_time", "emit_seed", "nan_beyond", "parse_target"]

TargetLike: TypeAlias = "None | int | str | Sequence[Any] | Mapping[Any, float] | Target | np.ndarray[Any, Any]"

Axis: TypeAlias = "int | str"
"""The choice along one axis: an index, "top" (where the score is greatest), or ":" (the sum over the axis)."""

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
            return _text(self.axes)
        if self.kind == "contrast":
            return " ".join(f"{weight:+g}·({_text(axes)})" for weight, axes in self.terms)
        return self.kind


def parse_target(value: TargetLike) -> Target:
    """A target from what users write.

    None or "top" is each sample's top prediction; 3 an index; (3, 10, 12) one index per axis, negative ones counted from
    the end; (3, ":", ":") sums over axes; (-1, "top") is the top element at the last position; {3: 1, 5: -1} or "3-5" a
    contrast; "input", "seed" and "all" as the words say. Text may be any of these: "3,:,:".

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
        raise TargetError(
            "one target per sample is chosen at run time: rewrite with target='input', or hand the list to the Explainer"
        )
    return Target("element", _axes(value))


def at_run_time(
    value: TargetLike, seed: np.ndarray[Any, Any] | None, count: int, axes: int
) -> tuple[Target, np.ndarray[Any, Any] | None]:
    """What an Explainer is asked for: the kind of target, and an index per sample (negative: the top one) where it takes some.

    Args:
        value: as in `parse_target`, or one index per sample.
        seed: an arbitrary vector instead.
        count: the number of samples.
        axes: of the explained output, beside the samples.

    Raises:
        TargetError: the form is none of these, or there are not as many indices as samples.
    """
    if seed is not None:
        if value is not None:
            raise TargetError("give a target or a seed, not both")
        return Target("seed", ()), None
    run_time = Target("input", ())
    if isinstance(value, list | np.ndarray) and np.ndim(value) > 0:
        chosen = np.asarray(value)
        if chosen.dtype.kind not in "iu" or chosen.shape != (count,):
            raise TargetError(f"expected one index per sample (int [{count}]), got {chosen.dtype} {list(chosen.shape)}")
        return run_time, chosen.astype(np.int64)
    parsed = parse_target(value)
    if parsed.kind in ("input", "seed"):
        raise TargetError(f"target='{parsed.kind}' is for rewrite; hand the Explainer the indices or the seed themselves")
    if parsed.kind == "element" and parsed.axes == ("top",):
        return run_time, np.full(count, -1, np.int64)
    if parsed.kind == "element" and len(parsed.axes) == 1 and isinstance(parsed.axes[0], int) and axes <= 1:
        return run_time, np.full(count, parsed.axes[0], np.int64)
    return parsed, None


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
    if text in ("input", "seed", "all"):
        return Target(text, ())
    contrast = re.fullmatch(r"(\d+|top)\s*-\s*(\d+|top)", text)
    if contrast:
        return Target("contrast", (), tuple((w, _axes_of_text(p)) for w, p in zip((1.0, -1.0), contrast.groups(), strict=True)))
    axes = _axes_of_text(text)
    if axes == (-1,):  # as at run time: a negative index is the top prediction
        axes = ("top",)
    return Target("element", axes)


def _text(axes: tuple[Axis, ...]) -> str:
    return ",".join(str(a) for a in axes)


# -- in the graph --------------------------------------------------------------------------------------------------


def emit_seed(b: Builder, y: Tensor, target: Target, *, ranked: Tensor, batched: bool, chosen: Tensor | None = None) -> Tensor:
    """The message to start the walk with: 1 at the explained element of every sample, 0 elsewhere.

    Args:
        b: emits into the graph.
        y: the explained output; its first axis counts samples where `batched`.
        target: an element, a contrast, or "input".
        ranked: the prediction, in y's shape: its greatest element is the "top" one (y may be what a softmax makes it from).
        batched: whether the first axis counts samples.
        chosen: int64 [n] or [1], the run-time index for "input", counted row by row over the sample's elements; negative
            means the top prediction; an index beyond the last element seeds nothing (`nan_beyond` marks those samples).

    Raises:
        TargetError: the target does not fit the output's shape.
    """
    if target.kind == "input":
        assert chosen is not None
        return _seed_at_run_time(b, y, ranked, chosen, batched=batched)
    terms = target.terms if target.kind == "contrast" else ((1.0, target.axes),)
    seeds = []
    for weight, axes in terms:
        seed = _element(b, y, ranked, axes, batched=batched)
        seeds.append(seed if weight == 1 else replace(b.Mul(seed, weight), shape=y.shape))
    return b.total(seeds)


def _element(b: Builder, y: Tensor, ranked: Tensor, axes: tuple[Axis, ...], *, batched: bool) -> Tensor:
    first = 1 if batched else 0
    free = y.rank - first
    if axes == ("top",):
        axes = ("top",) * free
    if axes == (0,) and free == 0:
        axes = ()
    if len(axes) != free:
        example = ",".join(["3", *":" * (free - 1)]) if free else "none: it has one element per sample"
        raise TargetError(
            f"target {_text(axes)} has {len(axes)} axes, but output '{y.name}' {named_dims(y)} has {free} beside the samples; "
            f"give one choice per axis (e.g. {example})"
        )
    for axis, choice in enumerate(axes, start=first):
        extent = y.shape[axis] if y.shape else None
        if isinstance(choice, int) and isinstance(extent, int) and not -extent <= choice < extent:
            raise TargetError(
                f"target {choice} is out of range: output '{y.name}' {named_dims(y)} has {extent} along axis {axis}"
            )
    masks = [_mask(b, y, axis, choice) for axis, choice in enumerate(axes, start=first) if isinstance(choice, int)]
    if "top" in axes:
        masks.append(_top_mask(b, ranked, axes, first))
    seed = b.full_like(y, 1)
    for mask in masks:
        seed = replace(b.Where(mask, seed, 0), shape=y.shape)
    return seed


def _mask(b: Builder, y: Tensor, axis: int, index: int) -> Tensor:
    """True at one index along an axis, shaped to broadcast against y."""
    extent = y.dim(axis)
    shape = [1] * y.rank
    shape[axis] = -1
    if isinstance(extent, int):
        return b.const((np.arange(extent) == index % extent).reshape(shape))
    count = b.Squeeze(b.dim(y, axis))
    wanted = index if index >= 0 else b.Add(count, index)
    return b.Reshape(b.Equal(b.Range(0, count, 1), wanted), shape)


def _top_mask(b: Builder, y: Tensor, axes: tuple[Axis, ...], first: int) -> Tensor:
    """True where the score is greatest along the "top" axes, at the chosen indices and summed over the ":" axes."""
    score = y
    for axis, choice in enumerate(axes, start=first):
        if isinstance(choice, int):
            score = b.Gather(score, [choice], axis=axis)
    summed = [axis for axis, choice in enumerate(axes, start=first) if choice == ":"]
    if summed:
        score = b.ReduceSum(score, summed, keepdims=1)
    if score is y and y.rank == first + 1:
        return b.Equal(_count(b, b.dim(y, first)), b.ArgMax(y, axis=first, keepdims=1))
    flat = b.Reshape(score, [0, -1] if first else [1, -1])
    at = b.ArgMax(flat, axis=1, keepdims=1)
    elements = b.Gather(b.Shape(flat), [1])
    return b.Reshape(b.Equal(_count(b, elements), at), b.Shape(score))


def _count(b: Builder, extent: Tensor) -> Tensor:
    """0, 1, … up to an extent given as int64 [1]."""
    known = b.ints(extent)
    made = b.const(np.arange(known[0])) if known else b.Range(0, b.Squeeze(extent), 1)
    assert isinstance(made, Tensor)
    return made


def _seed_at_run_time(b: Builder, y: Tensor, ranked: Tensor, chosen: Tensor, *, batched: bool) -> Tensor:
    plain = batched and y.rank == 2
    flat = ranked if plain else b.Reshape(ranked, [0, -1] if batched and y.rank > 1 else [-1, 1] if batched else [1, -1])
    wanted = b.Unsqueeze(_one_per_sample(b, y, chosen, batched=batched), [1])
    index = b.Where(b.Less(wanted, 0), b.ArgMax(flat, axis=1, keepdims=1), wanted)
    extent = b.dim(y, 1) if plain else b.Shape(flat, start=1, end=2)
    seed = b.cast(b.Equal(_count(b, extent), index), y)
    return replace(seed if plain else b.reshape(seed, y), shape=y.shape, dtype=y.dtype)


def _one_per_sample(b: Builder, y: Tensor, chosen: Tensor, *, batched: bool) -> Tensor:
    """The run-time indices as int64 [n]; any other number of them than n or 1 ends the run with an error here."""
    count = b.dim(y, 0) if batched else b.const([1])
    assert isinstance(count, Tensor)
    return b.Reshape(b.Expand(chosen, count), count)


def nan_beyond(b: Builder, attribution: Tensor, y: Tensor, chosen: Tensor, *, batched: bool) -> Tensor:
    """The attribution with NaN for every sample whose run-time index lies beyond its last element.

    An attribution whose first axis does not count samples is NaN all over as soon as one index does.
    """
    known = [d for d in (y.shape or ())[int(batched) :] if isinstance(d, int)]
    if y.shape is not None and len(known) == y.rank - int(batched):
        elements = b.const([prod(known)])
    else:
        elements = b.ReduceProd(b.Slice(b.shape(y), [1], [y.rank]) if batched else b.shape(y), keepdims=1)
    mine = attribution.shape
    if batched and mine and y.shape and same_dim(mine[0], y.shape[0]):
        inside = b.Unsqueeze(b.Less(_one_per_sample(b, y, chosen, batched=True), elements), list(range(1, len(mine))))
    else:
        inside = b.Less(b.ReduceMax(chosen, keepdims=0), elements)
    return replace(b.Where(inside, attribution, float("nan")), shape=mine, dtype=attribution.dtype)
