"""How much features matter over a data set: mean sizes of attributions, by class or cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.feature_table import FeatureTable, feature_tables

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GlobalImportance", "global_importance", "importance_of"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class GlobalImportance:
    """Mean attributions of features over samples, a row per cohort.

    Attributes:
        features: names of the features.
        cohorts: names of the cohorts, or classes; one, "all samples", where none were told apart.
        counts: how many samples each has, int64 [cohorts].
        sizes: the mean of |attribution|, float64 [cohorts, features].
        errors: the standard error of that mean; NaN of a single sample.
        means: the mean with its sign.
    """

    features: tuple[str, ...]
    cohorts: tuple[str, ...]
    counts: Array
    sizes: Array
    errors: Array
    means: Array

    @property
    def order(self) -> Array:
        """The features by mean size over all cohorts, the greatest first."""
        return np.argsort(-self.sizes.mean(axis=0), kind="stable")

    def columns(self) -> dict[str, Array]:
        """A long table: cohort · samples · feature · mean_size · standard_error · mean, the greatest first."""
        order, many = self.order, len(self.cohorts)
        return {
            "cohort": np.repeat(np.array(self.cohorts, object), len(order)),
            "samples": np.repeat(self.counts, len(order)),
            "feature": np.tile(np.array(self.features, object)[order], many),
            "mean_size": self.sizes[:, order].ravel(),
            "standard_error": self.errors[:, order].ravel(),
            "mean": self.means[:, order].ravel(),
        }

    def to_pandas(self) -> pd.DataFrame:
        """The table of `columns` as a DataFrame.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        with optional("table", "tables"):
            import pandas as pd
        table: pd.DataFrame = pd.DataFrame(self.columns())
        return table


def global_importance(
    explanation: ExplanationData, by: str | Sequence[Any] | None = None, features: Sequence[str] | None = None
) -> GlobalImportance:
    """Mean sizes of attributions; of all targets, those of every class for itself.

    Args:
        explanation: of a table.
        by: "class" for one cohort per explained class, a label per sample, or None for all samples together.
        features: names of the elements of a sample.

    Raises:
        InputError: not one label per sample, or a wrong number of features.
        OutputError: what was explained is no table.
    """
    return importance_of(feature_tables([explanation], features), by)


def importance_of(tables: Sequence[FeatureTable], by: str | Sequence[Any] | None = None) -> GlobalImportance:
    """The same of tables of the same samples, such as those of all targets."""
    named, rows = list[str](), list[Array]()
    for table in tables:
        cohorts = _cohorts(table, by)
        several = len(tables) > 1
        for label in dict.fromkeys(cohorts):
            named.append(f"{table.heading.rpartition('→ ')[2]}, {label}" if several and by is not None else
                         table.heading.rpartition("→ ")[2] if several else label)  # fmt: skip
            rows.append(table.attributions[np.array([c == label for c in cohorts])])
    sizes = [np.abs(r) for r in rows]
    errors = [s.std(axis=0, ddof=1) / np.sqrt(len(s)) if len(s) > 1 else np.full(s.shape[1], np.nan) for s in sizes]
    return GlobalImportance(
        tables[0].names, tuple(named), np.array([len(r) for r in rows]), np.stack([s.mean(axis=0) for s in sizes]),
        np.stack(errors), np.stack([r.mean(axis=0) for r in rows]),
    )  # fmt: skip


def _cohorts(table: FeatureTable, by: str | Sequence[Any] | None) -> list[str]:
    if by is None:
        return ["all samples"] * len(table)
    if isinstance(by, str):
        if by != "class":
            raise InputError(f"by='{by}' is unknown: give 'class', or a label per sample")
        return list(table.targets)
    if len(by) != len(table):
        raise InputError(f"by needs a label per sample, {len(table)}; got {len(by)}")
    return [str(label) for label in by]
