"""LSTM, GRU and RNN with every attribute, for onnx's reference evaluator: its own know neither sequence lengths, nor clip,
nor other activations than the usual ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from onnx.reference.op_run import OpRun

__all__ = ["RECURRENT"]

Array: TypeAlias = "np.ndarray[Any, Any]"

Function: TypeAlias = "Callable[[Array], Array]"

ACTIVATIONS: dict[str, tuple[Callable[[Array, Any, Any], Array], float | None, float | None]] = {
    "sigmoid": (lambda z, a, b: 1 / (1 + np.exp(-z)), None, None),
    "tanh": (lambda z, a, b: np.tanh(z), None, None),
    "relu": (lambda z, a, b: np.maximum(z, 0), None, None),
    "softsign": (lambda z, a, b: z / (1 + np.abs(z)), None, None),
    "softplus": (lambda z, a, b: np.logaddexp(z, 0), None, None),
    "elu": (lambda z, a, b: np.where(z > 0, z, a * np.expm1(np.minimum(z, 0))), 1.0, None),
    "leakyrelu": (lambda z, a, b: np.where(z > 0, z, a * z), 0.01, None),
    "thresholdedrelu": (lambda z, a, b: np.where(z > a, z, 0), 1.0, None),
    "affine": (lambda z, a, b: a * z + b, 1.0, 0.0),
    "scaledtanh": (lambda z, a, b: a * np.tanh(b * z), 1.0, 1.0),
    "hardsigmoid": (lambda z, a, b: np.clip(a * z + b, 0, 1), 0.2, 0.5),
}
"""The functions by name, with the defaults of alpha and beta of those that have them."""


def _clipped(function: Callable[[Array, Any, Any], Array], a: float | None, b: float | None, limit: float) -> Function:
    return lambda z: function(np.clip(z, -limit, limit), a, b)


class _Recurrent(OpRun):
    """The loop over directions and steps; a subclass says what a step does."""

    usual: tuple[str, ...]

    def start(self, count: int, given: dict[str, Any]) -> None:
        """Read the attributes; `count` is the number of directions."""
        names = [str(n).lower() for n in given["activations"] or self.usual * count]
        alphas, betas = list(given["activation_alpha"] or []), list(given["activation_beta"] or [])
        clip = float(given["clip"] or np.inf)
        chosen: list[Function] = []
        for name in names[: len(self.usual) * count]:
            function, alpha, beta = ACTIVATIONS[name]
            a = float(alphas.pop(0)) if alpha is not None and alphas else alpha
            b = float(betas.pop(0)) if beta is not None and betas else beta
            limit = np.inf if len(chosen) % len(self.usual) == 2 else clip  # what goes into h of LSTM is not clipped
            chosen.append(_clipped(function, a, b, limit))
        n = len(self.usual)
        self.functions: list[list[Function]] = [chosen[d * n : (d + 1) * n] for d in range(count)]

    def step(self, d: int, x: Array, state: list[Array], w: Array, r: Array, b: Array, p: Array, given: Any) -> list[Array]:
        """The state after a step from the input and the state before it."""
        raise AssertionError("each kind of layer has its own step")

    def unroll(self, x: Array, w: Array, r: Array, b: Any, lens: Any, states: list[Any], p: Any, given: Any) -> list[Array]:
        """The hidden states of all steps, then the last of each state."""
        if given["layout"]:
            x, states = x.swapaxes(0, 1), [s if s is None else s.swapaxes(0, 1) for s in states]
        (steps, batch), count, hidden = x.shape[:2], w.shape[0], r.shape[2]
        self.start(count, given)
        b = np.zeros((count, 2 * w.shape[1]), x.dtype) if b is None else b
        p = np.zeros((count, 3 * hidden), x.dtype) if p is None else p
        lens = np.full(batch, steps) if lens is None else lens
        y = np.zeros((steps, count, batch, hidden), x.dtype)
        last = [np.zeros((count, batch, hidden), x.dtype) if s is None else s.copy() for s in states]
        for d in range(count):
            state = [s[d] for s in last]
            backwards = d == 1 or given["direction"] == "reverse"
            for t in range(steps)[:: -1 if backwards else 1]:
                inside = (t < lens)[:, None]
                new = self.step(d, x[t], state, w[d], r[d], b[d], p[d], given)
                state = [np.where(inside, n, s) for n, s in zip(new, state, strict=True)]
                y[t, d] = np.where(inside, state[0], 0)
            for s, end in zip(last, state, strict=True):
                s[d] = end
        if given["layout"]:
            y, last = y.transpose(2, 0, 1, 3), [s.swapaxes(0, 1) for s in last]
        return [a.astype(x.dtype) for a in (y, *last)]


class RNN(_Recurrent):
    """H = f(X·Wᵀ + H·Rᵀ + b)"""

    # operators: the activations that the standard names by default
    usual = ("Tanh",)

    def step(self, d: int, x: Array, state: list[Array], w: Array, r: Array, b: Array, p: Array, given: Any) -> list[Array]:
        (f,) = self.functions[d]
        return [f(x @ w.T + state[0] @ r.T + b[: len(w)] + b[len(w) :])]

    def _run(self, x: Array, w: Array, r: Array, b: Any = None, lens: Any = None, h: Any = None, **given: Any) -> Any:
        names = given["activations"] or []
        count = w.shape[0]
        given["activations"] = names[:count] if len(names) >= count else None
        return tuple(self.unroll(x, w, r, b, lens, [h], None, given))


class GRU(_Recurrent):
    """z, r = f(X·Wᵀ + H·Rᵀ + b), h = g(X·Wᵀ + (r ∘ H)·Rᵀ + b), H = (1 − z) ∘ h + z ∘ H"""

    # operators: the activations that the standard names by default
    usual = ("Sigmoid", "Tanh")

    def step(self, d: int, x: Array, state: list[Array], w: Array, r: Array, b: Array, p: Array, given: Any) -> list[Array]:
        f, g = self.functions[d]
        (h,) = state
        wz, wr, wh = np.split(x @ w.T + b[: len(w)], 3, axis=-1)
        rz, rr, rh = np.split(r, 3)
        bz, br, bh = np.split(b[len(w) :], 3)
        z, reset = f(wz + h @ rz.T + bz), f(wr + h @ rr.T + br)
        inner = reset * (h @ rh.T + bh) if given["linear_before_reset"] else (reset * h) @ rh.T + bh
        return [(1 - z) * g(wh + inner) + z * h]

    def _run(self, x: Array, w: Array, r: Array, b: Any = None, lens: Any = None, h: Any = None, **given: Any) -> Any:
        return tuple(self.unroll(x, w, r, b, lens, [h], None, given))


class LSTM(_Recurrent):
    """i, o, f = f(X·Wᵀ + H·Rᵀ + p ∘ C + b), c = g(X·Wᵀ + H·Rᵀ + b), C = f ∘ C + i ∘ c, H = o ∘ h(C)"""

    # operators: the activations that the standard names by default
    usual = ("Sigmoid", "Tanh", "Tanh")

    def step(self, d: int, x: Array, state: list[Array], w: Array, r: Array, b: Array, p: Array, given: Any) -> list[Array]:
        f, g, h = self.functions[d]
        before, cell = state
        zi, zo, zf, zc = np.split(x @ w.T + before @ r.T + b[: len(w)] + b[len(w) :], 4, axis=-1)
        pi, po, pf = np.split(p, 3)
        i = f(zi + pi * cell)
        forget = 1 - i if given["input_forget"] else f(zf + pf * cell)
        cell = forget * cell + i * g(zc)
        return [f(zo + po * cell) * h(cell), cell]

    def _run(
        self,
        x: Array,
        w: Array,
        r: Array,
        b: Any = None,
        lens: Any = None,
        h: Any = None,
        c: Any = None,
        p: Any = None,
        **given: Any,
    ) -> Any:
        return tuple(self.unroll(x, w, r, b, lens, [h, c], p, given))


RECURRENT: list[type[OpRun]] = [RNN, GRU, LSTM]
