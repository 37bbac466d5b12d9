"""Feature ablation: how much of the score is lost when one feature, or group of features, is removed."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxplain.method.blackbox.game import Game
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult, PlayerValues
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array

__all__ = ["ablate"]


@method(
    "feature-ablation",
    summary="What the score loses when one feature, or group of features, takes the baseline's value",
    formula="f(x) − f(x without i)",
    source="Zeiler, Fergus 2014, Visualizing and Understanding Convolutional Networks, section 4.2; FeatureAblation of Captum",
    axioms=("dummy", "symmetry", "implementation-invariance"),
    needs_baseline=True,
    forward_only=True,
)
def feature_ablation(
    context: PerturbationContext,
    *,
    groups: Any = None,
    parts: int = 50,
    axes: Any = None,
    background: Any = None,
    chunk: int | str | None = None,
) -> PerturbationResult:
    return context.play(ablate, context.base(background), groups=groups, parts=parts, axes=axes, chunk=chunk)


def ablate(game: Game) -> PlayerValues:
    """The score of the samples less the score without each player."""
    count = game.players.count

    def without(start: int, stop: int) -> Array:
        masks = np.ones((stop - start, count), bool)
        masks[np.arange(stop - start), np.arange(start, stop)] = False
        return masks

    whole = game.values(np.ones((1, count), bool))
    missing = np.concatenate([values for _, values in game.stream(count, without)])
    return PlayerValues(np.moveaxis(whole - missing, 0, -1))
