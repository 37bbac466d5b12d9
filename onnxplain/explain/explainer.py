"""Explainer: a model rewritten once, a session made once, explanations for batches of any size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike
from onnxplain.analysis.target import TargetLike, at_run_time
from onnxplain.errors import InputError, MethodError
from onnxplain.explain.engine import Engine, Question, RunSettings, count_samples, extents_of_a_sample
from onnxplain.explain.forward_engine import ForwardEngine
from onnxplain.explain.graph_engine import GraphEngine
from onnxplain.explain.prediction import FirstRun
from onnxplain.explain.request import Request
from onnxplain.explain.sliding import slide
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.io.writer import write_model
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import Baseline
from onnxplain.method.masks import Masks
from onnxplain.passes import prepared
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.decoder_inputs import TOKENS, decoder_inputs, head_sizes
from onnxplain.runtime.inputs import check_inputs
from onnxplain.runtime.session import Providers

__all__ = ["Explainer"]


class Explainer:
    """Explains predictions of one model with one method.

    The model is rewritten, and a session made, when a kind of target is asked for the first time. All indices are one kind: they
    share a session, and so do all batches.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        method: a name from `onnxplain.methods()`.
        providers: "auto", "cpu", "cuda", or ONNX Runtime's own list.
        batch_size: samples per run. None takes all at once, or as many as a model of fixed batch size takes. For methods that
            need forward passes only: how many perturbed copies run at a time.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        labels: names of the classes, for pictures and tables.
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
        expose: Sequence[str] = (),
        **options: Any,
    ) -> None:
        request = Request.of(
            method, options=options, registry=load_registry(rules), output=output, inputs=inputs, layer=layer, baseline=baseline,
            score=score, sample_axis=sample_axis, mask=mask, expose=expose,
        )  # fmt: skip
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size must be at least 1, not {batch_size}")
        self._begin(model, request, RunSettings(providers, threads, batch_size, progress, trust), labels)

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
        made._begin(model, request, running or RunSettings(), labels)
        return made

    def _begin(self, model: ModelLike, request: Request, running: RunSettings, labels: Sequence[str]) -> None:
        source = read(model)
        first_run = FirstRun(source, request, running)
        ready = prepared(replace(source, origin=None), request.registry)
        self._start(ready, request, running, labels, first_run, head_sizes(source.model))

    def _start(
        self, source: Source, request: Request, running: RunSettings, labels: Sequence[str], first_run: FirstRun,
        heads: Mapping[str, int],
    ) -> None:  # fmt: skip
        """Set up for a prepared model."""
        self.method = request.method.name
        self.labels = list(labels)
        self._source, self._request, self._running, self._first_run = source, request, running, first_run
        self._inputs, self._heads = Graph(source.model).inputs, heads
        engine = ForwardEngine if request.method.forward_only else GraphEngine
        self._engine: Engine = engine(source, request, running, first_run)

    def __getstate__(self) -> tuple[Any, ...]:
        """What a pickle or a copy holds: the prepared model and what is asked for. Sessions are made anew."""
        return self._source, self._request, self._running, self.labels, self._first_run, self._heads

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._start(*state)

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

    # -- explaining ----------------------------------------------------------------------------------------------

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
                Of a language model token ids alone will do: nothing is padded then, the past is empty, and `about["filled_in"]`
                names what was made from them.
            target: None for each sample's top prediction, an index, a tuple of one choice per axis, one of these per sample
                (a list or array [n] of indices, a list of n tuples of indices), {index: weight} for a contrast, or "all".
            baseline: the reference input for this batch, where none was given to the Explainer.
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
        engine, axes = self._engine, self._engine.axes
        x, filled = self._filled_in(x)
        feeds = check_inputs(x, self.inputs, nonfinite=engine.nonfinite, axes=axes.of_inputs)
        count = count_samples(axes, feeds)
        kind, chosen = at_run_time(target, cotangent, count, extents_of_a_sample(axes, feeds), axes.reason)
        made = engine.explain(Question(feeds, count, kind, chosen, cotangent, {"baseline": baseline, **run_time}))
        return replace(made, labels=self.labels, about={**made.about, "filled_in": filled} if filled else made.about)

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
            x: the input array [n, …], along some axes larger than the model's input; or a dict with one such array.
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
        if self._engine.overall:
            raise MethodError(f"method '{self.method}' speaks of all samples together, not of windows of one")
        return slide(self, self.inputs, x, target, stride=stride, combine=combine, **run_time)
