"""Explanations of tables as rows of features: what pictures and tables of whole data sets are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError, OutputError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.interactions import player_names
from onnxplain.results.plot.style import short
from onnxplain.results.plot.views import PlotColumn, columns_of, views_of
from onnxplain.results.prediction import lifted, sample_count

__all__ = ["FeatureTable", "feature_tables", "is_table"]

Array = np.ndarray[Any, Any]

MOST_FEATURES = 2000
"""Features of a table, at most: what has more is no table."""


@dataclass(frozen=True)
class FeatureTable:
    """Attributions of one target by sample and feature.

    Attributes:
        heading: the method, with its target where all are explained.
        names: the features, or groups of them.
        attributions: float64 [n, features].
        fed: what was fed in, [n, features] numbers, texts or a mix; None of groups and inner tensors.
        base: the score where every feature is absent, [n]; None where the method does not say.
        complete: whether base, attributions and `joint` add up to the score.
        joint: what features do together beyond what each does alone, [n], of methods that tell the two apart; None of others.
        targets: what is explained of each sample, in words.
        signed: whether attributions have a direction.
        interactions: [n, features, features] with half of every pair on either side of the diagonal; None where there are none.
    """

    heading: str
    names: tuple[str, ...]
    attributions: Array
    fed: Array | None
    base: Array | None
    complete: bool
    joint: Array | None
    targets: tuple[str, ...]
    signed: bool
    interactions: Array | None = None

    def __len__(self) -> int:
        return len(self.attributions)

    @property
    def order(self) -> Array:
        """The features by mean size over the samples, the greatest first."""
        return np.argsort(-np.abs(self.attributions).mean(axis=0), kind="stable")

    def numbers(self, feature: int) -> Array | None:
        """What was fed into a feature as numbers, float64 [n]; None where it holds texts, or nothing is known."""
        if self.fed is None:
            return None
        column = self.fed[:, feature]
        if column.dtype.kind in "OUS" and any(isinstance(v, str | bytes) for v in column):
            return None
        return column.astype(np.float64)

    @property
    def known_interactions(self) -> Array:
        """The interactions.

        Raises:
            MethodError: the method leaves none.
        """
        if self.interactions is None:
            raise MethodError(
                f"{self.heading} leaves no interactions; k-sii, sii, stii, fsii, bii, fbii, moebius and tree-shap with pairs do"
            )
        return self.interactions

    def value(self, sample: int, feature: int) -> str:
        """What was fed in, in words."""
        if self.fed is None:
            return ""
        value = self.fed[sample, feature]
        if isinstance(value, float | np.floating) and not isinstance(value, bool):
            return "missing" if np.isnan(value) else short(float(value))
        return str(value)

    def named(self, feature: int | str) -> int:
        """The number of a feature, by its name or number.

        Raises:
            InputError: there is none.
        """
        if isinstance(feature, str) and feature in self.names:
            return self.names.index(feature)
        place = int(feature) if not isinstance(feature, str) or feature.lstrip("-").isdigit() else None
        if place is None or not -len(self.names) <= place < len(self.names):
            shown = ", ".join(self.names[:12]) + (", …" if len(self.names) > 12 else "")
            raise InputError(f"no feature '{feature}': there are {shown}")
        return place % len(self.names)

    def of(self, samples: Sequence[int]) -> FeatureTable:
        """Some of the samples."""
        chosen = list(samples)

        def cut(array: Array | None) -> Array | None:
            return None if array is None else array[chosen]

        targets = tuple(self.targets[i] for i in chosen)
        return replace(
            self, attributions=self.attributions[chosen], fed=cut(self.fed), base=cut(self.base), joint=cut(self.joint),
            targets=targets, interactions=cut(self.interactions),
        )  # fmt: skip


def is_table(explanation: ExplanationData) -> bool:
    """Whether features, or groups of them, were explained: rows of numbers or texts, not pictures or series."""
    return _of_groups(explanation) or all(
        lifted(explanation, v).ndim <= 2 + int(_about_all(explanation)) for v in explanation.attributions.values()
    )


def _about_all(explanation: ExplanationData) -> bool:
    """Whether all targets were explained."""
    return explanation.target is None and explanation.about.get("target") == "all"


def feature_tables(
    explanations: Sequence[ExplanationData], features: Sequence[Any] | None = None, *, every: bool = False
) -> list[FeatureTable]:
    """One table per explanation, or per target where all are explained.

    Args:
        explanations: of tables, or of groups of features.
        features: names of the elements of a sample.
        every: whether to take all targets, however many.

    Raises:
        InputError: a wrong number of features.
        OutputError: what was explained is no table.
    """
    return [_of_column(column, features) for e in explanations for column in columns_of([e], most=10**9 if every else 10)]


def _of_column(column: PlotColumn, features: Sequence[Any] | None) -> FeatureTable:
    explanation, count = column.explanation, sample_count(column.explanation)
    targets = tuple(column.target(i) for i in range(count))

    def fact(name: str) -> Array | None:
        if name not in explanation.facts:
            return None
        values = lifted(explanation, explanation.facts[name])
        return values if column.among_all is None else values[np.arange(count), column.among_all]

    groups, matrix, base = _of_groups(explanation), fact("interactions"), fact("base_value")
    if groups:
        values, fed = fact("group_values"), None
        assert values is not None
        names: Sequence[str] = player_names(explanation, features)
        values = np.nan_to_num(values)
    else:
        view = views_of([column], features, "table")
        if len(view) != 1:
            raise OutputError(f"{column.heading} explains {len(view)} tensors that make no table together")
        values = view[0].attributions[0].reshape(count, -1)
        if values.shape[1] > MOST_FEATURES:
            raise OutputError(f"{values.shape[1]:,} elements are no table: this picture shows {MOST_FEATURES:,} features at most")
        fed = view[0].values
        fed = None if fed is None or fed.size != values.size else np.asarray(fed).reshape(count, -1)
        names = [view[0].label(0, place) for place in range(values.shape[1])]
        if view[0].labels is None and "interactions" in explanation.facts:
            names = player_names(explanation)
    found = np.asarray(values, np.float64)
    axioms, together = explanation.about.get("axioms", ()), fact("set_values")
    if together is None and matrix is not None:
        together = matrix.reshape(count, -1)
    joint = None
    if "completeness with interactions" in axioms and together is not None:
        joint = np.nansum(together, axis=-1) - found.sum(axis=1)
    return FeatureTable(
        heading=column.heading, names=tuple(names), attributions=found, fed=fed,
        base=None if base is None else np.asarray(base, np.float64), complete="completeness" in axioms or joint is not None,
        joint=joint, targets=targets, signed=column.signed,
        interactions=None if matrix is None else np.nan_to_num(np.asarray(matrix, np.float64)),
    )  # fmt: skip


def _of_groups(explanation: ExplanationData) -> bool:
    """Whether groups of elements were explained, not the elements themselves."""
    return "group_values" in explanation.facts
