"""Interactions as lists and tables: what sets of features, or groups of them, do together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.prediction import has_samples, lifted, target_name

__all__ = ["InteractionSet", "interaction_columns", "player_names", "set_name", "strongest_sets"]

Array = np.ndarray[Any, Any]

InteractionSet = tuple[tuple[int, ...], float]
"""The members of a set, and what they do together."""


def player_names(explanation: ExplanationData, features: Sequence[str] | None = None) -> list[str]:
    """The names of what interacts: the elements of all inputs in order, or groups of them by number.

    Args:
        explanation: of a method that leaves interactions.
        features: names of the elements; None numbers them, behind the input's name where there are several. A group is called
            by its members where all samples have the same groups, else by its number.

    Raises:
        InputError: the number of features is not the number of elements.
    """
    if "group_values" in explanation.facts:
        return _group_names(explanation, features)
    shapes = {name: _sample_shape(explanation, values) for name, values in explanation.attributions.items()}
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    if features is not None and len(features):
        if len(features) != count:
            raise InputError(f"{len(features)} feature names for {count} elements")
        return [str(f) for f in features]
    several, names = len(shapes) > 1, []
    for name, shape in shapes.items():
        places = [", ".join(map(str, place)) for place in np.ndindex(*shape)]
        names += [name] if len(places) == 1 else [f"{name} [{p}]" if several else p for p in places]
    return names


def _group_names(explanation: ExplanationData, features: Sequence[str] | None) -> list[str]:
    count = int(explanation.facts["group_values"].shape[-1])
    numbers = [lifted(explanation, v) for key, v in explanation.facts.items() if key.partition(".")[0] == "groups"]
    same = all((n == n[:1]).all() for n in numbers)
    if not features or not same:
        return [f"group {i}" for i in range(count)]
    flat = np.concatenate([n[0].ravel() for n in numbers])
    if len(features) != len(flat):
        raise InputError(f"{len(features)} feature names for {len(flat)} elements")
    return [" + ".join(str(f) for f, number in zip(features, flat, strict=True) if number == i) for i in range(count)]


def set_name(members: Sequence[int], names: Sequence[str]) -> str:
    """The name of a set: its members' names, groups of several in brackets."""
    return " × ".join(f"({names[m]})" if " + " in names[m] else names[m] for m in members)


def strongest_sets(explanation: ExplanationData, most: int | None = None, size: int | None = None) -> list[list[InteractionSet]]:
    """For each sample the sets of two and more with the largest interactions by absolute value, the largest first.

    Args:
        explanation: of one target.
        most: how many per sample; None takes all.
        size: sets of so many members only; None takes all from two on.

    Raises:
        MethodError: the method leaves no interactions.
        InputError: all targets were explained.
    """
    if _every(explanation):
        raise InputError(
            "interactions of all targets make no single list; explain one target, or take to_pandas(interactions=True)"
        )
    result = []
    for sample in range(len(lifted(explanation, _matrix(explanation)))):
        found = [(s, v) for s, v, _ in _sets(explanation, sample, None) if len(s) > 1 and size in (None, len(s))]
        result.append(sorted(found, key=lambda pair: -abs(pair[1]))[:most])
    return result


def interaction_columns(explanation: ExplanationData, features: Sequence[str] | None = None) -> dict[str, Array]:
    """The columns of a long table of all sets: sample · target · order · features · interaction (· standard_error).

    Raises:
        MethodError: the method leaves no interactions.
        InputError: the number of features is not the number of elements.
    """
    names, matrix = player_names(explanation, features), lifted(explanation, _matrix(explanation))
    targets = [None] if not _every(explanation) else list(range(matrix.shape[1]))
    rows: list[tuple[Any, ...]] = []
    for sample in range(len(matrix)):
        for target in targets:
            label = target_name(explanation, sample) if target is None else explanation.class_name(target)
            for members, value, error in _sets(explanation, sample, target):
                rows.append((sample, label, len(members), set_name(members, names), value, error))
    columns = ("sample", "target", "order", "features", "interaction", "standard_error")
    table = {name: np.array(column, object if name in ("target", "features") else None) for name, column in
             zip(columns, zip(*rows, strict=True), strict=True)}  # fmt: skip
    if "interaction_error" not in explanation.facts:
        del table["standard_error"]
    return table


def _sets(explanation: ExplanationData, sample: int, target: int | None) -> list[tuple[tuple[int, ...], float, float]]:
    """Sets with their values and errors (NaN where nothing is sampled), single ones among them."""

    def of(key: str) -> Array | None:
        if key not in explanation.facts:
            return None
        values = lifted(explanation, explanation.facts[key])[sample]
        return np.asarray(values if target is None else values[min(target, len(values) - 1)])

    listed = of("sets")
    if listed is not None:
        values, errors = of("set_values"), of("set_error")
        assert values is not None
        spread = np.full(values.shape, np.nan) if errors is None else errors
        members = [tuple(int(m) for m in row if m >= 0) for row in listed]
        return [(m, float(v), float(e)) for m, v, e in zip(members, values, spread, strict=True) if m]
    matrix, errors = of("interactions"), of("interaction_error")
    assert matrix is not None
    spread = np.full(matrix.shape, np.nan) if errors is None else errors
    count = int(np.isfinite(np.diagonal(matrix)).sum())
    single = [((i,), float(matrix[i, i]), float(spread[i, i])) for i in range(count)]
    pairs = [((i, j), 2 * float(matrix[i, j]), 2 * float(spread[i, j])) for i, j in combinations(range(count), 2)]
    return [*single, *pairs]


def _matrix(explanation: ExplanationData) -> Array:
    if "interactions" not in explanation.facts:
        raise MethodError(
            f"'{explanation.method}' leaves no interactions; k-sii, sii, stii, fsii, bii, fbii and moebius of order 2 or more "
            "do, and tree-shap with pairs"
        )
    return explanation.facts["interactions"]


def _every(explanation: ExplanationData) -> bool:
    return explanation.target is None and explanation.about.get("target") == "all"


def _sample_shape(explanation: ExplanationData, values: Array) -> tuple[int, ...]:
    skipped = int(has_samples(explanation)) + int(_every(explanation))
    return tuple(values.shape[skipped:])
