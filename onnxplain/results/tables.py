"""Explanations as long tables with one row per explained element."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, OutputError
from onnxplain.io.table import csv_text
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.interactions import interaction_columns
from onnxplain.results.prediction import named_rows, target_name
from onnxplain.results.text_table import is_in_words, text_columns

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_bytes", "long_columns", "long_table", "parquet_bytes", "set_table"]

Array = np.ndarray[Any, Any]


def long_columns(
    explanation: ExplanationData, features: Sequence[str] | None = None, name: str | None = None, by: str | None = None
) -> dict[str, Array]:
    """The columns of the long table. All have the same length: samples × (targets ×) elements. Of texts, a row is a word (see
    `text_columns`), unless an attribution is asked for by its name.

    - sample: the index of the sample.
    - tensor: the explained tensor, if there are several and `name` is None.
    - target: what was explained.
    - feature: the name of the element if they have names, else index: its indices joined by commas.
    - value: the value of the input, if there is one for each element.
    - attribution: the attribution.

    Args:
        explanation: the explanation.
        features: the names of a sample's elements, in order; None takes those that the explanation has.
        name: which attribution; None for all.
        by: of texts what a row is, "token", "word" (as where none is said) or "sentence".

    Returns:
        Columns by name.

    Raises:
        InputError: the number of features is not the number of elements, or `by` is none of these.
        LayerError: no explained tensor has this name.
    """
    if is_in_words(explanation) and name is None and features is None:
        return text_columns(explanation, by or "word")
    if by is not None:
        raise InputError(f"by={by!r} merges the words of texts; leave it out")
    features = features if features is not None else explanation.features or None
    names = [explanation.of(name)[0]] if name is not None else list(explanation.attributions)
    parts = [_part(explanation, n, features if len(names) == 1 else None) for n in names]
    if len(names) == 1:
        return parts[0]
    everything: dict[str, Array] = {}
    for column in ("sample", "tensor", "target", "index", "value", "attribution"):
        chunks = [
            np.full(len(p["sample"]), n) if column == "tensor" else p.get(column, np.full(len(p["sample"]), np.nan))
            for n, p in zip(names, parts, strict=True)
        ]
        if any(c.dtype.kind in "OUS" for c in chunks):
            chunks = [c.astype(object) for c in chunks]
        everything[column] = np.concatenate(chunks)
    return everything


def _part(explanation: ExplanationData, name: str, features: Sequence[str] | None) -> dict[str, Array]:
    values = explanation.samples_first(name)
    every = explanation.target is None and explanation.about.get("target") == "all"
    shape = values.shape[2:] if every else values.shape[1:]
    size, count, targets = int(np.prod(shape)), len(values), values.shape[1] if every else 1
    if every:
        labels = np.tile([explanation.class_name(t) for t in range(targets)], count)
    else:
        labels = np.array([target_name(explanation, i) for i in range(count)])
    result = {"sample": np.repeat(np.arange(count), size * targets), "target": np.repeat(labels, size)}
    if features is not None:
        if len(features) != size:
            raise InputError(f"{len(features)} feature names for {size} elements of '{name}' {list(shape)}")
        result["feature"] = np.tile(np.asarray(features, dtype=object), count * targets)
    else:
        result["index"] = np.tile(_indices(shape), count * targets)
    fed = _fed(explanation, name, values.shape[:1] + shape)
    if fed is not None:
        result["value"] = np.repeat(fed.reshape(count, 1, size), targets, axis=1).ravel()
    result["attribution"] = values.ravel()
    return result


def _indices(shape: tuple[int, ...]) -> Array:
    """Indices of all elements of a shape, joined by commas."""
    if len(shape) <= 1:
        return np.arange(int(np.prod(shape)))
    return np.array([",".join(map(str, i)) for i in np.ndindex(*shape)], dtype=object)


def _fed(explanation: ExplanationData, name: str, shape: tuple[int, ...]) -> Array | None:
    """The values of an input in the shape of its attribution. Token ids are repeated over the width of their embedding."""
    if name not in explanation.inputs:
        return None
    fed = named_rows(explanation, name, np.asarray(explanation.inputs[name]))
    if fed.shape == shape:
        return fed
    if fed.shape == shape[: fed.ndim]:
        return np.broadcast_to(fed.reshape(fed.shape + (1,) * (len(shape) - fed.ndim)), shape)
    return None


def long_table(
    explanation: ExplanationData, features: Sequence[str] | None = None, name: str | None = None, by: str | None = None
) -> pd.DataFrame:
    """The long table of `long_columns` as a pandas DataFrame.

    Args:
        explanation: as in `long_columns`.
        features: as in `long_columns`.
        name: as in `long_columns`.
        by: as in `long_columns`.

    Returns:
        The data frame.

    Raises:
        InputError: as in `long_columns`.
        LayerError: as in `long_columns`.
        MissingDependencyError: pandas is not installed.
    """
    return _frame(long_columns(explanation, features, name, by))


def set_table(explanation: ExplanationData, features: Sequence[str] | None = None) -> pd.DataFrame:
    """The table of sets (see `interaction_columns`) as a pandas DataFrame.

    Raises:
        InputError, MethodError: as `interaction_columns`.
        MissingDependencyError: pandas is not installed.
    """
    return _frame(interaction_columns(explanation, features))


def _frame(columns: dict[str, Array]) -> pd.DataFrame:
    with optional("table", "tables"):
        import pandas as pd
    table: pd.DataFrame = pd.DataFrame({k: v.astype(object) if v.dtype.kind == "U" else v for k, v in columns.items()})
    return table


def csv_bytes(
    explanations: Sequence[ExplanationData],
    features: Sequence[str] | None = None,
    name: str | None = None,
    *,
    interactions: bool = False,
    by: str | None = None,
) -> bytes:
    """The long tables, or those of sets of features, as CSV with a header; numbers have all digits that they need."""
    columns = _several(explanations, features, name, interactions, by)
    cells = ([str(v) for v in column] for column in columns.values())
    return csv_text(columns, zip(*cells, strict=True)).encode()


def parquet_bytes(
    explanations: Sequence[ExplanationData],
    features: Sequence[str] | None = None,
    name: str | None = None,
    *,
    interactions: bool = False,
    by: str | None = None,
) -> bytes:
    """The long tables, or those of sets of features, as Parquet.

    Args:
        explanations: one or several.
        features: as in `long_columns`.
        name: as in `long_columns`.
        interactions: whether the tables are those of sets of features.
        by: as in `long_columns`.

    Returns:
        The bytes of the file.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    with optional("table", "Parquet files"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    columns = _several(explanations, features, name, interactions, by)
    table = pa.table({k: [str(x) for x in v] if v.dtype.kind in "OU" else v for k, v in columns.items()})
    buffer = BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _several(
    explanations: Sequence[ExplanationData], features: Sequence[str] | None, name: str | None, interactions: bool, by: str | None
) -> dict[str, Array]:
    """The columns of one long table, or of several with a first column that names the method."""
    parts = [interaction_columns(e, features) if interactions else long_columns(e, features, name, by) for e in explanations]
    if len(parts) == 1:
        return parts[0]
    if len({tuple(p) for p in parts}) > 1:
        raise OutputError("these explanations have other columns each; write one file per method")
    methods = [np.full(len(p["sample"]), e.method, dtype=object) for e, p in zip(explanations, parts, strict=True)]
    return {"method": np.concatenate(methods), **{k: np.concatenate([p[k] for p in parts]) for k in parts[0]}}
