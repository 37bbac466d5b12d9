"""One explanation of one sample, drawn on axes of a figure of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from onnxplain.errors import OutputError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.plot.bars import strongest
from onnxplain.results.plot.chosen import chosen_samples
from onnxplain.results.plot.heat_style import HeatStyle
from onnxplain.results.plot.image import heat_picture
from onnxplain.results.plot.series import as_channels, lanes_of
from onnxplain.results.plot.style import AGAINST, FOR, INK, RIM, STRENGTH, colours, rim
from onnxplain.results.plot.views import PICTURE_FORMS, PlotColumn, PlotView, columns_of, views_of
from onnxplain.results.prediction import sample_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_on"]

MOST_BARS = 12


def draw_on(
    ax: Axes, explanations: Sequence[ExplanationData], features: Sequence[Any] | None, samples: int | Sequence[int] | None,
    form: str | None, title: str | None, style: HeatStyle,
) -> Figure:  # fmt: skip
    """Draw on axes: a heat map, bars, or lines on coloured ground.

    Args:
        ax: the axes; their ticks are set.
        explanations: one.
        features: names of the elements.
        samples: which sample, where there are several.
        form: image, table, series or tokens; None chooses from the shapes.
        title: the title of the axes; None names method and target.
        style: the colours.

    Returns:
        The figure of the axes.

    Raises:
        OutputError: there is not one explanation of one tensor and one sample, or the form needs a figure of its own.
    """
    if form is not None and form not in PICTURE_FORMS[:4]:
        raise OutputError(f"form '{form}' makes a figure of its own; on axes go {', '.join(PICTURE_FORMS[:4])}")
    columns = columns_of(explanations)
    views = views_of(columns, features, form)
    shown = chosen_samples(samples, sample_count(explanations[0]), 2)
    if len(columns) > 1 or len(views) > 1 or len(shown) > 1:
        raise OutputError("on axes goes one sample of one explained tensor: choose it, e.g. explanation[3].plot(ax=ax)")
    view, column, sample = views[0], columns[0], shown[0]
    {"image": _image, "series": _series}.get(view.form, _bars)(ax, view, column, sample, style)
    target = column.target(sample)
    ax.set_title((title or f"{column.heading}" + ("" if "→" in column.heading else f" → {target}")).replace("$", r"\$"))
    return cast("Figure", ax.get_figure())


def _image(ax: Axes, view: PlotView, column: PlotColumn, sample: int, style: HeatStyle) -> None:
    picture, heat = view.picture(sample), view.heat(sample, 0)
    printed = bool(view.maps and view.maps[0])
    pixels = heat_picture(heat, rim(heat, style.clip), column.signed, picture, printed=printed, style=style)
    ax.imshow(np.clip(pixels, 0, 1), interpolation="antialiased")
    ax.set_xticks([])
    ax.set_yticks([])


def _bars(ax: Axes, view: PlotView, column: PlotColumn, sample: int, style: HeatStyle) -> None:
    row = view.attributions[0][sample]
    places = strongest([row], MOST_BARS, in_order=view.form == "tokens")
    values = np.nan_to_num(row.ravel().astype(np.float64), posinf=0, neginf=0)[places]
    shades = [(FOR if v >= 0 else AGAINST) if column.signed else STRENGTH for v in values]
    ax.barh(np.arange(len(places)), values, color=shades, height=0.6)
    ax.set_yticks(np.arange(len(places)), [view.label(sample, p).replace("$", r"\$") for p in places])
    ax.invert_yaxis()
    ax.axvline(0, color=RIM, linewidth=0.8)


def _series(ax: Axes, view: PlotView, column: PlotColumn, sample: int, style: HeatStyle) -> None:
    rows = as_channels(view.attributions[0][sample])
    fed = None if view.values is None else as_channels(np.asarray(view.values[sample], np.float64))
    scale, length, lanes = rim(rows, style.clip), rows.shape[1], lanes_of([rows])
    for place, lane in enumerate(lanes):
        bottom = len(lanes) - 1 - place
        ground = colours(rows[lane][None], scale, column.signed, style.cmap)
        ax.imshow(ground, aspect="auto", extent=(-0.5, length - 0.5, bottom, bottom + 1), interpolation="antialiased")
        if fed is not None and fed.shape == rows.shape:
            low, high = float(fed[lane].min()), float(fed[lane].max())
            line = bottom + 0.1 + 0.8 * (fed[lane] - low) / (high - low or 1.0)
            ax.plot(np.arange(length), line, color=INK, linewidth=0.9)
    ax.set_xlim(-0.5, length - 0.5)
    ax.set_ylim(0, len(lanes))
    named = view.labels is not None and view.attributions[0].ndim == 3
    names = [view.label(sample, lane) if named else f"channel {lane}" for lane in reversed(lanes)] if len(rows) > 1 else []
    ax.set_yticks([i + 0.5 for i in range(len(names))], names)
