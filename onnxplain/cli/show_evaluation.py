"""Prints the results of the commands on evaluation."""

from __future__ import annotations

import json
from typing import Any

from onnxplain.cli.show import _console, _table
from onnxplain.cli.text import escape
from onnxplain.evaluation.metric import Metric, all_metrics, metric_named
from onnxplain.evaluation.report.evaluation import Evaluation
from onnxplain.evaluation.report.files import EVALUATION_WRITERS
from onnxplain.results.plot.style import short

__all__ = ["show_evaluation", "show_metric", "show_metrics"]

ARROWS = {"higher": "↑", "lower": "↓"}


def show_evaluation(found: Evaluation, as_json: bool) -> None:
    """Print the ranking, then one row per metric. The best mean is bold, with those that do not differ significantly from it."""
    if as_json:
        print(EVALUATION_WRITERS[".json"](found).decode(), end="")
        return
    out = _console()
    out.print(escape(found.verdict))
    rows = _table("metric", *map(escape, found.ranks), right=tuple(map(escape, found.ranks)))
    for column in found.columns:
        cells = []
        for subject in found.ranks:
            mean = found.means[column.label].get(subject)
            text = "-" if mean is None or not mean.count else short(mean.value)
            text += "" if mean is None or mean.beats is not False else "†"
            cells.append(f"[bold]{text}*[/bold]" if mean is not None and mean.ties and mean.count else f"{text} ")
        rows.add_row(f"{escape(column.label)} {ARROWS[column.metric.better]}", *cells)
    rows.add_section()
    rows.add_row("mean rank", *("- " if s in found.controls else f"{short(r['overall'])} " for s, r in found.ranks.items()))
    out.print(rows)
    out.print(
        f"means over {found.about['samples']} samples · ↑ more is better, ↓ less · *: the best, and what cannot be told from it "
        f"(95 %){' · †: no better than the control' if found.controls else ''}"
    )
    out.print("mean rank: 1 is best; families of metrics count alike · intervals and curves: -o report.html")
    for text in found.skipped:
        out.print(f"[dim]left out: {escape(text)}[/dim]")


def _metric_fields(m: Metric) -> dict[str, Any]:
    options = [{"name": o.name, "default": str(o.default)} for o in m.options]
    about = {"name": m.name, "family": m.family, "better": m.better, "summary": m.summary, "formula": m.formula}
    return {**about, "source": m.source, "needs": sorted(m.needs), "options": options}


def show_metrics(as_json: bool = False) -> None:
    """Print one row per metric."""
    if as_json:
        print(json.dumps([_metric_fields(m) for m in all_metrics().values()], indent=2, ensure_ascii=False))
        return
    rows = _table("metric", "family", "", "what it tells")
    for m in all_metrics().values():
        rows.add_row(m.name, m.family, ARROWS[m.better], escape(m.summary))
    _console().print(rows)


def show_metric(name: str, as_json: bool = False) -> None:
    """Print the details of a metric."""
    m = metric_named(name)
    if as_json:
        print(json.dumps(_metric_fields(m), indent=2, ensure_ascii=False))
        return
    out = _console()
    out.print(f"[bold]{m.name}[/bold]  {m.family}, {ARROWS[m.better]} {'more' if m.better == 'higher' else 'less'} is better")
    out.print(escape(f"{m.summary}\n{m.formula}\nsource: {m.source}"))
    if m.needs:
        out.print(f"needs: {', '.join(sorted(m.needs))}")
    rows = _table("option", "default")
    for option in m.options:
        rows.add_row(option.name, escape(str(option.default)))
    if m.options:
        out.print(rows)
