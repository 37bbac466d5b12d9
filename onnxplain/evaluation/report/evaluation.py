"""Evaluation: what an evaluation found - scores of every sample, curves, tables, ranks, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.errors import InputError, nearest
from onnxplain.evaluation.report.summary import MetricMean, bootstrap, mean_ranks, summarised
from onnxplain.results.notebook import html_table
from onnxplain.results.plot.style import short

if TYPE_CHECKING:
    import os

    import pandas as pd
    from matplotlib.figure import Figure

    from onnxplain.evaluation.metric import Metric
    from onnxplain.results.explanation import Explanation

__all__ = ["Curve", "Evaluation", "MetricColumn", "Result"]

Array = np.ndarray[Any, Any]

MIN_SAMPLES = 10
"""Below so many samples intervals are too narrow to believe."""


@dataclass(frozen=True)
class MetricColumn:
    """A metric of an evaluation.

    Attributes:
        label: what it is called in this evaluation.
        metric: the metric.
        options: its options, defaults filled in.
    """

    label: str
    metric: Metric
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """What one metric found for one method.

    Attributes:
        score: one number per sample, float64 [n]; NaN where it is undefined.
        facts: what else the metric knows, by name, [n].
        curves: curves by name, [n, points].
        at: where the curves have their points, [points]; None without curves.
    """

    score: Array
    facts: Mapping[str, Array] = field(default_factory=dict)
    curves: Mapping[str, Array] = field(default_factory=dict)
    at: Array | None = None


@dataclass(frozen=True)
class Curve:
    """The mean of a curve over the samples with its 95 % confidence interval.

    Attributes:
        at: the points, [points].
        mean: the mean at each point, [points].
        low: the lower end of the interval, [points].
        high: the upper end of the interval, [points].
    """

    at: Array
    mean: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation: scores of every sample, curves, tables, ranks.

    Attributes:
        about: what was evaluated: model, samples, target and settings.
        subjects: the labels of the methods, and of attributions from elsewhere.
        columns: the metrics.
        results: the results by (method, metric) label.
        skipped: what was left out, and why.
        controls: labels of those that are no explanations, to compare with.
        examples: explanations of a few samples.

    Example:
        >>> import numpy as np
        >>> from onnxplain import evaluate
        >>> images = np.load("fixtures/digits/data.npz")["image"][:5]
        >>> found = evaluate("fixtures/digits/model.onnx", images, ["gradient", "random"], ["sparseness"], progress=False)
        >>> found
        Evaluation(2 methods, 1 metrics, 5 samples)
        >>> found.scores("gradient", "sparseness").shape
        (5,)
    """

    about: Mapping[str, Any]
    subjects: tuple[str, ...]
    columns: tuple[MetricColumn, ...]
    results: Mapping[tuple[str, str], Result]
    skipped: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    examples: tuple[Explanation, ...] = ()

    @cached_property
    def means(self) -> dict[str, dict[str, MetricMean]]:
        """The mean of every metric, with its interval and rank, by the labels of metric and method."""
        return {
            c.label: summarised(
                {s: self.results[s, c.label].score for s in self.subjects if (s, c.label) in self.results},
                c.metric.better,
                self.controls,
            )
            for c in self.columns
        }

    @property
    def families(self) -> tuple[str, ...]:
        """The families of its metrics."""
        return tuple(dict.fromkeys(c.metric.family for c in self.columns))

    @cached_property
    def ranks(self) -> dict[str, dict[str, float]]:
        """The mean ranks of every method by family, and "overall".

        The best method comes first. Controls have no rank and come last. See `summary.mean_ranks`.
        """
        found = mean_ranks(self.means, {c.label: c.metric.family for c in self.columns}, self.controls)
        nowhere = {s: {"overall": np.nan} for s in self.subjects if s not in found}
        order = sorted(
            {**found, **nowhere}.items(),
            key=lambda item: (item[0] in self.controls, np.nan_to_num(item[1]["overall"], nan=np.inf)),
        )
        return dict(order)

    def scores(self, subject: str, metric: str) -> Array:
        """The score of every sample.

        Args:
            subject: the label of the method.
            metric: the label of the metric.

        Returns:
            float64 [n]; NaN where the score is undefined.

        Raises:
            InputError: there is no such result.
        """
        return self.result(subject, metric).score

    def result(self, subject: str, metric: str) -> Result:
        """All that a metric found for a method.

        Args:
            subject: the label of the method.
            metric: the label of the metric.

        Returns:
            Scores, further numbers and curves.

        Raises:
            InputError: there is no such result.
        """
        for what, label, known in (
            ("method", subject, self.subjects), ("metric", metric, [c.label for c in self.columns])
        ):  # fmt: skip
            if label not in known:
                raise InputError(f"no {what} '{label}' in this evaluation; {nearest(label, known)}")
        if (subject, metric) not in self.results:
            raise InputError(f"'{metric}' was not computed for '{subject}': it does not apply")
        return self.results[subject, metric]

    def curve(self, subject: str, metric: str, name: str | None = None) -> Curve:
        """The mean of a curve over the samples.

        Args:
            subject: the label of the method.
            metric: the label of the metric.
            name: which curve; None for the first.

        Returns:
            The mean with its 95 % confidence interval, from a bootstrap over the samples.

        Raises:
            InputError: there is no such curve.
        """
        result = self.result(subject, metric)
        if not result.curves or result.at is None:
            raise InputError(f"metric '{metric}' has no curve")
        if name is not None and name not in result.curves:
            raise InputError(f"metric '{metric}' has no curve '{name}'; {nearest(name, result.curves)}")
        values = result.curves[name or next(iter(result.curves))]
        values = values[np.isfinite(values).all(axis=1)]
        if not len(values):
            raise InputError(f"the curve of '{metric}' is undefined for every sample of '{subject}'")
        low, high = bootstrap(values)
        return Curve(result.at, values.mean(axis=0), low, high)

    @property
    def verdict(self) -> str:
        """Which method comes first, in a sentence, and how sure that is."""
        ranks = {s: r["overall"] for s, r in self.ranks.items() if np.isfinite(r["overall"])}
        if len(ranks) < 2:
            return "With a single method there is nothing to rank." + self._against_controls(list(ranks))
        best = min(ranks.values())
        first = [s for s, r in ranks.items() if np.isclose(r, best)]
        wins = {s: sum(self.means[c.label][s].ties for c in self.columns if s in self.means[c.label]) for s in ranks}
        total = len(self.columns)
        who = " and ".join(f"“{s}”" for s in first)
        have = "share" if len(first) > 1 else "has"
        said = (
            f"{who} {have} the best mean rank, {short(best)} of {len(ranks)}: best, or not to be told from the best, on "
            f"{' and '.join(str(wins[s]) for s in first)} of {total} metrics."
        )
        others = [s for s in ranks if s not in first and wins[s] > wins[first[0]]]
        if others:
            said += f" “{others[0]}” is so on {wins[others[0]]}, but falls further behind on the others."
        said += self._against_controls(list(ranks))
        if self.about["samples"] < MIN_SAMPLES:
            said += f" With {self.about['samples']} samples that says little."
        return said

    def _against_controls(self, methods: Sequence[str]) -> str:
        """Which methods are no better than a control, and on how many metrics."""
        judged = [row for row in self.means.values() if any(c in row and row[c].count for c in self.controls)]
        worse = {m: sum(row[m].beats is False for row in judged if m in row and row[m].count) for m in methods}
        if not judged:
            return ""
        found = [f"“{m}” on {count}" for m, count in worse.items() if count]
        whole = (
            f" of {len(judged)} metrics that the control has" if len(judged) < len(self.columns) else f" of {len(judged)} metrics"
        )
        return f" No better than the control: {', '.join(found)}{whole}." if found else " All beat the control on every metric."

    def table(self) -> list[dict[str, Any]]:
        """A row per method and metric.

        Returns:
            Dicts with the keys method, metric, family, better, mean, low, high, samples, undefined, rank, ties and beats_control.
        """
        return [
            {
                "method": s, "metric": c.label, "family": c.metric.family, "better": c.metric.better, "mean": m.value,
                "low": m.low, "high": m.high, "samples": m.count, "undefined": m.undefined, "rank": m.rank, "ties": m.ties,
                "beats_control": m.beats,
            }
            for c in self.columns for s, m in self.means[c.label].items()
        ]  # fmt: skip

    def to_pandas(self) -> pd.DataFrame:
        """A row per method, metric and sample.

        Returns:
            A frame with the columns method, metric, sample and score.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        from onnxplain.evaluation.report.files import long_frame

        return long_frame(self)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to a file whose ending says the form: .html .md .csv .json .parquet .png.

        .csv has the table; .json the table, ranks and all scores; .parquet a row per sample; .png the plot.

        Args:
            path: the file to write.

        Returns:
            The path.

        Raises:
            OutputError: the folder does not exist or the ending is unknown.
            MissingDependencyError: the form needs a package that is not installed.
        """
        from onnxplain.evaluation.report.files import save_evaluation

        return save_evaluation(self, Path(path))

    def plot(self, metrics: Sequence[str] | None = None) -> Figure:
        """A figure: the ranking, and a panel per metric with means and intervals, or curves where the metric has some.

        Args:
            metrics: labels of the metrics to show; None for all.

        Returns:
            A matplotlib figure.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from onnxplain.evaluation.report.picture import plot_evaluation

        return plot_evaluation(self, metrics)

    def _repr_html_(self) -> str:
        """What a notebook shows: the mean of every metric for every method, the best overall first."""
        rows = [
            [s, *(short(c[s].value) if s in c else "" for c in (self.means[column.label] for column in self.columns))]
            for s in self.ranks
        ]
        head = ("method", *(f"{c.label} ({c.metric.better} is better)" for c in self.columns))
        return html_table(repr(self), head, rows, self.skipped)

    def __repr__(self) -> str:
        return f"Evaluation({len(self.subjects)} methods, {len(self.columns)} metrics, {self.about['samples']} samples)"
