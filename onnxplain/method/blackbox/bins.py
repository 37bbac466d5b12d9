"""Columns of a table as LIME sees them: bins of numbers, categories, or numbers on a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["FeatureColumn", "feature_columns"]


@dataclass(frozen=True)
class FeatureColumn:
    """One column of a table. `edges` part numbers into bins; without them it holds categories, or numbers on a `scale` of
    mean and deviation."""

    input: str
    index: int
    edges: Array | None
    scale: tuple[float, float] | None

    def of(self, rows: Array) -> Array:
        """The column's values in rows [m, …], or its value in a single row."""
        return np.asarray(rows.reshape(len(rows), -1)[:, self.index] if rows.ndim > 1 else rows.reshape(-1)[self.index])

    def place(self, values: Any) -> Array:
        """The bin of each value, its position on the scale, or the category itself."""
        if self.scale is not None:
            return np.nan_to_num((np.asarray(values, np.float64) - self.scale[0]) / self.scale[1], nan=0.0)  # missing: the mean
        if self.edges is not None:
            places = np.searchsorted(self.edges, values, side="left")
            return np.where(np.isnan(np.asarray(values, np.float64)), -1, places)  # what is missing has a bin of its own
        return np.asarray(values)

    def like(self, mine: Array, places: Array) -> Array:
        """The column's feature in the local model, for drawn values: whether they share the sample's bin or category, or their
        position.
        """
        return places if self.scale is not None else np.asarray(places == self.place(mine), np.float64)

    def here(self, mine: Array) -> float:
        """The feature of the sample itself."""
        return float(self.place(mine)) if self.scale is not None else 1.0


def _known(values: Array) -> Array:
    """The numbers of a column that are not missing; a single 0 where all are."""
    numbers = np.asarray(values, np.float64)
    kept = numbers[~np.isnan(numbers)]
    return kept if len(kept) else np.zeros(1)


def feature_columns(data: Arrays, bins: int | None, categorical: Sequence[int]) -> list[FeatureColumn]:
    """The columns of a table [m, features] by input, numbered through; texts, booleans and those named are categories.

    Args:
        data: rows to learn bins and scales from.
        bins: parts of equal frequency, 4: quartiles; None leaves numbers whole, on the scale of their standard deviation.
        categorical: numbers of the columns that hold categories.
    """
    if bins is not None and bins < 2:
        raise MethodError(f"bins is how many parts a column is cut into, at least 2, or None; got {bins}")
    named = {int(c) for c in categorical}
    found: list[FeatureColumn] = []
    for name, rows in data.items():
        flat = rows.reshape(len(rows), -1)
        for index in range(flat.shape[1]):
            values = flat[:, index]
            if values.dtype.kind in "OUSb" or len(found) in named:
                found.append(FeatureColumn(name, index, None, None))
            elif bins is None:
                known = _known(values)
                spread = float(known.std())
                found.append(FeatureColumn(name, index, None, (float(known.mean()), spread if spread > 0 else 1.0)))
            else:
                edges = np.unique(np.percentile(_known(values), np.linspace(0, 100, bins + 1)[1:-1]))
                found.append(FeatureColumn(name, index, edges, None))
    beyond = named - set(range(len(found)))
    if beyond:
        raise MethodError(f"categorical names column {min(beyond)}, but there are {len(found)}, counted from 0")
    return found
