"""Hierarchies of players: which come together first. Given, by the correlation of columns, or by where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, MethodError
from onnxplain.method.blackbox.players import Players
from onnxplain.runtime.scorer import Array
from onnxplain.runtime.session import Arrays

__all__ = ["Hierarchy", "leaves", "make_hierarchy", "of_columns", "of_places"]

Hierarchy: TypeAlias = "int | tuple[Hierarchy, ...]"
"""A player, or a group of players and smaller groups."""


def make_hierarchy(given: Any, players: Players, background: Arrays | None) -> Hierarchy:
    """The hierarchy that an option describes.

    Args:
        given: nested lists of players; rows [players − 1, 4] of SciPy's linkage; "correlation" of the background's columns; or
            "halves" of the places.
        players: who plays.
        background: rows of data by input name.

    Raises:
        MethodError: the description is unknown, or does not hold every player once.
    """
    if isinstance(given, str):
        if given == "correlation":
            return of_columns(players, background)
        if given == "halves":
            return of_places(players)
        raise MethodError(f"hierarchy='{given}' is unknown; give nested lists, SciPy's linkage, 'correlation' or 'halves'")
    table = given if isinstance(given, np.ndarray) else None
    made = _of_linkage(table) if table is not None and table.ndim == 2 and table.shape[1] in (3, 4) else _nested(given)
    found = sorted(leaves(made))
    if found != list(range(players.count)):
        wrong = next((f"{i} twice" for i in found if found.count(i) > 1), None)
        unknown = next((f"{i}, which does not exist" for i in found if not 0 <= i < players.count), None)
        missing = next((f"no {i}" for i in range(players.count) if i not in found), "")
        raise MethodError(
            f"hierarchy must hold each of the {players.count} features or groups, 0 to {players.count - 1}, once; "
            f"it has {unknown or wrong or missing}"
        )
    return made


def leaves(node: Hierarchy) -> Iterator[int]:
    """The players of a group."""
    pending = [node]
    while pending:
        found = pending.pop()
        if isinstance(found, int):
            yield found
        else:
            pending.extend(reversed(found))


def _nested(given: Any) -> Hierarchy:
    """Nested lists as tuples; a group of one is its member."""
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        return int(given)
    if not isinstance(given, Sequence | np.ndarray) or not len(given):
        raise MethodError(f"hierarchy takes nested lists of numbers of features or groups; got {given!r} in it")
    parts = tuple(_nested(part) for part in given)
    return parts[0] if len(parts) == 1 else parts


def _of_linkage(table: Array) -> Hierarchy:
    """SciPy's linkage: row i joins two numbers to the group of number players + i."""
    groups: list[Hierarchy] = list(range(len(table) + 1))
    for first, second in table[:, :2].astype(int):
        if not (0 <= first < len(groups) and 0 <= second < len(groups)):
            raise MethodError(f"hierarchy: row {len(groups) - len(table) - 1} of the linkage joins groups that it has not made")
        groups.append((groups[first], groups[second]))
    return groups[-1]


def of_columns(players: Players, background: Arrays | None) -> Hierarchy:
    """What correlates most comes together first: single linkage of 1 − r between columns, as SHAP's Partition masker clusters.

    Raises:
        MethodError: there is no background of numbers, or features are grouped already.
        MissingDependencyError: SciPy is not installed.
    """
    if background is None:
        raise MethodError("a hierarchy by correlation needs background=rows of data; or give hierarchy= as nested lists")
    if not players.plain:
        raise MethodError("a hierarchy by correlation is one of columns, not of groups; give it as nested lists, or 'halves'")
    if any(rows.dtype.kind in "OUS" for rows in background.values()):
        raise MethodError("text columns have no correlation; give hierarchy= as nested lists")
    if players.count == 1:
        return 0
    columns = np.concatenate([rows.reshape(len(rows), -1).astype(np.float64) for rows in background.values()], axis=1)
    if len(columns) < 2:
        raise InputError("a hierarchy by correlation needs at least 2 rows of background")
    missing = np.isnan(columns)
    known = np.where(missing, 0, columns).sum(axis=0) / np.maximum((~missing).sum(axis=0), 1)
    centred = np.where(missing, 0, columns - known)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(length > 0, length, 1)  # a constant column correlates with nothing
    with optional("blackbox", "hierarchies by correlation"):
        from scipy.cluster.hierarchy import linkage
    distance = np.clip(1 - unit.T @ unit, 0, 2)[np.triu_indices(players.count, 1)]
    return _of_linkage(np.asarray(linkage(distance, "single")))


def of_places(players: Players) -> Hierarchy:
    """Near ones come together first: players cut into halves across the longest axis, again and again; inputs stay apart."""
    middles = np.zeros((players.count, 1 + max(numbers.ndim for numbers in players.of.values())))
    times = np.zeros(players.count)
    for which, numbers in enumerate(players.of.values()):
        present = numbers.ravel() >= 0
        chosen, places = numbers.ravel()[present], np.indices(numbers.shape).reshape(numbers.ndim, -1).T[present]
        far = which * 2.0 * sum(sum(n.shape) for n in players.of.values())
        wide = np.column_stack([np.full(len(chosen), far), places, np.zeros((len(chosen), middles.shape[1] - 1 - numbers.ndim))])
        np.add.at(middles, chosen, wide)
        np.add.at(times, chosen, 1)
    return _halved(np.arange(players.count), middles / times[:, None])


def _halved(members: Array, places: Array) -> Hierarchy:
    if len(members) == 1:
        return int(members[0])
    mine = places[members]
    axis = int(np.ptp(mine, axis=0).argmax())
    order = members[np.argsort(mine[:, axis], kind="stable")]
    along = np.sort(mine[:, axis])
    cut = len(order) // 2
    edges = np.flatnonzero(np.diff(along) > 0) + 1  # what lies on one line stays together where it can
    if len(edges):
        cut = int(edges[np.abs(edges - len(order) / 2).argmin()])
    return _halved(order[:cut], places), _halved(order[cut:], places)
