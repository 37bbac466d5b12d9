"""Figures of explanations: methods side by side, samples one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from onnxplain.errors import InputError, OutputError
from onnxplain.results.explanation import Explanation
from onnxplain.results.plot.bars import BarsBlock
from onnxplain.results.plot.curves import CurvesBlock, has_curves
from onnxplain.results.plot.image import ImageBlock
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.series import SeriesBlock
from onnxplain.results.plot.style import QUIET
from onnxplain.results.plot.tree import TreeBlock, has_pictured_filters
from onnxplain.results.plot.views import columns_of, views_of
from onnxplain.results.prediction import predictions, sample_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["chosen_samples", "plot", "whole"]

BLOCKS: dict[str, type[ImageBlock] | type[BarsBlock] | type[SeriesBlock]] = {
    "image": ImageBlock,
    "table": BarsBlock,
    "tokens": BarsBlock,
    "series": SeriesBlock,
}
SAMPLES_SHOWN = {"image": 8, "table": 4, "tokens": 4, "series": 6}
"""The number of samples shown by default."""

OVERALL = "all samples"
"""The target of blocks about all samples together."""


def plot(
    explanations: Sequence[Explanation],
    *,
    features: Sequence[Any] | None = None,
    samples: int | Sequence[int] | None = None,
    form: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw explanations of the same samples side by side.

    The form follows from the data:

    - images: the image, and one heat map per method (summed over channels; zero is white);
    - tables: bars for the features with the strongest attributions;
    - series: the line of each channel on a coloured ground;
    - tokens: one bar per token, summed over the width of the embedding;
    - `ice` and `partial-dependence`: curves, one panel per feature with all samples in it;
    - soft decision trees of images: the filters of the tree.

    Args:
        explanations: one per method, of the same samples.
        features: names of table columns, of a series' channels, or of tokens (for tokens also one list per sample).
        samples: the samples to show; None for the first few.
        form: "image", "table", "series", "tokens" or "curves"; None chooses by shape.
        title: a line at the top.

    Returns:
        A matplotlib Figure that is independent of pyplot. Save it with `figure.savefig(path)`.

    Raises:
        InputError: a sample does not exist, the number of features is wrong, or the explanations are of different samples.
        OutputError: the form is unknown or does not fit.
        MissingDependencyError: matplotlib is not installed.
    """
    curved = [e for e in explanations if has_curves(e)] if form in (None, "curves") else []
    plain = [e for e in explanations if not any(e is c for c in curved)]
    if form == "curves" and plain:
        raise OutputError(f"{plain[0].method} leaves no curves to draw; ice and partial-dependence do")
    blocks, legend, note = _blocks(plain, features, samples, form) if plain or not curved else ([], None, "")
    pictured = plain if form in (None, "image") else []
    blocks += [("", block) for e in (*curved, *pictured) for block in whole(e, features, samples)]
    captions = [0.24 if caption else 0.0 for caption, _ in blocks]
    head = 0.42 if title else 0.0
    between, foot = 0.3, 0.32 if legend is not None else 0.0
    width = max(max(b.width for _, b in blocks) + 2 * MARGIN, 5.0)
    height = 2 * MARGIN + head + sum(b.height for _, b in blocks) + sum(captions) + between * (len(blocks) - 1) + foot
    page = Page(width, height)
    top = MARGIN
    if title:
        page.text(MARGIN, top - 0.04, title, size=12, weight="bold")
        top += head
    for (name, block), caption in zip(blocks, captions, strict=True):
        if name:
            page.text(MARGIN, top, name, size=8.5, colour=QUIET, style="italic")
        block.draw(page, MARGIN, top + caption)
        top += caption + block.height + between
    if legend is not None:
        legend(page, MARGIN, height - MARGIN - 0.04, note=note)
    return page.figure


def whole(
    explanation: Explanation, features: Sequence[Any] | None, samples: int | Sequence[int] | None
) -> list[CurvesBlock | TreeBlock]:
    """The blocks about all samples together: curves, or a tree whose filters are images."""
    count = sample_count(explanation)
    if has_curves(explanation):
        every = samples is None or explanation.about["target"] == OVERALL
        return [CurvesBlock(explanation, features, None if every else chosen_samples(samples, count, count))]
    if has_pictured_filters(explanation):
        return [TreeBlock(explanation, chosen_samples(samples, count, SAMPLES_SHOWN["image"]))]
    return []


Blocks = list[tuple[str, Any]]
"""Blocks to draw, one below the other, each with its caption."""


def _blocks(
    explanations: Sequence[Explanation], features: Sequence[Any] | None, samples: int | Sequence[int] | None, form: str | None
) -> tuple[Blocks, Callable[..., None], str]:
    """The blocks of the figure, the function that draws their legend, and a note about what is not shown."""
    columns = columns_of(explanations)
    views = views_of(columns, features, form)
    count = sample_count(explanations[0])
    shown = chosen_samples(samples, count, min(SAMPLES_SHOWN[v.form] for v in views))
    predicted, _ = predictions(explanations[0])
    blocks = [(v.name if len(views) > 1 else "", BLOCKS[v.form](v, columns, shown, predicted)) for v in views]
    note = f"first {len(shown)} of {count} samples" if samples is None and len(shown) < count else ""
    signed = [c.signed for c in columns]
    legend = Page.swatches if all(isinstance(b, BarsBlock) for _, b in blocks) else Page.legend
    return list(blocks), partial(legend, signed=any(signed), unsigned=not all(signed)), note


def chosen_samples(samples: int | Sequence[int] | None, count: int, most: int) -> list[int]:
    """The indices of the samples to show.

    Args:
        samples: one index or several; negative ones count from the end. None for the first ones.
        count: the number of samples.
        most: the number shown if `samples` is None.

    Returns:
        Indices from 0.

    Raises:
        InputError: a sample does not exist.
    """
    if samples is None:
        return list(range(min(count, most)))
    wanted = [samples] if isinstance(samples, int) else [int(s) for s in samples]
    bad = [s for s in wanted if not -count <= s < count]
    if bad or not wanted:
        raise InputError(f"no sample {bad[0]}: there are {count}, counted from 0" if bad else "no samples were chosen")
    return [s % count for s in wanted]
