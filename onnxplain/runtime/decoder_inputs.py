"""What decoders take beside token ids: masks, positions, lengths and an empty past, made from the ids."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnxplain.errors import InputError
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.tensor import Tensor

__all__ = ["PAST", "TOKENS", "decoder_inputs", "head_sizes", "presents"]

Array = np.ndarray[Any, Any]

TOKENS = "input_ids"
"""What exporters call the input of token ids."""
PAST = re.compile(r"^(past_key_values|past|past_key_value)\.")
"""What the names of inputs begin with that hold keys and values of earlier tokens."""


def decoder_inputs(
    wanted: Sequence[Tensor], ids: Array, heads: Mapping[str, int] | None = None, *, past: int = 0
) -> dict[str, Array]:
    """The inputs of a decoder that is given these tokens: nothing is padded.

    Args:
        wanted: the inputs of the model, one of them called `input_ids`.
        ids: the ids of all tokens, [samples, tokens].
        heads: the size of a head by name of a past input, where the input's own shape leaves it open (`head_sizes`).
        past: how many of the tokens, from the first on, the decoder has keys and values of already, which are not made here. A
            past input among those wanted is empty.

    Returns:
        An array for each input.

    Raises:
        InputError: an input is of a kind that does not follow from the ids.
    """
    count, length = ids.shape
    known = {
        TOKENS: ids[:, past:],
        "attention_mask": np.ones((count, length)),
        "position_ids": np.tile(np.arange(past, length), (count, 1)),
        "token_type_ids": np.zeros((count, length - past)),
        "cache_position": np.arange(past, length),
        "use_cache_branch": np.array([past > 0]),
        "seqlens_k": np.full(count, length - 1),
        "past_sequence_length": np.array([past]),
        "total_sequence_length": np.array([length]),
    }
    made: dict[str, Array] = {}
    for tensor in wanted:
        value = known.get(tensor.name)
        if value is None and PAST.match(tensor.name):
            value = _empty_past(tensor, count, heads or {})
        if value is None:
            raise InputError(
                f"input '{tensor.name}' {named_dims(tensor)} does not follow from token ids: hand over a dict of all inputs"
            )
        rank = value.ndim if tensor.shape is None else len(tensor.shape)
        shape = value.shape if rank == value.ndim else (-1, *(1 for _ in range(rank - 1))) if rank else ()
        made[tensor.name] = np.asarray(value.reshape(shape), dtype=tensor.dtype, order="C")
    return made


def _empty_past(tensor: Tensor, count: int, heads: Mapping[str, int]) -> Array:
    """Keys or values [samples, heads, 0, size of a head]."""
    if tensor.shape is None or len(tensor.shape) != 4:
        raise InputError(
            f"past input '{tensor.name}' {named_dims(tensor)} has not the four axes of keys and values: hand it over"
        )
    size = tensor.shape[3] if isinstance(tensor.shape[3], int) else heads.get(tensor.name)
    if not isinstance(size, int) or not isinstance(tensor.shape[1], int):
        raise InputError(
            f"nothing tells the size of a head of past input '{tensor.name}' {named_dims(tensor)}: hand it over, empty"
        )
    return np.zeros((count, tensor.shape[1], 0, size))


def head_sizes(model: onnx.ModelProto) -> dict[str, int]:
    """The size of a head, by name of the past inputs of GroupQueryAttention: the width of keys by their number of heads.

    Args:
        model: as it lies in its file.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    weights = {w.name: list(w.dims) for w in model.graph.initializer}
    found: dict[str, int] = {}
    for node in model.graph.node:
        if node.op_type != "GroupQueryAttention" or len(node.input) < 5:
            continue
        heads, groups = (_attribute(node, name) for name in ("num_heads", "kv_num_heads"))
        packed = not node.input[1]
        width = _width(node.input[0 if packed else 1], makers, weights)
        many = (heads or 0) + 2 * (groups or 0) if packed else groups
        if width and many:
            found |= dict.fromkeys((name for name in node.input[3:5] if name), width // many)
    return found


def _attribute(node: onnx.NodeProto, name: str) -> int | None:
    return next((int(a.i) for a in node.attribute if a.name == name), None)


def _width(name: str, makers: Mapping[str, onnx.NodeProto], weights: Mapping[str, list[int]]) -> int | None:
    """The last extent of a tensor, from the weight of the linear map that it comes from."""
    while name in makers:
        node = makers[name]
        if node.op_type == "MatMulNBits":
            return _attribute(node, "N")
        if node.op_type == "MatMul" and node.input[1] in weights:
            return weights[node.input[1]][-1]
        name = node.input[0]
    return None


def presents(graph: Graph) -> dict[str, str]:
    """The outputs that hold keys and values for the next step, by the past inputs they become; empty where one is missing."""
    outputs = {t.name for t in graph.outputs}
    found = {}
    for tensor in graph.inputs:
        if PAST.match(tensor.name):
            rest = PAST.sub("", tensor.name)
            name = next((n for n in (f"present.{rest}", f"present_key_values.{rest}") if n in outputs), None)
            if name is None:
                return {}
            found[tensor.name] = name
    return found
