"""ForwardEngine: a method that needs forward passes only, on one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.analysis.target import Target
from onnxplain.errors import InputError, MethodError
from onnxplain.explain.describe import describe_forward
from onnxplain.explain.engine import Array, Question, RunSettings, top_ones
from onnxplain.explain.prediction import FirstRun
from onnxplain.explain.request import Request
from onnxplain.io.reader import Source
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.registry import graph_method
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.inputs import Nonfinite
from onnxplain.runtime.readout import picked
from onnxplain.runtime.scorer import ForwardResult, Scorer

__all__ = ["ForwardEngine"]


class ForwardEngine:
    """Explains predictions of a prepared model by forward passes.

    Args:
        source: the model, prepared.
        request: what is to be explained.
        running: how the model is run; `batch_size` perturbed copies at a time.
        first_run: is told of runs, to compare the first with the original.

    Raises:
        MethodError: the request holds a mask, a layer or a baseline, and the method takes none.
    """

    nonfinite: Nonfinite = "all"
    shares_baselines = False

    def __init__(self, source: Source, request: Request, running: RunSettings, first_run: FirstRun) -> None:
        method = request.method
        if request.mask:
            raise MethodError(f"method '{method.name}' needs forward passes only, where nothing flows backward to be masked")
        if request.layer:
            raise MethodError(
                f"method '{method.name}' perturbs the model's inputs; leave layer out or choose a method that differentiates"
            )
        if request.baseline is not None and not method.needs_baseline:
            raise MethodError(f"method '{method.name}' compares with no baseline; leave it out or choose another method")
        self._request, self._method, self._running = request, method, running
        self._first_run = first_run
        self._forward = Scorer(source, request.output, request.score, running.providers, running.threads, request.sample_axis)
        self._names = self._forward.explained(request.inputs, request.registry)
        self._about = describe_forward(request, self._forward, self._names, source)

    @property
    def axes(self) -> SampleAxes:
        """Which axes count samples."""
        return self._forward.axes

    @property
    def about(self) -> dict[str, Any]:
        """What an explained model would say of itself."""
        return self._about

    @property
    def overall(self) -> bool:
        """Whether it says something of all samples together, not of each."""
        return self._method.overall or bool(self._request.options.get("overall"))

    @property
    def model(self) -> onnx.ModelProto:
        """There is none.

        Raises:
            MethodError: always.
        """
        graph_method(self._method.name)
        raise AssertionError("a method that a graph can hold has another engine")

    def explain(self, question: Question) -> Explanation:
        """Explain the predictions for a batch."""
        self._refuse_unexpected(question.given)
        given = question.given.get("baseline")
        lifted = self._forward.samples_first(question.feeds)
        if not any(lifted[n].size for n in self._names):
            raise InputError(f"there is nothing to explain: {', '.join(repr(n) for n in self._names)} has no elements")
        given = self._request.baseline if given is None else given
        baseline = self._samples_first(given, question.feeds)
        context = self._task(lifted, question, baseline)
        found = self._method.run(context, **self._options(question.feeds))
        chosen = question.chosen
        if not found.overall and chosen is not None:
            chosen = np.where(chosen < 0, self._tops(context.prediction, lifted), chosen)
        return self._explanation(found, question, context, chosen, baseline)

    def _refuse_unexpected(self, given: Mapping[str, Any]) -> None:
        """What is given for this batch must be a baseline, and the method must have none yet."""
        name = self._method.name
        unexpected = next((kind for kind in given if kind != "baseline"), None)
        if unexpected is not None:
            raise MethodError(f"method '{name}' expects no '{unexpected}' at run time")
        own = self._request.baseline
        if given.get("baseline") is not None and (own is not None or not self._method.needs_baseline):
            fixed = "the Explainer was given its baseline" if own is not None else f"'{name}' compares with none"
            raise MethodError(f"no baseline can be given here: {fixed}")

    def _task(self, feeds: dict[str, Array], question: Question, baseline: Any) -> PerturbationContext:
        scorer, running, count = self._forward, self._running, len(feeds[self._names[0]])
        rows = scorer.fixed or running.batch_size or max(1, min(count, 64))
        prediction = scorer.predict(feeds, rows, lambda given, made: self._first_run(given, made, scorer.graph.model))
        cotangent = question.cotangent
        if cotangent is not None and not scorer.batched:
            cotangent = np.asarray(cotangent)[None]
        elif cotangent is not None and scorer.axes.axis:
            cotangent = np.moveaxis(np.asarray(cotangent), scorer.axes.axis, 0)
        chosen = question.chosen
        if chosen is not None and (chosen < 0).any():
            chosen = np.where(chosen < 0, self._tops(prediction, feeds), chosen)
        read = picked(question.target, prediction.scores, prediction.ranked, chosen, cotangent)
        explained = {n: feeds[n] for n in self._names if feeds[n].size}  # an empty one has no elements to perturb
        fixed = {n: v for n, v in feeds.items() if n not in explained}
        title = f"{self._method.name} on {count} samples"
        return PerturbationContext(
            scorer, explained, fixed, prediction, read, read.targets, baseline, running.batch_size, title, running.progress,
            proposals=question.proposals,
        )  # fmt: skip

    def _tops(self, prediction: ForwardResult, feeds: Mapping[str, Array]) -> Array:
        """The top prediction of each sample."""
        return top_ones(prediction.ranked, self._about, feeds)

    def _explanation(
        self, found: PerturbationResult, question: Question, context: PerturbationContext, chosen: Array | None, baseline: Any
    ) -> Explanation:
        kind, batched = question.target, self._forward.batched

        def cut(value: Array) -> Array:
            """Without the axis of targets where there is one target, and without that of samples where nothing counts them."""
            if kind.kind != "all" or value.shape[1] != context.targets:  # what holds for all targets alike has one
                value = value[:, 0]
            return value if batched else value[0]

        about = self._about | {"target": str(kind), "baseline": self._told(baseline)} | found.notes
        if context.assumed:
            about |= {"assumed_baseline": 0}
        attributions = {n: self._as_fed(n, cut(found.attributions[n]), question) for n in self._names if n in found.attributions}
        attributions |= {n: np.zeros_like(v) for n, v in question.feeds.items() if n in self._names and not v.size}
        facts = {n: cut(v) for n, v in found.facts.items()}
        gap = None if found.convergence_delta is None else np.atleast_1d(cut(found.convergence_delta))
        if found.overall:
            about |= {"target": "all samples", "mean_of": _mean_of(kind, chosen, context)}
            return Explanation(attributions, {}, {}, None, about, delta=gap, facts=facts)
        outputs = context.prediction.outputs if batched else {k: v[0] for k, v in context.prediction.outputs.items()}
        if "score" in self._request.expose:
            outputs = {**outputs, self._forward.score.tensor.name: self._score_as_made(context.prediction.scores)}
        return Explanation(attributions, question.feeds, outputs, chosen, about, delta=gap, facts=facts)

    def _score_as_made(self, scores: Array) -> Array:
        """The explained scores with the samples where the model has them."""
        return np.moveaxis(scores, 0, self._forward.axes.axis or 0) if self._forward.batched else scores[0]

    def _as_fed(self, name: str, value: Array, question: Question) -> Array:
        """Something of an input's axes, samples (and targets) first, with them where the input has its samples."""
        axis = self._forward.axes.of_input(name)
        if not axis:
            return value
        return np.moveaxis(value, [0, 1], [axis, axis + 1]) if question.target.kind == "all" else np.moveaxis(value, 0, axis)

    def _samples_first(self, value: Any, feeds: Mapping[str, Array]) -> Any:
        """A baseline, background or groups in the shape of an input, with the samples first; anything smaller as it is."""
        if isinstance(value, Mapping):
            return {n: self._moved(v, n, feeds[n].ndim) if n in self._names else v for n, v in value.items()}
        return self._moved(value, self._names[0], min(feeds[n].ndim for n in self._names))

    def _moved(self, value: Any, name: str, rank: int) -> Any:
        array = np.asarray(value) if value is not None and not isinstance(value, str) else None
        if array is None or array.ndim != rank or not rank:
            return value
        if not self._forward.batched:
            return array[None]
        axis = self._forward.axes.of_input(name)
        return np.moveaxis(array, axis, 0) if axis else value

    def _options(self, feeds: Mapping[str, Array]) -> dict[str, Any]:
        """The options of the method, with what is said of an input's axes as it is with the samples first."""
        options, axes = dict(self._request.options), {self._forward.axes.of_input(n) for n in self._names}
        if axes == {0} or not self._forward.batched:
            return options
        for name in ("background", "groups"):
            if name in options:
                options[name] = self._samples_first(options[name], feeds)
        if options.get("axes") is not None:
            if len(axes) > 1:
                raise MethodError("axes are those of one input, and several were found whose samples lie differently: choose one")
            (samples,) = axes
            given = options["axes"] if isinstance(options["axes"], Sequence) else [options["axes"]]
            ranks = {feeds[n].ndim for n in self._names}
            options["axes"] = [_behind_samples(a % max(ranks), samples or 0) for a in given]
        return options

    def _told(self, baseline: Any) -> Any:
        if not self._method.needs_baseline:
            return None
        return baseline if isinstance(baseline, int | float | str) else "given" if baseline is not None else None


def _mean_of(kind: Target, chosen: Array | None, context: PerturbationContext) -> str:
    """Which targets the scores of all samples together are of."""
    if kind.kind == "all" or chosen is None:
        return str(kind)
    ranked = context.prediction.ranked.reshape(context.count, -1)
    own = np.unique(np.where(chosen < 0, ranked.argmax(axis=1), chosen))
    return str(own[0]) if len(own) == 1 else "each sample's own"


def _behind_samples(axis: int, samples: int) -> int:
    """An axis of an input once that of its samples is in front."""
    return 0 if axis == samples else axis + 1 if axis < samples else axis
