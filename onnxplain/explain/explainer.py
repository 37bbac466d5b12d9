"""Explainer: a model rewritten once, a session made once, explanations for batches of any size."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.detection.layout import DetectionLayout
from onnxplain.analysis.pixel_range import pixels_are_raw
from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike
from onnxplain.analysis.target import TargetLike, at_run_time
from onnxplain.analysis.token_tables import rows_of_table
from onnxplain.errors import InputError, MethodError, nearest
from onnxplain.explain.dense_targets import DenseTarget, dense_target
from onnxplain.explain.detecting.detections import Detections
from onnxplain.explain.detecting.detector import Detector
from onnxplain.explain.detecting.setup import DetectionFront
from onnxplain.explain.engine import Engine, Question, RunSettings, count_samples, extents_of_a_sample
from onnxplain.explain.forward_engine import ForwardEngine
from onnxplain.explain.graph_engine import GraphEngine
from onnxplain.explain.named_targets import TargetNames, warn_of_labels
from onnxplain.explain.prediction import FirstRun
from onnxplain.explain.request import Request
from onnxplain.explain.sliding import slide
from onnxplain.explain.text_front import TokenizerLike, holds_text
from onnxplain.explain.text_reader import TextReader
from onnxplain.explain.text_settings import TextSettings
from onnxplain.io.reader import ModelLike, Source, read, read_bytes
from onnxplain.io.writer import write_model
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.registry import load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import Baseline
from onnxplain.method.masks import Masks
from onnxplain.passes import prepared
from onnxplain.results.explanation import Explanation
from onnxplain.results.left_out import left_out_in_words
from onnxplain.results.notebook import html_table
from onnxplain.runtime.decoder_inputs import TOKENS, decoder_inputs, head_sizes
from onnxplain.runtime.frames import column_names
from onnxplain.runtime.guarded import guarded
from onnxplain.runtime.inputs import check_inputs, check_rows
from onnxplain.runtime.scorer import Scorer
from onnxplain.runtime.session import Providers

__all__ = ["Explainer"]

FILE = re.compile(r"\S+\.(npy|npz|csv|txt|png|jpe?g|webp|bmp|tiff?|gif)", re.IGNORECASE)
"""What is rather the name of a file than a text."""

LOG = logging.getLogger(__name__)


class Explainer:
    """Explains predictions of one model with one method.

    The model is rewritten, and a session made, when a kind of target is asked for the first time. All indices are one kind: they
    share a session, and so do all batches.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        method: a name from `onnxplain.methods()`.
        providers: "auto", "cpu", "cuda", or ONNX Runtime's own list.
        batch_size: samples per run. None takes as many as a model of fixed batch size takes; of others as many as their tensors
            fit into 64 MB (1 GB on a GPU). For methods that need forward passes only: how many perturbed copies run at a time.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        labels: names of the classes, for pictures and tables; as many as the explained output has classes.
        progress: whether to show a progress bar on long work; None shows it on a terminal.
        trust: whether to take it on trust that the explained model predicts what the original does. Otherwise the first batch
            runs through the original, too, once.
        output: as in `onnxplain.rewrite`.
        inputs: as in `onnxplain.rewrite`.
        layer: as in `onnxplain.rewrite`.
        baseline: as in `onnxplain.rewrite`. None lets every batch bring its own.
        score: as in `onnxplain.rewrite`.
        sample_axis: as in `onnxplain.rewrite`.
        mask: as in `onnxplain.rewrite`.
        rules: as in `onnxplain.rewrite`.
        tokenizer: a tokenizer.json, its folder, or a `Tokenizer`: then texts are explained, `explainer("A fine film")`, at their
            tokens. None looks for a tokenizer.json beside the model once a text is given. With it a baseline may be a token
            (`"[PAD]"`) or another text, a target a token (`" good"`).
        detect: of a detector how it tells what it finds: "auto" for what the file proves, the name of a layout, or a `Detector`.
            Targets are detections then, in words: "detection 0", "best dog", "best dog left", "all dogs", "each dog".
        expose: inner tensors whose values appear among the `outputs` of an explanation. "explained" stands for the tensors of
            `layer`, "score" for the tensor that is explained.
        **options: the method's own options.

    Raises:
        OnnxplainError: model, method, output, inputs, layer or options do not fit together.

    Example:
        >>> import numpy as np
        >>> from onnxplain import Explainer
        >>> images = np.load("fixtures/digits/data.npz")["image"]  # float32 [20, 1, 8, 8]
        >>> explainer = Explainer("fixtures/digits/model.onnx", "lrp-epsilon")
        >>> explanation = explainer(images)  # the top prediction of each sample
        >>> explanation.attribution.shape
        (20, 1, 8, 8)
        >>> explainer(images[:2], target=8).target  # both: why an 8?
        array([8, 8])
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
        trust: bool = False,
        output: str | None = None,
        inputs: Sequence[str] | None = None,
        layer: str | Sequence[str] | None = None,
        baseline: Baseline = None,
        score: str = "logit",
        sample_axis: SampleAxisLike = AUTO,
        mask: Masks | None = None,
        rules: str | Path | Iterable[str | Path] | None = None,
        tokenizer: TokenizerLike | None = None,
        detect: str | Detector | None = None,
        expose: Sequence[str] = (),
        **options: Any,
    ) -> None:
        source = guarded(read)(model)
        detector = Detector(detect) if isinstance(detect, str) else detect
        texts = TextSettings.of(source, tokenizer, baseline)
        fixed = None if texts.baseline is not None else baseline
        request = Request.of(
            method, options=options, registry=load_registry(rules), output=output, inputs=inputs, layer=layer, baseline=fixed,
            score=score, sample_axis=sample_axis, mask=mask, expose=expose,
        )  # fmt: skip
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        self._prepare(source, request, RunSettings(providers, threads, batch_size, progress, trust), labels, texts, detector)

    @classmethod
    def of(cls, model: ModelLike, request: Request, running: RunSettings | None = None, labels: Sequence[str] = ()) -> Explainer:
        """An Explainer for a request that was checked before.

        Args:
            model: a path, the bytes of a file, or a ModelProto.
            request: what is to be explained; its target does not matter.
            running: how the model is run.
            labels: names of the classes.

        Returns:
            The Explainer.
        """
        made = cls.__new__(cls)
        made._prepare(guarded(read)(model), request, running or RunSettings(), labels, TextSettings())
        return made

    @guarded
    def _prepare(
        self, source: Source, request: Request, running: RunSettings, labels: Sequence[str], texts: TextSettings,
        detector: Detector | None = None,
    ) -> None:  # fmt: skip
        LOG.debug("read %s: %d nodes", source.name, len(source.model.graph.node))
        first_run = FirstRun(source, request, running)
        heads = head_sizes(source.model)  # before attention is written out
        made = prepared(replace(source, origin=None), request.registry)
        LOG.debug("prepared it by %s", ", ".join(made.passes or ()) or "nothing")
        self._start(made, request, running, labels, first_run, texts, heads, detector)

    def _start(
        self, source: Source, request: Request, running: RunSettings, labels: Sequence[str], first_run: FirstRun,
        texts: TextSettings, heads: Mapping[str, int], detector: Detector | None = None,
    ) -> None:  # fmt: skip
        """Set up for a prepared model."""
        self.method = request.method.name
        if isinstance(labels, str):
            raise InputError(f"labels are a list with a name per class, not the text '{labels}'")
        self.labels = [str(label) for label in labels]
        self._detector = detector
        self._front: DetectionFront | None = None
        if detector is not None:
            found = DetectionFront.of(source, request, running, detector, self.labels)
            self._front, self.labels, source, request = found, found.labels, found.source, found.request
        self._source, self._request, self._running, self._first_run = source, request, running, first_run
        self._texts, self._heads = texts, heads
        self._graph = graph = Graph(source.model)
        self._inputs, self._rows = graph.inputs, {t.name: rows_of_table(graph, t) for t in graph.inputs if not t.is_float}
        self._reader: TextReader | None = None
        if texts.tokenizer is None:
            self._engine = self._engine_for(request)
        else:
            front = texts.front(graph, request, heads)
            self._engine = self._engine_for(texts.request(request, front))
            self._reader = TextReader(front, self._engine, self.labels)
        if self._front is not None:
            self._front.start(self._engine, self._engine_for)
        elif self.labels:
            _check_labels(self.labels, self._engine)
            warn_of_labels(self.labels)

    def _engine_for(self, request: Request) -> Engine:
        engine = ForwardEngine if request.method.forward_only else GraphEngine
        return engine(self._source, request, self._running, self._first_run)

    def _text_reader(self) -> TextReader:
        """What reads texts, with a tokenizer that lies beside the model where none was given."""
        if self._reader is None:
            front = self._texts.front(self._graph, self._request, self._heads)
            request = self._texts.request(self._request, front)
            engine = self._engine if request is self._request else self._engine_for(request)
            self._reader = TextReader(front, engine, self.labels)
        return self._reader

    def __getstate__(self) -> tuple[Any, ...]:
        """What a pickle or a copy holds: what is asked for, and the model once - as it was handed over until its prediction
        was compared, else prepared. Sessions are made anew."""
        given = self._first_run.handed_over
        front = self._front
        source, request = (self._source, self._request) if front is None else (front.given, front.asked)
        asked = request, self._running, self.labels
        if given is not None:
            return "handed over", given, source.folder, source.name, *asked, self._texts, self._detector
        return "prepared", source, *asked, self._first_run, self._texts, self._heads, self._detector

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        kind, *rest = state
        if kind == "prepared":
            self._start(*rest)
        else:
            given, folder, name, *asked = rest
            self._prepare(read_bytes(given, folder, name), *asked)

    # -- the explained model -------------------------------------------------------------------------------------

    @property
    def model(self) -> onnx.ModelProto:
        """The explained model for targets given as indices, the very one that runs.

        Raises:
            MethodError: the method needs forward passes only, so there is no explained model.
        """
        return self._engine.model

    @property
    def about(self) -> dict[str, Any]:
        """The metadata of the explained model, as docs/contract.md describes it."""
        return self._engine.about

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the explained model.

        Args:
            path: the file to write. If its folder is not the model's own, external weights are copied there.

        Returns:
            The path.

        Raises:
            MethodError: the method needs forward passes only, so there is no explained model.
            OutputError: the folder does not exist or cannot be written to.
        """
        return write_model(self.model, Path(path), self._source.folder)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The inputs of the original model."""
        return self._inputs

    @property
    def prepared_graph(self) -> Graph:
        """The original model after the passes that keep its prediction, as analyses read it."""
        return self._graph

    @property
    def layout(self) -> DetectionLayout:
        """How a detector's file tells what it finds.

        Raises:
            MethodError: the Explainer was not told that the model is a detector.
        """
        return self._detecting().layout

    @guarded
    def detections(self, x: Any) -> list[Detections]:
        """What a detector finds.

        Args:
            x: pictures, as for an explanation.

        Returns:
            The detections of every picture.

        Raises:
            MethodError: the Explainer was not told that the model is a detector.
            InputError: the arrays do not fit the model's inputs, or its outputs do not fit the layout.
        """
        return self._detecting().reader.detections(self._checked(x, self._engine))

    def _detecting(self) -> DetectionFront:
        if self._front is None:
            raise MethodError("no detector was asked for: pass detect='auto' (--detect)")
        return self._front

    def weighs_at_once(self, name: str) -> bool:
        """Whether the model weighs an input as it comes in: nothing in its file scales, shifts or quantizes it first.

        Args:
            name: the input.

        Returns:
            True where values reach the first weights as they are.

        Raises:
            InputError: there is no such input.
        """
        found = next((t for t in self._inputs if t.name == name), None)
        if found is None:
            raise InputError(f"no input '{name}' in the model; {nearest(name, [t.name for t in self._inputs])}")
        return pixels_are_raw(self._graph, found)

    def __repr__(self) -> str:
        score, fed = self._engine.axes.score, ", ".join(f"{t.name} {named_dims(t)}" for t in self._inputs)
        return f"Explainer({self.method}, {self._source.name}, {fed} → {score.name} {named_dims(score)})"

    def _repr_html_(self) -> str:
        """What a notebook shows: model, method, and what goes in and out."""
        score, about = self._engine.axes.score, self.about
        info = about["method_info"]
        rows = [("model", self._source.name), ("method", f"{self.method}: {info['summary']}")]
        rows += [("input", f"{t.name} {named_dims(t)} of {t.dtype}") for t in self._inputs]
        rows += [("explains", f"{score.name} {named_dims(score)} ({about['score']['kind']})")]
        rows += [("option", f"{name} = {value}") for name, value in about["options"].items()]
        rows += [("not explained", line) for line in left_out_in_words(about["left_out"])]
        return html_table("Explainer", ("", ""), rows)

    # -- explaining ----------------------------------------------------------------------------------------------

    @guarded
    def __call__(
        self,
        x: Any,
        target: TargetLike = None,
        *,
        baseline: Baseline = None,
        cotangent: np.ndarray[Any, Any] | None = None,
        **run_time: Any,
    ) -> Explanation:
        """Explain the predictions for a batch.

        Args:
            x: the input array, or a dict of arrays by input name; samples lie along the axes that count them, [n, …] as a rule.
                Or a DataFrame of pandas or polars: the columns of the only input, or an input per column.
                Of models that take tokens: a text, a pair of texts (a tuple), or a list of these.
                Of a language model token ids alone will do: nothing is padded then, the past is empty, and `about["filled_in"]`
                names what was made from them.
            target: None for each sample's top prediction, an index, a tuple of one choice per axis, one of these per sample
                (a list or array [n] of indices, a list of n tuples of indices), {index: weight} for a contrast, or "all". The
                name of a class, or of a token of a language model, stands for its index. Of outputs that say something of every
                place "mask of road", a class summed where it is predicted, or "road in 10,20,40,60", summed within left, top,
                right and bottom. Of a detector detections: "detection 0", "best dog", "best dog left", "all dogs", "each dog".
            baseline: the reference input for this batch, where none was given to the Explainer. Of texts: a token that takes the
                place of all ("[PAD]"), or another text of as many tokens.
            cotangent: an arbitrary vector in the shape of the explained output, instead of a target: the attribution is its
                vector-Jacobian product.
            **run_time: what else the method was told to expect at run time, e.g. noise=array for the option noise="input".

        Returns:
            The explanation of the batch.

        Raises:
            InputError: the arrays do not fit the model's inputs.
            TargetError: there is no such target.
            MethodError: something is given that the method does not expect, or missing that it needs.
            PredictionChanged: on the first batch, the explained model predicts something else than the original.
        """
        if "seed" in run_time:
            warnings.warn("seed= is called cotangent= now; the next version drops the old name", DeprecationWarning, stacklevel=2)
            cotangent = run_time.pop("seed")
        if isinstance(x, str) and FILE.fullmatch(x):
            raise InputError(f"'{x}' names a file; read a file first, by numpy.load or onnxplain.load_image")
        if holds_text(x) and not any(t.dtype is not None and t.dtype.kind in "OUS" for t in self._inputs):
            given = self._texts.baseline if baseline is None else baseline
            made = self._text_reader().explain(x, target, cotangent, {"baseline": given, **run_time}, self._checked)
            return replace(made, labels=self.labels)
        if self._texts.baseline is not None and baseline is None:
            raise InputError(f"the baseline {self._texts.baseline!r} is in words, and arrays are given: give a baseline of ids")
        engine, axes = self._engine, self._engine.axes
        given, filled = self._filled_in(x)
        feeds = self._checked(given, engine)
        if self._front is not None and cotangent is None:
            return self._front.reader.explain(feeds, target, {"baseline": baseline, **run_time})
        count = count_samples(axes, feeds)
        extents = extents_of_a_sample(axes, feeds)
        names = TargetNames(self.labels)
        dense = dense_target(target) if cotangent is None else None
        if dense is not None:
            target, cotangent = None, self._ones(dense, feeds)
        kind, chosen = at_run_time(names.resolve(target), cotangent, count, extents, axes.reason)
        LOG.debug("explain %d samples by %s", count, self.method)
        made = engine.explain(Question(feeds, count, kind, chosen, cotangent, {"baseline": baseline, **run_time}))
        LOG.debug("explained %s", ", ".join(made.attributions))
        contrast = names.told_contrast(kind) if dense is None else str(dense)
        named = [contrast] * count if contrast else ()
        about = {**made.about, **({"filled_in": filled} if filled else {}), **({"target": str(dense)} if dense else {})}
        features = _features(made, column_names(x))
        return replace(made, labels=self.labels, target_names=named, features=features, about=about)

    def _ones(self, dense: DenseTarget, feeds: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """Ones at the elements of the explained output that a target of places sums."""
        request, axes, running = self._request, self._engine.axes, self._running
        scorer = Scorer(self._source, request.output, request.score, running.providers, running.threads, request.sample_axis)
        ranked = scorer.predict(scorer.samples_first(feeds), scorer.fixed or running.batch_size or 8).ranked
        # operators: a probability of one class is predicted above one half, its logit above zero
        threshold = 0.5 if self.about["score"].get("activation") == "Sigmoid" else 0.0
        made = dense.cotangent(ranked, self.labels, threshold)
        return np.moveaxis(made, 0, axes.axis) if axes.axis is not None else made[0]

    def _checked(self, x: Any, engine: Engine) -> dict[str, np.ndarray[Any, Any]]:
        """The inputs in the types that the model takes; tokens among those that it knows."""
        feeds = check_inputs(x, self.inputs, nonfinite=engine.nonfinite, axes=engine.axes.of_inputs)
        for name, rows in self._rows.items():
            check_rows(name, feeds[name], rows)
        return feeds

    def _filled_in(self, x: Any) -> tuple[Any, list[str]]:
        """What a language model takes where token ids alone are given, and the names of what was made from them."""
        alone = {TOKENS: x} if not isinstance(x, Mapping) and len(self.inputs) > 1 else x
        if not isinstance(alone, Mapping) or set(alone) != {TOKENS} or "positions" not in self.about or len(self.inputs) < 2:
            return x, []
        ids = np.asarray(alone[TOKENS])
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise InputError(f"token ids are integers [samples, tokens], not {ids.dtype} {list(ids.shape)}")
        made = decoder_inputs(self.inputs, ids, self._heads)
        return made, [name for name in made if name != TOKENS]

    def slide(
        self, x: Any, target: TargetLike, *, stride: int | Sequence[int] = 1, combine: str = "mean", **run_time: Any
    ) -> Explanation:
        """Explain an input larger than the model's own, window by window.

        The arguments are those of `onnxplain.explain.sliding.slide`, which says more.

        Args:
            x: the input array, [n, …] as a rule, along other axes larger than the model's input; or a dict with one such array.
            target: what to explain in every window.
            stride: the distance between windows, one number or one per axis that is larger.
            combine: "mean" of the windows that cover an element, or their "sum".
            **run_time: what else the method expects at run time, for one window.

        Returns:
            An explanation in the shape of `x`.

        Raises:
            MethodError: the method describes all samples together.
            InputError: `x` is not larger than the model's input, or smaller along some axis.
            TargetError: no target was given.
        """
        if self._front is not None:
            raise MethodError(
                "windows would be searched one by one, and detections are of whole pictures: leave out detect or slide"
            )
        if self._engine.overall:
            raise MethodError(f"method '{self.method}' speaks of all samples together, not of windows of one")
        return slide(self, self.inputs, self._engine.axes, x, target, stride=stride, combine=combine, **run_time)


def _features(made: Explanation, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of a table as names of what was explained, if that is the table."""
    name, values = made.of()
    rows = made.samples_first(name)
    fits = len(made.attributions) == 1 and name in made.inputs and rows.ndim == 2 and rows.shape[1] == len(columns)
    return columns if fits and values.shape == made.inputs[name].shape else ()


def _check_labels(labels: Sequence[str], engine: Engine) -> None:
    """Check that there are as many names as classes, where the model says how many there are."""
    axes = engine.axes
    classes = [d for i, d in enumerate(axes.score.shape or ()) if i != axes.axis]
    if len(classes) == 1 and isinstance(classes[0], int) and classes[0] != len(labels):
        s = "s" if len(labels) != 1 else ""
        raise InputError(f"{len(labels)} label{s} for the {classes[0]} outputs of '{axes.score.name}'; give one for each")
