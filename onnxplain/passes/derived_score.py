"""Scores that are computed from a model's logits: logarithms of probabilities, losses and entropies, appended to the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import helper

from onnxplain.analysis.positions import find_positions
from onnxplain.analysis.sample_axis import find_sample_axes
from onnxplain.analysis.score import DERIVED, Score, derived_name, find_score
from onnxplain.errors import LayerError
from onnxplain.ir.edit import NodeWriter, names_in
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Dim

__all__ = ["append_score"]


def append_score(model: onnx.ModelProto, output: str | None, score: str) -> bool:
    """Append the nodes that compute a score from the logits, where it is one that models do not compute themselves.

    Of a softmax over classes: the log-probability log softmax(z), the loss −log softmax(z), which is the cross-entropy where the
    target is the true class, and the entropy −Σ p log p of the whole distribution, the same for every class. Of a sigmoid the
    same of each output for itself. They have the shape of the logits, so that targets mean what they mean of these.

    Args:
        model: prepared; changed in place.
        output: as in `onnxplain.analysis.score.find_score`.
        score: what is explained.

    Returns:
        Whether anything was appended.

    Raises:
        LayerError: nothing says which axis of the output counts classes, or it has one class only.
    """
    if score not in DERIVED:
        return False
    graph = Graph(model)
    found = find_score(graph, output, "logit")
    name = derived_name(found.output, score)
    if any(node.name == name for node in model.graph.node):
        return False
    if found.mixes is not None:
        raise LayerError(
            f"'{found.output}' averages probabilities, which have no logits together: explain score='probability', or "
            "output= one of those that are averaged"
        )
    writer = _Writer(model, found, score)
    made = writer.of_outputs(score) if found.activation == "Sigmoid" else writer.of_classes(score, _class_axis(graph, found))
    model.graph.node[-1].name = name
    assert model.graph.node[-1].output[0] == made
    return True


class _Writer:
    """Writes scores of a model's logits z."""

    def __init__(self, model: onnx.ModelProto, found: Score, score: str) -> None:
        self._model, self._logits = model, found.tensor
        self._nodes = NodeWriter(
            names_in(model.graph), f"{found.output}_{score.replace('-', '_')}_", model.graph.node, model.graph.initializer
        )

    def of_outputs(self, score: str) -> str:
        """Of every output for itself, with the probability σ(z)."""
        z = self._logits.name
        if score == "entropy":  # −σ(z) log σ(z) − (1 − σ(z)) log(1 − σ(z)) = softplus(z) − z σ(z)
            return self._op("Sub", self._op("Softplus", z), self._op("Mul", z, self._op("Sigmoid", z)))
        loss = self._op("Softplus", self._op("Neg", z))  # −log σ(z)
        return loss if score == "loss" else self._op("Neg", loss)

    def of_classes(self, score: str, axis: int) -> str:
        """Of classes along an axis, with the probabilities softmax(z)."""
        logarithms = self._op("LogSoftmax", self._logits.name, axis=axis)
        if score == "log-probability":
            return logarithms
        if score == "loss":
            return self._op("Neg", logarithms)
        terms = self._op("Mul", self._op("Exp", logarithms), logarithms)
        reduced = [1 if i == axis else d for i, d in enumerate(self._logits.shape or ())]
        entropy = self._op("Neg", self._op("ReduceSum", terms, [axis], shape=reduced, keepdims=1), shape=reduced)
        shape = self._op("Shape", logarithms, shape=(len(self._logits.shape or ()),), kind=onnx.TensorProto.INT64)
        return self._op("Expand", entropy, shape)

    def _op(self, op: str, *inputs: Any, shape: Sequence[Dim] | None = None, kind: int = 0, **attributes: Any) -> str:
        """Append a node; its output is like the logits where nothing else is said."""
        name, like = self._nodes.op(op, *inputs, **attributes), self._logits
        own = helper.np_dtype_to_tensor_dtype(like.dtype) if like.dtype is not None else onnx.TensorProto.FLOAT
        extents = like.shape if shape is None else shape
        info = helper.make_tensor_value_info(name, kind or own, None if extents is None else list(extents))
        self._model.graph.value_info.append(info)
        return name


def _class_axis(graph: Graph, found: Score) -> int:
    """The axis that counts classes: that of the final softmax, of scores [samples, classes] or of a language model the last.

    Raises:
        LayerError: it is none of these, or there is one class.
    """
    logits, shape = found.tensor, found.tensor.shape
    if shape is None:
        raise LayerError(f"the rank of '{logits.name}' is unknown; re-export the model with shape information")
    maker = graph.producer(found.ranked)
    if found.activation and maker is not None and standard_traits(maker).of_logits and maker.x == logits:
        axis = int(maker["axis"])
    elif len(shape) == 2 or find_positions(graph, logits, find_sample_axes(graph, found)) is not None:
        axis = -1
    else:
        raise LayerError(
            f"nothing says which axis of '{logits.name}' {named_dims(logits)} counts classes; name an output behind a softmax, "
            "or explain score='logit'"
        )
    if shape[axis] == 1:
        raise LayerError(f"'{logits.name}' {named_dims(logits)} is a single score, and no sigmoid follows it: use score='logit'")
    return axis % len(shape)
