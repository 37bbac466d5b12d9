"""GraphEngine: a model rewritten once for each kind of target, with its session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.analysis.target import Target
from onnxplain.errors import InputError, MethodError, TargetError
from onnxplain.explain.engine import Array, Question, RunSettings, extents_of_a_sample, top_ones
from onnxplain.explain.lost_relevance import seems_lost, warn_of_passage
from onnxplain.explain.prediction import FirstRun
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import Source
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import traits_of
from onnxplain.method.baselines import holds_ids
from onnxplain.propagation.ledger import Ledger, NodeConservation
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.chunks import run_in_chunks
from onnxplain.runtime.footprint import bytes_of_a_sample, sizes_of_symbols
from onnxplain.runtime.inputs import Nonfinite, first_missing
from onnxplain.runtime.progress import track
from onnxplain.runtime.readout import picked
from onnxplain.runtime.run_time_inputs import MEANING, run_time_feeds
from onnxplain.runtime.session import Session

__all__ = ["GraphEngine"]

DEFAULT_MEMORY = 64 * 10**6
"""Bytes that the tensors of the model itself may take in one run on a processor where nothing is said; those of the backward pass
take about as much again. Larger runs gain nothing there (two convolutions on 3×64×64: 64 samples are twice as fast as 370)."""

DEVICE_MEMORY = 1024 * 10**6
"""The same on other devices, which large runs keep busy."""

BY_INDEX = Target("input", ())
"""The kind of target that serves indices of every form."""

BY_VECTOR = Target("seed", ())
"""The kind of target that serves contrasts and sums of every form."""


class GraphEngine:
    """Runs explained models.

    Args:
        source: the model, prepared.
        request: what is to be explained. A baseline that the method needs and the request does not give is given with every
            question.
        running: how models are run.
        first_run: is told of runs, to compare the first with the original.
    """

    nonfinite: Nonfinite = "missing"
    overall = False

    def __init__(self, source: Source, request: Request, running: RunSettings, first_run: FirstRun) -> None:
        self._source, self._running, self._compares = source, running, request.compares
        self._first_run = first_run
        wants_baseline = request.compares and request.baseline is None
        self._request = replace(request, baseline="input") if wants_baseline else request
        self._chooses_baseline = wants_baseline
        self._watches = "conservation" in request.method.axioms and not request.compares
        self._made: dict[tuple[Target, tuple[str, ...]], tuple[Rewritten, Session]] = {}
        self._graph = Graph(source.model)
        self._sizes: dict[tuple[tuple[str, int], ...], int] = {}
        self._ready(BY_INDEX)

    @property
    def takes_missing(self) -> bool:
        """Whether inputs may hold NaN for a missing value."""
        return self._request.method.takes_missing

    @property
    def axes(self) -> SampleAxes:
        """Which axes count samples."""
        return self._ready(BY_INDEX)[0].axes

    @property
    def about(self) -> dict[str, Any]:
        """What the explained model says of itself."""
        return self._ready(BY_INDEX)[0].about

    @property
    def model(self) -> onnx.ModelProto:
        """The explained model that serves indices of every form, the very one that runs."""
        return self._ready(BY_INDEX)[0].model

    def _ready(self, target: Target, looked_up: tuple[str, ...] = ()) -> tuple[Rewritten, Session]:
        """The rewritten model and session for a kind of target, made on first use.

        The baselines of the inputs `looked_up` are integers to look up.
        """
        if (target, looked_up) not in self._made:
            request = replace(self._request, target=target)
            if looked_up:
                given = self._ready(target)[0].about["run_time_inputs"]["baseline"]
                request = replace(request, baseline={n: "ids" if n in looked_up else "input" for n in given})
            rewritten = rewrite_source(self._source.copy(), request)
            session = Session(rewritten.model, self._running.providers, folder=self._source.folder, threads=self._running.threads)
            self._made[target, looked_up] = rewritten, session
        return self._made[target, looked_up]

    @property
    def shares_baselines(self) -> bool:
        """Whether every sample is compared with all baselines that a batch is given."""
        rewritten, session = self._ready(BY_INDEX)
        names = rewritten.about["run_time_inputs"].get("baseline", {}).values()
        return any([*session.inputs[name].shape[:1]] == ["references"] for name in names)

    def _looked_up(self, value: Any) -> tuple[str, ...]:
        """The inputs of integers whose baselines, given for a batch, are arrays of integers to look up.

        Raises:
            InputError: a whole number alone, of which nobody knows whether it is one to look up.
        """
        if value is None or not self._chooses_baseline:
            return ()
        found = []
        for name, source in self._ready(BY_INDEX)[0].look_ups.items():
            mine = value.get(name, value.get(source)) if isinstance(value, Mapping) else value
            if mine is not None and holds_ids(name, mine):
                found.append(name)
        return tuple(found)

    def explain(self, question: Question) -> Explanation:
        """Explain the predictions for a batch."""
        cotangent = self._as_cotangent(question)
        if cotangent is not None:
            made = self.explain(replace(question, target=BY_VECTOR, cotangent=cotangent))
            return replace(made, about={**made.about, "target": str(question.target)})
        if question.chosen is not None:
            self._check_range(question.chosen)
        self._refuse_nothing(question)
        looked_up = self._looked_up(question.given.get("baseline"))
        rewritten, session = self._ready(question.target, looked_up)
        extra = self._extra_feeds(rewritten, session, question, looked_up)

        def run(feeds: dict[str, Array]) -> dict[str, Any]:
            results = session.run(feeds)
            self._first_run(feeds, results, rewritten.model)
            return results

        results = self._run(run, session, rewritten.about, question, extra)
        explanation = self._collected(rewritten, question, results)
        self._refuse_unmended(explanation)
        self._refuse_other_steps(explanation)
        # The cotangents of all targets go backward in a loop, whose inner sums no output holds.
        if self._watches and question.target.kind != "all" and seems_lost(explanation.attributions, self.axes.batched):
            self._watches = False
            warn_of_passage(self._request.method.name, partial(self._traced, question, extra))
        chosen = question.chosen
        if question.target.kind == "input" and chosen is not None and (chosen < 0).any():
            return self._named_top(explanation, chosen)
        return explanation

    def _as_cotangent(self, question: Question) -> Array | None:
        """A sum over axes or a contrast as the vector that a file takes at run time, so that one session serves all of them.

        None for other targets, and where the extents are not known before a run, or the prediction decides what is the top one.
        """
        target, axes = question.target, self.axes
        choices = [c for _, term in target.terms for c in term] or list(target.axes)
        extents = extents_of_a_sample(axes, question.feeds)
        sizes = [d for d in extents if isinstance(d, int)]
        if target.kind not in ("element", "contrast") or "top" in choices or not axes.batched or len(sizes) < len(extents):
            return None
        cotangent = np.zeros((question.count, prod(sizes)), axes.score.dtype)
        nothing = np.broadcast_to(np.float32(0), (question.count, *sizes))
        read = picked(target, nothing, nothing)
        weights = np.ones(read.index.shape) if read.weight is None else np.broadcast_to(read.weight, read.index.shape)
        np.add.at(cotangent, (np.arange(question.count)[:, None], read.index[:, 0]), weights[:, 0].astype(cotangent.dtype))
        return np.moveaxis(cotangent.reshape(-1, *sizes), 0, axes.axis or 0)

    def _refuse_unmended(self, explanation: Explanation) -> None:
        """Refuse missing values (NaN) that the model, or the method, makes nothing of.

        Raises:
            InputError: the prediction or an attribution is NaN.
        """
        found = first_missing({n: x for n, x in explanation.inputs.items() if isinstance(x, np.ndarray)})
        if not found:
            return
        scores = explanation.outputs.get(self.about["output"])
        if isinstance(scores, np.ndarray) and scores.dtype.kind == "f" and np.isnan(scores).any():
            raise InputError(f"{found}, and the prediction is NaN too; explanations need finite numbers: fill in what is missing")
        if any(np.isnan(a).any() for a in explanation.attributions.values()):
            method = self._request.method.name
            raise InputError(
                f"{found}, of which '{method}' makes NaN; fill in what is missing, or use kernel-shap or permutation"
            )

    def _refuse_other_steps(self, explanation: Explanation) -> None:
        """Refuse what DeepLIFT marks by NaN: the baseline does not take the same steps as the input.

        Raises:
            InputError: an attribution is NaN.
        """
        method = self._request.method.name
        chooses = any(traits_of(node.op_type, node.domain).runs_subgraphs for node in self._source.model.graph.node)
        if not (method.startswith("deeplift") and chooses and any(np.isnan(a).any() for a in explanation.attributions.values())):
            return
        raise InputError(
            f"'{method}' compares the steps of a Loop or If with those at the baseline, and the model takes others at the "
            "baseline; choose a baseline nearer to the input, or a method that compares with none"
        )

    def _refuse_nothing(self, question: Question) -> None:
        """Refuse inputs of which none has elements.

        Raises:
            InputError: there is nothing to explain.
        """
        explained = [entry["explains"] for entry in self.about["attributions"].values()]
        given = [name for name in explained if name in question.feeds]
        if given and len(given) == len(explained) and not any(question.feeds[name].size for name in given):
            raise InputError(f"there is nothing to explain: {', '.join(map(repr, given))} has no elements")

    def _check_range(self, chosen: Array) -> None:
        extents = [d for i, d in enumerate(self.axes.score.shape or ()) if i != self.axes.axis]
        known = [e for e in extents if isinstance(e, int)]
        if len(known) == len(extents):
            total = prod(known)
            bad = chosen[chosen >= total]
            if bad.size:
                raise TargetError(
                    f"target {int(bad[0])} is out of range: output '{self.about['output']}' has {total} elements per sample"
                )

    def _extra_feeds(
        self, rewritten: Rewritten, session: Session, question: Question, looked_up: tuple[str, ...]
    ) -> dict[str, Array]:
        """What the explained model takes beside the model's own inputs."""
        names, given = rewritten.about["run_time_inputs"], question.given
        extra: dict[str, Array] = {}
        if "target" in names:
            assert question.chosen is not None
            extra[names["target"]] = question.chosen
        if "seed" in names:
            extra[names["seed"]] = np.asarray(question.cotangent)
        sources = {rewritten.look_ups[name] for name in looked_up}
        plain = {name: array for name, array in question.feeds.items() if array.dtype.kind == "f" or name in sources}
        for kind in MEANING:
            if kind in names:
                axes = rewritten.about["sample_axes"]
                who = f"method '{rewritten.about['method']}'"
                extra |= run_time_feeds(kind, names[kind], given.get(kind), session.inputs, plain, axes, who)
        self._refuse_unexpected(names, given)
        return extra

    def _refuse_unexpected(self, names: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        for kind, value in given.items():
            if value is None or kind in names:
                continue
            method = self._request.method.name
            if kind == "baseline":
                fixed = "the Explainer was given its baseline" if self._compares else f"method '{method}' compares with none"
                raise MethodError(f"no baseline can be given here: {fixed}")
            takes = ", ".join(k for k in MEANING if k in names) or "nothing"
            raise MethodError(f"method '{method}' expects no '{kind}' at run time; as it was set up it expects {takes}")

    def _traced(self, question: Question, extra: Mapping[str, Array]) -> list[NodeConservation]:
        """What every node receives and sends in this run."""
        ledger, runs = Ledger(), []
        rewritten = rewrite_source(self._source.copy(), replace(self._request, target=question.target), observer=ledger)
        session = Session(rewritten.model, self._running.providers, folder=self._source.folder, threads=self._running.threads)
        reports = rewritten.about["reports"]

        def run(feeds: dict[str, Array]) -> dict[str, Any]:
            results = session.run(feeds)
            runs.append({name: results.pop(name) for name in reports.values()})
            return results

        self._run(run, session, rewritten.about, question, extra)
        return ledger.read(reports, runs)

    def _run(
        self,
        run: Callable[[dict[str, Array]], dict[str, Any]],
        session: Session,
        about: Mapping[str, Any],
        question: Question,
        extra: Mapping[str, Array],
    ) -> dict[str, Any]:
        """Results for all samples; the last chunk of a model with a fixed batch is filled up and cut again."""
        everything, axes, count = {**question.feeds, **extra}, self.axes, question.count
        if not axes.batched:
            return run(everything)
        places: Mapping[str, int | None] = about["sample_axes"]
        shared = next((entry["explains"] for name, entry in about["attributions"].items() if places.get(name) is None), None)
        usual = count if shared is not None else self._usual_rows(session, places, question)
        size = axes.fixed or self._running.batch_size or usual
        if shared is not None and size != count and (axes.fixed or size < count):
            raise InputError(
                f"'{shared}' is shared by all samples, so that what is attributed to it is of all together, and {count} samples "
                f"do not go through in runs of {size}: give "
                + (f"{size} samples" if axes.fixed else "no batch_size")
                + f", or explain other inputs alone (inputs=[…] without '{shared}')"
            )
        title = f"{self._request.method.name} on {count} samples"
        over = partial(track, title=title, show=self._running.progress)
        return run_in_chunks(run, everything, places, count, size, filled=axes.fixed is not None, over=over)

    def _usual_rows(self, session: Session, places: Mapping[str, int | None], question: Question) -> int:
        """Samples in one run where nothing is said: those whose tensors fit into `DEFAULT_MEMORY`. All of them where the model
        has an output that counts no samples, since runs on parts may disagree on it."""
        usual = min(self._request.method.usual_rows or question.count, question.count)
        if usual == 1 or any(places.get(o.name) is None for o in self._graph.outputs):
            return usual
        symbols = sizes_of_symbols(self.axes, question.feeds)
        shape = tuple(sorted(symbols.items()))
        if shape not in self._sizes:
            self._sizes[shape] = max(1, bytes_of_a_sample(self._graph, self.axes, symbols))
        memory = DEVICE_MEMORY if session.on_device else DEFAULT_MEMORY
        return max(1, min(usual, memory // self._sizes[shape]))

    @staticmethod
    def _collected(rewritten: Rewritten, question: Question, results: dict[str, Any]) -> Explanation:
        about = rewritten.about
        attributions = {entry["explains"]: results.pop(name) for name, entry in about["attributions"].items()}
        delta = about["reports"].get("delta")
        gap = None if delta is None else np.atleast_1d(results.pop(delta))
        facts = {key: np.atleast_1d(results.pop(name)) for key, name in about["reports"].items() if key != "delta"}
        return Explanation(attributions, question.feeds, results, question.chosen, about, delta=gap, facts=facts)

    def _named_top(self, explanation: Explanation, chosen: Array) -> Explanation:
        """The explanation with the index of the top prediction where that was asked for."""
        scores = explanation.outputs.get(self.about["output"])
        if not isinstance(scores, np.ndarray):
            scores = _zipped(scores)
        if scores is None:  # the explained tensor is no output of the model
            return replace(explanation, target=None)
        scores = scores[None] if self.axes.axis is None else np.moveaxis(scores, self.axes.axis, 0)
        top = top_ones(scores.reshape(len(chosen), *scores.shape[1:]), self.about, explanation.inputs)
        return replace(explanation, target=np.where(chosen < 0, top, chosen).astype(np.int64))


def _zipped(scores: Any) -> Array | None:
    """The scores of a ZipMap output, a list of one dict per sample, as an array."""
    if isinstance(scores, list) and scores and isinstance(scores[0], Mapping):
        return np.array([list(row.values()) for row in scores])
    return None
