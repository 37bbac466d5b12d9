"""Shapley values by sampling orders in which the players come in."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["along_orders"]


@method(
    "shapley-sampling",
    summary="Shapley values estimated from random orders of the features, with their standard errors",
    formula="mean over orders π of f(before i in π, and i) − f(before i in π)",
    source="Castro, Gómez, Tejada 2009, Polynomial calculation of the Shapley value based on sampling; Štrumbelj, Kononenko 2010",
    axioms=("completeness", "dummy", "linearity", "symmetry in expectation", "implementation-invariance"),
    needs_baseline=True,
    forward_only=True,
)
def shapley_sampling(
    context: PerturbationContext, *, samples: int = 25, antithetic: bool = False, groups: Any = None, parts: int = 50,
    axes: Any = None, background: Any = None, seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    if samples < 1:
        raise MethodError(f"samples is how many orders are drawn, at least 1; got {samples}")

    def solve(game: Game) -> PlayerValues:
        random = np.random.default_rng(seed)
        orders = np.argsort(random.random((samples, game.players.count)), axis=1)
        if antithetic:  # an order and its reverse err in opposite directions
            orders[1::2] = orders[: samples - samples % 2 : 2, ::-1]
        return along_orders(game, orders, 2 if antithetic and samples % 2 == 0 else 1)

    return context.play(solve, context.base(background), groups=groups, parts=parts, axes=axes, chunk=chunk)


def along_orders(game: Game, orders: Array, together: int = 1) -> PlayerValues:
    """What each player adds when it comes in, averaged over orders [m, players]; `together` of them make one independent draw."""
    times, count = orders.shape
    ends = game.values(np.stack([np.zeros(count, bool), np.ones(count, bool)]))
    ranks = np.argsort(orders, axis=1)
    steps = count - 1

    def prefixes(start: int, stop: int) -> Array:
        order, step = np.divmod(np.arange(start, stop), max(steps, 1))
        return np.asarray(ranks[order] <= step[:, None])

    inner = np.zeros((0, *ends.shape[1:]))
    total = np.zeros((*ends.shape[1:], count))
    squares = np.zeros_like(total)
    pending, done = np.zeros_like(total), 0

    def settle(path: Array, order: Array) -> None:
        """Add the contributions along one order."""
        nonlocal total, squares, pending, done
        whole = np.concatenate([ends[:1], path, ends[1:]])
        pending[..., order] += np.moveaxis(np.diff(whole, axis=0), 0, -1)
        done += 1
        if done % together == 0:
            total += pending
            squares += (pending / together) ** 2
            pending = np.zeros_like(total)

    if steps == 0:
        for order in orders:
            settle(inner, order)
    for _, values in game.stream(times * steps, prefixes) if steps else ():
        inner = np.concatenate([inner, values])
        while len(inner) >= steps and done < times:
            settle(inner[:steps], orders[done])
            inner = inner[steps:]
    draws = times // together
    mean = total / times
    spread = np.maximum(squares / draws - mean**2, 0) * draws / max(draws - 1, 1)
    errors = np.sqrt(spread / draws) if draws > 1 else np.full_like(mean, np.nan)
    gap = mean.sum(axis=-1) - (ends[1] - ends[0])
    return PlayerValues(mean, errors, {"base_value": ends[0]}, gap)
