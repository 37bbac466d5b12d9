"""rewrite: a model in, a model out that also returns its explanation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import onnx

from onnxplain.analysis.target import TargetLike
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
from onnxplain.propagation.observer import Observer

__all__ = ["rewrite", "rewrite_source"]


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
    mask: Masks | None = None,
    only_attribution: bool = False,
    batch_size: int | None = None,
    rules: str | Path | Iterable[str | Path] | None = None,
    **options: Any,
) -> onnx.ModelProto:
    """Write a model that returns its prediction and its explanation.

    Args:
        model: a path, the bytes of a file, or a ModelProto (left as it is).
        method: a name from `onnxplain.methods()`.
        target: what to explain: None for each sample's top prediction, an index, a tuple of one choice per axis
            (":" sums over an axis, "top" takes the greatest), {index: weight} for a contrast, "all" for every element,
            "input" for an index per sample given at run time, "seed" for an arbitrary vector given at run time.
        output: the output (or inner tensor) to explain; None for the first that carries scores.
        inputs: the inputs to explain; None for all that the output depends on.
        layer: explain inner tensors instead: tensor names, node names, operators with their number ("Conv:-1"), or module
            scopes. Methods that need a layer beside the inputs take it from here (`onnxplain methods NAME` says so).
        baseline: the reference input of methods that compare with one: a number, an array, "input" for one given at run
            time, or a mapping from input names to these.
        score: "logit" explains what goes into a final softmax or sigmoid, "probability" the output as it is.
        only_attribution: leave the model's own outputs out, for hosts that have the prediction already.
        batch_size: samples per run: the file takes them through the model so many at a time, in a Loop of its own, so that this
            bounds its memory, not the batch; None runs them all at once.
        rules: folders with rules of your own.
        mask: by layer, what may pass there: the numbers of the channels to keep, an array to multiply with, or "input" for
            one given at run time.
        **options: the method's own options.

    Returns:
        The explained model: inputs and outputs of the original, then one `<name>_attribution` per explained tensor in the
        tensor's shape and type (for target="all" with one more axis after the samples, counting the targets).

    Raises:
        OnnxplainError: one of its kinds, with what was expected, what was found and what to do.
    """
    source = read(model, hold=True)
    request = Request.for_graph(
        method, options=options, registry=load_registry(rules), target=target, output=output, inputs=inputs, layer=layer,
        baseline=baseline, score=score, mask=mask, batch_size=batch_size, only_attribution=only_attribution,
    )  # fmt: skip
    return rewrite_source(source, request, whole=True).model


@collector_at_rest
def rewrite_source(source: Source, request: Request, *, observer: Observer | None = None, whole: bool = False) -> Rewritten:
    """As `rewrite`, for a model already read, which is used up.

    Args:
        source: the model, prepared or not.
        request: what is to be explained.
        observer: is told of every call of the backward pass, and may report more.
        whole: whether weights held in the model's file are put into the result.

    Raises: as `rewrite`.
    """
    prepared = prepare_source(source, request)
    selection = select(prepared)
    emission = emit(prepared.request, selection, observer)
    lowered = lower(emission)
    written = write(lowered, prepared, whole=whole)
    return tell(written, prepared.request)
