"""Attention of one or several heads from tokens to tokens, in every spelling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.support.linear_cases import random
from tests.support.spellings.kinds import LAST, MS, Spellings
from tests.support.writer import Writer

WIDTH, HEADS, DEPTH = 8, 2, 4
Q, K, V = (random(7, WIDTH, seed=20 + i) * 0.5 for i in range(3))
ROOT = float(np.sqrt(DEPTH))
SPLIT, JOINED = np.array([0, 3, HEADS, DEPTH]), np.array([0, 3, WIDTH])


def _projected(w: Writer, x: str) -> list[str]:
    return [w.MatMul(x, weights) for weights in (Q, K, V)]


def _heads(w: Writer, t: str, perm: tuple[int, ...] = (0, 2, 1, 3)) -> str:
    return str(w.Transpose(w.Reshape(t, SPLIT), perm=perm))


def _joined(w: Writer, t: str) -> str:
    return str(w.Reshape(w.Transpose(t, perm=[0, 2, 1, 3]), JOINED))


def _pytorch(w: Writer, x: str, softmax: Callable[[Writer, str], Any] = lambda w, s: w.Softmax(s, axis=-1)) -> str:
    """nn.MultiheadAttention through the legacy exporter: keys turned, scores divided."""
    q, k, v = _projected(w, x)
    scores = w.Div(w.MatMul(_heads(w, q), _heads(w, k, (0, 2, 3, 1))), ROOT)
    return _joined(w, w.MatMul(softmax(w, scores), _heads(w, v)))


def _dynamo(w: Writer, x: str) -> str:
    """scaled_dot_product_attention: queries and keys take a root of the scale each; rows that are masked out become 0."""
    q, k, v = _projected(w, x)
    queries, keys = w.Mul(_heads(w, q), ROOT**-0.5), w.Mul(w.Transpose(_heads(w, k), perm=[0, 1, 3, 2]), ROOT**-0.5)
    weights = w.Softmax(w.MatMul(queries, keys), axis=-1)
    return _joined(w, w.MatMul(w.Where(w.IsNaN(weights), 0.0, weights), _heads(w, v)))


def _tensorflow(w: Writer, x: str) -> str:
    """Keras: products by Einsum, queries scaled first."""
    q, k, v = (w.Reshape(t, SPLIT) for t in _projected(w, x))
    scores = w.Einsum(k, w.Mul(q, 1 / ROOT), equation="btnh,bfnh->bnft")
    return str(w.Reshape(w.Einsum(w.Softmax(scores, axis=-1), v, equation="bnft,btnh->bfnh"), JOINED))


def _jax_softmax(w: Writer, s: str) -> str:
    def back(reduced: str) -> str:
        return str(w.Expand(w.Reshape(reduced, np.array([-1, HEADS, 3, 1])), w.Shape(s)))

    e = w.Exp(w.Sub(s, back(w.Max(-np.inf, w.ReduceMax(s, LAST, keepdims=0)))))
    return str(w.Div(e, back(w.ReduceSum(e, LAST, keepdims=0))))


def _paddle(w: Writer, x: str) -> str:
    """Queries scaled, products with turned operands written out."""
    q, k, v = _projected(w, x)
    scores = w.MatMul(w.Mul(_heads(w, q), 1 / ROOT), w.Transpose(_heads(w, k), perm=[0, 1, 3, 2]))
    return _joined(w, w.MatMul(w.Softmax(scores, axis=3), _heads(w, v)))


def _packed(w: Writer, x: str) -> str:
    """One product for queries, keys and values."""
    q, k, v = w.several("Split", 3, w.MatMul(x, np.concatenate([Q, K, V], axis=1)), np.full(3, WIDTH), axis=-1)
    scores = w.Mul(w.MatMul(_heads(w, q), _heads(w, k, (0, 2, 3, 1))), 1 / ROOT)
    return _joined(w, w.MatMul(w.Softmax(scores, axis=-1), _heads(w, v)))


def _fused(w: Writer, x: str) -> str:
    """com.microsoft.Attention: weights and a bias of all three."""
    return str(w.Attention(x, np.concatenate([Q, K, V], axis=1), np.zeros(3 * WIDTH), num_heads=HEADS, domain=MS))


def _multi_head(w: Writer, x: str) -> str:
    return str(w.MultiHeadAttention(*_projected(w, x), num_heads=HEADS, domain=MS))


def _fused_products(w: Writer, x: str) -> str:
    """Scale and turn within the product, as ONNX Runtime's optimizer leaves them."""
    q, k, v = (_heads(w, t) for t in _projected(w, x))
    scores = w.FusedMatMul(q, k, transB=1, alpha=1 / ROOT, domain=MS)
    return _joined(w, w.MatMul(w.Softmax(scores, axis=-1), v))


ATTENTION: Spellings = {
    "PyTorch, legacy": _pytorch,
    "PyTorch, dynamo": _dynamo,
    "TensorFlow": _tensorflow,
    "JAX": lambda w, x: _pytorch(w, x, _jax_softmax),
    "Paddle": _paddle,
    "packed": _packed,
    "ONNX Runtime, Attention": _fused,
    "ONNX Runtime, MultiHeadAttention": _multi_head,
    "ONNX Runtime, FusedMatMul": _fused_products,
}
