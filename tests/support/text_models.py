"""Small models that take tokens: a classifier, and a language model that looks back only."""

from __future__ import annotations

import numpy as np
import onnx

from tests.support.models import model, node

__all__ = ["classifier", "language_model"]

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
