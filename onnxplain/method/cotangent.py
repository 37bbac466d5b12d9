"""Seeds: the message a backward pass starts with, which says in the graph what a target means."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from onnx import TensorProto

from onnxplain.analysis.target import Axis, Target, text_of
from onnxplain.builder.builder import Builder
from onnxplain.errors import TargetError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor, same_dim

__all__ = ["emit_cotangent", "last_position_only", "nan_beyond", "own_axes", "samples_first"]


def emit_cotangent(
    b: Builder, y: Tensor, target: Target, *, ranked: Tensor, samples: int | None, chosen: Tensor | None = None
) -> Tensor:
    """The message to start the backward pass with: 1 at the explained element of every sample, 0 elsewhere.

    Args:
        b: emits into the graph.
        y: the explained output.
        target: an element, a contrast, or "input".
        ranked: the prediction, in y's shape: its greatest element is the "top" one (y may be what a softmax makes it from).
        samples: the axis of y that counts samples; None where none does.
        chosen: int64 [n] or [1], the run-time index for "input", counted row by row over the sample's elements; negative
            means the top prediction; an index beyond the last element explains nothing (`nan_beyond` marks those samples).

    Raises:
        TargetError: the target does not fit the output's shape.
    """
    if target.kind == "input":
        assert chosen is not None
        return _cotangent_at_run_time(b, y, ranked, chosen, samples)
    terms = target.terms if target.kind == "contrast" else ((1.0, target.axes),)
    seeds = []
    for weight, axes in terms:
        cotangent = _element(b, y, ranked, axes, samples)
        seeds.append(cotangent if weight == 1 else b.Mul(cotangent, weight))
    return b.total(seeds)


def last_position_only(b: Builder, ranked: Tensor, mask: Tensor | None) -> Tensor:
    """Scores [samples, positions, vocabulary], −∞ but at the last position of each sample that is no padding.

    Args:
        b: emits into the graph.
        ranked: the scores.
        mask: 0 at padding, [samples, past and present positions]; None where nothing is padded.
    """
    places, extent = _count(b, b.dim(ranked, 1)), b.dim(ranked, 1)
    last = b.Sub(extent, 1)
    if mask is not None:
        total = b.Shape(mask, start=1, end=2)
        counted = b.Where(b.Equal(b.Cast(mask, to=TensorProto.INT64), 0), 0, b.Add(_count(b, total), 1))
        last = b.Sub(b.ReduceMax(counted, [1], keepdims=1), b.Add(b.Sub(total, extent), 1))
    here = b.Equal(places, last)
    return b.Where(b.Reshape(here, [-1, 1] if mask is None else [0, -1, 1]), ranked, float("-inf"))


def _element(b: Builder, y: Tensor, ranked: Tensor, axes: tuple[Axis, ...], samples: int | None) -> Tensor:
    own = own_axes(y, samples)
    free = len(own)
    if axes == ("top",):
        axes = ("top",) * free
    if axes == (0,) and free == 0:
        axes = ()
    if len(axes) != free:
        example = ",".join(["3", *":" * (free - 1)]) if free else "none: it has one element per sample"
        beside = " beside the samples" if samples is not None else ", none of which counts samples"
        raise TargetError(
            f"target {text_of(axes)} has {len(axes)} axes, but output '{y.name}' {named_dims(y)} has {free}{beside}; "
            f"give one choice per axis (e.g. {example})"
        )
    choices = dict(zip(own, axes, strict=True))
    for axis, choice in choices.items():
        extent = y.shape[axis] if y.shape else None
        if isinstance(choice, int) and isinstance(extent, int) and not -extent <= choice < extent:
            raise TargetError(
                f"target {choice} is out of range: output '{y.name}' {named_dims(y)} has {extent} along axis {axis}"
            )
    masks = [_mask(b, y, axis, choice) for axis, choice in choices.items() if isinstance(choice, int)]
    if "top" in axes:
        masks.append(_top_mask(b, ranked, choices, samples))
    cotangent = b.full_like(y, 1)
    for mask in masks:
        cotangent = b.Where(mask, cotangent, 0)
    return cotangent


def own_axes(y: Tensor, samples: int | None) -> list[int]:
    """The axes of one sample."""
    return [axis for axis in range(y.rank) if axis != samples]


def samples_first(b: Builder, x: Tensor, samples: int | None) -> Tensor:
    """The tensor with the axis that counts samples in front."""
    return b.transpose(x, [samples, *own_axes(x, samples)]) if samples else x


def _samples_back(b: Builder, x: Tensor, samples: int | None) -> Tensor:
    """The tensor with its first axis where samples belong."""
    rest = range(1, x.rank)
    return b.transpose(x, [*rest[:samples], 0, *rest[samples:]]) if samples else x


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


def _top_mask(b: Builder, y: Tensor, choices: Mapping[int, Axis], samples: int | None) -> Tensor:
    """True where the score is greatest along the "top" axes, at the chosen indices and summed over the ":" axes."""
    score = y
    for axis, choice in choices.items():
        if isinstance(choice, int):
            score = b.Gather(score, [choice], axis=axis)
    summed = [axis for axis, choice in choices.items() if choice == ":"]
    if summed:
        score = b.ReduceSum(score, summed, keepdims=1)
    if score is y and len(choices) == 1 and not samples:
        (only,) = choices
        return b.Equal(_count(b, b.dim(y, only)), b.ArgMax(y, axis=only, keepdims=1))
    score = samples_first(b, score, samples)
    flat = b.Reshape(score, [1, -1] if samples is None else [0, -1])
    at = b.ArgMax(flat, axis=1, keepdims=1)
    elements = b.Gather(b.Shape(flat), [1])
    return _samples_back(b, b.Reshape(b.Equal(_count(b, elements), at), b.Shape(score)), samples)


def _count(b: Builder, extent: Tensor) -> Tensor:
    """0, 1, … up to an extent given as int64 [1]."""
    known = b.ints(extent)
    made = b.const(np.arange(known[0])) if known else b.Range(0, b.Squeeze(extent), 1)
    assert isinstance(made, Tensor)
    return made


def _cotangent_at_run_time(b: Builder, y: Tensor, ranked: Tensor, chosen: Tensor, samples: int | None) -> Tensor:
    first, ranked = samples_first(b, y, samples), samples_first(b, ranked, samples)
    batched = samples is not None
    plain = batched and y.rank == 2
    flat = ranked if plain else b.Reshape(ranked, [0, -1] if batched and y.rank > 1 else [-1, 1] if batched else [1, -1])
    wanted = b.Unsqueeze(_one_per_sample(b, y, chosen, samples), [1])
    index = b.Where(b.Less(wanted, 0), b.ArgMax(flat, axis=1, keepdims=1), wanted)
    extent = b.dim(first, 1) if plain else b.Shape(flat, start=1, end=2)
    cotangent = b.cast(b.Equal(_count(b, extent), index), y)
    return _samples_back(b, cotangent if plain else b.reshape(cotangent, first), samples)


def _one_per_sample(b: Builder, y: Tensor, chosen: Tensor, samples: int | None) -> Tensor:
    """The run-time indices as int64 [n]; any other number of them than n or 1 ends the run with an error here."""
    count = b.const([1]) if samples is None else b.dim(y, samples)
    assert isinstance(count, Tensor)
    return b.Reshape(b.Expand(chosen, count), count)


def nan_beyond(b: Builder, attribution: Tensor, y: Tensor, chosen: Tensor, *, samples: int | None, along: int | None) -> Tensor:
    """The attribution with NaN for every sample whose run-time index lies beyond its last element.

    An attribution of which no axis counts samples is NaN all over as soon as one index does.

    Args:
        b: emits into the graph.
        attribution: what is marked.
        y: the explained output.
        chosen: the run-time indices.
        samples: the axis of y that counts samples; None where none does.
        along: that of the attribution.
    """
    own = own_axes(y, samples) if y.shape is not None else []
    known = [d for axis in own if isinstance(d := y.dim(axis), int)]
    if y.shape is not None and len(known) == len(own):
        elements = b.const([prod(known)])
    elif samples is None:
        elements = b.ReduceProd(b.shape(y), keepdims=1)
    else:
        behind = b.Slice(b.shape(y), [samples + 1], [y.rank])
        every = b.Concat(b.Slice(b.shape(y), [0], [samples]), behind, axis=0) if samples else behind
        elements = b.ReduceProd(every, keepdims=1)
    mine = attribution.shape
    if samples is not None and along is not None and mine and y.shape and same_dim(mine[along], y.shape[samples]):
        beside = [axis for axis in range(len(mine)) if axis != along]
        inside = b.Unsqueeze(b.Less(_one_per_sample(b, y, chosen, samples), elements), beside)
    else:
        inside = b.Less(b.ReduceMax(chosen, keepdims=0), elements)
    return b.Where(inside, attribution, float("nan"))
