"""Pictures and files of prototypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain.errors import InputError, OutputError
from onnxplain.io.writer import check_writable, write_file
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.style import QUIET, percent, short
from onnxplain.results.plot.views import picture_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from onnxplain.concepts.prototype import Prototypes

__all__ = ["check_path", "plot_prototypes", "save_prototypes"]

CELL, GAP, FOOT = 0.86, 0.12, 0.2
"""Inches: a picture's longer side, between pictures, and for the line under them."""


def plot_prototypes(
    rows: Mapping[str, Prototypes],
    *,
    labels: Sequence[str] = (),
    title: str | None = None,
    data: np.ndarray[Any, Any] | None = None,
) -> Figure:
    """A figure: a row of prototypes per name, a column per class, under each its probability.

    Args:
        rows: prototypes of the same classes by the words that stand before them; "" for none.
        labels: names of the classes.
        title: a line above everything.
        data: samples [n, …]; where given, the mean distance to the nearest of them stands under the name of a row.

    Raises:
        InputError: the rows are of different classes.
        OutputError: the model's input is no picture.
        MissingDependencyError: matplotlib is not installed.
    """
    first = next(iter(rows.values()))
    if any(p.targets != first.targets for p in rows.values()):
        raise InputError("the rows of a figure are of the same classes")
    if first.x.ndim not in (3, 4):
        raise OutputError(f"no picture can be drawn of samples {list(first.x.shape[1:])}; write .npz")
    height, width = picture_of(first.x[0]).shape[:2]
    wide, high = CELL * width / max(height, width), CELL * height / max(height, width)
    gutter = 1.55 if any(rows) else 0.0
    head, above = (0.42 if title else 0.0), 0.2
    count = len(first.targets)
    page = Page(max(2 * MARGIN + gutter + count * (wide + GAP) - GAP, 3.0), 2 * MARGIN + head + above + len(rows) * (high + FOOT))
    if title:
        page.text(MARGIN, MARGIN - 0.04, title, size=12, weight="bold")
    lefts = [MARGIN + gutter + i * (wide + GAP) for i in range(count)]
    names = [labels[t] if t < len(labels) else str(t) for t in first.targets]
    page.headings(names, lefts, MARGIN + head + above - 0.05, wide)
    for row, (name, found) in enumerate(rows.items()):
        top = MARGIN + head + above + row * (high + FOOT)
        page.text(MARGIN, top + high / 2 - 0.09, name, size=8.5, va="center")
        if data is not None:
            distance = f"{short(float(found.nearest(data).mean()))} to the nearest sample"
            page.text(MARGIN, top + high / 2 + 0.09, distance, size=6.5, colour=QUIET, va="center")
        for left, x, score in zip(lefts, found.x, found.scores, strict=True):
            page.image(page.axes(left, top, wide, high), picture_of(x))
            under = percent(float(np.exp(score))) if found.kind == "log-probability" else short(float(score))
            page.text(left + wide / 2, top + high + 0.03, under, size=6.5, colour=QUIET, ha="center")
    return page.figure


def check_path(path: Path) -> None:
    """Say before the search that its result could not be written.

    Raises:
        OutputError: the ending is unknown, or the place is not writable.
    """
    if path.suffix not in (".png", ".npz"):
        raise OutputError(f"cannot write {path}: prototypes are written as .png or .npz")
    check_writable(path)


def save_prototypes(found: Prototypes, path: Path, *, labels: Sequence[str] = (), title: str | None = None) -> Path:
    """Write prototypes to .png or .npz; see `Prototypes.save`."""
    check_path(path)
    if path.suffix == ".png":
        figure = plot_prototypes({"": found}, labels=labels, title=title)
        return write_file(path, lambda file: figure.savefig(file, format="png", dpi=200))
    arrays = {"x": found.x, "targets": np.array(found.targets), "scores": found.scores, "objective": found.objective}
    if found.codes is not None:
        arrays["codes"] = found.codes
    return write_file(path, lambda file: np.savez(file, allow_pickle=False, **arrays))
