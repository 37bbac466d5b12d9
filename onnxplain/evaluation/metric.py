"""The metrics: named, user-facing ways to measure how far an explanation deserves trust."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from onnxplain.errors import MetricError, nearest
from onnxplain.method.registry import Option

if TYPE_CHECKING:
    from onnxplain.evaluation.case import MetricBatch, MetricContext

__all__ = ["BETTER", "FAMILIES", "NEEDS", "Metric", "MetricResult", "all_metrics", "metric", "metric_named"]

Array = np.ndarray[Any, Any]

Better: TypeAlias = Literal["higher", "lower"]

BETTER = ("higher", "lower")

FAMILIES: dict[str, tuple[str, ...]] = {
    "faithfulness": ("selectivity", "correlation", "monotonicity", "infidelity", "road", "decisions"),
    "robustness": ("robustness",),
    "randomisation": ("randomisation",),
    "localisation": ("localisation",),
    "complexity": ("complexity",),
    "axiom": ("axioms",),
}
"""The families in the order users see them, with the files of this folder that define their metrics."""

NEEDS = {
    "method": "explains again, so a method is needed, not attributions from a file",
    "weights": "changes the model's weights and explains again, so a method is needed, not attributions from a file",
    "masks": "compares with masks of the objects: give masks",
    "labels": "compares with the true classes: give labels",
    "image": "works on images: an explained input with two axes of space",
    "numbers": "moves the input by small steps, so the explained input must hold floating-point numbers",
}
"""What a metric may need, and why a run without it is refused."""


@dataclass(frozen=True)
class MetricResult:
    """What a metric finds of a batch of n samples.

    `score` is float64 [n], NaN where the metric is undefined for a sample (no correlation with a constant). `curves` are float64
    [n, points] by name over `at`, [points]; `facts` are further numbers, [n] by name.
    """

    score: Array
    curves: Mapping[str, Array] = field(default_factory=dict)
    at: Array | None = None
    facts: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A way to measure explanations: `run(batch, **options)` returns a `MetricResult`, or its score alone.

    `better` says which end of the scale is good; `needs` which of `NEEDS` it cannot do without; `check` names what is wrong with
    options in a context before anything runs.
    """

    name: str
    run: Callable[..., MetricResult | Array]
    family: str
    better: Better
    summary: str
    formula: str
    source: str
    needs: frozenset[str]
    options: tuple[Option, ...]
    check: Callable[..., Iterable[str]] | None = None

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with defaults filled in.

        Raises:
            MetricError: an option the metric does not know; the message names those it does.
        """
        known = {o.name: o.default for o in self.options}
        for name in options:
            if name not in known:
                takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
                raise MetricError(f"metric '{self.name}' has no option '{name}'; {takes}")
        return {**known, **options}

    def problems(self, context: MetricContext, options: Mapping[str, Any]) -> list[str]:
        """Why it cannot be computed in a context, one line each; none where it can."""
        found = [f"metric '{self.name}' {NEEDS[need]}" for need in sorted(self.needs & context.lacks)]
        if not found and self.check is not None:
            found = [f"metric '{self.name}': {text}" for text in self.check(context, **self.checked(options))]
        return found

    def compute(self, batch: MetricBatch, **options: Any) -> MetricResult:
        """Measure a batch.

        Raises:
            MetricError: an unknown option, or one that does not fit the samples.
        """
        made = self.run(batch, **self.checked(options))
        return made if isinstance(made, MetricResult) else MetricResult(np.asarray(made, np.float64))


_METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    family: str,
    better: Better,
    summary: str,
    formula: str,
    source: str,
    needs: Iterable[str] = (),
    check: Callable[..., Iterable[str]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function `(batch, *, options…) -> MetricResult | array [n]` as a metric.

    Args:
        name: lower-case, with hyphens, as in the literature.
        family: one of `FAMILIES`.
        better: which end of the scale is good.
        summary: one line for tables.
        formula: the score in one line of mathematics.
        source: where the metric was published.
        needs: what it cannot do without, of `NEEDS`.
        check: `(context, **options)` yields what is wrong with the options in a context, before anything runs.
    """
    assert family in FAMILIES, family
    assert not set(needs) - set(NEEDS), needs

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        parameters = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        known = tuple(Option(p.name, p.default, str(p.annotation)) for p in parameters)
        _METRICS[name] = Metric(name, function, family, better, summary, formula, source, frozenset(needs), known, check)
        return function

    return register


def all_metrics() -> dict[str, Metric]:
    """Every metric by name, family by family."""
    for files in FAMILIES.values():
        for file in files:
            import_module(f"onnxplain.evaluation.metrics.{file}")
    order = list(FAMILIES)
    return dict(sorted(_METRICS.items(), key=lambda item: order.index(item[1].family)))


def metric_named(name: str) -> Metric:
    """The metric of that name, or an error with the nearest names."""
    known = all_metrics()
    if name not in known:
        raise MetricError(f"no metric '{name}'; {nearest(name, known)}")
    return known[name]
