"""A model's layers of learned weights, and copies of it with some of them drawn anew."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from onnxplain.evaluation.data import Data
from onnxplain.io.reader import Source
from onnxplain.ir.edit import alive
from onnxplain.ir.ops import traits_of
from onnxplain.passes import prepared
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import LIMIT

__all__ = ["DRAWS", "LearnedLayer", "layers_of", "oversized", "prepared_model", "randomised", "redrawn", "with_values"]

DRAWS = {
    "normal": "from a normal distribution of the tensor's own mean and deviation",
    "shuffle": "the tensor's own values in random order",
}


@dataclass(frozen=True)
class LearnedLayer:
    """One application of learned weights: the node's name, and the initializers that hold weights and biases."""

    name: str
    parameters: tuple[str, ...]


def prepared_model(data: Data) -> onnx.ModelProto:
    """The model in the form that is explained, its weights within it."""
    made = Source(data.model(), None, data.source.digest, data.source.name)
    return prepared(made, data.request.registry).model


def oversized(data: Data) -> str | None:
    """Why a changed copy of the model cannot be made, None where it can: its weights would have to lie in one message."""
    total = sum(int(np.prod(t.dims)) * _itemsize(t.data_type) for t in data.source.model.graph.initializer)
    if total <= LIMIT:
        return None
    return f"makes changed copies of the model, of at most {LIMIT / 1e9:.3g} GB of weights, and this one has {total / 1e9:.3g} GB"


def _itemsize(data_type: int) -> int:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).itemsize


def layers_of(data: Data) -> list[LearnedLayer]:
    """The layers that the explained score depends on, the input first; weights used twice belong to their first use."""
    scorer = data.scoring.forward
    graph = scorer.graph.model.graph
    nodes = alive(list(graph.node), [scorer.score.tensor.name])
    big = {t.name for t in graph.initializer if len(t.dims) and int(np.prod(t.dims)) > 1 and _is_number(t.data_type)}
    makers = {node.output[0]: node for node in nodes if _hands_on(node)}
    behind = {name: node for node in nodes if node.op_type == "Add" for name in node.input}

    def root(name: str) -> str:
        while name in makers:
            name = makers[name].input[0]
        return name

    found, seen = [], set[str]()
    for node in nodes:
        slots = traits_of(node.op_type, node.domain).parameters
        mine = [root(node.input[i]) for i in slots if i < len(node.input)]
        if big.intersection(mine) and node.output[0] in behind:
            mine += [root(name) for name in behind[node.output[0]].input]
        fresh = tuple(name for name in dict.fromkeys(mine) if name in big and name not in seen)
        if fresh:
            seen.update(fresh)
            found.append(LearnedLayer(node.name or node.output[0], fresh))
    return found


def _hands_on(node: onnx.NodeProto) -> bool:
    """Whether a node may lie between weights and the operator that takes them."""
    facts = traits_of(node.op_type, node.domain)
    return facts.moves_elements == "first" or facts.recodes or facts.quantizes


def _is_number(data_type: int) -> bool:
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(data_type)).kind not in "OUSb"


def redrawn(values: Array, draw: str, random: np.random.Generator) -> Array:
    """New weights in the shape and type of others; integers (quantized weights) are always shuffled."""
    plain = values.astype(np.float64) if values.dtype.kind not in "iu" else values
    if draw == "shuffle" or values.dtype.kind in "iu":
        return np.asarray(random.permutation(plain.ravel()).reshape(values.shape), values.dtype)
    return np.asarray(random.normal(plain.mean(), plain.std(), values.shape), values.dtype)


def with_values(model: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    """The model with other values in some initializers, in place."""
    for tensor in model.graph.initializer:
        if tensor.name in values:
            old, name = numpy_helper.to_array(tensor), tensor.name
            tensor.CopyFrom(numpy_helper.from_array(np.asarray(values[name], old.dtype).reshape(old.shape), name))
    return model


def randomised(data: Data, parameters: Iterable[str], draw: str) -> onnx.ModelProto:
    """A copy of the model with some parameters drawn anew: each one's draw is its own, whatever else is drawn."""
    model, wanted = prepared_model(data), set(parameters)
    made = {}
    for tensor in model.graph.initializer:
        if tensor.name in wanted:
            random = np.random.default_rng([data.seed, zlib.crc32(b"weights"), zlib.crc32(tensor.name.encode())])
            made[tensor.name] = redrawn(numpy_helper.to_array(tensor), draw, random)
    return with_values(model, made)
