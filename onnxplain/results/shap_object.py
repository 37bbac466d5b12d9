"""Explanations as SHAP's own object, for its plots and for what takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.analysis.score import DERIVED
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.feature_table import FeatureTable, feature_tables, is_table
from onnxplain.results.prediction import lifted, sample_count, scores

if TYPE_CHECKING:
    import shap

__all__ = ["to_shap_object"]

Array = np.ndarray[Any, Any]


def to_shap_object(
    explanation: ExplanationData, features: Sequence[str] | None = None, name: str | None = None, *, interactions: bool = False
) -> shap.Explanation:
    """See `Explanation.to_shap`."""
    with optional("shap", "SHAP's objects"):
        import shap
    every = explanation.target is None and explanation.about.get("target") == "all"
    if name is None and is_table(explanation):
        tables = feature_tables([explanation], features, every=True)
        values = [_of_table(t, interactions) for t in tables]
        made = np.stack(values, axis=-1) if every else values[0]
        data = tables[0].fed
        names: Any = list(tables[0].names)
    else:
        name, attributions = explanation.of(name)
        made = lifted(explanation, attributions).astype(np.float64)
        made = np.moveaxis(made, 1, -1) if every else made
        data = None if name not in explanation.inputs else lifted(explanation, np.asarray(explanation.inputs[name]))
        names = list(features) if features is not None else None
    count = sample_count(explanation)
    outputs = [explanation.class_name(t) for t in range(made.shape[-1])] if every else None
    return shap.Explanation(
        values=made, base_values=_base(explanation, made, every, count), data=data, feature_names=names, output_names=outputs
    )


def _of_table(table: FeatureTable, interactions: bool) -> Array:
    if not interactions:
        return table.attributions
    return table.known_interactions


def _base(explanation: ExplanationData, values: Array, every: bool, count: int) -> Array:
    """The score where nothing is present: as the method says, else what the attributions leave of the score; NaN where it is no
    output of the model. [n] or [n, targets]."""
    if "base_value" in explanation.facts:
        return np.asarray(lifted(explanation, explanation.facts["base_value"]), np.float64)
    total = values.reshape(count, -1, values.shape[-1]).sum(axis=1) if every else values.reshape(count, -1).sum(axis=1)
    found = scores(explanation)
    if found is None or explanation.about.get("score", {}).get("kind") in ("logit", *DERIVED):
        return np.full(total.shape, np.nan)
    flat = found.reshape(count, -1).astype(np.float64)
    if every:
        return np.asarray(flat - total)
    if explanation.target is None:
        return np.full(total.shape, np.nan)
    return np.asarray(flat[np.arange(count), np.asarray(explanation.target)] - total)
