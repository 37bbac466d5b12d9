"""The picture of an evaluation: the ranking, then a panel for each metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, nearest
from onnxplain.evaluation.report.evaluation import Evaluation, MetricColumn
from onnxplain.results.plot.style import INK, QUIET, RIM

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "plot_evaluation"]

COLOURS = ("#2867b2", "#c8402a", "#2f8f5b", "#8a5fb8", "#c98a12", "#1f9aa8", "#a3497a", "#6f7a2a", "#5b6b86", "#8a5a3c")
"""Of methods in the order of their ranks; after the last, they begin again in lines of dashes."""

ACROSS = 3
WIDTH, HEAD, LANE = 3.5, 0.62, 0.22
"""Inches: of a panel, of what stands around it, and of a method in it."""


def plot_evaluation(evaluation: Evaluation, metrics: Sequence[str] | None = None) -> Figure:
    """See `Evaluation.plot`.

    Raises:
        InputError: no such metric.
        MissingDependencyError: matplotlib is not installed.
    """
    with optional("plot", "pictures"):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    known = {c.label: c for c in evaluation.columns}
    for label in metrics or ():
        if label not in known:
            raise InputError(f"no metric '{label}' in this evaluation; {nearest(label, known)}")
    columns = [known[m] for m in metrics] if metrics is not None else list(evaluation.columns)
    curved = [c for c in columns if _has_curve(evaluation, c)]
    order = list(evaluation.ranks)
    lanes = max(1.1, LANE * len(order)) + HEAD
    rows, curve_rows = -(-(len(columns) + 1) // ACROSS), -(-len(curved) // ACROSS)
    heights = [lanes] * rows + [2.5] * curve_rows
    wide = 0.09 * max(map(len, order)) + 0.3
    figure = Figure(figsize=(wide + ACROSS * WIDTH, sum(heights) + 0.5), facecolor="white")
    FigureCanvasAgg(figure)
    panels = _panels(figure, heights, wide)
    _ranking(panels[0], evaluation, order)
    for panel, column in zip(panels[1:], columns, strict=False):
        _means(panel, evaluation, column, order)
    for panel, column in zip(panels[rows * ACROSS :], curved, strict=False):
        _curves(panel, evaluation, column, order)
    used = {0, *range(1, len(columns) + 1), *range(rows * ACROSS, rows * ACROSS + len(curved))}
    for number, panel in enumerate(panels):
        if number not in used:
            panel.set_visible(False)
        elif number < rows * ACROSS and number % ACROSS == 0:
            panel.set_yticks(range(len(order)), order, fontsize=8, color=INK)
    about = evaluation.about
    figure.text(
        0.01, 0.16 / figure.get_figheight(),
        f"means over {about['samples']} samples with 95 % confidence intervals · filled: the best, and its ties",
        fontsize=7.5, color=QUIET,
    )  # fmt: skip
    return figure


def _has_curve(evaluation: Evaluation, column: MetricColumn) -> bool:
    found = [evaluation.results[s, column.label] for s in evaluation.subjects if (s, column.label) in evaluation.results]
    return any(r.curves and r.at is not None and len(r.at) > 2 for r in found)


def _panels(figure: Figure, heights: Sequence[float], wide: float) -> list[Axes]:
    total_w, total_h = figure.get_size_inches()
    made, top = [], total_h - 0.1
    for height in heights:
        for i in range(ACROSS):
            left, bottom = wide + i * WIDTH, top - height + 0.32
            panel = figure.add_axes((left / total_w, bottom / total_h, (WIDTH - 0.45) / total_w, (height - HEAD) / total_h))
            panel.tick_params(labelsize=7, colors=QUIET, length=2)
            for side in panel.spines.values():
                side.set_color(RIM)
            panel.set_yticks([])
            made.append(panel)
        top -= height
    return made


def _lanes(panel: Axes, title: str, count: int) -> None:
    panel.set_title(title, fontsize=8.5, color=INK, loc="left", pad=5)
    panel.set_ylim(count - 0.5, -0.5)
    for lane in range(count):
        panel.axhline(lane, color=RIM, linewidth=0.5, zorder=0)


def _ranking(panel: Axes, evaluation: Evaluation, order: Sequence[str]) -> None:
    """The mean rank of every method over all families, and in each of them."""
    _lanes(panel, "mean rank (1 is best)", len(order))
    for lane, subject in enumerate(order):
        ranks = evaluation.ranks[subject]
        each = [r for family, r in ranks.items() if family != "overall"]
        panel.plot(each, [lane] * len(each), "|", color=QUIET, markersize=6, zorder=1)
        if np.isfinite(ranks["overall"]):
            panel.plot(ranks["overall"], lane, "o", color=COLOURS[lane % len(COLOURS)], markersize=5.5, zorder=2)
    panel.set_xlim(0.7, max(2, len(order) - len(evaluation.controls)) + 0.3)


def _means(panel: Axes, evaluation: Evaluation, column: MetricColumn, order: Sequence[str]) -> None:
    arrow = "→ better" if column.metric.better == "higher" else "← better"
    _lanes(panel, column.label, len(order))
    panel.set_title(arrow, fontsize=7, color=QUIET, loc="right", pad=5)
    for lane, subject in enumerate(order):
        found = evaluation.means[column.label].get(subject)
        if found is None or not found.count:
            continue
        colour = COLOURS[lane % len(COLOURS)]
        panel.plot([found.low, found.high], [lane, lane], color=colour, linewidth=1.6, solid_capstyle="butt", alpha=0.75)
        panel.plot(found.value, lane, "o", color=colour, markersize=5, markerfacecolor=colour if found.ties else "white")


def _curves(panel: Axes, evaluation: Evaluation, column: MetricColumn, order: Sequence[str]) -> None:
    from matplotlib.ticker import MaxNLocator

    panel.set_title(column.label, fontsize=8.5, color=INK, loc="left", pad=5)
    names = list(dict.fromkeys(n for (_, m), r in evaluation.results.items() if m == column.label for n in r.curves))
    if len(names) > 1:
        drawn = ", ".join(f"{line}: {name}" for line, name in zip(("line", "dashes", "dots", "dash-dot"), names, strict=False))
        panel.set_title(drawn, fontsize=7, color=QUIET, loc="right", pad=5)
    for lane, subject in enumerate(order):
        result = evaluation.results.get((subject, column.label))
        if result is None:
            continue
        for number, name in enumerate(result.curves):
            if not np.isfinite(result.curves[name]).all(axis=1).any():
                continue
            curve = evaluation.curve(subject, column.label, name)
            colour = COLOURS[lane % len(COLOURS)]
            style = ("-", "--", ":", "-.")[number % 4] if lane < len(COLOURS) else (0, (1, 1 + number))
            panel.plot(curve.at, curve.mean, color=colour, linewidth=1.2, linestyle=style)
            panel.fill_between(curve.at, curve.low, curve.high, color=colour, alpha=0.08, linewidth=0)
    panel.tick_params(axis="y", labelsize=7)
    panel.yaxis.set_major_locator(MaxNLocator(4))
    panel.grid(axis="y", color=RIM, linewidth=0.4)
