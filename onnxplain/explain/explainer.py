"""Explainer: a model rewritten once, a session made once, explanations for batches of any size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.target import Target, TargetLike, at_run_time
from onnxplain.errors import InputError, MethodError, TargetError
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.sliding import slide
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import ModelLike, read
from onnxplain.io.writer import write_model
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.ir.tensor import Tensor, same_dim
from onnxplain.method.blackbox.runner import BlackBox
from onnxplain.method.context import Baseline
from onnxplain.method.masks import Masks
from onnxplain.method.registry import find_method, graph_method
from onnxplain.passes import prepared
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.inputs import check_inputs
from onnxplain.runtime.progress import track
from onnxplain.runtime.run_time_inputs import MEANING, run_time_feeds, sample_axis_of
from onnxplain.runtime.session import Providers, Session

__all__ = ["Explainer"]


class Explainer:
    """Explains predictions of one model with one method.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        method: a name from `onnxplain.methods()`.
        providers: "auto", "cpu", "cuda", or ONNX Runtime's own list.
        batch_size: samples per run; None takes all at once, or what a model of fixed batch size takes. Methods that need forward
            passes only run so many perturbed copies at a time.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        labels: names of the classes, for pictures and tables.
        progress: whether to show a progress bar on long work; None shows it on a terminal.
        expose: inner tensors whose values an explanation's `outputs` hold too; "explained" stands for those of `layer`, "score"
            for the one that is explained.
        output, inputs, layer, baseline, score, rules, options: as in `onnxplain.rewrite`.

    The model is rewritten when a target of a new kind is first asked for; indices of every form share one session.
    """

    def __init__(
        self,
        model: ModelLike,
        method: str = "gradient",
        *,
        providers: Providers = None,
        batch_size: int | None = None,
        threads: int | None = None,
        labels: Sequence[str] = (),
        progress: bool | None = None,
        output: str | None = None,
        inputs: Sequence[str] | None = None,
        layer: str | Sequence[str] | None = None,
        baseline: Baseline = None,
        score: str = "logit",
        mask: Masks | None = None,
        rules: str | Path | Iterable[str | Path] | None = None,
        expose: Sequence[str] = (),
        **options: Any,
    ) -> None:
        found = find_method(method)
        compares = found.compares(found.checked(options))
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        self.method = method
        self.labels = list(labels)
        self._providers, self._batch_size, self._threads, self._progress = providers, batch_size, threads, progress
        registry = load_registry(rules)
        self._source = prepared(read(model), registry)
        self._black_box: BlackBox | None = None
        if found.forward_only:
            if mask:
                raise MethodError(f"method '{method}' needs forward passes only, where nothing flows backward to be masked")
            self._black_box = BlackBox(
                self._source, found, options, registry=registry, providers=providers, threads=threads, batch_size=batch_size,
                progress=progress, labels=labels, output=output, inputs=inputs, baseline=baseline, score=score,
                layer=[layer] if isinstance(layer, str) else layer,
            )  # fmt: skip
            self._inputs = self._black_box.forward.inputs
            return
        self._inputs = Graph(self._source.model).inputs
        self._compares = compares
        self._given_baseline = baseline
        self._settings: dict[str, Any] = {
            "output": output,
            "inputs": inputs,
            "layer": [layer] if isinstance(layer, str) else layer,
            "baseline": ("input" if baseline is None else baseline) if compares else baseline,
            "score": score,
            "mask": mask,
            "registry": registry,
            "expose": tuple(expose),
            "options": options,
        }
        self._made: dict[Target, tuple[Rewritten, Session]] = {}
        self._ready(Target("input", ()))

    # -- the explained model -------------------------------------------------------------------------------------

    @property
    def model(self) -> onnx.ModelProto:
        """The explained model that serves indices of every form, the very one that runs.

        Raises:
            MethodError: the method needs forward passes only, so that there is none.
        """
        graph_method(self.method)
        return self._ready(Target("input", ()))[0].model

    @property
    def about(self) -> dict[str, Any]:
        """What the explained model says of itself."""
        if self._black_box is not None:
            return self._black_box.about
        return self._ready(Target("input", ()))[0].about

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the explained model; external weights are copied beside it where the folder is another."""
        return write_model(self.model, Path(path), self._source.folder)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs of the original model."""
        return self._inputs

    def _ready(self, target: Target) -> tuple[Rewritten, Session]:
        """The rewritten model and session for a kind of target, made on first use."""
        if target not in self._made:
            rewritten = rewrite_source(self._source.copy(), Request.for_graph(self.method, target=target, **self._settings))
            session = Session(rewritten.model, self._providers, folder=self._source.folder, threads=self._threads)
            self._made[target] = rewritten, session
        return self._made[target]

    # -- explaining ----------------------------------------------------------------------------------------------

    def __call__(
        self,
        x: Any,
        target: TargetLike = None,
        *,
        baseline: Baseline = None,
        seed: np.ndarray[Any, Any] | None = None,
        **run_time: Any,
    ) -> Explanation:
        """Explain the predictions for a batch.

        Args:
            x: the input array [n, …], or a dict of arrays by input name.
            target: None for each sample's top prediction, an index, one index per sample (list or array [n]), a tuple of
                one choice per axis, {index: weight} for a contrast, or "all".
            baseline: the reference input for this batch, where none was given to the Explainer.
            seed: an arbitrary vector in the shape of the explained output, instead of a target.
            **run_time: what else the method was told to expect at run time, e.g. noise=array for the option noise="input".

        Raises:
            InputError, TargetError: what is wrong, expected against found.
        """
        if self._black_box is not None:
            return self._black_box(x, target, baseline=baseline, seed=seed, **run_time)
        feeds = check_inputs(x, self.inputs)
        count = self._count(feeds)
        kind, chosen = self._interpret(target, seed, count)
        rewritten, session = self._ready(kind)
        fixed = self._fixed_batch()
        extra = self._extra_feeds(rewritten, session, chosen, seed, {"baseline": baseline, **run_time}, feeds)
        size = fixed or self._batch_size or count
        parts = self._run_chunks(session, feeds, extra, count, size)
        explanation = self._collect(rewritten, feeds, parts, kind, chosen, count)
        if kind.kind == "input" and chosen is not None and (chosen < 0).any():
            return self._named_top(explanation, chosen)
        return explanation

    def slide(
        self, x: Any, target: TargetLike, *, stride: int | Sequence[int] = 1, combine: str = "mean", **run_time: Any
    ) -> Explanation:
        """Explain an input larger than the model's own by windows; see `onnxplain.explain.sliding.slide`."""
        if self._black_box is not None and self._black_box.overall:
            raise MethodError(f"method '{self.method}' speaks of all samples together, not of windows of one")
        return slide(self, self.inputs, x, target, stride=stride, combine=combine, **run_time)

    def _count(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> int:
        if not self.about["batched"]:
            return 1
        first = next(a for n, a in feeds.items() if n in self._sampled)
        if first.ndim == 0 or first.shape[0] == 0:
            raise InputError("there are no samples to explain: the first axis is empty")
        return int(first.shape[0])

    def _fixed_batch(self) -> int | None:
        """The batch size a model was exported with, None where it is free."""
        sizes = {t.shape[0] for t in self.inputs if t.name in self._sampled and t.shape and isinstance(t.shape[0], int)}
        return max(sizes) if sizes and self.about["batched"] else None

    @property
    def _sampled(self) -> set[str]:
        """The inputs whose first axis counts samples: those with the first extent of the explained output.

        Where that extent is known of no input, all that have axes. A vector of settings beside the samples is not cut.
        """
        mine = self._score_shape()[:1]
        alike = {t.name for t in self.inputs if t.shape and mine and same_dim(t.shape[0], mine[0])}
        return alike or {t.name for t in self.inputs if t.shape != ()}

    def _interpret(
        self, target: TargetLike, seed: np.ndarray[Any, Any] | None, count: int
    ) -> tuple[Target, np.ndarray[Any, Any] | None]:
        """The kind of target to rewrite for, and the run-time indices where the kind takes some."""
        kind, chosen = at_run_time(target, seed, count, self._elements_axes())
        return kind, None if chosen is None else self._in_range(chosen)

    def _score_shape(self) -> tuple[Any, ...]:
        graph = self._ready(Target("input", ()))[0]
        shape = graph.about["score"].get("shape")
        return tuple(shape) if shape is not None else ()

    def _elements_axes(self) -> int:
        return len(self._score_shape()) - (1 if self.about["batched"] else 0)

    def _in_range(self, chosen: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        extents = self._score_shape()[1 if self.about["batched"] else 0 :]
        if all(isinstance(e, int) for e in extents):
            total = int(np.prod(extents))
            bad = chosen[chosen >= total]
            if bad.size:
                raise TargetError(
                    f"target {int(bad[0])} is out of range: output '{self.about['output']}' has {total} elements per sample"
                )
        return chosen

    def _extra_feeds(
        self,
        rewritten: Rewritten,
        session: Session,
        chosen: np.ndarray[Any, Any] | None,
        seed: np.ndarray[Any, Any] | None,
        given: Mapping[str, Any],
        feeds: Mapping[str, np.ndarray[Any, Any]],
    ) -> dict[str, np.ndarray[Any, Any]]:
        names = rewritten.about["run_time_inputs"]
        extra: dict[str, np.ndarray[Any, Any]] = {}
        if "target" in names:
            assert chosen is not None
            extra[names["target"]] = chosen
        if "seed" in names:
            extra[names["seed"]] = np.asarray(seed)
        types = {name: i.type for name, i in session.inputs.items()}
        plain = {e["explains"] for e in rewritten.about["attributions"].values() if e["kind"] == "input"}
        explained = {name: array for name, array in feeds.items() if name in plain}
        for kind in MEANING:
            if kind in names:
                extra |= run_time_feeds(kind, names[kind], given.get(kind), types, explained)
        for kind, value in given.items():
            if value is None or kind in names:
                continue
            if kind == "baseline":
                fixed = "the Explainer was given its baseline" if self._compares else f"method '{self.method}' compares with none"
                raise MethodError(f"no baseline can be given here: {fixed}")
            takes = ", ".join(k for k in MEANING if k in names) or "nothing"
            raise MethodError(f"method '{self.method}' expects no '{kind}' at run time; as it was set up it expects {takes}")
        return extra

    def _run_chunks(
        self,
        session: Session,
        feeds: Mapping[str, np.ndarray[Any, Any]],
        extra: Mapping[str, np.ndarray[Any, Any]],
        count: int,
        size: int,
    ) -> list[dict[str, Any]]:
        """Results of every chunk; the last chunk of a model with a fixed batch is filled up and cut again."""
        if count == size or not self.about["batched"]:
            return [session.run({**feeds, **extra})]
        fixed = self._fixed_batch()
        parts = []
        everything = {**feeds, **extra}
        axes: dict[str, int | None] = {n: 0 if n in self._sampled else None for n in feeds}
        axes |= {n: sample_axis_of(session.inputs[n].shape) for n in extra}
        for start in track(range(0, count, size), f"{self.method} on {count} samples", self._progress):
            stop = min(start + size, count)
            short = size - (stop - start) if fixed else 0

            def cut(
                name: str, array: np.ndarray[Any, Any], start: int = start, stop: int = stop, short: int = short
            ) -> np.ndarray[Any, Any]:
                axis = axes[name]
                if axis is None or array.ndim <= axis or array.shape[axis] != count:
                    return array
                part = np.take(array, range(start, stop), axis=axis)
                return np.concatenate([part, np.repeat(part.take([-1], axis), short, axis)], axis) if short else part

            result = session.run({k: cut(k, v) for k, v in everything.items()})
            parts.append({k: v[: stop - start] if short and hasattr(v, "__len__") else v for k, v in result.items()})
        return parts

    def _collect(
        self,
        rewritten: Rewritten,
        feeds: Mapping[str, np.ndarray[Any, Any]],
        parts: Sequence[Mapping[str, Any]],
        kind: Target,
        chosen: np.ndarray[Any, Any] | None,
        count: int,
    ) -> Explanation:
        def join(name: str) -> Any:
            values = [p[name] for p in parts]
            if len(values) == 1:
                return values[0]
            return np.concatenate(values) if isinstance(values[0], np.ndarray) else [v for part in values for v in part]

        about = rewritten.about
        joined = {name: join(name) for name in parts[0]}
        attributions = {entry["explains"]: joined.pop(name) for name, entry in about["attributions"].items()}
        delta = about["reports"].get("delta")
        gap = None if delta is None else np.atleast_1d(joined.pop(delta))
        return Explanation(attributions, feeds, joined, chosen, about, self.labels, gap)

    def _named_top(self, explanation: Explanation, chosen: np.ndarray[Any, Any]) -> Explanation:
        """The explanation with the index of the top prediction where that was asked for."""
        scores = explanation.outputs.get(self.about["output"])
        if not isinstance(scores, np.ndarray):
            scores = _zipped(scores)
        if scores is None:  # the explained tensor is no output of the model
            return replace(explanation, target=None)
        top = scores.reshape(len(chosen), -1).argmax(axis=1)
        return replace(explanation, target=np.where(chosen < 0, top, chosen).astype(np.int64))


def _zipped(scores: Any) -> np.ndarray[Any, Any] | None:
    """The scores of a ZipMap output, a list of one dict per sample, as an array."""
    if isinstance(scores, list) and scores and isinstance(scores[0], Mapping):
        return np.array([list(row.values()) for row in scores])
    return None
