"""Forward: the model as a function from perturbed inputs to the explained scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxplain.analysis.explained import find_sources
from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike, find_sample_axes
from onnxplain.analysis.score import find_score
from onnxplain.analysis.tensor_names import resolve
from onnxplain.errors import InputError, LayerError, nearest
from onnxplain.io.reader import Source
from onnxplain.ir.edit import alive, set_nodes
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import Registry
from onnxplain.ir.tensor import Tensor
from onnxplain.passes import scored
from onnxplain.runtime.chunks import run_in_chunks
from onnxplain.runtime.footprint import bytes_of_a_sample, sizes_of_symbols
from onnxplain.runtime.session import Arrays, Providers, Session

__all__ = ["Array", "ForwardResult", "Scorer"]

Array = np.ndarray[Any, Any]

Run: TypeAlias = "Callable[[Arrays], dict[str, Any]]"
"""A session that returns the results that are asked for."""

Watch: TypeAlias = "Callable[[Arrays, Mapping[str, Any]], None]"
"""Is told of the inputs and outputs of a run."""

DEFAULT_MEMORY = 512 * 10**6
"""Bytes for one run, at most, where nothing is said."""

CACHED = 32 * 10**6
"""Bytes for one run of a small model on a processor: larger batches leave its caches and gain nothing."""

DEFAULT_ROWS = 4096
"""Rows in one run, at most, where nothing is said."""

FEW_ROWS = 64
"""Rows in one run that memory rather than the caches decides on."""


@dataclass(frozen=True)
class ForwardResult:
    """The model's own outputs, the explained scores [n, …] and the prediction that ranks them, in the same shape."""

    outputs: dict[str, Any]
    scores: Array
    ranked: Array


class Scorer:
    """A prepared model, run on batches of any size.

    Everywhere here arrays have the samples first, wherever the model has them (`samples_first`); models without an axis for them
    are run row by row. Perturbed batches are run on a model that computes the scores only: labels and maps of probabilities cost
    as much as a small model itself.

    Args:
        source: the model, prepared.
        output, score, sample_axis: as in `onnxplain.rewrite`.
        providers, threads: as in `onnxplain.runtime.session.Session`.
    """

    def __init__(
        self, source: Source, output: str | None, score: str, providers: Providers = None, threads: int | None = None,
        sample_axis: SampleAxisLike = AUTO,
    ) -> None:  # fmt: skip
        output = None if output is None else resolve(source.model, output)
        source = scored(source.copy(), output, score)
        self.folder = source.folder
        self.graph = Graph(source.copy().model)
        self.inputs: tuple[Tensor, ...] = self.graph.inputs
        self.score = find_score(self.graph, output, score)
        self.axes = find_sample_axes(self.graph, self.score, sample_axis)
        self.batched = self.axes.batched
        whole, alone = source.copy().model, source.copy().model
        known = {o.name for o in whole.graph.output}
        wanted = dict.fromkeys((self.score.tensor.name, self.score.ranked.name))
        whole.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in wanted if n not in known)
        self._whole = Session(whole, providers, folder=source.folder, threads=threads)
        self._outputs = list(known)
        nodes = alive(list(alone.graph.node), [self.score.tensor.name])
        if len(nodes) == len(whole.graph.node):
            self._alone = self._whole
        else:
            _cut(alone, nodes, self.score.tensor.name)
            self._alone = Session(alone, providers, folder=source.folder, threads=threads)

    @property
    def on_device(self) -> bool:
        """Whether the model runs on something other than the CPU."""
        return self._alone.on_device

    @cached_property
    def sampled(self) -> set[str]:
        """The inputs that count samples; all where the model has no axis for them."""
        return set(self.axes.of_inputs) if self.batched else {t.name for t in self.inputs}

    @cached_property
    def fixed(self) -> int | None:
        """The batch size the model was exported with; None where it is free."""
        return self.axes.fixed if self.batched else 1

    @cached_property
    def _places(self) -> dict[str, int | None]:
        """The axis of each input and output of the model that counts samples."""
        made = {t.name: self.axes.of(t) for t in (*self.graph.outputs, *self.inputs)}
        return made | dict.fromkeys((self.score.tensor.name, self.score.ranked.name), self.axes.axis)

    def samples_first(self, feeds: Mapping[str, Array]) -> Arrays:
        """Arrays as the model takes them, with the samples first; an axis for the only one where the model has none."""
        return {n: self._first(n, v) if self.batched else v[None] for n, v in feeds.items()}

    def as_fed(self, feeds: Mapping[str, Array]) -> Arrays:
        """Arrays with the samples first as the model takes them: `samples_first` undone, for models that count samples."""
        return {n: np.moveaxis(v, 0, axis) if (axis := self._places.get(n)) else v for n, v in feeds.items()}

    def _first(self, name: str, value: Array) -> Array:
        axis = self._places.get(name)
        return np.moveaxis(value, axis, 0) if axis else value

    def explained(self, names: Sequence[str] | None, registry: Registry) -> tuple[str, ...]:
        """The inputs to perturb: those named; else numbers, text, and integers that an embedding looks up, no masks.

        Raises:
            LayerError: no such input, or one that does not count samples.
        """
        known = {t.name: t for t in self.inputs}
        for name in names or ():
            if name not in known:
                raise LayerError(f"no input '{name}' in the model; {nearest(name, known)}")
            if name not in self.sampled:
                raise LayerError(f"input '{name}' has no axis for samples, so it cannot be perturbed sample by sample")
        if names is not None:
            return tuple(names)
        mine = [t for t in self.inputs if t.name in self.sampled]
        whole = [t for t in mine if t.dtype is not None and t.dtype.kind in "iub"]
        if len(whole) > 1:
            try:
                looked_up = {e.name for e in find_sources(self.graph, self.score.tensor, None, registry.role)}
            except LayerError:  # nothing is differentiable: all numbers are features
                looked_up = {t.name for t in whole}
            mine = [t for t in mine if t not in whole or t.name in looked_up]
        if not mine:
            raise LayerError("the model has no inputs to explain")
        return tuple(t.name for t in mine)

    def left_out(self, names: Sequence[str]) -> dict[str, str]:
        """The inputs that are not perturbed where those of these names are, with the reason."""
        return {t.name: self._why_left_out(t) for t in self.inputs if t.name not in names}

    def _why_left_out(self, tensor: Tensor) -> str:
        if tensor.name not in self.sampled:
            return "has no axis for samples, so it is the same for all of them"
        if tensor.dtype is not None and tensor.dtype.kind in "iub":
            return "holds whole numbers beside those that are looked up, as a mask does; name it to explain it"
        return "was not asked for; name it to explain it"

    # -- running -------------------------------------------------------------------------------------------------

    def predict(self, feeds: Arrays, rows: int, watch: Watch | None = None) -> ForwardResult:
        """Run the whole model on the samples themselves, `rows` at a time. Outputs come as the model returns them; `watch` is
        told of every run, inputs and outputs."""
        scored, ranked = self.score.tensor.name, self.score.ranked.name
        names = list(dict.fromkeys([*self._outputs, scored, ranked]))

        def whole(part: Arrays) -> dict[str, Any]:
            made = self._whole.run(part, names)
            if watch is not None:
                watch(part, made)
            return made

        if not self.batched:
            results = self._one_by_one(whole, feeds)
            return ForwardResult({o.name: results[o.name] for o in self.graph.outputs}, results[scored], results[ranked])
        count = len(feeds[next(iter(self.sampled))])
        results = run_in_chunks(lambda part: self._run(whole, part), self.as_fed(feeds), self._places, count, rows)
        outputs = {o.name: results[o.name] for o in self.graph.outputs if o.name in results}
        return ForwardResult(outputs, *(self._first(name, results[name]) for name in (scored, ranked)))

    def scores(self, feeds: Arrays) -> Array:
        """The explained scores of perturbed inputs, flat: float64 [rows, elements]."""
        name = self.score.tensor.name

        def alone(part: Arrays) -> dict[str, Any]:
            return self._alone.run(part, [name])

        if self.batched:
            made = self._first(name, self._run(alone, self.as_fed(feeds))[name])
        else:
            made = self._one_by_one(alone, feeds)[name]
        return np.asarray(made.reshape(len(made), -1), np.float64)

    def _one_by_one(self, session: Run, feeds: Arrays) -> dict[str, Any]:
        """The results of a model without an axis for samples, one after the other.

        Raises:
            InputError: the explained scores of one have another shape than those of another.
        """
        count = len(feeds[next(iter(self.sampled))])
        singles = [session({k: v[i] for k, v in feeds.items()}) for i in range(count)]
        name = self.score.tensor.name
        shapes = [np.shape(s[name]) for s in singles]
        other = next((shape for shape in shapes if shape != shapes[0]), None)
        if other is not None:
            raise InputError(
                f"'{name}' has the shape {list(shapes[0])} for one perturbed input and {list(other)} for another, so that their "
                "elements are not the same: explain a tensor before it that always has one shape (output=), or a detection by "
                "d-rise (detect='auto')"
            )
        return {n: np.stack([s[n] for s in singles]) for n in singles[0]}

    def _run(self, session: Run, fed: Arrays) -> dict[str, Any]:
        """The results for arrays as the model takes them."""
        first = next(iter(self.sampled))
        count = fed[first].shape[self.axes.of_inputs[first]]
        size = self.fixed or count

        def run(part: Arrays) -> dict[str, Any]:
            made = session(part)
            name, axis = self.score.tensor.name, self.axes.axis
            shape = np.shape(made[name])
            if axis is not None and (len(shape) <= axis or shape[axis] != size):
                raise InputError(
                    f"the model returned '{name}' {list(shape)} for {size} samples: its axis {axis} does not count samples; say "
                    f"which one does, or None, as sample_axis={{'{name}': None}}"
                )
            return made

        return run_in_chunks(run, fed, self._places, count, size, filled=self.fixed is not None)

    def bytes_per_row(self, feeds: Arrays) -> int:
        """About how many bytes the tensors of one sample take, all of them together."""
        fed = self.as_fed(feeds) if self.batched else {n: v[0] for n, v in feeds.items()}
        made = bytes_of_a_sample(self.graph, self.axes, sizes_of_symbols(self.axes, fed))
        return max(1, made + sum(v[:1].nbytes for n, v in feeds.items() if n in self.sampled) // (self.fixed or 1))

    def usual_rows(self, feeds: Arrays) -> int:
        """Copies of a sample in one run where nothing is said."""
        size = self.bytes_per_row(feeds)
        most = max(1, min(DEFAULT_ROWS, DEFAULT_MEMORY // size))
        return most if self.on_device else max(min(most, FEW_ROWS), min(most, CACHED // size))


def _cut(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], output: str) -> None:
    """Leave the given nodes and one output in the model."""
    set_nodes(model.graph, nodes)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(output))
