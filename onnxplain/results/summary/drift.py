"""Drift: whether a model's reasons on one data set are those on another, read from the summaries of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, nearest
from onnxplain.results.summary.summary import AttributionSummary, Summary

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Drift", "drift", "stability"]

Array = np.ndarray[Any, Any]

BINS = 10
"""Bins of the population stability index: the deciles of the first run."""

FEWEST = 1e-4
"""The share that a bin without numbers counts as, so that its logarithm is finite."""


@dataclass(frozen=True)
class Drift:
    """What differs between the attributions of two runs.

    Attributes:
        name: the attribution.
        features: names of the features.
        counts: how many samples either run has.
        before: the mean of |φ| in the first run, float64 [features].
        after: the same in the second.
        psi: the population stability index of every feature's attributions, float64 [features]; one number where features were
            summed up together.
        rank_correlation: Spearman's, of the mean sizes; NaN of a single feature.

    Example:
        >>> import numpy as np
        >>> from onnxplain.results.summary.drift import drift
        >>> from onnxplain.results.summary.summary import Summary
        >>> draws = np.random.default_rng(0).normal(size=(2, 1000, 2))
        >>> draws[1, :, 1] += 1
        >>> first, second = (Summary.of({"index": np.arange(1000), "x_attribution": a}) for a in draws)
        >>> found = drift(first, second)
        >>> found.psi[0] < 0.1, found.psi[1] > 0.25
        (True, True)
    """

    name: str
    features: tuple[str, ...]
    counts: tuple[int, int]
    before: Array
    after: Array
    psi: Array
    rank_correlation: float

    @property
    def order(self) -> Array:
        """The features that drifted most first."""
        return np.argsort(-(self.psi if len(self.psi) == len(self.before) else np.abs(self.after - self.before)), kind="stable")

    def columns(self) -> dict[str, Array]:
        """A table with a row per feature, those that drifted most first."""
        order = self.order
        made = {"feature": np.array(self.features, object)[order], "before": self.before[order], "after": self.after[order]}
        return {**made, "psi": self.psi[order]} if len(self.psi) == len(order) else made

    def to_pandas(self) -> pd.DataFrame:
        """The table of `columns` as a DataFrame.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        with optional("table", "tables"):
            import pandas as pd
        table: pd.DataFrame = pd.DataFrame(self.columns())
        return table


def drift(first: Summary, second: Summary, name: str | None = None) -> Drift:
    """Compare the attributions of two runs.

    The population stability index is Σ (b − a) ln(b / a) over ten bins, a and b the shares of the two runs in them. The bins hold
    a tenth of the first run each, as nearly as its histogram tells. Below 0.1 there is usually no change, above 0.25 a large one
    (Siddiqi 2006, Credit Risk Scorecards, chapter 10). Features are compared by name where both runs have names.

    Args:
        first: the summary of the run to compare with.
        second: that of another run, of the same method and model.
        name: the attribution; None for the first.

    Raises:
        InputError: the runs have no such attribution of one shape in common, or other features.
    """
    chosen = name or next(iter(first.attributions), "")
    for found in (first, second):
        if chosen not in found.attributions:
            raise InputError(f"no attribution '{chosen}' in a run; {nearest(chosen, found.attributions)}")
    a, b = first[chosen], second[chosen]
    order = _places(first.features, second.features)
    if a.squares.shape != b.squares.shape or a.shape != b.shape:
        raise InputError(f"the runs have attributions of other shapes: {list(a.shape)} and {list(b.shape)}")
    before, after, counts = a.mean_sizes(), b.mean_sizes(), b.histogram.counts
    if order is not None and len(order) == len(after):
        after, counts = after[order], counts if len(counts) == 1 else counts[order]
    moved = stability(a.histogram.counts, counts)
    return Drift(chosen, _named(first, a), (a.count, b.count), before, after, moved, _rank_correlation(before, after))


def _places(first: Sequence[str] | None, second: Sequence[str] | None) -> list[int] | None:
    """Where the features of the first run stand in the second; None where they have no names."""
    if not first or not second:
        return None
    lost = next((n for a, b in ((first, second), (second, first)) for n in a if n not in b), None)
    if lost is not None:
        raise InputError(f"the runs have other features: '{lost}' is in one of them only")
    return [list(second).index(name) for name in first]


def stability(first: Array, second: Array) -> Array:
    """The population stability index of counts [features, buckets], float64 [features].

    A bucket belongs to the bin of the middle of what the first run has in it, so that one that holds more than a tenth, such as
    that of zero, does not take along what is beside it.
    """
    reached = (first.cumsum(axis=1) - first / 2) / np.maximum(1, first.sum(axis=1, keepdims=True))
    bins = np.clip((reached * BINS - 1e-9).astype(np.int64), 0, BINS - 1)
    shares = []
    for counts in (first, second):
        found = np.stack([np.where(bins == i, counts, 0).sum(axis=1) for i in range(BINS)], axis=1)
        shares.append(np.maximum(found / np.maximum(1, counts.sum(axis=1, keepdims=True)), FEWEST))
    return np.asarray(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum(axis=1))


def _rank_correlation(first: Array, second: Array) -> float:
    if len(first) < 2:
        return float("nan")
    with optional("evaluation", "rank correlations"):
        from scipy.stats import spearmanr
    return float(spearmanr(first, second).statistic)


def _named(summary: Summary, found: AttributionSummary) -> tuple[str, ...]:
    names: Sequence[str] = summary.features or ()
    if len(names) == len(found.squares):
        return tuple(names)
    return tuple(",".join(map(str, place)) for place in np.ndindex(*found.shape)) if found.shape else ("all elements",)
