"""KernelSHAP: Shapley values as a weighted regression on coalitions."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.blackbox.exact import all_coalitions
from onnxplain.method.blackbox.fit import determination, solve
from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["coalitions", "of_size", "regression"]


@method(
    "kernel-shap",
    summary="Shapley values by a weighted linear fit to the scores of coalitions of features; exact where all coalitions fit in",
    formula="φ that minimises Σ_S π(|S|) (f(S) − f(∅) − Σ_{i in S} φ_i)², Σ φ_i = f(x) − f(∅)",
    source="Lundberg, Lee 2017, A Unified Approach to Interpreting Model Predictions, section 4.1",
    axioms=("completeness", "symmetry in expectation", "dummy in expectation", "linearity", "implementation-invariance"),
    needs_baseline=True,
    forward_only=True,
)
def kernel_shap(
    context: PerturbationContext, *, samples: int | None = None, groups: Any = None, parts: int = 50, axes: Any = None,
    background: Any = None, seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    def solve_game(game: Game) -> PlayerValues:
        count = game.players.count
        wanted = 2 * count + 2048 if samples is None else samples
        if wanted < 2 * count and wanted < 2**count - 2:
            raise MethodError(
                f"kernel-shap needs at least two coalitions per feature or group, {2 * count:,} samples, got {wanted:,}; "
                "give more, or group the features (groups=, parts=)"
            )
        masks, weights = coalitions(count, wanted, np.random.default_rng(seed))
        ends = game.values(np.stack([np.zeros(count, bool), np.ones(count, bool)]))
        scores = game.values(masks) if len(masks) else np.zeros((0, *ends.shape[1:]))
        return regression(masks, weights, scores, ends)

    return context.play(solve_game, context.base(background), groups=groups, parts=parts, axes=axes, chunk=chunk)


def coalitions(count: int, samples: int, random: np.random.Generator) -> tuple[Array, Array]:
    """About `samples` coalitions between none and all, bool [k, players], with the weights of the Shapley kernel, [k].

    Sizes near none and near all weigh most and have fewest coalitions: they are run completely as long as the number allows.
    The rest is drawn by the kernel, each with its complement, and counted.
    """
    if count == 1:
        return np.zeros((0, 1), bool), np.zeros(0)
    if 2**count - 2 <= samples:
        masks = all_coalitions(count)[1:-1]
        sizes = masks.sum(axis=1)
        return masks, np.array([(count - 1) / (comb(count, s) * s * (count - s)) for s in sizes])
    mass = np.array([0.0, *((count - 1) / (s * (count - s)) for s in range(1, count)), 0.0])
    mass /= mass.sum()
    found, weights = [np.zeros((0, count), bool)], [np.zeros(0)]
    left, size = samples, 1
    while size <= count // 2:
        both = {size, count - size}
        total = comb(count, size) * len(both)
        if left * sum(mass[s] for s in both) / mass.sum() < total or total > left:
            break
        for s in both:
            found.append(of_size(count, s))
            weights.append(np.full(len(found[-1]), mass[s] / len(found[-1])))
            mass[s] = 0
        left, size = left - total, size + 1
    rest = mass.sum()
    if rest > 0 and left > 1:
        sizes = random.choice(count + 1, size=left // 2, p=mass / rest)
        drawn = random.random((left // 2, count)).argsort(axis=1).argsort(axis=1) < sizes[:, None]
        packed, times = np.unique(np.packbits(np.concatenate([drawn, ~drawn]), axis=1), axis=0, return_counts=True)
        found.append(np.unpackbits(packed, axis=1, count=count).astype(bool))
        weights.append(rest * times / times.sum())
    return np.concatenate(found), np.concatenate(weights)


def of_size(count: int, size: int) -> Array:
    """All coalitions of one size."""
    masks = np.zeros((comb(count, size), count), bool)
    for mask, members in zip(masks, combinations(range(count), size), strict=True):
        mask[list(members)] = True
    return masks


def regression(masks: Array, weights: Array, scores: Array, ends: Array) -> PlayerValues:
    """The Shapley kernel's regression, its sum fixed by leaving the last player to what the others leave.

    Args:
        masks, weights: coalitions, bool [k, players], and how much each counts, [k].
        scores: their scores [k, n, targets].
        ends: the scores of none and of all, [2, n, targets].
    """
    count = masks.shape[1]
    total = ends[1] - ends[0]
    z = masks.astype(np.float64)
    flat = total.reshape(1, -1)
    y = (scores - ends[0]).reshape(len(masks), flat.shape[1])  # a single player leaves no masks between none and all
    root = np.sqrt(weights)[:, None]
    others = solve(root * (z[:, :-1] - z[:, -1:]), root * (y - z[:, -1:] * flat)) if count > 1 else np.zeros((0, flat.shape[1]))
    shares = np.concatenate([others, flat - others.sum(axis=0, keepdims=True)])
    r2 = determination(y, z @ shares, weights) if len(masks) else np.ones(flat.shape[1])
    values = np.moveaxis(shares.reshape(count, *total.shape), 0, -1)
    facts = {"base_value": ends[0], "r2": r2.reshape(total.shape)}
    return PlayerValues(values, facts=facts, convergence_delta=values.sum(axis=-1) - total)
