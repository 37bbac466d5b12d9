"""The page of an evaluation: the ranking, every metric with its intervals and curves, and a few samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.evaluation.metric import BETTER
from onnxplain.evaluation.report.evaluation import Curve, Evaluation, MetricColumn
from onnxplain.evaluation.report.picture import COLOURS
from onnxplain.method.registry import all_methods
from onnxplain.results.html import template, template_samples
from onnxplain.results.plot.style import short

__all__ = ["render_evaluation"]

WIDE, HIGH = 320, 150
"""Units of a drawing of curves."""
DASHES = ("", "5 3", "1.5 2.5", "7 2 1.5 2")
"""Of the curves of one method, in the order of their names."""


def render_evaluation(evaluation: Evaluation, title: str | None = None) -> str:
    """The page as text: one HTML file with everything in it, which needs no network and runs no scripts.

    Raises:
        MissingDependencyError: Jinja2 or Pillow is not installed.
    """
    name = evaluation.about.get("name", "the model")
    page: str = template("evaluation.html").render(
        title=title or f"Which explanation of {name} to trust",
        name=name,
        about=evaluation.about,
        colours=COLOURS,
        families=evaluation.families,
        controls=evaluation.controls,
        verdict=evaluation.verdict,
        ranking=[_ranked(evaluation, lane, subject) for lane, subject in enumerate(evaluation.ranks)],
        columns=[_column(evaluation, c) for c in evaluation.columns],
        skipped=evaluation.skipped,
        methods=[_card(label, about) for label, about in evaluation.about.get("methods", {}).items()],
        facts=_facts(evaluation),
        **_examples(evaluation),
    )
    return page


def _card(label: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a subject is."""
    method = all_methods().get(about.get("method", ""))
    if method is None:
        text = "attributions drawn at random: a control" if "control" in about else "attributions from elsewhere"
        return {"label": label, "summary": text}
    options = ", ".join(f"{k} = {v}" for k, v in about.get("options", {}).items())
    return {
        "label": label, "name": method.name if label != method.name else "", "options": options, "formula": method.formula,
        "summary": method.summary, "source": method.source,
    }  # fmt: skip


def _examples(evaluation: Evaluation) -> dict[str, Any]:
    if not evaluation.examples:
        return {"samples": []}
    by_label = {e.method: e for e in evaluation.examples}
    ordered = [by_label[s] for s in evaluation.ranks if s in by_label]
    return template_samples(ordered, evaluation.about.get("features") or None, numbers=evaluation.about.get("examples"))


def _ranked(evaluation: Evaluation, lane: int, subject: str) -> dict[str, Any]:
    ranks = evaluation.ranks[subject]
    most = max(2, len(evaluation.ranks) - len(evaluation.controls))
    overall = ranks["overall"]
    return {
        "label": subject,
        "colour": COLOURS[lane % len(COLOURS)],
        "overall": "control" if subject in evaluation.controls else short(overall) if np.isfinite(overall) else "–",
        "place": 100 * (overall - 1) / (most - 1) if np.isfinite(overall) else None,
        "families": {f: short(r) for f, r in ranks.items() if f != "overall"},
    }


def _column(evaluation: Evaluation, column: MetricColumn) -> dict[str, Any]:
    """A metric: its lanes, one per method, and its curves."""
    means = {s: m for s, m in evaluation.means[column.label].items() if m.count}
    low = min((m.low for m in means.values()), default=0.0)
    high = max((m.high for m in means.values()), default=1.0)
    reach = (high - low) or 1.0
    low, reach = low - 0.04 * reach, 1.08 * reach
    lanes = []
    for number, subject in enumerate(evaluation.ranks):
        found = means.get(subject)
        lane: dict[str, Any] = {"label": subject, "colour": COLOURS[number % len(COLOURS)], "mean": None}
        if found is not None:
            lane |= {
                "mean": short(found.value), "interval": f"{short(found.low)} … {short(found.high)}", "ties": found.ties,
                "left": 100 * (found.low - low) / reach, "width": 100 * (found.high - found.low) / reach,
                "at": 100 * (found.value - low) / reach, "undefined": found.undefined, "beats": found.beats,
            }  # fmt: skip
        lanes.append(lane)
    options = {o.name: o.default for o in column.metric.options}
    return {
        "label": column.label,
        "metric": column.metric,
        "arrow": "↑ more is better" if column.metric.better == BETTER[0] else "↓ less is better",
        "options": ", ".join(f"{k} = {v}" for k, v in column.options.items() if options.get(k) is not v and options.get(k) != v),
        "lanes": lanes,
        "chart": _chart(evaluation, column),
    }


def _chart(evaluation: Evaluation, column: MetricColumn) -> dict[str, Any] | None:
    """The mean curves as lines and bands in a drawing."""
    curves: list[tuple[str, str, int, Curve]] = []
    for number, subject in enumerate(evaluation.ranks):
        result = evaluation.results.get((subject, column.label))
        if result is None or result.at is None or len(result.at) < 3:
            continue
        for style, name in enumerate(result.curves):
            if np.isfinite(result.curves[name]).all(axis=1).any():
                curve = evaluation.curve(subject, column.label, name)
                curves.append((name, COLOURS[number % len(COLOURS)], style, curve))
    if not curves:
        return None
    left = min(float(c.at.min()) for *_, c in curves)
    right = max(float(c.at.max()) for *_, c in curves)
    low = min(float(c.low.min()) for *_, c in curves)
    high = max(float(c.high.max()) for *_, c in curves)

    def points(at: Sequence[float], values: Sequence[float]) -> str:
        xs = [WIDE * (a - left) / ((right - left) or 1) for a in at]
        ys = [HIGH - HIGH * (v - low) / ((high - low) or 1) for v in values]
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))

    names = list(dict.fromkeys(name for name, *_ in curves))
    return {
        "wide": WIDE, "high": HIGH, "low_text": short(low), "high_text": short(high), "left_text": short(left),
        "right_text": short(right), "names": names if len(names) > 1 else [],
        "lines": [
            {
                "colour": colour, "dash": DASHES[style % 4], "points": points(list(c.at), list(c.mean)),
                "band": points([*c.at, *c.at[::-1]], [*c.low, *c.high[::-1]]),
            }
            for _, colour, style, c in curves
        ],
    }  # fmt: skip


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    about = evaluation.about
    return [
        ("samples", str(about["samples"])),
        ("explained input", str(about.get("input"))),
        ("explained score", str(about.get("explained"))),
        ("source model", f"{about.get('name')}, sha256 {about.get('model')}"),
        ("data", f"sha256 {about.get('data')}"),
        ("seed", str(about.get("seed"))),
        ("written by", f"onnxplain {about.get('version')}"),
    ]
