"""Which tensor of the model is explained: the output itself, or what goes into its final softmax, sigmoid or rounding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.analysis.probabilities import probabilities_of
from onnxplain.errors import LayerError, nearest
from onnxplain.ir.graph import Graph
from onnxplain.ir.markers import LOGITS, UNROUNDED
from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["DERIVED", "SCORES", "Score", "before_derived", "derived_name", "find_score"]

DERIVED = ("log-probability", "entropy", "loss")
"""Scores that a model does not compute itself: a pass appends them, in the shape of the logits."""

SCORES = ("logit", "probability", *DERIVED)
"""What of an output can be explained."""

TRANSPARENT = {("", "Identity"), ("ai.onnx.ml", "ZipMap")}
"""Operators that pass the score on as it is."""


# operators: those by which ensembles and windows average their probabilities, or add them up
MIXTURES, SCALINGS = ("Add", "GlobalAveragePool", "Mean", "ReduceMean", "ReduceSum", "Sum"), ("Div", "Mul")


@dataclass(frozen=True)
class Score:
    """The tensor that is explained.

    Attributes:
        tensor: the tensor.
        output: the model's output that it belongs to.
        kind: "logit" where a final activation was left out, one of `DERIVED` where it was appended, else "output".
        activation: the final activation that was left out.
        ranked: the prediction itself, in the same shape, which decides which element is the top one.
        logits: of one of `DERIVED`, what it is computed of; None elsewhere.
        mixes: the node that averages or adds up probabilities, which then have no logit of their own; None elsewhere.
    """

    tensor: Tensor
    ranked: Tensor
    output: str
    kind: str
    activation: str = ""
    logits: Tensor | None = None
    mixes: Node | None = None


def find_score(graph: Graph, output: str | None, score: str = "logit") -> Score:
    """The explained tensor.

    Args:
        graph: the model.
        output: an output or any tensor of the model; None for the first output that carries floating-point scores.
        score: "logit" goes before a final Softmax, LogSoftmax or Sigmoid, and before a final rounding to integers, where a
            score beyond their range has a derivative still; "probability" explains the output as is; those `DERIVED` are
            found once they were appended (`onnxplain.passes.derived_score`).

    Raises:
        LayerError: no such output, or none that carries floating-point scores.
    """
    if score not in SCORES:
        raise LayerError(f"score must be {', '.join(map(repr, SCORES[:-1]))} or '{SCORES[-1]}', not '{score}'")
    if score in DERIVED:
        logit = find_score(graph, output, "logit")
        name = derived_name(logit.output, score)
        made = next(node for node in graph.nodes if node.name == name)
        return Score(made.y, logit.ranked, logit.output, score, logits=logit.tensor)
    named, tensor = _prediction(graph, output)
    maker = graph.producer(_before_rounding(graph, tensor))
    if score == "logit" and maker is not None:
        if standard_traits(maker).of_logits and maker.x.is_float:
            return Score(_before_rounding(graph, maker.x), tensor, named.name, "logit", maker.op)
        for logits in (f"{tensor.name}{LOGITS}", f"{named.name}{LOGITS}"):
            if graph.has_tensor(logits):
                return Score(graph.tensor(logits), tensor, named.name, "logit", _activation(graph, tensor))
    explained = _before_rounding(graph, tensor) if score == "logit" else tensor
    return Score(explained, tensor, named.name, "output", mixes=_mixing(graph, explained) if score == "logit" else None)


def before_derived(score: str) -> str:
    """The score that tells the same axes and the same elements before anything is appended."""
    return "logit" if score in DERIVED else score


def derived_name(output: str, score: str) -> str:
    """The name of the node that computes a score which was appended for an output."""
    return f"onnxplain:{score}:{output}"


def _mixing(graph: Graph, tensor: Tensor) -> Node | None:
    """The last node on the way from probabilities to a tensor that averages them or adds them up; None where none does."""
    last: Node | None = None
    seen: set[str] = set()
    pending = [tensor]
    while pending:
        tensor = pending.pop()
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        maker = graph.producer(tensor)
        while maker is not None and not maker.domain and standard_traits(maker).moves_elements == "first":
            maker = graph.producer(maker.x)
        if maker is None or maker.domain:
            continue
        if standard_traits(maker).of_logits:
            return last
        if maker.op in MIXTURES or (maker.op in SCALINGS and graph.is_constant(maker.input(1))):
            last = last or maker
            pending += [t for t in maker.inputs if t is not None]
    return None


def _activation(graph: Graph, tensor: Tensor) -> str:
    """The activation that a tensor's elements come from, through whatever hands them on."""

    def value(t: Tensor | None) -> np.ndarray[Any, Any] | None:
        return None if t is None else graph.value(t)

    view = Dataflow(graph.nodes, graph.nodes, frozenset(), value, graph.is_constant, standard_traits)
    while True:
        maker = graph.producer(tensor)
        assert maker is not None
        if standard_traits(maker).of_logits:
            return maker.op
        if maker.get("post_transform") is not None:
            return "Softmax" if maker["post_transform"] in ("SOFTMAX", 1) else "Sigmoid"
        written = probabilities_of(view, tensor)
        if written is not None:
            return written.kind
        tensor = maker.input(1) if maker.op == "Concat" else maker.x


def _prediction(graph: Graph, output: str | None) -> tuple[Tensor, Tensor]:
    """The output (or inner tensor) the user means, and the tensor that holds its scores."""
    if output is not None:
        if not graph.has_tensor(output):
            raise LayerError(f"no output or tensor '{output}' in the model; {nearest(output, [t.name for t in graph.outputs])}")
        named = graph.tensor(output)
        tensor = _through(graph, named)
        if not tensor.is_float:
            raise LayerError(f"output '{output}' holds {tensor.dtype}, which has no derivative; choose one that holds scores")
        return named, tensor
    for named in graph.outputs:
        tensor = _through(graph, named)
        if tensor.dtype is not None and tensor.is_float:
            return named, tensor
    kinds = ", ".join(f"'{t.name}' ({t.dtype or 'no tensor'})" for t in graph.outputs)
    raise LayerError(f"no output holds floating-point scores: {kinds}; name a tensor to explain with --output")


def _before_rounding(graph: Graph, tensor: Tensor) -> Tensor:
    """What a tensor was before it was quantized and dequantized; the tensor itself where it was not."""
    if graph.has_tensor(f"{tensor.name}{UNROUNDED}"):
        return graph.tensor(f"{tensor.name}{UNROUNDED}")
    reader = graph.producer(tensor)
    writer = graph.producer(reader.x) if reader is not None and reader.op == "DequantizeLinear" else None
    return writer.x if writer is not None and writer.op == "QuantizeLinear" else tensor


def _through(graph: Graph, tensor: Tensor) -> Tensor:
    """The tensor at the start of a chain of operators that keep the order of elements."""
    maker = graph.producer(tensor)
    while maker is not None and (maker.domain, maker.op) in TRANSPARENT:
        tensor = maker.x
        maker = graph.producer(tensor)
    return tensor
