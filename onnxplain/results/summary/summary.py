"""Summary: what attributions of a data set come to. It has a bounded size, and those of parts add up to that of the whole."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.arrays import UNREADABLE
from onnxplain.io.npz import mapped_npz, write_npz
from onnxplain.io.plain import from_json
from onnxplain.results.summary.histogram import LogHistogram

__all__ = ["AttributionSummary", "Summary"]

Array = np.ndarray[Any, Any]

MOST_FEATURES = 512
"""Up to so many elements of a sample are features with quantiles and examples of their own; more have them together."""

MOST_IN_GROUPS = 4096
"""Up to so many elements have means of their own by class and cohort."""

MOST_GROUPS = 1000
"""Classes or cohorts that are told apart; further ones are counted as "other"."""

EXAMPLES = 5
"""Samples that are named for a feature or a class."""

SUFFIX = "_attribution"


@dataclass(frozen=True)
class AttributionSummary:
    """One attribution over many samples.

    Attributes:
        shape: of one sample; empty where it differs from sample to sample, and all elements are counted together.
        groups: by name ("all", "class=3", "region=north"): the number of samples, and the sums of |φ| and φ, float64 [features].
        squares: the sum of φ² over all samples, float64 [features].
        histogram: of φ; a row per feature, or one for all together.
        examples: for each feature the samples with the largest |φ|: numbers int64 [features, EXAMPLES] (−1 for none), and values.
        of_class: by class, the samples with the largest sum of attributions.
    """

    shape: tuple[int, ...]
    groups: dict[str, tuple[int, Array, Array]]
    squares: Array
    histogram: LogHistogram
    examples: tuple[Array, Array]
    of_class: dict[str, list[tuple[float, int]]]

    @classmethod
    def of(cls, values: Any, index: Array, labels: Mapping[str, Array]) -> AttributionSummary:
        """Of attributions [n, …], or a list of n arrays, with the samples' numbers and their labels by kind."""
        if isinstance(values, list):
            rows_of: dict[tuple[int, ...], list[int]] = {}
            for i, value in enumerate(values):
                rows_of.setdefault(value.shape, []).append(i)
            parts = [
                cls.of(np.stack([values[i] for i in rows]), index[rows], {k: v[rows] for k, v in labels.items()})
                for rows in rows_of.values()
            ]
            return reduce(add, (part.together() for part in parts))
        shape, flat = values.shape[1:], np.asarray(values).reshape(len(index), -1)
        fewer = flat if flat.shape[1] <= MOST_FEATURES else flat.reshape(-1, 1)
        sizes = np.abs(flat)
        groups = {"all": (len(index), sizes.sum(axis=0, dtype=float), flat.sum(axis=0, dtype=float))}
        whole = flat.shape[1] <= MOST_IN_GROUPS
        grouped, small = (a if whole else a.mean(axis=1, keepdims=True, dtype=float) for a in (flat, sizes))
        for kind, label in labels.items():
            order, names = np.argsort(label, kind="stable"), np.unique(label)
            starts = np.searchsorted(label[order], names)
            counts = np.diff([*starts, len(label)])
            sums = [np.add.reduceat(a[order], starts, axis=0, dtype=float) for a in (small, grouped)]
            groups |= {f"{kind}={n}": (int(c), s, t) for n, c, s, t in zip(names, counts, *sums, strict=True)}
        features = flat if flat.shape[1] <= MOST_FEATURES else flat[:, :0]
        of_class = _strongest(flat.sum(axis=1, dtype=float), index, labels["class"]) if "class" in labels else {}
        squares = np.square(flat).sum(axis=0, dtype=float)
        return cls(tuple(shape), _bounded(groups), squares, LogHistogram.of(fewer), _examples(features, index), of_class)

    def __add__(self, other: AttributionSummary) -> AttributionSummary:
        if self.shape != other.shape or self.squares.shape != other.squares.shape:
            return self.together() + other.together()
        groups = dict(self.groups)
        for name, (count, sizes, sums) in other.groups.items():
            mine = groups.get(name, (0, 0.0, 0.0))
            groups[name] = mine[0] + count, mine[1] + sizes, mine[2] + sums
        numbers = np.concatenate([self.examples[0], other.examples[0]], axis=1)
        values = np.concatenate([self.examples[1], other.examples[1]], axis=1)
        of_class = {
            name: _first([*self.of_class.get(name, ()), *other.of_class.get(name, ())])
            for name in {**self.of_class, **other.of_class}
        }
        histogram, squares = self.histogram + other.histogram, self.squares + other.squares
        examples, named = _kept(numbers, values), dict(list(of_class.items())[:MOST_GROUPS])
        return AttributionSummary(self.shape, _bounded(groups), squares, histogram, examples, named)

    def together(self) -> AttributionSummary:
        """All elements counted together, as of samples that differ in shape: means over the elements of a sample are summed."""
        groups = {n: (c, np.mean(s, keepdims=True), np.mean(t, keepdims=True)) for n, (c, s, t) in self.groups.items()}
        histogram = LogHistogram(self.histogram.counts.sum(axis=0, keepdims=True))
        none = np.empty((0, EXAMPLES), np.int64), np.empty((0, EXAMPLES))
        return AttributionSummary((), groups, np.mean(self.squares, keepdims=True), histogram, none, self.of_class)

    @property
    def count(self) -> int:
        """The number of samples."""
        return self.groups["all"][0]

    def mean_sizes(self, group: str = "all") -> Array:
        """The mean of |φ| in a group, float64 [features]."""
        count, sizes, _ = self.groups[group]
        return np.asarray(sizes / count)

    def means(self, group: str = "all") -> Array:
        """The mean of φ in a group, float64 [features]."""
        count, _, sums = self.groups[group]
        return np.asarray(sums / count)


@dataclass(frozen=True)
class Summary:
    """Attributions of a data set, in numbers whose size does not grow with it.

    Attributes:
        attributions: by column, as "x_attribution".
        features: the names of a sample's elements, where the data has them.

    Example:
        >>> import tempfile
        >>> import onnxplain
        >>> out = f"{tempfile.mkdtemp()}/cancer.parquet"
        >>> done = onnxplain.map("fixtures/cancer/model.onnx", "fixtures/cancer/cancer_samples.csv", out, progress=False)
        >>> summary = done.summary
        >>> summary["features_attribution"].count
        5
    """

    attributions: dict[str, AttributionSummary]
    features: Sequence[str] | None = field(default=None)

    def __getitem__(self, name: str) -> AttributionSummary:
        return self.attributions[name]

    @classmethod
    def of(cls, columns: Mapping[str, Any], cohort: str | None = None) -> Summary:
        """Of the columns of some samples, as `onnxplain.map` writes them.

        Raises:
            InputError: the cohort is called `class`.
        """
        made = {}
        for name, values in columns.items():
            if name.endswith(SUFFIX):
                target = columns.get(f"{name.rpartition('.')[0]}.target", columns.get("target"))
                labels = {} if target is None else {"class": np.asarray(target)}
                if cohort is not None and cohort in labels:
                    raise InputError("a cohort called 'class' cannot be told from the classes; give the column another name")
                if cohort is not None:
                    labels[cohort] = np.array([str(v) for v in columns[cohort]])
                made[name] = AttributionSummary.of(values, columns["index"], labels)
        return cls(made)

    def __add__(self, other: Summary) -> Summary:
        return Summary({n: a + other.attributions[n] for n, a in self.attributions.items()}, self.features)

    def table(self, name: str | None = None, group: str = "all") -> dict[str, Array]:
        """Columns of a table with a row per feature, the greatest mean size first.

        Args:
            name: the attribution; None for the first.
            group: "all", or a class or cohort as `groups` names them.
        """
        found = self.attributions[name or next(iter(self.attributions))]
        sizes, means = found.mean_sizes(group), found.means(group)
        order = np.argsort(-sizes, kind="stable")
        places = list(np.ndindex(*found.shape)) if len(sizes) == np.prod(found.shape) else [()] * len(sizes)
        names = self.features if self.features and len(self.features) == len(sizes) else [",".join(map(str, p)) for p in places]
        made = {"feature": np.array(names, object)[order], "mean_size": sizes[order], "mean": means[order]}
        if group == "all" and len(found.histogram.counts) == len(sizes):
            made |= {f"q{q:02}": found.histogram.quantile(q / 100)[order] for q in (5, 25, 50, 75, 95)}
        return made

    def write(self, file: IO[bytes]) -> None:
        """Write to an open file, as .npz."""
        write_npz(file, dict(self._arrays()))

    def _arrays(self) -> Iterator[tuple[str, Array]]:
        told: dict[str, Any] = {"features": None if self.features is None else list(self.features), "attributions": {}}
        for i, (name, a) in enumerate(self.attributions.items()):
            groups = {g: count for g, (count, _, _) in a.groups.items()}
            told["attributions"][name] = {"shape": list(a.shape), "groups": groups, "of_class": a.of_class}
            for j, (_, sizes, sums) in enumerate(a.groups.values()):
                yield f"{i}.sizes.{j}", sizes
                yield f"{i}.sums.{j}", sums
            filled = np.flatnonzero(a.histogram.counts)
            yield f"{i}.squares", a.squares
            yield f"{i}.histogram", np.stack([filled, a.histogram.counts.ravel()[filled]])
            yield f"{i}.histogram_shape", np.array(a.histogram.counts.shape)
            yield f"{i}.examples", a.examples[0]
            yield f"{i}.example_values", a.examples[1]
        yield "about", np.array(json.dumps(told))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Summary:
        """Read a summary that was written.

        Args:
            path: the .summary.npz file of a run.

        Raises:
            InputError: it is no such file.
        """
        try:
            arrays = mapped_npz(Path(path))
            told = from_json(str(arrays["about"]))
            made = {name: _loaded(i, about, arrays) for i, (name, about) in enumerate(told["attributions"].items())}
        except (*UNREADABLE, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"cannot read {path} as the summary of a run: {str(error) or type(error).__name__}") from None
        return cls(made, told["features"])


def _loaded(i: int, about: Mapping[str, Any], arrays: Mapping[str, Array]) -> AttributionSummary:
    groups = {
        name: (count, np.array(arrays[f"{i}.sizes.{j}"]), np.array(arrays[f"{i}.sums.{j}"]))
        for j, (name, count) in enumerate(about["groups"].items())
    }
    shape = tuple(int(n) for n in arrays[f"{i}.histogram_shape"])
    counts = np.zeros(shape, np.int64)
    places, filled = arrays[f"{i}.histogram"]
    counts.ravel()[places] = filled
    examples = np.array(arrays[f"{i}.examples"]), np.array(arrays[f"{i}.example_values"])
    of_class = {name: [(float(v), int(n)) for v, n in found] for name, found in about["of_class"].items()}
    squares = np.array(arrays[f"{i}.squares"])
    return AttributionSummary(tuple(about["shape"]), groups, squares, LogHistogram(counts), examples, of_class)


def _first(found: Any) -> list[tuple[float, int]]:
    """The largest values with their samples; of equal ones the first samples."""
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))[:EXAMPLES]


def _bounded(groups: dict[str, tuple[int, Any, Any]]) -> dict[str, tuple[int, Any, Any]]:
    """The first groups, and all further ones as one."""
    if len(groups) <= MOST_GROUPS + 1:
        return groups
    names = [n for n in groups if n not in ("all", "other")]
    rest = [*names[MOST_GROUPS - 1 :], *(["other"] if "other" in groups else [])]
    other = tuple(sum(groups[n][k] for n in rest) for k in range(3))
    return {"all": groups["all"], **{n: groups[n] for n in names[: MOST_GROUPS - 1]}, "other": other}  # type: ignore[dict-item]


def _examples(flat: Array, index: Array) -> tuple[Array, Array]:
    """Of every feature the samples where its attribution is largest."""
    found = [_leading(np.abs(column)) for column in flat.T]
    numbers, values = np.full((len(found), EXAMPLES), -1, np.int64), np.full((len(found), EXAMPLES), np.nan)
    for feature, rows in enumerate(found):
        numbers[feature, : len(rows)], values[feature, : len(rows)] = index[rows], flat[rows, feature]
    return numbers, values


def _leading(values: Array) -> Array:
    """Where the largest values stand, the largest first; of equal ones the first."""
    values = np.where(np.isfinite(values), values, -np.inf)
    if len(values) <= EXAMPLES:
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - EXAMPLES)[len(values) - EXAMPLES]
    near = np.flatnonzero(values >= least)
    return np.asarray(near[np.argsort(-values[near], kind="stable")[:EXAMPLES]])


def _strongest(totals: Array, index: Array, label: Array) -> dict[str, list[tuple[float, int]]]:
    """By class, the samples with the largest sums."""
    made = {}
    for name in np.unique(label)[:MOST_GROUPS]:
        rows = np.flatnonzero(label == name)
        rows = rows[_leading(totals[rows])]
        made[str(name)] = [(float(totals[r]), int(index[r])) for r in rows]
    return made


def _kept(numbers: Array, values: Array) -> tuple[Array, Array]:
    """The first columns by size, of equal ones those of the first samples; missing ones are −1 and NaN."""
    sizes = np.where(np.isfinite(values) & (numbers >= 0), np.abs(values), -1.0)
    order = np.lexsort((numbers, -sizes), axis=1)[:, :EXAMPLES]
    taken, found = np.take_along_axis(numbers, order, 1), np.take_along_axis(values, order, 1)
    missing = EXAMPLES - taken.shape[1]
    return np.pad(taken, ((0, 0), (0, missing)), constant_values=-1), np.pad(
        found, ((0, 0), (0, missing)), constant_values=np.nan
    )
