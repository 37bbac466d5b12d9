"""Small models that take tokens: a classifier, and a language model that looks back only."""

from __future__ import annotations

import numpy as np
import onnx

from tests.support.models import model, node

__all__ = ["cached_language_model", "classifier", "language_model", "looking_ahead", "with_softmax"]

INT = onnx.TensorProto.INT64


def _table(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


def classifier(rows: int, classes: int = 3) -> onnx.ModelProto:
    """The mean of the embeddings of attended tokens, times a matrix: linear in every embedding."""
    nodes = [
        node("Gather", "table input_ids", "rows"),
        node("Cast", "attention_mask", "mask", to=1),
        node("Unsqueeze", "mask last", "wide"),
        node("Mul", "rows wide", "kept"),
        node("ReduceSum", "kept one", "total", keepdims=0),
        node("MatMul", "total weight", "scores"),
    ]
    weights = {"table": _table(rows, 4, 0), "weight": _table(4, classes, 1), "last": np.array([-1]), "one": np.array([1])}
    inputs = {"input_ids": ["batch", "tokens"], "attention_mask": ["batch", "tokens"]}
    return model(nodes, inputs, {"scores": ["batch", classes]}, weights, kinds=dict.fromkeys(inputs, INT))


def language_model(rows: int) -> onnx.ModelProto:
    """Sums of the embeddings so far, times the table: a score for every token after every position."""
    nodes = [
        node("Gather", "table input_ids", "rows"),
        node("CumSum", "rows axis", "sums"),
        node("MatMul", "sums weight", "logits"),
    ]
    weights = {"table": _table(rows, 4, 0), "weight": _table(4, rows, 1), "axis": np.array(1)}
    made = {"logits": ["batch", "tokens", rows]}
    return model(nodes, {"input_ids": ["batch", "tokens"]}, made, weights, kinds={"input_ids": INT})


def cached_language_model(rows: int, *, told: bool) -> onnx.ModelProto:
    """A language model with positions and a cache of embeddings; where it starts is told by an input, or follows from the cache."""
    nodes = [
        node("Gather", "table input_ids", "own"),
        node("Shape", "input_ids", "length", start=1, end=2),
        node("Squeeze", "length", "new"),
        node("Shape", "past_key_values.0.key", "cached", start=2, end=3),
        node("Squeeze", "past_sequence_length" if told else "cached", "first"),
        node("Add", "first new", "end"),
        node("Range", "first end step", "places"),
        node("Gather", "places_table places", "placed"),
        node("Add", "own placed", "rows"),
        node("Unsqueeze", "rows one", "wide"),
        node("Concat", "past_key_values.0.key wide", "present.0.key", axis=2),
        node("CumSum", "present.0.key axis", "sums"),
        node("Slice", "sums cached far two", "recent"),
        node("Squeeze", "recent one", "flat"),
        node("MatMul", "flat weight", "logits"),
    ]
    weights = {
        "table": _table(rows, 4, 0), "places_table": _table(64, 4, 3), "weight": _table(4, rows, 1), "step": np.array(1),
        "one": np.array([1]), "axis": np.array(2), "far": np.array([10**6]), "two": np.array([2]),
    }  # fmt: skip
    inputs: dict[str, list[str | int]] = {"input_ids": ["batch", "tokens"], "past_key_values.0.key": ["batch", 1, "past", 4]}
    if told:
        inputs["past_sequence_length"] = [1]
    made = {"logits": ["batch", "tokens", rows], "present.0.key": ["batch", 1, "total", 4]}
    return model(nodes, inputs, made, weights, kinds=dict.fromkeys(("input_ids", "past_sequence_length"), INT))


def with_softmax(made: onnx.ModelProto) -> onnx.ModelProto:
    """The same language model with probabilities in place of logits."""
    made.graph.node[-1].name = made.graph.node[-1].output[0] = "z"
    made.graph.node.append(node("Softmax", "z", "logits", axis=-1))
    return made


def looking_ahead(rows: int) -> onnx.ModelProto:
    """A score for every token after every position, from the tokens on both sides: no language model that was trained to go on."""
    nodes = [
        node("Gather", "table input_ids", "rows"),
        node("ReduceSum", "rows one", "all", keepdims=1),
        node("Add", "rows all", "both"),
        node("MatMul", "both weight", "logits"),
    ]
    weights = {"table": _table(rows, 4, 0), "weight": _table(4, rows, 1), "one": np.array([1])}
    made = {"logits": ["batch", "tokens", rows]}
    return model(nodes, {"input_ids": ["batch", "tokens"]}, made, weights, kinds={"input_ids": INT})
