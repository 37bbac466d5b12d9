"""Baselines: reference values of explained tensors, baked in or given at run time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.builder.extents import Extents
from onnxplain.errors import InputError, MethodError
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Dim, Tensor
from onnxplain.method.context import AttributionContext

__all__ = ["LOOKED_UP", "fits", "has_several", "holds_ids", "reference", "references", "shared_baseline", "still_missing"]


def reference(context: AttributionContext, explained: Explained) -> Tensor:
    """The baseline of an explained tensor, in its shape and type, at the context's point.

    Raises:
        MethodError: no baseline was given.
        InputError: the baseline does not broadcast to the tensor.
    """
    return context.at_points(explained, lambda context, own: still_missing(context, own.tensor, emit_baseline(context, own)))


def references(context: AttributionContext, explained: Explained) -> Tensor:
    """Several baselines of an explained tensor: [m, samples or 1, …].

    Raises: as `reference`.
    """
    return context.at_points(explained, several_still_missing, lead=1)


def still_missing(context: AttributionContext, x: Tensor, baseline: Tensor) -> Tensor:
    """A baseline at which what is missing (NaN) in the input is missing too: no path leads from a number to none."""
    return context.b.Where(context.b.IsNaN(x), x, baseline) if context.takes_missing else baseline


def several_still_missing(context: AttributionContext, explained: Explained) -> Tensor:
    """Several baselines at which what is missing in the input is missing too."""
    return still_missing(context, context.b.Unsqueeze(explained.tensor, [0]), emit_baselines(context, explained))


def emit_baseline(context: AttributionContext, explained: Explained) -> Tensor:
    """The baseline of an explained tensor, in its shape and type; that of a layer is what it is at the inputs' baselines, unless
    it is given by the layer's name."""
    if _from_inputs(context, explained):
        points = {e.tensor: emit_baseline(_before(context), e) for e in context.layer_inputs}
        return _replayed(context, explained.tensor, points)
    value = _given(context, explained)
    if not of_ids(explained, value):
        return _one(context, explained, value)
    source = _source(context, explained)
    return _replayed(context, explained.tensor, {source.tensor: _one(context, source, value)})


def _one(context: AttributionContext, explained: Explained, value: Any) -> Tensor:
    """A baseline in the shape and type of what it is one of: an array, or a run-time input."""
    x = explained.tensor
    if isinstance(value, str):
        return context.b.given(_run_time(context, explained, x.shape), x)  # a host may give one for the whole batch
    array = _array(value, explained)
    if array.ndim > (x.rank if x.shape is not None else array.ndim) or not fits(array, x):
        hint = (
            "; one of the layer itself is given by its tensor's name, as {name: array}"
            if explained in context.layer_inputs
            else ""
        )
        raise InputError(
            f"the baseline of shape {list(array.shape)} does not broadcast to '{explained.name}' {named_dims(x)}{hint}"
        )
    constant = context.bake_in(f"the baseline of '{explained.name}'", array, x)
    return context.b.Expand(constant, context.b.shape(x))


def shared_baseline(context: AttributionContext, explained: Explained) -> Tensor | None:
    """The baseline of an explained tensor as one constant for all samples, of its rank, with extents of 1 where it is the same;
    None where it is given at run time, or differs among samples."""
    x = explained.tensor
    value = None if _from_inputs(context, explained) else _given(context, explained)
    if value is None or isinstance(value, str) or x.shape is None or context.takes_missing or of_ids(explained, value):
        return None
    array, axis = _array(value, explained), context.sample_axis(x)
    if array.ndim > x.rank or not fits(array, x):
        return None
    array = array.reshape((1,) * (x.rank - array.ndim) + array.shape)
    return None if axis is not None and array.shape[axis] > 1 else context.b.const(array, x.dtype)


def _from_inputs(context: AttributionContext, explained: Explained) -> bool:
    """Whether the baseline is that of the inputs which a layer comes from, not one of the layer by its name."""
    named = isinstance(context.baseline, Mapping) and explained.name in context.baseline
    return explained.kind == "layer" and bool(context.layer_inputs) and not named


def _before(context: AttributionContext) -> AttributionContext:
    """The context with the inputs that its layers come from in their place."""
    return context.with_point(explained=context.layer_inputs)


def _replayed(context: AttributionContext, layer: Tensor, points: Mapping[Tensor, Tensor]) -> Tensor:
    """A layer at other inputs."""
    # What is replayed keeps its symbols: there the samples are the baselines.
    named = {t: context.b.shaped(context.b.alias(p, "baseline"), t.shape) for t, p in points.items()}
    _, became = context.replay(named)
    return became[layer]


def _several_at(context: AttributionContext, layer: Explained, baselines: Mapping[Explained, Tensor]) -> Tensor:
    """A layer at several baselines of the inputs, which all samples share: they go through the model as a batch."""
    b, points = context.b, {}
    count: Dim = None
    for e, every in baselines.items():
        if e.axis is None or not isinstance(e.tensor.dim(e.axis), str) or every.dim(e.axis + 1) != 1:
            raise MethodError(
                f"several baselines of the inputs are brought to the layer '{layer.name}' as a batch: the model's batch must "
                "be free and all samples share them; give baselines of the layer itself, by its name"
            )
        count, behind = every.dim(0), Extents(b, [1]).then(Extents.of(b, e.tensor, e.axis + 1))
        rows = every if e.axis == 0 else b.transpose(every, [*range(1, e.axis + 1), 0, *range(e.axis + 1, every.rank)])
        before = [Extents.of(b, e.tensor).at(i) for i in range(e.axis)]
        extents = before[0].then(*before[1:], behind) if before else behind
        points[e.tensor] = b.Expand(b.Squeeze(rows, [e.axis + 1]), extents.operand)  # a number stands for every element
    made, samples = _replayed(context, layer.tensor, points), layer.axis or 0
    if samples:
        made = b.transpose(made, [samples, *(i for i in range(made.rank) if i != samples)])
    made = b.Unsqueeze(made, [1 + samples])
    return made if made.shape is None else b.shaped(made, (count, *made.shape[1:]))  # the baselines are the model's samples


def emit_baselines(context: AttributionContext, explained: Explained) -> Tensor:
    """Several baselines of an explained tensor: [m, samples or 1, …].

    An array of the tensor's rank holds one per row, [m, …] with the axes of one sample, shared by all samples; one more axis
    gives each sample its own. Anything smaller is a single baseline. At run time: an input [references, …], shared by all
    samples. What does not count samples has them along an axis in front of its own.
    """
    if _from_inputs(context, explained):
        before = _before(context)
        return _several_at(context, explained, {e: emit_baselines(before, e) for e in context.layer_inputs})
    value = _given(context, explained)
    if not of_ids(explained, value):
        return _several(context, explained, value)
    source = _source(context, explained)
    return _several_at(context, explained, {source: _several(context, source, value)})


def _several(context: AttributionContext, explained: Explained, value: Any) -> Tensor:
    """Several baselines of what has been given some: an array, or a run-time input."""
    b, x, axis = context.b, explained.tensor, explained.axis
    own = x.shape if x.shape is not None else ()
    if not own and context.batched:
        raise MethodError(f"the rank of '{explained.name}' is unknown; re-export the model with shape information")
    if isinstance(value, str):
        given = _run_time(context, explained, ("references", *(d for i, d in enumerate(own) if i != axis)))
        return given if axis is None else b.Unsqueeze(given, [axis + 1])
    array = _array(value, explained)
    if array.ndim <= len(own):
        array = array.reshape((1,) * (len(own) - array.ndim) + array.shape)
        array = array[None] if axis is None else np.expand_dims(array, axis + 1)
    if array.ndim != len(own) + 1 or not fits(array[0], x):
        raise InputError(
            f"the baselines of shape {list(array.shape)} do not fit '{explained.name}' {named_dims(x)}: expected [references, …]"
        )
    return context.bake_in(f"the baselines of '{explained.name}'", array, x)


def has_several(context: AttributionContext, explained: Explained) -> bool:
    """Whether the baseline has one more axis than the tensor: several baselines, [m, samples or 1, …]."""
    if _from_inputs(context, explained):
        return any(has_several(_before(context), e) for e in context.layer_inputs)
    value = _given(context, explained)
    x = _source(context, explained).tensor if of_ids(explained, value) else explained.tensor
    return not isinstance(value, str) and x.shape is not None and np.ndim(value) == x.rank + 1


LOOKED_UP = ("embedding", "one-hot")
"""What stands in for an input of integers that choose something, which numbers in their place do not."""


def of_ids(explained: Explained, value: Any) -> bool:
    """Whether a baseline holds integers as the input does, which go through the same look-up.

    Raises:
        InputError: as `holds_ids`, or integers are asked for where the input takes none.
    """
    if isinstance(value, str):
        if value == "ids" and explained.kind not in (*LOOKED_UP, "cast"):
            raise InputError(f"baseline 'ids' is for inputs of integers, and '{explained.name}' is none; give 'input'")
        return value == "ids"
    return explained.kind in LOOKED_UP and holds_ids(explained.name, value)


def holds_ids(name: str, value: Any) -> bool:
    """Whether a baseline of what is looked up holds integers to look up.

    Raises:
        InputError: a whole number alone.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iu":
        return False
    if not array.ndim:
        raise InputError(
            f"the baseline {array} of '{name}' may be an integer to look up, or the number that what is found is filled with: "
            f"give an array of integers, as [[{array}]], for the one and {float(array)} for the other"
        )
    return True


def _source(context: AttributionContext, explained: Explained) -> Explained:
    """The input of integers that an explained tensor stands in for."""
    tensor = next(t for t in context.inputs if t.name == explained.source)
    return Explained(explained.source, tensor, "input", source=explained.source, axis=context.selection.axes.of(tensor))


def _given(context: AttributionContext, explained: Explained) -> Any:
    value = context.baseline
    if isinstance(value, Mapping):
        known = {name for e in (*context.explained, *context.layer_inputs) for name in (e.name, e.source) if name}
        unknown = set(value) - known
        if unknown:
            names = ", ".join(f"'{name}'" for name in sorted(known))
            raise InputError(f"baseline for '{sorted(unknown)[0]}', which is not explained; explained: {names}")
        value = value.get(explained.name, value.get(explained.source))
    if value is None:
        raise MethodError(
            f"method '{context.method}' needs a baseline, the reference input that it compares '{explained.name}' with: "
            "baseline=0.0 (--baseline 0), an array, or 'input' for run time"
        )
    if isinstance(value, str) and value not in ("input", "ids"):
        raise MethodError(
            f"baseline '{value}' is unknown; give a number, an array, or for run time 'input', or 'ids' for integers to look up"
        )
    return value


def _array(value: Any, explained: Explained) -> np.ndarray[Any, Any]:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise InputError(f"the baseline of '{explained.name}' holds {array.dtype}, expected numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"the baseline of '{explained.name}' holds NaN or infinity")
    return array


def fits(array: np.ndarray[Any, Any], x: Tensor) -> bool:
    """Whether an array broadcasts to a tensor as far as extents are known."""
    return x.shape is None or all(
        n == 1 or n == d or not isinstance(d, int) for n, d in zip(array.shape[::-1], x.shape[::-1], strict=False)
    )


def _run_time(context: AttributionContext, explained: Explained, shape: Any) -> Tensor:
    """The run-time input of a baseline, made once."""

    def make() -> Tensor:
        name = "baseline" if len(context.explained) == 1 else f"{explained.name}_baseline"
        return replace(explained.tensor, name=context.graph.fresh(name), shape=shape)

    return context.outputs.run_time_input("baseline", explained.name, make)
