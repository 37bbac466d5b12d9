"""Selectivity: how fast the score falls when features are removed in the order of their attributions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.metric import MetricResult, metric
from onnxplain.evaluation.metrics._features import feature_problems, features_of, steps_of
from onnxplain.evaluation.metrics._replacing import remover, replacement_problems, usual_replacement
from onnxplain.runtime.scorer import Array

__all__ = ["area", "removal_curve"]

POINTS = 50
"""Points of a curve, at most, where nothing is said; one for each feature where there are fewer."""

Patch = "int | Sequence[int] | None"


def area(curve: Array, at: Array) -> Array:
    """The area under curves [n, points] over `at` [points], by the trapezoidal rule: [n]."""
    return np.asarray(((curve[:, 1:] + curve[:, :-1]) / 2 * np.diff(at)).sum(axis=1))


def removal_curve(
    batch: MetricBatch,
    *,
    features: str,
    patch: Any,
    replace: str,
    steps: int | None,
    absolute: bool,
    least_first: bool = False,
    back: bool = False,
    ask: Callable[[Array, Array], Array] | None = None,
) -> tuple[Array, Array]:
    """Scores [n, points] with growing shares of the features removed, and these shares [points].

    Args:
        batch: the batch.
        features, patch: as in `features_of`.
        replace: what takes the place of removed features.
        steps: points beyond the first.
        absolute: order by the size of attributions.
        least_first: remove the least relevant features first.
        back: start with everything removed, and put features back.
        ask: what is asked of the model instead of the score; see `Case.sweep`.
    """
    parts = features_of(batch, features, patch)
    gone = steps_of(parts.count, steps, POINTS)
    ranks = parts.spread(parts.ranks(absolute=absolute, least_first=least_first))
    remove = remover(batch, replace)

    def version(k: int) -> Array:
        return remove(ranks >= gone[k] if back else ranks < gone[k])

    return batch.sweep(len(gone), version, ask).T, gone / parts.count


def removal_problems(
    context: MetricContext, *, features: Any, patch: Any, replace: Any, steps: Any, **others: Any
) -> Iterator[str]:
    """What is wrong with options of removal."""
    yield from feature_problems(context, features, patch)
    if replace != "auto":
        yield from replacement_problems(context, replace)
    if steps is not None and not (isinstance(steps, int) and steps >= 1):
        yield f"steps is a whole number from 1 on, found {steps!r}"
    if "absolute" in others and not isinstance(others["absolute"], bool):
        yield f"absolute is true or false, found {others['absolute']!r}"


@metric(
    "selectivity",
    family="faithfulness",
    better="lower",
    summary="Area under the score while the most relevant features are removed first (pixel flipping, MoRF)",
    formula="∫₀¹ f(x without the share q of largest R) dq",
    source="Bach et al. 2015 (pixel flipping); Montavon, Samek, Müller 2017, section 7.2 (selectivity)",
    check=removal_problems,
)
def selectivity(
    batch: MetricBatch, *, features: str = "auto", patch: Any = None, replace: str = "baseline", steps: int | None = None,
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    curve, at = removal_curve(batch, features=features, patch=patch, replace=replace, steps=steps, absolute=absolute)
    return MetricResult(area(curve, at), {"morf": curve}, at)


@metric(
    "selectivity-lerf",
    family="faithfulness",
    better="higher",
    summary="Area under the score while the least relevant features are removed first (LeRF)",
    formula="∫₀¹ f(x without the share q of smallest R) dq",
    source="Samek et al. 2017, Evaluating the Visualization of What a Deep Neural Network Has Learned (LeRF)",
    check=removal_problems,
)
def selectivity_lerf(
    batch: MetricBatch, *, features: str = "auto", patch: Any = None, replace: str = "baseline", steps: int | None = None,
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    curve, at = removal_curve(
        batch, features=features, patch=patch, replace=replace, steps=steps, absolute=absolute, least_first=True
    )
    return MetricResult(area(curve, at), {"lerf": curve}, at)


@metric(
    "selectivity-gap",
    family="faithfulness",
    better="higher",
    summary="Area between the two: least relevant first minus most relevant first, free of what any removal costs",
    formula="∫₀¹ f(x without q smallest R) − f(x without q largest R) dq",
    source="Samek et al. 2017 (area between perturbation curves); Blücher et al. 2024 (symmetric relevance gain)",
    check=removal_problems,
)
def selectivity_gap(
    batch: MetricBatch, *, features: str = "auto", patch: Any = None, replace: str = "baseline", steps: int | None = None,
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    most, at = removal_curve(batch, features=features, patch=patch, replace=replace, steps=steps, absolute=absolute)
    least, _ = removal_curve(
        batch, features=features, patch=patch, replace=replace, steps=steps, absolute=absolute, least_first=True
    )
    return MetricResult(area(least - most, at), {"morf": most, "lerf": least}, at)


def _patch_problems(context: MetricContext, *, share: Any, patch: Any, **others: Any) -> Iterator[str]:
    if not (isinstance(share, int | float) and 0 < share <= 1):
        yield f"share lies between 0 and 1, found {share!r}"
    yield from removal_problems(context, features="pixels", patch=None if patch == "auto" else patch, **others)
    if context.data.x.ndim < 3:
        yield "patches need neighbours in space or time, which the rows of a table have not"


@metric(
    "region-perturbation",
    family="faithfulness",
    better="higher",
    summary="Mean fall of the score while patches are removed, the most relevant first (patch removal, AOPC)",
    formula="mean over k = 0 … K of f(x) − f(x without the k patches of largest R)",
    source="Samek et al. 2017, Evaluating the Visualization of What a Deep Neural Network Has Learned (9 × 9 pixels of 224)",
    check=_patch_problems,
)
def region_perturbation(
    batch: MetricBatch,
    *,
    patch: Any = "auto",
    share: float = 1.0,
    replace: str = "mean",
    steps: int | None = None,
    absolute: bool = False,
) -> MetricResult:
    if patch == "auto":
        patch = [max(1, round(batch.x.shape[a] * 9 / 224)) for a in batch.space]
    curve, at = removal_curve(batch, features="pixels", patch=patch, replace=replace, steps=steps, absolute=absolute)
    kept = at <= share + 1e-9
    curve, at = curve[:, kept], at[kept]
    return MetricResult((curve[:, :1] - curve).mean(axis=1), {"morf": curve}, at)


@metric(
    "deletion",
    family="faithfulness",
    better="lower",
    summary="Area under the target's probability while the most relevant features are deleted",
    formula="∫₀¹ p(target | x without the share q of largest R) dq",
    source="Petsiuk, Das, Saenko 2018, RISE: Randomized Input Sampling for Explanation of Black-box Models",
    check=removal_problems,
)
def deletion(
    batch: MetricBatch, *, features: str = "auto", patch: Any = None, replace: str = "baseline", steps: int | None = None,
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    curve, at = removal_curve(
        batch, features=features, patch=patch, replace=replace, steps=steps, absolute=absolute, ask=batch.probabilities
    )
    return MetricResult(area(curve, at), {"deletion": curve}, at)


@metric(
    "insertion",
    family="faithfulness",
    better="higher",
    summary="Area under the target's probability while the most relevant features come into a blurred input (or baseline)",
    formula="∫₀¹ p(target | only the share q of largest R) dq",
    source="Petsiuk, Das, Saenko 2018, RISE: Randomized Input Sampling for Explanation of Black-box Models",
    check=removal_problems,
)
def insertion(
    batch: MetricBatch, *, features: str = "auto", patch: Any = None, replace: str = "auto", steps: int | None = None,
    absolute: bool = False,
) -> MetricResult:  # fmt: skip
    if replace == "auto":
        replace = usual_replacement(batch)
    curve, at = removal_curve(
        batch, features=features, patch=patch, replace=replace, steps=steps, absolute=absolute, back=True, ask=batch.probabilities
    )
    return MetricResult(area(curve, at), {"insertion": curve}, at)
