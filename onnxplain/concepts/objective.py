"""The objective of a search as one ONNX model: [decoder →] model [→ logarithm of the probabilities]."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import TensorProto, compose, helper, version_converter
from onnx.external_data_helper import load_external_data_for_model

from onnxplain.analysis.score import find_score
from onnxplain.errors import InputError, LayerError, ModelError
from onnxplain.io.reader import ModelLike, read
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.registry import Registry
from onnxplain.ir.tensor import Tensor
from onnxplain.passes import prepared

__all__ = ["Objective", "make_objective"]

DECODER = "decoder/"


@dataclass(frozen=True)
class Objective:
    """`model` maps `free`, what the search changes, to `score`, whose elements are the classes' log-probabilities or scores.

    `picture` is the input of the classifier, made by the decoder where there is one.
    """

    model: onnx.ModelProto
    free: Tensor
    picture: Tensor
    score: str


def make_objective(model: ModelLike, decoder: ModelLike | None, output: str | None, score: str, registry: Registry) -> Objective:
    """Compose it.

    Args:
        model: the classifier, of one floating-point input.
        decoder: a model with one input, the code, and one output that fits the classifier's input.
        output: the classifier's output; None for the first that carries scores.
        score: "log-probability" or "logit".

    Raises:
        InputError: the models have other inputs or outputs, or they do not fit each other.
        LayerError: the output is no vector of class scores, for log-probabilities.
    """
    made = _whole(model, registry)
    graph = Graph(made)
    picture = _only_input(graph, "the model")
    scored = find_score(graph, output, "logit")
    name = scored.tensor.name
    if score == "log-probability":
        name = _log_probability(made, graph, scored.tensor, scored.activation)
    if decoder is None:
        return Objective(made, picture, picture, name)
    generator = _whole(decoder, registry)
    inner = Graph(generator)
    code = _only_input(inner, "the decoder")
    if len(inner.outputs) != 1:
        raise InputError(
            f"a decoder has one output, this one has {len(inner.outputs)}: {', '.join(t.name for t in inner.outputs)}"
        )
    _check_fit(inner.outputs[0], picture)
    generator, made = _same_version(generator, made)
    whole = compose.merge_models(
        generator, made, io_map=[(inner.outputs[0].name, picture.name)], prefix1=DECODER
    )  # fmt: skip
    shown = Graph(whole).tensor(DECODER + inner.outputs[0].name)
    return Objective(whole, Graph(whole).tensor(DECODER + code.name), shown, name)


def _whole(model: ModelLike, registry: Registry) -> onnx.ModelProto:
    """The prepared model with its external weights in itself, for they may lie in several folders."""
    source = prepared(read(model), registry)
    if source.folder is not None:
        load_external_data_for_model(source.model, str(source.folder))
    return source.model


def _only_input(graph: Graph, what: str) -> Tensor:
    if len(graph.inputs) != 1:
        names = ", ".join(f"'{t.name}'" for t in graph.inputs)
        raise InputError(f"a prototype is searched over one input; {what} has {len(graph.inputs)}: {names}")
    found = graph.inputs[0]
    if not found.is_float:
        raise InputError(f"a prototype is searched over real numbers; input '{found.name}' of {what} holds {found.dtype}")
    if not found.shape or not all(isinstance(d, int) for d in found.shape[1:]):
        raise InputError(
            f"the extents of '{found.name}' {named_dims(found)} behind the samples must be numbers; export {what} with fixed ones"
        )
    return found


def _log_probability(model: onnx.ModelProto, graph: Graph, score: Tensor, activation: str) -> str:
    """Append the logarithm of the probabilities that the scores stand for."""
    if score.shape is None or len(score.shape) != 2:
        raise LayerError(
            f"log-probabilities need scores [samples, classes], '{score.name}' is {named_dims(score)}: use score='logit'"
        )
    name = graph.fresh("log_probability")
    if activation == "Sigmoid":  # log σ(z) = -softplus(-z)
        minus, soft = graph.fresh("minus_score"), graph.fresh("minus_log_probability")
        nodes = [
            helper.make_node("Neg", [score.name], [minus], name=minus),
            helper.make_node("Softplus", [minus], [soft], name=soft),
            helper.make_node("Neg", [soft], [name], name=name),
        ]
    elif score.shape[1] == 1:
        raise LayerError(f"'{score.name}' is a single score and no sigmoid follows it: use score='logit'")
    else:
        nodes = [helper.make_node("LogSoftmax", [score.name], [name], name=name, axis=-1)]
    model.graph.node.extend(nodes)
    kind = helper.np_dtype_to_tensor_dtype(score.dtype) if score.dtype is not None else TensorProto.FLOAT
    model.graph.output.append(helper.make_tensor_value_info(name, kind, [*score.shape]))
    return name


def _check_fit(made: Tensor, taken: Tensor) -> None:
    fits = made.dtype == taken.dtype and (
        made.shape is None
        or taken.shape is None
        or (
            len(made.shape) == len(taken.shape)
            and all(
                a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(made.shape, taken.shape, strict=True)
            )
        )
    )
    if not fits:
        raise InputError(
            f"the decoder makes {named_dims(made)} of {made.dtype}, "
            f"but input '{taken.name}' takes {named_dims(taken)} of {taken.dtype}"
        )


def _same_version(first: onnx.ModelProto, second: onnx.ModelProto) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Both at the newer operator set of the two, as composing needs."""
    versions = [{o.domain or "ai.onnx": o.version for o in m.opset_import} for m in (first, second)]
    newest = max(v.get("ai.onnx", 0) for v in versions)
    try:
        first, second = (
            m if v.get("ai.onnx") == newest else version_converter.convert_version(m, newest)
            for m, v in zip((first, second), versions, strict=True)
        )
    except RuntimeError as error:
        raise ModelError(f"decoder and model have different operator sets, and raising one failed: {error}") from error
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    return first, second
