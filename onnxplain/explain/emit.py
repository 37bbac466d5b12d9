"""Third station: the method writes its attributions into the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.positions import find_positions
from onnxplain.analysis.selection import Selection
from onnxplain.builder.builder import Builder
from onnxplain.errors import InputError, TargetError
from onnxplain.explain.request import Request
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import attributions, identity_cotangents
from onnxplain.method.context import AttributionContext, Outputs, Point
from onnxplain.method.cotangent import emit_cotangent, last_position_only, nan_beyond
from onnxplain.method.masks import emit_masks
from onnxplain.propagation.observer import Observer

__all__ = ["Emission", "emit"]


@dataclass(frozen=True)
class Emission:
    """A graph with attributions in it, as operators emitted by `b`.

    Attributes:
        selection: what is explained.
        b: holds what was emitted.
        results: the tensors that become outputs, in their order: attributions, reports, what is exposed.
        attributions: by their output names, what they explain.
        reports: the output names of reports, by what they report.
        run_time: the run-time inputs that say what is explained: "target" or "seed".
        run_time_inputs: those of the method, by kind and explained tensor.
        sample_axes: the axis of each attribution that counts samples, by output name; None where none does.
        exposed: tensors of the model that become outputs too.
    """

    selection: Selection
    b: Builder
    results: tuple[Tensor, ...]
    attributions: Mapping[str, Explained]
    reports: Mapping[str, str]
    run_time: Mapping[str, Tensor]
    run_time_inputs: Mapping[tuple[str, str], Tensor]
    sample_axes: Mapping[str, int | None]
    exposed: tuple[Tensor, ...] = ()


def emit(request: Request, selection: Selection, observer: Observer | None = None) -> Emission:
    """Write the attributions that are asked for.

    Args:
        request: with the names of tensors, as `Prepared` holds it.
        selection: what is explained.
        observer: is told of every node of the backward pass, and may report more.

    Raises:
        TargetError: the target does not fit the output.
        InputError: a baseline, mask or path does not fit, or holds one row per sample where samples take turns.
        UnsupportedOperatorError: calls on the way have no rule.
        MethodError: the method cannot be applied so.
    """
    b, outputs = Builder(selection.graph), Outputs()
    context = AttributionContext(selection, b, Point.of(selection), outputs, request.baseline, observer, request.method.name)
    context = context.with_point(masks=emit_masks(context, request.mask))
    context, run_time = _with_cotangent(context, request)
    made = attributions(context, request.method, request.options)
    if observer is not None:
        outputs.reports.update(observer.reports(b))
    reported = dict(outputs.reports)
    along = _sample_axes(request, selection)
    if "target" in run_time:
        y, chosen, samples = selection.score.tensor, run_time["target"], context.target_axis
        with b.scope("onnxplain/target"):
            made = [nan_beyond(b, a, y, chosen, samples=samples, along=axis) for a, axis in zip(made, along, strict=True)]
            reported = {k: nan_beyond(b, r, y, chosen, samples=samples, along=0) for k, r in reported.items()}
    if selection.symbol and outputs.baked_rows:
        raise InputError(
            f"batch_size: {outputs.baked_rows[0]} holds a row for every sample; give one for all, or 'input' for run time"
        )
    graph, shown_at = selection.graph, _shown_at(request, selection)
    names = [graph.fresh(f"{e.name}_attribution") for e in shown_at]
    results = [_named(b, t, n) for t, n in zip(made, names, strict=True)]
    reports = {name: graph.fresh(name) for name in reported}
    results += [_named(b, t, reports[name]) for name, t in reported.items()]
    exposed = tuple(_exposed(request, selection))
    return Emission(
        selection, b, (*results, *exposed), dict(zip(names, shown_at, strict=True)), reports, run_time, outputs.run_time_inputs,
        dict(zip(names, along, strict=True)), exposed,
    )  # fmt: skip


def _with_cotangent(context: AttributionContext, request: Request) -> tuple[AttributionContext, dict[str, Tensor]]:
    """The context with the message to start from, or those of all targets, and the run-time inputs this takes."""
    b, y, target = context.b, context.target, request.target
    with b.scope("onnxplain/target"):
        if target.kind == "all":
            return context.with_point(identity_cotangents=identity_cotangents(context)), {}
        if y.shape is None:
            raise TargetError(
                f"the rank of '{y.name}' is unknown; re-export the model with shape information or explain another output"
            )
        if target.kind == "seed":
            given = replace(y, name=context.graph.fresh("seed"))
            return context.with_point(cotangent=b.given(given, y)), {"seed": given}
        chosen = None
        if target.kind == "input":
            chosen = Tensor(context.graph.fresh("target"), np.dtype(np.int64), ("targets",))
        ranked = context.point.ranked
        if target.kind == "input" or target.axes == ("top",):
            ranked = _of_the_next_token(context, ranked)
        cotangent = emit_cotangent(b, y, target, ranked=ranked, samples=context.target_axis, chosen=chosen)
        return context.with_point(cotangent=cotangent), {} if chosen is None else {"target": chosen}


def _of_the_next_token(context: AttributionContext, ranked: Tensor) -> Tensor:
    """The prediction that decides which element is the top one: of a language model, what it says at the last position."""
    selection = context.selection
    found = find_positions(selection.graph, selection.score.tensor, selection.axes)
    if found is None:
        return ranked
    return last_position_only(context.b, ranked, selection.graph.tensor(found.mask) if found.mask else None)


def _shown_at(request: Request, selection: Selection) -> tuple[Explained, ...]:
    """What each attribution lies on."""
    attributes_to, _ = request.method.attribution_site(request.options)
    if attributes_to == "map":
        return tuple(replace(e, tensor=selection.layers[0].tensor, kind="map") for e in selection.explained)
    return selection.layers if attributes_to == "layer" else selection.explained


def _sample_axes(request: Request, selection: Selection) -> list[int | None]:
    """The axis of each attribution that counts samples; a map has them first."""
    attributes_to, _ = request.method.attribution_site(request.options)
    if attributes_to == "map":
        return [0 if selection.axes.batched else None]
    return [e.axis for e in _shown_at(request, selection)]


def _exposed(request: Request, selection: Selection) -> list[Tensor]:
    """The tensors of the model that become outputs too, but for those that are."""
    words = {"score": [selection.score.tensor], "explained": [e.tensor for e in selection.explained]}
    shown = [t for name in request.expose for t in words.get(name) or [selection.graph.tensor(name)]]
    own = set() if request.only_attribution else {t.name for t in selection.graph.outputs}
    return [t for t in dict.fromkeys(shown) if t.name not in own]


def _named(b: Builder, tensor: Tensor, name: str) -> Tensor:
    with b.scope("onnxplain"):
        return b.rename(tensor, name)
