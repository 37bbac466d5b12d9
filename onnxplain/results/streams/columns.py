"""Columns: what is written of every sample - its number and key, the prediction, the target, attributions and facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.io.metadata import sample_axis_in
from onnxplain.results.explanation import Explanation

__all__ = ["joined_columns", "sample_columns"]

Array = np.ndarray[Any, Any]


def sample_columns(index: Array, explanations: Mapping[str, Explanation]) -> dict[str, Array]:
    """The columns of some samples, by name, each with the samples first.

    They are `index`; the model's outputs that count samples, once; `target`; and for each method `<tensor>_attribution`, `delta`
    and the facts that are numbers of single samples. Where several methods run, their names come in front:
    `<method>.<tensor>_attribution`.

    Args:
        index: the numbers of the samples, int64 [k].
        explanations: of these samples, by the label of the method.
    """
    count, several = len(index), len(explanations) > 1
    made: dict[str, Array] = {"index": index}
    first = next(iter(explanations.values()))
    for name, value in first.outputs.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "iufbOUS":
            axis = sample_axis_in(first.about, name)
            if axis is not None:
                made[name] = np.moveaxis(value, axis, 0)
            elif not first.about["batched"]:  # all of it belongs to the one sample
                made[name] = value[None]
    for label, found in explanations.items():
        head = f"{label}." if several else ""
        if found.target is not None:
            made[f"{head}target"] = np.asarray(found.target)
        for name in found.attributions:
            made[f"{head}{name}_attribution"] = found.samples_first(name)
        facts = {**({} if found.delta is None else {"delta": found.delta}), **found.facts}
        made |= {f"{head}{n}": v for n, v in facts.items() if v.shape == (count,) and v.dtype.kind in "iuf"}
    return made


def joined_columns(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of several batches as one. What differs in shape becomes a list with an array for each sample."""
    made: dict[str, Any] = {}
    for name in parts[0]:
        values = [part[name] for part in parts]
        if not any(isinstance(v, list) for v in values) and len({v.shape[1:] for v in values}) == 1:
            made[name] = values[0] if len(values) == 1 else np.concatenate(values)
        else:
            made[name] = [row for v in values for row in v]
    return made
