"""Operators with a function body in the precision of their inputs, for onnx's reference evaluator: its own compute in
float32.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["WITH_BODY"]

Array: TypeAlias = "np.ndarray[Any, Any]"


class CausalConvWithState(OpRun):
    """A depthwise convolution over the state followed by the input; the state after it is the end of both."""

    def _run(self, x: Array, w: Array, bias: Any = None, state: Any = None, activation: str = "none") -> tuple[Array, ...]:
        size = w.shape[2]
        before = np.zeros((*x.shape[:2], size - 1), x.dtype) if state is None else state
        whole = np.concatenate([before, x], axis=2)
        y = np.zeros_like(x)
        for k in range(size):
            y = y + whole[:, :, k : k + x.shape[2]] * w[:, 0, k, None]
        y = y if bias is None else y + bias[:, None]
        y = y / (1 + np.exp(-y)) if activation in ("silu", "swish") else y
        return y.astype(x.dtype), whole[:, :, whole.shape[2] - (size - 1) :]


class LinearAttention(OpRun):
    """S = e^decay ∘ S, v = β (v − kᵀS) for the delta rules, S += k vᵀ, y = scale · qᵀS, step by step."""

    def _run(
        self, query: Array, key: Array, value: Array, past: Any = None, decay: Any = None, beta: Any = None, **given: Any
    ) -> tuple[Array, ...]:
        heads, kv_heads, (batch, steps, _) = given["q_num_heads"], given["kv_num_heads"], query.shape
        q, k, v = (a.reshape(batch, steps, n, -1) for a, n in ((query, heads), (key, kv_heads), (value, kv_heads)))
        scale = given["scale"] or 1 / np.sqrt(q.shape[-1])
        state = np.zeros((batch, kv_heads, k.shape[-1], v.shape[-1]), query.dtype) if past is None else past
        outputs = []
        for t in range(steps):
            if decay is not None:
                state = state * np.exp(decay[:, t].reshape(batch, kv_heads, -1, 1))
            new = v[:, t]
            if beta is not None:
                new = beta[:, t, :, None] * (new - np.einsum("bhdm,bhd->bhm", state, k[:, t]))
            state = state + k[:, t, :, :, None] * new[:, :, None, :]
            read = np.repeat(state, heads // kv_heads, axis=1)
            outputs.append(scale * np.einsum("bhd,bhdm->bhm", q[:, t], read).reshape(batch, -1))
        return np.stack(outputs, 1).astype(query.dtype), state.astype(query.dtype if past is None else past.dtype)


class AffineGrid(OpRun):
    """θ·[p, 1] at every point p of a regular grid over [−1, 1] per axis; p is in the order x, y, z."""

    def _run(self, theta: Array, size: Array, align_corners: int = 0) -> tuple[Array, ...]:
        extents = [int(n) for n in size[2:]]
        axes = [np.linspace(-1, 1, n) if align_corners else (2 * np.arange(n) + 1) / n - 1 for n in extents]
        points = np.stack([*np.meshgrid(*axes, indexing="ij")[::-1], np.ones(extents)], axis=-1)
        return (np.einsum("nij,...j->n...i", theta, points).astype(theta.dtype),)


WITH_BODY: list[type[OpRun]] = [AffineGrid, CausalConvWithState, LinearAttention]
