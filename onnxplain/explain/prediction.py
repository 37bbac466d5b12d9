"""PredictionCheck: whether an explained model predicts what the original does, on the input that is explained.

Every pass keeps the prediction as far as we know. This asks the model itself, once for every Explainer: the original runs on the
first input too. Where its outputs differ by more than a few units in the last place, it is asked for more before anything is
accused. Does it agree with itself? How far do its own outputs move when inputs or weights move by no more than rounding (int8
models by up to 4 % of the largest value, since rounding that tips over is a whole step), and when ONNX Runtime does not optimize
it? What exceeds that is a change, and the passes are applied one by one to name the first that made it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from onnxplain.errors import InputError, ModelError, PredictionChanged
from onnxplain.explain.engine import Array, RunSettings
from onnxplain.explain.prepare import stages
from onnxplain.explain.request import Request
from onnxplain.io.metadata import read_metadata
from onnxplain.io.origin import Origin
from onnxplain.io.reader import Source, read
from onnxplain.ir.tensor import is_float
from onnxplain.passes.tidy import tidy
from onnxplain.runtime.agreement import Apart, apart, disagreement, largest, machine_epsilon, moved
from onnxplain.runtime.session import Session

__all__ = ["OPTIMIZER", "FirstRun", "PredictionCheck", "Verdict"]

DRAWS = 4
"""Runs of the original on moved inputs, and as many with moved weights, that measure what rounding does to its prediction."""

MANY = 16
"""Elements from which the numbers in an initializer are weights, that may be moved, and no settings of an operator."""

OPTIMIZER = "ONNX Runtime's graph optimizations"
"""What is named where both models agree as long as ONNX Runtime leaves their graphs as they are."""

RANDOM = "not compared, since the original's own prediction differs from run to run"

Noise = list[dict[str, Apart]]


@dataclass(frozen=True)
class Verdict:
    """What a comparison found.

    Attributes:
        kept: whether the prediction is the original's; None where that cannot be told.
        detail: the numbers, or the reason.
        culprit: where it changed, the first pass after which it differs.
    """

    kept: bool | None
    detail: str
    culprit: str = ""

    def raise_if_changed(self) -> None:
        """Raise what was found.

        Raises:
            PredictionChanged: the prediction is not the original's.
        """
        if self.kept is False:
            raise PredictionChanged(f"{self.detail}; trust=True (--trust) explains it all the same", self.culprit)


class PredictionCheck:
    """Compares predictions with those of the model as it was handed over.

    Nothing of the original is held in between but what `Source.origin` holds: its session lives as long as a comparison.

    Args:
        source: the model, not prepared yet.
        request: what is explained; None where that is not known, and no pass is named.
        running: how models are run.
    """

    def __init__(self, source: Source, request: Request | None, running: RunSettings) -> None:
        assert source.origin is not None
        self._origin: Origin = source.origin
        self._source = replace(source, model=onnx.ModelProto(), lazy_weights=None)
        self._request, self._running = request, running

    @property
    def handed_over(self) -> bytes | None:
        """The bytes of the original; None of a large file."""
        return self._origin.given if isinstance(self._origin.given, bytes) else None

    def __call__(self, feeds: Mapping[str, Array], results: Mapping[str, Any], explained: onnx.ModelProto) -> Verdict:
        """Compare a run of the explained model with the original.

        Args:
            feeds: the inputs of that run.
            results: its outputs, the model's own among them.
            explained: the model that ran.

        Raises:
            ModelError: the original's file changed since it was read.
        """
        given = self._origin.unchanged()
        try:
            original = self._session(given)
            expected = original.run({name: feeds[name] for name in original.inputs if name in feeds})
        except (ModelError, InputError) as error:
            return Verdict(None, f"not compared, since the original does not run: {error}")
        differences = apart(expected, results)
        if not disagreement(differences):
            return Verdict(True, f"the original's, to {largest(differences):.1g} of the largest value")
        return self._closely(_Run(original, given, feeds, expected), differences, explained)

    def _session(self, model: onnx.ModelProto | Any, *, optimize: bool = True) -> Session:
        running = self._running
        return Session(model, running.providers, folder=self._source.folder, threads=running.threads, optimize=optimize)

    def _closely(self, run: _Run, differences: dict[str, Apart], explained: onnx.ModelProto) -> Verdict:
        """The verdict on outputs that differ by more than a few units in the last place."""
        if disagreement(apart(run.expected, run.again())):
            return Verdict(None, RANDOM)
        noise = self._noise(run, _precision(explained))
        within = f"the original's within rounding, to {largest(differences):.1g} of the largest value"
        words = disagreement(differences, noise)
        if not words:
            return Verdict(True, within)
        try:
            original, other = self._session(run.model, optimize=False), self._session(explained, optimize=False)
            plain, plain_results = original.run(run.given), other.run({n: run.feeds[n] for n in other.inputs})
        except (ModelError, InputError):  # kernels exist for what the optimizer makes only
            return self._changed(words, run, noise, explained, optimize=True)
        if disagreement(apart(plain, original.run(run.given))):  # the optimizer may leave out what draws random numbers
            return Verdict(None, RANDOM)
        plain_words = disagreement(apart(plain, plain_results), noise)
        if plain_words:
            return self._changed(plain_words, replace(run, expected=plain), noise, explained, optimize=False)
        if not disagreement(differences, [*noise, apart(run.expected, plain)]):
            return Verdict(True, within)
        return Verdict(False, f"{words}, which {OPTIMIZER} cause: without them the explained model agrees", OPTIMIZER)

    def _noise(self, run: _Run, epsilon: float) -> Noise:
        """What moving inputs, and then weights, by a few units in the last place does to the outputs of the original."""
        randoms = [np.random.default_rng(seed) for seed in range(DRAWS)]
        made = [apart(run.expected, run.again({n: moved(a, epsilon, r) for n, a in run.given.items()})) for r in randoms]
        return made + [apart(run.expected, found) for r in randoms if (found := self._with_other_weights(run, epsilon, r))]

    def _with_other_weights(self, run: _Run, epsilon: float, random: np.random.Generator) -> dict[str, Any]:
        """The outputs with moved weights; none where that does not run, since it was no weight that was moved."""
        try:
            session = self._session(_with_moved_weights(read(run.model).model, epsilon, random))
            return session.run(run.given)
        except (ModelError, InputError):
            return {}

    def _changed(self, words: str, run: _Run, noise: Noise, explained: onnx.ModelProto, *, optimize: bool) -> Verdict:
        message = f"the explained model's prediction is not the original's: {words}"
        if self._request is None:
            return Verdict(False, message)
        culprit = self._culprit(self._request, run, noise, optimize=optimize) or _last_pass(explained)
        where = f"first after the pass '{culprit}'" if culprit else "by what the method added to the graph"
        return Verdict(False, f"{message}, {where}", culprit)

    def _culprit(self, request: Request, run: _Run, noise: Noise, *, optimize: bool) -> str:
        """The first pass after which the prediction differs; "" where none changes it."""
        for name, model in stages(read(run.model), request):
            try:
                session = self._session(model, optimize=optimize)
                found = session.run({n: run.given[n] for n in session.inputs})
            except (ModelError, InputError, KeyError):  # what lies between passes need not run
                continue
            if disagreement(apart(run.expected, found), noise):
                return name
        return ""


class FirstRun:
    """Compares the first run of an engine, and no other.

    Args:
        source: the model, not prepared yet.
        request: what is explained.
        running: how models are run; with `trust` nothing is compared.
    """

    def __init__(self, source: Source, request: Request, running: RunSettings) -> None:
        self._check = None if running.trust else PredictionCheck(source, request, running)

    @property
    def handed_over(self) -> bytes | None:
        """The bytes of the original, if it is still to be compared with and no large file."""
        return None if self._check is None else self._check.handed_over

    def __call__(self, feeds: Mapping[str, Array], results: Mapping[str, Any], explained: onnx.ModelProto) -> None:
        """Compare a run with the original, unless one was compared before.

        Args:
            feeds, results, explained: as in `PredictionCheck`.

        Raises:
            PredictionChanged: the prediction is not the original's; the next run is compared again.
            ModelError: the original's file changed since it was read.
        """
        if self._check is None:
            return
        verdict = self._check(feeds, results, explained)
        verdict.raise_if_changed()
        self._check = None  # which holds the original
        if verdict.kept is None:
            warnings.warn(f"the prediction was {verdict.detail}", UserWarning, stacklevel=2)


@dataclass(frozen=True)
class _Run:
    """A run of the original: its session, the model as handed over, all that was fed, and its outputs."""

    session: Session
    model: Any
    feeds: Mapping[str, Array]
    expected: Mapping[str, Any]

    @property
    def given(self) -> dict[str, Array]:
        """What the original takes of what was fed."""
        return {name: self.feeds[name] for name in self.session.inputs if name in self.feeds}

    def again(self, given: Mapping[str, Array] | None = None) -> dict[str, Any]:
        """The outputs of another run, of the same inputs or of others."""
        return self.session.run(self.given if given is None else given)


def _last_pass(explained: onnx.ModelProto) -> str:
    """The pass that changed the model's own nodes when what the method emitted was written beside them; "" where none did."""
    about = read_metadata(explained) or {}
    return "sum-parts" if "sum-parts" in about.get("passes", ()) else ""


def _with_moved_weights(model: onnx.ModelProto, epsilon: float, random: np.random.Generator) -> onnx.ModelProto:
    """The model, in place, with its weights moved by a few units in the last place, and the scales of quantized tensors too."""
    tidy(model)
    graph = model.graph
    whole = {t.name for t in graph.initializer if t.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)}
    scales = {i for n in graph.node if whole.intersection(n.input) for i in n.input}
    for tensor in graph.initializer:
        number = is_float(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if number and not tensor.external_data and (tensor.name in scales or int(np.prod(tensor.dims)) >= MANY):
            values = moved(onnx.numpy_helper.to_array(tensor), epsilon, random)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return model


def _precision(model: onnx.ModelProto) -> float:
    """The machine epsilon of the coarsest floating-point type in a model, down to 16 bits."""
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    kinds = {v.type.tensor_type.elem_type for v in values} | {t.data_type for t in model.graph.initializer}
    if onnx.TensorProto.BFLOAT16 in kinds:
        return 2.0**-7
    if onnx.TensorProto.FLOAT16 in kinds:
        return machine_epsilon(np.dtype(np.float16))
    wide = onnx.TensorProto.FLOAT not in kinds and onnx.TensorProto.DOUBLE in kinds
    return machine_epsilon(np.dtype(np.float64 if wide else np.float32))
