"""Job: what a method works with - the explained tensors, the seed, walks, replays and baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from onnxplain.analysis.explained import Explained
from onnxplain.builder.builder import Builder
from onnxplain.errors import MethodError
from onnxplain.ir.graph import SMALL, Graph
from onnxplain.ir.node import Call
from onnxplain.ir.registry import Registry
from onnxplain.ir.tensor import Dim, Tensor
from onnxplain.method.baselines import Baseline, emit_baseline, emit_baselines
from onnxplain.method.sampling.tiling import Copies, sample_axis
from onnxplain.propagation.backward import carry
from onnxplain.propagation.composite import GRADIENT, Choice, Composite, Watch

__all__ = ["Baseline", "Job", "needs_layout"]


@dataclass
class Job:
    """One explanation to be written into a graph.

    `explained` are the tensors that get an attribution, `target` the explained tensor with its `seed`; `calls` and `inputs`
    are the model's, or what they became at another point (`at`). A method returns one attribution per explained tensor.
    With `basis`, the seeds of all targets as rows, there is no single seed: `each_target` runs through them. `reports` are
    further results for the file, by name. `origins` are the tensors the model begins with, `masks` what all messages must
    pass, `watch` is told what each call receives and sends. `layers` are inner tensors that a method looks at beside what it
    explains, and `layer_inputs` the inputs that explained layers come from. `rows` tells of arrays that hold one row per sample,
    and so fit one batch. `origin` is the job that this one is `at` another
    point of, with what its tensors `became` there.
    """

    graph: Graph
    b: Builder
    registry: Registry
    explained: tuple[Explained, ...]
    target: Tensor
    seed: Tensor
    ranked: Tensor
    batched: bool
    baseline: Baseline = None
    extra_inputs: dict[tuple[str, str], Tensor] = field(default_factory=dict)
    reports: dict[str, Tensor] = field(default_factory=dict)
    basis: Tensor | None = None
    calls: Sequence[Call] = ()
    inputs: tuple[Tensor, ...] = ()
    origin: tuple[Job, Copies | None] | None = None
    became: Mapping[Tensor, Tensor] = field(default_factory=dict)
    origins: tuple[Tensor, ...] = ()
    masks: Mapping[Tensor, Tensor] = field(default_factory=dict)
    watch: Watch | None = None
    layers: tuple[Explained, ...] = ()
    layer_inputs: tuple[Explained, ...] = ()
    rows: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.calls = self.calls or self.graph.calls
        self.inputs = self.inputs or self.graph.inputs

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """The explained tensors."""
        return tuple(e.tensor for e in self.explained)

    def relevance(self, composite: Composite) -> dict[Tensor, Tensor]:
        """Relevance at the explained tensors: the explained score itself, where the seed takes it, carried backward."""
        with self.b.scope("onnxplain/target"):
            score = replace(self.b.Mul(self.seed, self.target), shape=self.target.shape)
        return self.gradient(composite, seed=score, scored=True)

    def gradient(
        self,
        composite: Composite = GRADIENT,
        *,
        at: Mapping[Tensor, Tensor] | None = None,
        seed: Tensor | None = None,
        scored: bool = False,
        of: Sequence[Tensor] | None = None,
        twins: Mapping[Tensor, Tensor] | None = None,
        there: Sequence[Call] = (),
    ) -> dict[Tensor, Tensor]:
        """Messages at the explained tensors, or at those in `of`: the seed carried backward by a composite's rules.

        With `seed`, that instead of the job's own; `scored` says that it is zero where the target is. With `at`, at another
        point: the model is replayed with those tensors in place of the explained ones. `twins` are what tensors are at the
        baseline, for rules that compare with one, and the calls `there` make them.
        """
        if at is not None:
            return dict(zip(self.sources, self.at(at).gradient(composite, seed=seed, scored=scored).values(), strict=True))
        choose = Choice(composite, self.registry, scored=scored, watch=self.watch, twins=dict(twins or {}), there=there)
        seeds = {self.target: seed or self.seed}
        wanted = self.sources if of is None else tuple(of)
        messages = carry(self.b, self.calls, wanted, seeds, choose, origins=self.origins, masks=self.masks)
        return {s: messages[s] if s in messages else self.b.zeros_like(s) for s in wanted}

    # -- other points --------------------------------------------------------------------------------------------

    def at(self, points: Mapping[Tensor, Tensor], copies: Copies | None = None) -> Job:
        """The same job with other values of the explained tensors, in their shapes.

        With `copies`, at several points of every sample at once: the points are `count` copies of the batch, and so become
        the seed and every input that has a sample axis.
        """
        values = {s: self._distinct(points.get(s, s), i) for i, s in enumerate(self.sources)}
        if copies is not None:
            beside = [t for t in self.inputs if t not in values and sample_axis(t, copies.symbol) is not None]
            values.update((t, copies.tile(t)) for t in beside)
        for weight in _needing_layout(self.b, self.reached(values)):
            values.setdefault(weight, self.b.own(weight))
        calls, became = self.replay(values)
        return replace(
            self,
            explained=tuple(replace(e, tensor=values[e.tensor]) for e in self.explained),
            layers=tuple(replace(e, tensor=became.get(e.tensor, e.tensor)) for e in self.layers),
            target=became.get(self.target, self.target),
            seed=copies.tile(self.seed) if copies is not None and self.basis is None else self.seed,
            ranked=self._copied(self.ranked, copies),
            calls=calls,
            inputs=tuple(became.get(t, t) for t in self.inputs),
            reports={},
            origin=(self, copies),
            became=became,
            origins=tuple(became.get(t, t) for t in self.origins),
            masks={became.get(t, t): self._copied(m, copies) for t, m in self.masks.items()},
        )

    def _copied(self, x: Tensor, copies: Copies | None) -> Tensor:
        """A tensor in copies, where it has a sample axis."""
        return x if copies is None or sample_axis(x, copies.symbol) is None else copies.tile(x)

    def replay(self, at: Mapping[Tensor, Tensor]) -> tuple[list[Call], dict[Tensor, Tensor]]:
        """The calls with those that depend on the given tensors applied to others, and what each tensor became."""
        with self.b.scope(f"{self.b.prefix}/replay"):
            return self.b.replay_all(self.calls, at, everything=False)

    def laid_out(self) -> list[Call]:
        """The calls with constants of the innermost body in place of the model's, for a walk within a loop."""
        weights = {weight: self.b.own(weight) for weight in _needing_layout(self.b, self.reached(self.sources))}
        return [call.reading(weights) for call in self.calls]

    def reached(self, values: Iterable[Tensor]) -> list[Call]:
        """The calls that depend on the given tensors."""
        reached, found = set(values), []
        for call in self.calls:
            if any(t is not None and t in reached for t in call.reads):
                reached.update(t for t in call.outputs if t is not None)
                found.append(call)
        return found

    def _distinct(self, point: Tensor, index: int) -> Tensor:
        """A point under a name of its own: two inputs may have equal points, and a point may be a tensor of the model."""
        like = self.b.sized(self.sources[index])
        return replace(self.b.alias(point, f"point_{index}"), shape=like.shape, dtype=like.dtype)

    @property
    def symbol(self) -> Dim:
        """The symbol of the sample axis where many points can ride on it; None where the model takes one at a time.

        They can when the explained output and all explained tensors have that symbolic extent once, and no other input has
        a first extent of another symbol, which might count samples too.
        """
        mine = self.target.shape[0] if self.batched and self.target.shape else None
        if not isinstance(mine, str):
            return None
        firsts = {t.shape[0] for t in self.inputs if t.shape}
        alone = all(isinstance(d, int) or d == mine for d in firsts)
        layers = (e.tensor for e in self.layers)
        riders = [*self.sources, *layers, self.target, *(t for t in self.inputs if t.shape and mine in t.shape)]
        return mine if alone and all(sample_axis(t, mine) is not None for t in riders) else None

    def sample_axis(self, source: Tensor) -> int | None:
        """The axis of an explained tensor that counts samples: that of the output's first extent, else the first; None where
        nothing counts samples."""
        if not self.batched:
            return None
        return sample_axis(source, self.target.dim(0)) or 0

    def bake_in(self, what: str, array: np.ndarray[Any, Any], x: Tensor) -> Tensor:
        """An array that broadcasts to a tensor as a constant of its type; `what` it is, for `rows`."""
        axis = self.sample_axis(x) if x.shape is not None else None
        behind = x.rank - axis if axis is not None else 0
        if behind and array.ndim >= behind and array.shape[-behind] > 1:
            self.rows.append(what)
        return self.b.const(array, x.dtype)

    # -- baselines -----------------------------------------------------------------------------------------------

    def reference(self, explained: Explained) -> Tensor:
        """The baseline of an explained tensor, in its shape and type.

        Raises:
            MethodError: no baseline was given.
            InputError: the baseline does not broadcast to the tensor.
        """
        return self.carried(explained, emit_baseline)

    def references(self, explained: Explained) -> Tensor:
        """Several baselines of an explained tensor: [m, samples or 1, …].

        Raises: as `reference`.
        """
        return self.carried(explained, emit_baselines, lead=1)

    def run_time_input(self, key: str) -> Tensor:
        """An input of the explained model, given at run time under this key, stretched to the shape of the one explained tensor.

        Raises:
            MethodError: several tensors are explained.
        """
        if len(self.explained) != 1:
            names = ", ".join(f"'{e.name}'" for e in self.explained)
            raise MethodError(f"'{key}' at run time needs one explained tensor, found {len(self.explained)}: {names}")

        def emit(job: Job, explained: Explained) -> Tensor:
            x, place = explained.tensor, (key, explained.name)
            if place not in job.extra_inputs:
                job.extra_inputs[place] = replace(x, name=job.graph.fresh(key))
            return job.b.given(job.extra_inputs[place], x)

        return self.carried(self.explained[0], emit)

    def carried(self, explained: Explained, emit: Callable[[Job, Explained], Tensor], lead: int = 0) -> Tensor:
        """What is emitted for an explained tensor of the original job, brought to the points of this one.

        `lead` axes come before those of the explained tensor; where the sample axis has extent 1, it stays so.
        """
        if self.origin is None:
            return emit(self, explained)
        before, copies = self.origin
        own = before.explained[self.explained.index(explained)]
        made = before.carried(own, emit, lead)
        if copies is None:
            return made
        axis = copies.axis(own.tensor) + lead
        return made if made.dim(axis) == 1 else copies.tile(made, axis)


def _needing_layout(b: Builder, calls: Iterable[Call]) -> list[Tensor]:
    """The constants that a loop body needs as its own to run as fast as the model."""
    read = dict.fromkeys(t for call in calls for t in call.reads if t is not None and b.is_model_constant(t))
    return [t for t in read if t.static_shape is not None and needs_layout(t.static_shape)]


def needs_layout(extents: Sequence[int]) -> bool:
    """Whether the graph of a loop's body must hold a constant of these extents itself: kernels of convolutions, and small ones.

    ONNX Runtime brings weights into the processor's layout, and fuses norms and activations, only where a graph holds the
    constants itself. Matrices are exempt: it packs those of outer graphs too.
    """
    return len(extents) > 2 or prod(extents) <= SMALL
