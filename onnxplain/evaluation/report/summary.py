"""Summary: means with confidence intervals, and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.evaluation.metric import Better

__all__ = ["MetricMean", "bootstrap", "mean_ranks", "summarised"]

Array = np.ndarray[Any, Any]

DRAWS = 2000
"""Resamplings of a bootstrap."""


@dataclass(frozen=True)
class MetricMean:
    """The mean over samples, its 95 % confidence interval, how many samples it is of and for how many the metric is undefined.

    `rank` is 1 for the best subject of a metric, NaN for a control; `ties` says whether it cannot be told from the best: the
    interval of the mean paired difference holds 0. `beats` says whether it is better than every control by an interval that
    holds no 0; None where there is no control.
    """

    value: float
    low: float
    high: float
    count: int
    undefined: int
    rank: float
    ties: bool
    beats: bool | None = None


def bootstrap(values: Array, seed: int = 0) -> tuple[Array, Array]:
    """The 95 % confidence interval of the mean over the first axis, by the percentiles of resampled means (Efron 1979).

    Args:
        values: finite, [n] or [n, points].
        seed: of the resampling: the same samples are drawn for all points.

    Returns:
        The lower and upper ends, [] or [points].
    """
    draw = np.random.default_rng(seed)
    count = len(values)
    chunk = max(1, min(DRAWS, 2_000_000 // count))
    shares = np.full(count, 1 / count)
    means = [draw.multinomial(count, shares, size=min(chunk, DRAWS - i)) @ values / count for i in range(0, DRAWS, chunk)]
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5], axis=0)
    return low, high


def summarised(scores: dict[str, Array], better: Better, controls: Sequence[str] = ()) -> dict[str, MetricMean]:
    """The means of one metric by subject, with ranks.

    Args:
        scores: [n] by subject, NaN where undefined; all of the same samples.
        better: which end is good.
        controls: subjects that are compared with, and take no part in the ranking.
    """
    made: dict[str, MetricMean] = {}
    means = {label: float(v[np.isfinite(v)].mean()) if np.isfinite(v).any() else np.nan for label, v in scores.items()}
    ranks = _ranks({label: mean for label, mean in means.items() if label not in controls}, better)
    known = [label for label, rank in ranks.items() if np.isfinite(rank)]
    best = min(known, key=lambda label: ranks[label]) if known else None
    sign = 1 if better == "higher" else -1
    for label, values in scores.items():
        finite = np.isfinite(values)
        low, high = bootstrap(values[finite]) if finite.any() else (np.nan, np.nan)
        ties = best is not None and label in known and (label == best or _least(sign * (scores[best] - values)) <= 0)
        others = [_least(sign * (values - scores[c])) for c in controls if c in scores and label not in controls]
        made[label] = MetricMean(
            means[label], float(low), float(high), int(finite.sum()), int((~finite).sum()), ranks.get(label, np.nan), ties,
            all(least > 0 for least in others) if others else None,
        )  # fmt: skip
    return made


def _least(differences: Array) -> float:
    """The lower end of the interval of mean paired differences; with fewer than two samples in common nothing is known: −∞."""
    both = np.isfinite(differences)
    return float(bootstrap(differences[both])[0]) if both.sum() > 1 else -np.inf


def _ranks(means: dict[str, float], better: Better) -> dict[str, float]:
    """1 for the best; means that are equal but for rounding share their mean rank; NaN where there is no mean."""
    sign = -1 if better == "higher" else 1
    known = {label: sign * mean for label, mean in means.items() if np.isfinite(mean)}
    made = dict.fromkeys(means, np.nan)
    for label, mine in known.items():
        same = sum(bool(np.isclose(mine, o, rtol=1e-6, atol=0)) for o in known.values())
        better_ones = sum(o < mine and not np.isclose(mine, o, rtol=1e-6, atol=0) for o in known.values())
        made[label] = 1 + better_ones + (same - 1) / 2
    return made


def mean_ranks(
    table: dict[str, dict[str, MetricMean]], families: dict[str, str], controls: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """The mean rank of every subject in each family of metrics, and "overall": the mean over families, so that a family with many
    metrics does not drown the others.

    Only metrics that every subject has a mean of count; controls are left out.

    Args:
        table: by metric, by subject.
        families: the family of each metric.
        controls: subjects that take no part.
    """
    subjects = [s for s in dict.fromkeys(s for row in table.values() for s in row) if s not in controls]
    fair = [m for m, row in table.items() if all(s in row and np.isfinite(row[s].rank) for s in subjects)]
    made: dict[str, dict[str, float]] = {}
    for subject in subjects:
        ranks: dict[str, list[float]] = {}
        for m in fair:
            ranks.setdefault(families[m], []).append(table[m][subject].rank)
        each = {family: float(np.mean(found)) for family, found in ranks.items()}
        made[subject] = {**each, "overall": float(np.mean(list(each.values()))) if each else np.nan}
    return made
