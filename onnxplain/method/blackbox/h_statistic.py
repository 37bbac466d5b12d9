"""Friedman's H-statistic: how much of what features do is done together, over a data set."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.method.background import background_rows
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__: list[str] = []


@method(
    "h-statistic",
    summary="How much of a feature's effect is interaction with all others, and in facts with each one: 0 none, 1 all of it",
    formula="√(Σ (f − F_i − F_rest)² / Σ f²); of pairs √(Σ (F_ij − F_i − F_j)² / Σ F_ij²), F partial dependence with mean 0",
    source="Friedman, Popescu 2008, Predictive Learning via Rule Ensembles, section 8.1; unscaled: Inglis, Parnell, Hurley 2022",
    axioms=("symmetry", "implementation-invariance"),
    signed=False,
    forward_only=True,
    overall=True,
)
def h_statistic(
    context: PerturbationContext,
    *,
    background: Any = None,
    groups: Any = None,
    scaled: bool = True,
    chunk: int | str | None = None,
) -> PerturbationResult:
    if context.count < 2:
        raise InputError("the H-statistic compares samples of a data set: give at least 2")
    rows = context.x if background is None else background_rows(background, context.x)
    base = {name: values[None] for name, values in rows.items()}
    games = list(context.games(base, groups=groups, chunk=chunk))
    players, count = games[0].players, games[0].players.count
    if any(not np.array_equal(g.players.of[name], numbers) for g in games for name, numbers in players.of.items()):
        raise MethodError("the H-statistic needs the same groups in all samples: give group numbers for one sample")
    pairs = list(combinations(range(count), 2))
    single = np.eye(count, dtype=bool)
    both = np.array([single[a] | single[b] for a, b in pairs], bool).reshape(-1, count)
    masks = np.concatenate([np.ones((1, count), bool), single, ~single, both])
    values = np.concatenate([game.values(masks) for game in games], axis=1)  # [masks, n, targets]
    values = values - values.mean(axis=1, keepdims=True)
    whole, alone, rest, joint = np.split(values, [1, 1 + count, 1 + 2 * count])
    total = _share(whole - alone - rest, np.broadcast_to(whole, alone.shape), scaled)  # [players, targets]
    matrix = np.zeros((1, total.shape[1], count, count))
    first, second = (np.array([p[i] for p in pairs], int) for i in range(2))
    found = _share(joint - alone[first] - alone[second], joint, scaled).T
    matrix[0][:, first, second] = matrix[0][:, second, first] = found
    spread = players.spread(total.T[None])
    return PerturbationResult(spread, {"h_statistic": matrix}, overall=True)


def _share(together: Array, whole: Array, scaled: bool) -> Array:
    """The root of the share of squares, or the root mean square of what is joint: [sets, n, targets] to [sets, targets]."""
    squares, all_of_it = (together**2).mean(axis=1), (whole**2).mean(axis=1)
    if not scaled:
        return np.asarray(np.sqrt(squares))
    nothing = all_of_it <= 1e-20 * max(float(all_of_it.max(initial=0.0)), 1e-300)  # features that do nothing
    return np.where(nothing, 0.0, np.sqrt(squares / np.where(nothing, 1.0, all_of_it)))
