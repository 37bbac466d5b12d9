"""The sample axis: which axis of each tensor counts samples. All that cuts, joins, tiles or counts samples asks here.

An axis of the inputs counts samples where every slice of the explained output along an axis of its own depends on one slice of
the inputs alone. The dataflow proves that, or proves the opposite: rows of a graph network's nodes depend on each other. Where it
can do neither, a symbol that an input and the output share is evidence, and so is a batch fixed at one; else the user says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from onnxplain.analysis.sample_flow.flow import follow_samples
from onnxplain.analysis.sample_flow.place import Gone, Place, State
from onnxplain.analysis.score import Score
from onnxplain.errors import InputError, nearest
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.inference.contents import contents
from onnxplain.ir.ops import Traits, standard_traits
from onnxplain.ir.tensor import Dim, Tensor

__all__ = ["AUTO", "SampleAxes", "SampleAxisLike", "find_sample_axes", "only_axis", "shared_symbol"]

SampleAxisLike: TypeAlias = "int | None | Mapping[str, int | None] | str"
"""What users say: an axis, or None, for all inputs or by the name of an input or output; "auto" where they say nothing."""

AUTO = "auto"
"""The sample axes are to be found in the graph."""


@dataclass(frozen=True)
class SampleAxes:
    """Which axis counts samples, tensor by tensor.

    Attributes:
        score: the explained output.
        inputs: the inputs of the model.
        of_inputs: the axis of each input that counts samples; inputs that are the same for all samples are left out.
        axis: the axis of the explained output that counts samples; None where it has none. Then no input counts samples either.
        reason: how that was found, in words.
        proven: whether the dataflow proves it.
        open: axes that may count samples and are not proven to, by input, where nothing is known. Whoever is given more than one
            sample along one of them asks (`question`).
        states: where the samples lie in the model's tensors, as far as that is known.
        end: the name of the output, where it has to be said which of its axes counts samples too.
    """

    score: Tensor
    inputs: tuple[Tensor, ...]
    of_inputs: Mapping[str, int]
    axis: int | None
    reason: str
    proven: bool = False
    open: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)
    end: str = ""

    @property
    def batched(self) -> bool:
        """Whether the explained output has an axis that counts samples. Where it has none, no tensor has one."""
        return self.axis is not None

    @cached_property
    def fixed(self) -> int | None:
        """The batch size the model was exported with; None where it is free, or nothing counts samples."""
        extents = [t.shape[self.of_inputs[t.name]] for t in self.inputs if t.name in self.of_inputs and t.shape]
        return max((d for d in extents if isinstance(d, int)), default=None)

    @property
    def extent(self) -> Dim:
        """How many samples the explained output has."""
        return None if self.axis is None else self.score.dim(self.axis)

    def of_input(self, name: str) -> int | None:
        """The axis of an input that counts samples; None where none does."""
        return self.of_inputs.get(name)

    def of(self, tensor: Tensor) -> int | None:
        """The axis of a tensor of the model that counts samples; None where none does, or none that counts nothing else."""
        if self.axis is None:
            return None
        if tensor == self.score:
            return self.axis
        if tensor.name in {t.name for t in self.inputs}:
            return self.of_inputs.get(tensor.name)
        state = self.states.get(tensor.name)
        if isinstance(state, Place):
            return state.axis if state.whole else None
        if state is None or not tensor.shape or self.extent is None:
            return None
        return 0 if tensor.shape[0] == self.extent else only_axis(tensor, self.extent)

    def merged(self, tensor: Tensor) -> bool:
        """Whether an axis of a tensor of the model counts samples and something else too."""
        state = self.states.get(tensor.name)
        return isinstance(state, Place) and not state.whole

    def question(self) -> str:
        """What to ask where samples matter and nothing tells which axis counts them, with the candidates."""
        name, axes = next(iter(self.open.items()))
        shown = next(named_dims(t) for t in self.inputs if t.name == name)
        end = f", '{self.end}': 0" if self.end else ""
        choices = [f"sample_axis={{'{name}': {axis}{end}}}" for axis in axes]
        where = f" (or another axis of the output {named_dims(self.score)})" if self.end else ""
        return (
            f"nothing tells which axis of '{name}' {shown} counts samples ({self.reason}): pass {', '.join(choices)}{where}, or "
            "sample_axis=None where none does"
        )


def only_axis(tensor: Tensor, symbol: Dim) -> int | None:
    """The only axis of a tensor that has this extent; None where there is none or more than one."""
    axes = [i for i, d in enumerate(tensor.shape or ()) if d is not None and d == symbol]
    return axes[0] if len(axes) == 1 else None


def shared_symbol(
    axes: SampleAxes,
    others: Iterable[tuple[Tensor, int | None]],
    score: Tensor | None = None,
    inputs: Sequence[Tensor] | None = None,
) -> str | None:
    """The symbol of the sample axis where all tensors have just one axis of it, so that samples can take turns or be tiled.

    Args:
        axes: of the model. Each input that counts samples has that extent there and nowhere else; no other input has it. Where
            the dataflow proves nothing, a first extent of another symbol might count samples too.
        others: what must have the extent as well: the explained tensors and layers, with the axis of each that counts samples.
        score: the explained output at another point of the inputs.
        inputs: the inputs at that point.
    """
    end, begin = score or axes.score, axes.inputs if inputs is None else inputs
    mine = None if axes.axis is None or end.shape is None else end.dim(axes.axis)
    firsts = {t.shape[0] for t in begin if t.shape and isinstance(t.shape[0], str)}
    if not isinstance(mine, str) or not (axes.proven or firsts <= {mine}):
        return None
    own = [(t, axes.of_input(known.name)) for t, known in zip(begin, axes.inputs, strict=True)]
    every = [(end, axes.axis), *others, *((t, axis) for t, axis in own if axis is not None or mine in (t.shape or ()))]
    return mine if all(axis is not None and only_axis(t, mine) == axis for t, axis in every) else None


def find_sample_axes(graph: Graph, score: Score, said: SampleAxisLike = AUTO, traits: Traits = standard_traits) -> SampleAxes:
    """The sample axes of a model, seen from what is explained.

    Args:
        graph: the model.
        score: what is explained.
        said: what the user says of them.
        traits: facts about operators.

    Raises:
        InputError: the user names a tensor or an axis that does not exist, or says what decides nothing.
    """
    search = _Search(graph, score, traits)
    return search.derived() if isinstance(said, str) else search.said(said)


@dataclass(frozen=True)
class _Candidate:
    """Axes of inputs that may count samples, and how many samples that is.

    A fixed `second` axis counts samples where the output has them first; else it may as well be a picture's height.
    """

    axes: Mapping[str, int]
    extent: Dim
    second: bool = False


@dataclass(frozen=True)
class _Facts:
    """What a graph tells of the values of small tensors."""

    graph: Graph

    def array(self, tensor: Tensor) -> np.ndarray[Any, Any] | None:
        """The values of a constant, an initializer or what a Constant node makes."""
        maker = self.graph.producer(tensor)
        made = maker.get("value") if maker is not None and maker.op == "Constant" else None
        return self.graph.value(tensor) if made is None else np.asarray(made)

    def dims(self, tensor: Tensor) -> tuple[Dim, ...] | None:
        """What a tensor of extents holds."""
        return contents(tensor, self.graph.producer, self._ints)

    def _ints(self, tensor: Tensor) -> list[int] | None:
        values = self.array(tensor)
        return [int(v) for v in values.ravel()] if values is not None and values.dtype.kind in "iu" else None


class _Search:
    """The search for the sample axes of one model."""

    def __init__(self, graph: Graph, score: Score, traits: Traits) -> None:
        self.graph, self.score, self.traits = graph, score.tensor, traits
        self.output = score.output
        self.inputs = tuple(t for t in graph.inputs if t.shape)
        self.shape = self.named_by_the_output(graph.outputs)

    def named_by_the_output(self, outputs: Sequence[Tensor]) -> tuple[Dim, ...]:
        """The extents of the score. Inside a graph they may have lost the names that the output behind it still has."""
        own = self.score.shape or ()
        behind = next((t.shape for t in outputs if t.name == self.output), None)
        if behind is None or len(behind) != len(own):
            return own
        symbols = {d for t in self.inputs for d in t.shape or () if isinstance(d, str)}
        return tuple(theirs if theirs in symbols and not isinstance(d, int) else d for d, theirs in zip(own, behind, strict=True))

    # -- what the graph tells -----------------------------------------------------------------------------------------

    def derived(self) -> SampleAxes:
        """The axes that the dataflow proves, or that shared symbols or a fixed batch are evidence for."""
        if self.score.shape == ():
            return self.none(f"'{self.score.name}' is a single number")
        mixing, mixed = "", set[str]()
        likely: list[tuple[_Candidate, Mapping[str, State]]] = []
        for candidate in self.candidates():
            states = self.follow(candidate)
            end = states.get(self.score.name)
            if isinstance(end, Place) and end.whole and not (candidate.second and end.axis):
                return self.made(candidate, end.axis, "the dataflow keeps them apart", states, proven=True)
            if isinstance(end, Gone) and end.proven and candidate.extent != 1:
                mixing = mixing or f"{end.node} mixes what lies along {_listed(candidate.axes)}"
                mixed.update(candidate.axes if self.shared(candidate.extent) == 0 else ())
            elif end is not None:
                likely.append((candidate, states))
        # Where rows of the output are mixed, rows of other inputs than theirs are no samples either.
        return self.by_evidence([(c, s) for c, s in likely if not mixed or mixed & c.axes.keys()], mixing)

    def by_evidence(self, likely: Sequence[tuple[_Candidate, Mapping[str, State]]], mixing: str) -> SampleAxes:
        """The axes that nothing disproves and something speaks for."""
        for candidate, states in likely:
            axis = None if candidate.second else self.shared(candidate.extent)
            if axis is not None:
                what = "a batch fixed at" if isinstance(candidate.extent, int) else "they share the extent"
                return self.made(candidate, axis, f"{what} {candidate.extent}", states)
        if not likely:
            return self.none(mixing or "no input has an axis for samples")
        if likely[0][0].extent == 1:
            return self.none("one sample, and no axis of the output counts it")
        open_axes: dict[str, tuple[int, ...]] = {}
        rows = {t.name for t in self.inputs if len(t.shape or ()) > 1 or not t.is_static}  # a fixed vector is one sample
        for candidate, _ in likely:
            for name, axis in candidate.axes.items():
                if name in rows:
                    open_axes[name] = tuple(dict.fromkeys((*open_axes.get(name, ()), axis)))
        ends = [end for c, states in likely if isinstance(end := states.get(self.score.name), Gone)]
        why = f"no samples can be followed through {ends[0].node}" if ends else "rows of the output are no samples"
        asked = self.output or self.score.name if ends and self.shared(likely[0][0].extent) is None else ""
        return SampleAxes(self.score, self.graph.inputs, {}, None, why, open=open_axes, end=asked)

    def shared(self, extent: Dim) -> int | None:
        """The axis of the explained output with the extent of samples: the first, or the only one of that symbol."""
        if self.shape and extent is not None and self.shape[0] == extent:
            return 0
        return only_axis(replace(self.score, shape=self.shape), extent) if isinstance(extent, str) else None

    def candidates(self) -> list[_Candidate]:
        """Axes of inputs that may count samples, the likeliest first.

        First come extents that the output has too: what is called a batch, first axes of inputs, others. Then first axes without
        a name, extents that the output has not, and fixed second axes, as sequences have them.
        """
        mine = self.shape
        found = dict.fromkeys(d for t in self.inputs for d in t.shape or () if isinstance(d, str))
        first = dict.fromkeys(d for t in self.inputs for d in (t.shape or ())[:1] if d is not None)

        def rank(extent: int | str) -> tuple[bool, bool, bool, int]:
            batch = isinstance(extent, str) and "batch" in extent.lower()
            there = extent in mine
            return not there, not batch, extent not in first, mine.index(extent) if there else 0

        ranked = sorted(dict.fromkeys((*found, *first)), key=rank)
        made = [self.of_extent(d) if isinstance(d, str) else self.along(0, d) for d in ranked]
        unnamed = {t.name: 0 for t in self.inputs if t.shape and not isinstance(t.shape[0], int)}
        names = [t.shape[0] for t in self.inputs if t.shape and t.name in unnamed]
        if len(set(names)) > 1 or None in names:
            made.insert(sum(d in mine for d in ranked), _Candidate(unnamed, None))
        second = dict.fromkeys(t.shape[1] for t in self.inputs if t.shape and len(t.shape) > 2)
        made += [self.along(1, d) for d in second if isinstance(d, int)]
        return [c for c in made if c.axes]

    def of_extent(self, extent: Dim) -> _Candidate:
        """The inputs that have just one axis of this extent."""
        axes = {t.name: axis for t in self.inputs if (axis := only_axis(t, extent)) is not None}
        return _Candidate(axes, extent)

    def along(self, axis: int, number: int) -> _Candidate:
        """The inputs that have a fixed extent along an axis."""
        there = {t.name: axis for t in self.inputs if t.shape and len(t.shape) > axis and t.shape[axis] == number}
        return _Candidate(there, number, second=axis == 1 and number > 1)

    def follow(self, candidate: _Candidate) -> dict[str, State]:
        """Where the samples of a candidate lie in the model's tensors."""
        return follow_samples(self.graph.nodes, candidate.axes, candidate.extent, _Facts(self.graph), self.traits)

    def made(
        self, candidate: _Candidate, axis: int, reason: str, states: Mapping[str, State], *, proven: bool = False
    ) -> SampleAxes:
        """What is known once the axes are."""
        return SampleAxes(self.score, self.graph.inputs, candidate.axes, axis, reason, proven, states=states)

    def none(self, reason: str) -> SampleAxes:
        """Nothing counts samples."""
        return SampleAxes(self.score, self.graph.inputs, {}, None, reason)

    # -- what the user says -------------------------------------------------------------------------------------------

    def said(self, given: int | None | Mapping[str, int | None]) -> SampleAxes:
        """The axes that the user names, and what follows from them for all other tensors."""
        if not isinstance(given, Mapping):
            given = {t.name: given for t in self.inputs if given is None or given < len(t.shape or ())}
        by_name = self.checked(given)
        own = {n: axis for n, axis in by_name.items() if n in {t.name for t in self.inputs}}
        axes = {n: axis for n, axis in own.items() if axis is not None}
        ends = [n for n in (self.score.name, self.output) if n in by_name and n not in own]
        if (own and not axes and len(own) == len(self.inputs)) or (ends and by_name[ends[0]] is None):
            return self.none("as sample_axis says")
        candidate = self.completed(own, axes)
        states = self.follow(candidate)
        end = states.get(self.score.name)
        if ends:
            axis = by_name[ends[0]]
        elif isinstance(end, Place) and end.whole:
            axis = end.axis
        elif isinstance(end, Gone) and not end.proven:
            axis = self.shared(candidate.extent)
        else:
            axis = None
        if axis is None:
            return self.unsaid(candidate, end)
        proven = isinstance(end, Place) and end.whole and end.axis == axis
        return self.made(candidate, axis, "as sample_axis says", states, proven=proven)

    def completed(self, own: Mapping[str, int | None], axes: Mapping[str, int]) -> _Candidate:
        """The user's axes with those of inputs that were not spoken of: what has the same extent."""
        if not axes:
            others = [c for c in self.candidates() if not set(c.axes) <= set(own)]
            found = next((c for c in others if isinstance(e := self.follow(c).get(self.score.name), Place) and e.whole), None)
            found = found or next(iter(others), _Candidate({}, None))
            return _Candidate({n: a for n, a in found.axes.items() if n not in own}, found.extent)
        extents = [t.shape[axes[t.name]] for t in self.inputs if t.name in axes and t.shape]
        extent = next((d for d in extents if isinstance(d, str)), extents[0])
        alike = self.of_extent(extent).axes if isinstance(extent, str) else self.alike(extent, set(axes.values()))
        return _Candidate({**{n: a for n, a in alike.items() if n not in own}, **axes}, extent)

    def alike(self, extent: Dim, places: set[int]) -> dict[str, int]:
        """The inputs that have an extent without a name along the same axis."""
        return {t.name: a for t in self.inputs for a in places if t.shape and a < len(t.shape) and t.shape[a] == extent}

    def unsaid(self, candidate: _Candidate, end: State) -> SampleAxes:
        """Ask for the axis of the output."""
        what = f"{end.node} mixes them" if isinstance(end, Gone) and end.proven else "nothing tells which one"
        name = self.output or self.score.name
        rank = len(self.score.shape or ())
        shown = ", ".join(f"{{…, '{name}': {axis}}}" for axis in (*range(max(rank, 1)), None))
        raise InputError(
            f"sample_axis: samples lie along {_listed(candidate.axes)}, and {what} where they lie in the output '{name}' "
            f"{named_dims(self.score)}: say so too, as one of sample_axis={shown}"
        )

    def checked(self, given: Mapping[str, int | None]) -> dict[str, int | None]:
        """Axes counted from the front, by the names of inputs and outputs."""
        known = {t.name: t for t in (*self.graph.outputs, self.score, *self.graph.inputs)}
        made: dict[str, int | None] = {}
        for name, axis in given.items():
            if name not in known:
                raise InputError(f"sample_axis: no input or output '{name}' in the model; {nearest(name, known)}")
            tensor, rank = known[name], len(known[name].shape or ())
            if axis is not None and (isinstance(axis, bool) or not isinstance(axis, int)):
                raise InputError(f"sample_axis of '{name}' is the number of an axis, or None; got {axis!r}")
            if axis is not None and tensor.shape is not None and not -rank <= axis < rank:
                raise InputError(f"sample_axis of '{name}' {named_dims(tensor)} is an axis from 0 to {rank - 1}, got {axis}")
            made[name] = axis % rank if axis is not None and rank else axis
        return made


def _listed(axes: Mapping[str, int]) -> str:
    """Axes of inputs in words."""
    return ", ".join(f"axis {axis} of '{name}'" for name, axis in axes.items())
