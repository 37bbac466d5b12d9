"""AttributionContext: what a method works with - what is explained, at which point, and where results of the way are put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.finite import made_of_infinity
from onnxplain.analysis.sample_axis import only_axis, shared_symbol
from onnxplain.analysis.selection import Selection
from onnxplain.builder.builder import Builder
from onnxplain.errors import MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.layout_hints import needs_local_copy
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Registry
from onnxplain.ir.tensor import Dim, Tensor
from onnxplain.method.sampling.tiling import Copies
from onnxplain.propagation.backward import backpropagate
from onnxplain.propagation.composite import GRADIENT, Composite, RuleSelector
from onnxplain.propagation.observer import Observer

__all__ = ["AttributionContext", "Baseline", "Outputs", "Point"]

Baseline: TypeAlias = "None | str | float | np.ndarray[Any, Any] | Mapping[str, Any]"
"""A reference input: a number, an array that broadcasts to the input, "input" for one given at run time, or one of these
per input name."""


@dataclass(frozen=True)
class Outputs:
    """What a method adds to the file beside its attributions: the one thing that is filled while it is written.

    Attributes:
        run_time_inputs: what the host gives at run time, by kind ("baseline", "noise", …) and name of the explained tensor.
        reports: further results, by name.
        baked_rows: what each array is that holds one row per sample, and so fits one batch.
    """

    run_time_inputs: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    reports: dict[str, Tensor] = field(default_factory=dict)
    baked_rows: list[str] = field(default_factory=list)

    def run_time_input(self, kind: str, name: str, make: Callable[[], Tensor]) -> Tensor:
        """The run-time input of this kind for an explained tensor, made when it is first asked for."""
        if (kind, name) not in self.run_time_inputs:
            self.run_time_inputs[kind, name] = make()
        return self.run_time_inputs[kind, name]

    def without_reports(self) -> Outputs:
        """The same collector, but for reports: those of a loop's body or of another point are no results of the file."""
        return replace(self, reports={})


@dataclass(frozen=True)
class Point:
    """The model at one point of its inputs: the tensors that stand for its own there.

    Attributes:
        nodes: the model's nodes, or what they became.
        inputs: the model's inputs.
        explained: the tensors that get an attribution.
        layers: inner tensors a method looks at beside them.
        target: the tensor the backward pass starts from.
        ranked: the prediction in the target's shape, whose greatest element is the top one.
        origins: the tensors the model begins with.
        logits: what the target is computed of by nodes that were appended; None where the model computes it itself.
        cotangent: the message the backward pass starts with; None where there are `identity_cotangents`.
        identity_cotangents: the cotangents of all targets as rows, which `over_targets` runs through.
        masks: what messages are multiplied with at a tensor.
        origin: the context this point was reached from, and how many copies of each sample were made.
        became: what that context's tensors are here.
    """

    nodes: Sequence[Node]
    inputs: tuple[Tensor, ...]
    explained: tuple[Explained, ...]
    layers: tuple[Explained, ...]
    target: Tensor
    ranked: Tensor
    origins: tuple[Tensor, ...]
    logits: Tensor | None = None
    cotangent: Tensor | None = None
    identity_cotangents: Tensor | None = None
    masks: Mapping[Tensor, Tensor] = field(default_factory=dict)
    origin: tuple[AttributionContext, Copies | None] | None = None
    became: Mapping[Tensor, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, selection: Selection) -> Point:
        """The model as it is."""
        graph, score = selection.graph, selection.score
        return cls(
            graph.nodes, graph.inputs, selection.explained, selection.layers, score.tensor, score.ranked, selection.origins,
            score.logits,
        )  # fmt: skip


@dataclass(frozen=True)
class AttributionContext:
    """One explanation to be written into a graph. A method returns one attribution per explained tensor.

    Attributes:
        selection: what is explained of the model.
        b: emits into the graph.
        point: the model at the inputs themselves, or at another point (`at`).
        outputs: what the method adds to the file beside attributions.
        baseline: as in `onnxplain.rewrite`.
        observer: is told what each node of the backward pass receives and sends; `method`: a name for messages.
    """

    selection: Selection
    b: Builder
    point: Point
    outputs: Outputs = field(default_factory=Outputs)
    baseline: Baseline = None
    observer: Observer | None = None
    method: str = ""

    def with_point(self, **changes: Any) -> AttributionContext:
        """The same context with other values of the point's fields."""
        return replace(self, point=replace(self.point, **changes))

    # -- what is explained, and what stands for it at this point ----------------------------------------------------

    @property
    def graph(self) -> Graph:
        """The model."""
        return self.selection.graph

    @property
    def registry(self) -> Registry:
        """The rules of operators."""
        return self.selection.registry

    @property
    def batched(self) -> bool:
        """Whether the explained output has an axis that counts samples."""
        return self.selection.axes.batched

    @property
    def target_axis(self) -> int | None:
        """The axis of the explained output that counts samples; None where it has none."""
        return self.selection.axes.axis

    @property
    def layer_inputs(self) -> tuple[Explained, ...]:
        """The inputs that explained layers come from."""
        return self.selection.layer_inputs

    @property
    def nodes(self) -> Sequence[Node]:
        """The model's nodes at this point."""
        return self.point.nodes

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The model's inputs at this point."""
        return self.point.inputs

    @property
    def explained(self) -> tuple[Explained, ...]:
        """The tensors that get an attribution, at this point."""
        return self.point.explained

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """The explained tensors."""
        return tuple(e.tensor for e in self.explained)

    @property
    def layers(self) -> tuple[Explained, ...]:
        """Inner tensors the method looks at, at this point."""
        return self.point.layers

    @property
    def target(self) -> Tensor:
        """The tensor the backward pass starts from, at this point."""
        return self.point.target

    @property
    def cotangent(self) -> Tensor:
        """The message the backward pass starts with."""
        assert self.point.cotangent is not None, "with all targets, over_targets runs through the seeds"
        return self.point.cotangent

    @property
    def identity_cotangents(self) -> Tensor | None:
        """The cotangents of all targets as rows, where all are explained."""
        return self.point.identity_cotangents

    @property
    def origin(self) -> tuple[AttributionContext, Copies | None] | None:
        """The context this one was reached from, with copies of each sample."""
        return self.point.origin

    @property
    def became(self) -> Mapping[Tensor, Tensor]:
        """What that context's tensors are here."""
        return self.point.became

    def report(self, name: str, result: Tensor) -> None:
        """A further result for the file."""
        self.outputs.reports[name] = result

    # -- backward -------------------------------------------------------------------------------------------------

    def relevance(self, composite: Composite) -> dict[Tensor, Tensor]:
        """Relevance at the explained tensors: the explained score itself, where the cotangent takes it, propagated backward.

        Of a score s that was appended it is z · ∂s/∂z at the logits z, the linear part of s, as in `messages`.
        """
        start, slopes = self._start()
        with self.b.scope("onnxplain/target"):
            score = self.b.Mul(slopes, start)
        return self.gradient(composite, cotangent=score, scored=True, start=start)

    def messages(self, composite: Composite) -> dict[Tensor, Tensor]:
        """Messages at the explained tensors, from the cotangent propagated backward by rules that are no derivatives.

        Of a score that was appended they start from its slopes at the logits: such rules are for what the model has learned.
        """
        start, slopes = self._start()
        return self.gradient(composite, cotangent=slopes, start=start)

    def _start(self) -> tuple[Tensor, Tensor]:
        """Where rules other than those of gradients begin, and the slopes of what is explained there."""
        logits = self.point.logits
        if logits is None:
            return self.target, self.cotangent
        with self.b.scope("onnxplain/target"):
            return logits, replace(self, observer=None).gradient(of=[logits])[logits]

    def gradient(
        self,
        composite: Composite = GRADIENT,
        *,
        at: Mapping[Tensor, Tensor] | None = None,
        cotangent: Tensor | None = None,
        scored: bool = False,
        start: Tensor | None = None,
        of: Sequence[Tensor] | None = None,
        references: Mapping[Tensor, Tensor] | None = None,
        reference_nodes: Sequence[Node] = (),
    ) -> dict[Tensor, Tensor]:
        """Messages at the explained tensors, or at those in `of`: the cotangent propagated backward by a composite's rules.

        With `cotangent`, that instead of the context's own; `scored` says that it is zero where the tensor is that it starts
        from, the target or `start`. With `at`, at
        another
        point: the model is replayed with those tensors in place of the explained ones. `references` are what tensors are at the
        baseline, for rules that compare with one, and the nodes `reference_nodes` make them.
        """
        if at is not None:
            return dict(
                zip(self.sources, self.at(at).gradient(composite, cotangent=cotangent, scored=scored).values(), strict=True)
            )
        choose = RuleSelector(
            composite,
            self.registry,
            scored=scored,
            observer=self.observer,
            references=dict(references or {}),
            reference_nodes=reference_nodes,
        )
        target_messages = {start or self.target: cotangent or self.cotangent}
        wanted = self.sources if of is None else tuple(of)
        messages = backpropagate(
            self.b, self.nodes, wanted, target_messages, choose, origins=self.point.origins, masks=self.point.masks
        )
        found = {s: messages[s] if s in messages else self.b.zeros_like(s) for s in wanted}
        if self.has_infinite and composite is not GRADIENT:  # what was masked had no part: 0 times an infinite number
            found.update({s: self.b.Where(_undefined(self.b, s, found[s]), 0, found[s]) for s in wanted})
        if self.takes_missing:  # a missing value takes no part
            found.update({s: self.b.Where(self.b.IsNaN(s), 0, found[s]) for s in wanted})
        return found

    # -- other points --------------------------------------------------------------------------------------------

    def at(self, points: Mapping[Tensor, Tensor], copies: Copies | None = None) -> AttributionContext:
        """The same context with other values of the explained tensors, in their shapes.

        With `copies`, at several points of every sample at once: the points are `count` copies of the batch, and so become
        the cotangent and every input that has a sample axis.
        """
        values = {s: self._distinct(points.get(s, s), i) for i, s in enumerate(self.sources)}
        if copies is not None:
            beside = [t for t in self.inputs if t not in values and only_axis(t, copies.symbol) is not None]
            values.update((t, copies.tile(t)) for t in beside)
        for weight in _needing_local_copy(self.b, self.reached(values)):
            values.setdefault(weight, self.b.localize_weight(weight))
        nodes, became = self.replay(values)
        here = self.point
        return replace(
            self,
            outputs=self.outputs.without_reports(),
            point=Point(
                nodes=nodes,
                inputs=tuple(became.get(t, t) for t in here.inputs),
                explained=tuple(replace(e, tensor=values[e.tensor]) for e in here.explained),
                layers=tuple(replace(e, tensor=became.get(e.tensor, e.tensor)) for e in here.layers),
                target=became.get(here.target, here.target),
                cotangent=here.cotangent if copies is None or here.cotangent is None else copies.tile(here.cotangent),
                ranked=self._copied(here.ranked, copies),
                origins=tuple(became.get(t, t) for t in here.origins),
                logits=None if here.logits is None else became.get(here.logits, here.logits),
                identity_cotangents=here.identity_cotangents,
                masks={became.get(t, t): self._copied(m, copies) for t, m in here.masks.items()},
                origin=(self, copies),
                became=became,
            ),
        )

    def _copied(self, x: Tensor, copies: Copies | None) -> Tensor:
        """A tensor in copies, where it has a sample axis."""
        return x if copies is None or only_axis(x, copies.symbol) is None else copies.tile(x)

    def replay(self, at: Mapping[Tensor, Tensor]) -> tuple[list[Node], dict[Tensor, Tensor]]:
        """The nodes with those that depend on the given tensors applied to others, and what each tensor became."""
        with self.b.scope(f"{self.b.prefix}/replay"):
            return self.b.replay_all(self.nodes, at, everything=False)

    def with_local_weights(self) -> list[Node]:
        """The nodes with constants of the innermost body in place of the model's, for a backward pass within a loop."""
        weights = {weight: self.b.localize_weight(weight) for weight in _needing_local_copy(self.b, self.reached(self.sources))}
        return [node.reading(weights) for node in self.nodes]

    def reached(self, values: Iterable[Tensor]) -> list[Node]:
        """The nodes that depend on the given tensors."""
        reached, found = set(values), []
        for node in self.nodes:
            if any(t is not None and t in reached for t in node.reads):
                reached.update(t for t in node.outputs if t is not None)
                found.append(node)
        return found

    def _distinct(self, point: Tensor, index: int) -> Tensor:
        """A point under a name of its own: two inputs may have equal points, and a point may be a tensor of the model."""
        return self.b.alias(point, f"point_{index}")

    @property
    def takes_missing(self) -> bool:
        """Whether the model looks for missing values (NaN) among the elements of an explained input, moved or each put through a
        function; behind products of them every result would be NaN."""
        elements = {e.tensor for e in self.explained if e.kind == "input"}
        for node in self.nodes:
            if not any(t in elements for t in node.reads if t is not None):
                continue
            if _looks_for_missing(node):
                return True
            facts = self.registry.traits(node)
            if facts.elementwise or facts.moves_elements or facts.selects_elements:
                elements.update(t for t in node.outputs if t is not None)
        return False

    @cached_property
    def has_infinite(self) -> bool:
        """Whether elements of what is explained may be infinite numbers of the model's own, as an additive mask that is looked up
        has them. Inputs hold none."""
        if self.origin is not None:
            return self.origin[0].has_infinite
        return any(made_of_infinity(self.graph, e.tensor, self.registry.traits) for e in self.explained if e.kind != "input")

    @property
    def symbol(self) -> Dim:
        """The symbol of the sample axis where many points can be tiled along it; None where the model takes one at a time."""
        others = [(e.tensor, e.axis) for e in (*self.explained, *self.layers)]
        return shared_symbol(self.selection.axes, others, self.target, self.inputs)

    def sample_axis(self, x: Tensor) -> int | None:
        """The axis of an explained tensor, or of any tensor of the model, that counts samples; None where none does."""
        explained = next((e for e in (*self.explained, *self.layers, *self.layer_inputs) if e.tensor == x), None)
        return self.selection.axes.of(x) if explained is None else explained.axis

    def bake_in(self, what: str, array: np.ndarray[Any, Any], x: Tensor) -> Tensor:
        """An array that broadcasts to a tensor as a constant of its type; `what` it is, for `Outputs.baked_rows`."""
        axis = self.sample_axis(x) if x.shape is not None else None
        behind = x.rank - axis if axis is not None else 0
        if behind and array.ndim >= behind and array.shape[-behind] > 1:
            self.outputs.baked_rows.append(what)
        return self.b.const(array, x.dtype)

    # -- beside the points ----------------------------------------------------------------------------------------

    def run_time_input(self, key: str) -> Tensor:
        """An input of the explained model, given at run time under this key, stretched to the shape of the one explained tensor.

        Raises:
            MethodError: several tensors are explained.
        """
        if len(self.explained) != 1:
            names = ", ".join(f"'{e.name}'" for e in self.explained)
            raise MethodError(f"'{key}' at run time needs one explained tensor, found {len(self.explained)}: {names}")

        def emit(context: AttributionContext, explained: Explained) -> Tensor:
            x = explained.tensor
            given = context.outputs.run_time_input(key, explained.name, lambda: replace(x, name=context.graph.fresh(key)))
            return context.b.given(given, x)

        return self.at_points(self.explained[0], emit)

    def at_points(
        self, explained: Explained, emit: Callable[[AttributionContext, Explained], Tensor], lead: int = 0,
        along: int | None = None,
    ) -> Tensor:  # fmt: skip
        """What is emitted for an explained tensor of the original context, brought to the points of this one.

        `lead` axes come before those of the explained tensor, or samples lie `along` another axis; where the sample axis has
        extent 1, it stays so.
        """
        if self.origin is None:
            return emit(self, explained)
        before, copies = self.origin
        own = before.explained[self.explained.index(explained)]
        made = before.at_points(own, emit, lead, along)
        if copies is None:
            return made
        axis = copies.axis(own.tensor) + lead if along is None else along
        return made if made.dim(axis) == 1 else copies.tile(made, axis)


def _undefined(b: Builder, x: Tensor, message: Tensor) -> Tensor:
    """Where a tensor is infinite and its message no number."""
    return b.And(b.Equal(b.Abs(x), np.inf), b.IsNaN(message))


def _looks_for_missing(node: Node) -> bool:
    # operators: those that ask whether a number is one
    asks = node.operator == "IsNaN" or (node.operator == "ai.onnx.ml.Imputer" and np.isnan(node.get("replaced_value_float", 0.0)))
    return asks or any(_looks_for_missing(inner) for body in node.bodies.values() for inner in body.nodes)


def _needing_local_copy(b: Builder, nodes: Iterable[Node]) -> list[Tensor]:
    """The constants that a loop body needs as its own to run as fast as the model.

    Not those that shapes are made of: ONNX Runtime then knows less of the shapes, and takes wrong ones for known.
    """
    read = dict.fromkeys(t for node in nodes for t in node.reads if t is not None and b.is_model_constant(t))
    return [t for t in read if t.static_shape is not None and t.dtype != np.int64 and needs_local_copy(t.static_shape)]
