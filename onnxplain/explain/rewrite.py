"""rewrite: a model in, a model out that also returns its explanation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx

from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike
from onnxplain.analysis.target import TargetLike
from onnxplain.explain.detecting.candidates import detecting
from onnxplain.explain.detecting.detector import Detector
from onnxplain.explain.emit import emit
from onnxplain.explain.prepare import prepare_source
from onnxplain.explain.request import Request
from onnxplain.explain.select import select
from onnxplain.explain.write import Rewritten, lower, tell, write
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.ir.gc import collector_at_rest
from onnxplain.ir.registry import load_registry
from onnxplain.method.context import Baseline
from onnxplain.method.masks import Masks
from onnxplain.passes import prepared
from onnxplain.propagation.observer import Observer
from onnxplain.runtime.guarded import guarded

__all__ = ["rewrite", "rewrite_source"]


@guarded
def rewrite(
    model: ModelLike,
    method: str = "gradient",
    *,
    target: TargetLike = None,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    layer: str | Sequence[str] | None = None,
    baseline: Baseline = None,
    score: str = "logit",
    sample_axis: SampleAxisLike = AUTO,
    mask: Masks | None = None,
    only_attribution: bool = False,
    batch_size: int | None = None,
    detect: str | Detector | None = None,
    rules: str | Path | Iterable[str | Path] | None = None,
    **options: Any,
) -> onnx.ModelProto:
    """Write a model that returns its prediction and its explanation.

    The backward pass (or the repeated forward passes) of the method become nodes of the graph. What is added holds
    standard operators only, and of the model's own those that round (docs/prediction.md): the result runs wherever ONNX Runtime
    runs the model; docs/contract.md says what a host may rely on.

    Args:
        model: a path, the bytes of a file, or a ModelProto, which is left as it is.
        method: a name from `onnxplain.methods()`.
        target: what to explain. None: each sample's top prediction. An index. A tuple with one choice per axis of the output,
            where ":" sums over an axis and "top" takes the greatest. {index: weight}: a contrast. "all": every element.
            "input": one index per sample, given at run time. "cotangent": an arbitrary vector, given at run time.
        output: the output (or inner tensor) to explain; None for the first one that carries scores.
        inputs: the inputs to explain; None for all that the output depends on.
        layer: explain inner tensors instead of inputs: tensor names, node names, operators with their number ("Conv:-1"), or
            module scopes. Methods that need a layer besides the inputs take it from here (`onnxplain methods NAME` says so).
        baseline: the reference input, for methods that compare with one: a number, an array, "input" for one given at run
            time, or a mapping from input names to these.
        score: "logit" explains what goes into a final softmax or sigmoid, "probability" the output as it is. What follows is
            computed of the logits, of every class: "log-probability"; "loss", its negative, the cross-entropy where the target
            is the true class; "entropy", that of the whole distribution whichever the class.
        sample_axis: which axis counts samples: {name: axis or None} for inputs and outputs, or one axis (or None) for all inputs.
            What is not said follows from it. "auto" takes what the dataflow proves, and what symbols or a fixed batch tell.
        mask: what may pass at a layer, by the layer's name: the numbers of the channels to keep, an array to multiply with, or
            "input" for one given at run time.
        only_attribution: leave the model's own outputs out, for hosts that have the prediction already.
        batch_size: samples per run. The file then loops over the batch, so many samples at a time, which bounds its memory but
            not the size of a batch. None runs all samples at once.
        detect: of a detector how it tells what it finds, as in `Explainer`. The file then has two more outputs, `detection_boxes`
            [samples, candidates, 4] and `detection_scores` [samples, candidates, classes]; targets are elements of the second,
            candidate · classes + class where they are given at run time.
        rules: folders with rule files of your own.
        **options: the method's own options; `onnxplain methods NAME` lists them.

    Returns:
        The explained model. Its inputs are the model's own, then those that the target, the baseline or an option asks for at
        run time. Its outputs are the model's own, then one `<name>_attribution` per explained tensor in the tensor's shape and
        type. With target="all" an attribution has one more axis, after that of the samples, which counts the targets.

    Raises:
        OnnxplainError: one of its subclasses. The message says what was expected, what was found and what to do.

    Example:
        >>> from onnxplain import rewrite
        >>> explained = rewrite("fixtures/digits/model.onnx", "saliency", target="input")
        >>> [i.name for i in explained.graph.input]
        ['image', 'target']
        >>> [o.name for o in explained.graph.output]
        ['logits', 'image_attribution']
    """
    source = read(model, hold=True)
    request = Request.for_graph(
        method, options=options, registry=load_registry(rules), target=target, output=output, inputs=inputs, layer=layer,
        baseline=baseline, score=score, sample_axis=sample_axis, mask=mask, batch_size=batch_size,
        only_attribution=only_attribution,
    )  # fmt: skip
    if detect is not None:
        detector = Detector(detect) if isinstance(detect, str) else detect
        source, request, _ = detecting(prepared(source, request.registry), request, detector, [])
    return rewrite_source(source, request, whole=True).model


@guarded
@collector_at_rest
def rewrite_source(source: Source, request: Request, *, observer: Observer | None = None, whole: bool = False) -> Rewritten:
    """As `rewrite`, for a model already read, which is used up.

    Args:
        source: the model, prepared or not.
        request: what is to be explained.
        observer: is told of every node of the backward pass, and may report more.
        whole: whether weights held in the model's file are put into the result.

    Raises: as `rewrite`.
    """
    prepared = prepare_source(source, request)
    selection = select(prepared)
    emission = emit(prepared.request, selection, observer)
    lowered = lower(emission)
    written = write(lowered, prepared, whole=whole)
    return tell(written, prepared.request)
