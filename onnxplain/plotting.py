"""Pictures of explanations: methods side by side, samples one below the other, in the form that fits the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onnxplain.errors import InputError
from onnxplain.explanation import Explanation
from onnxplain.plot_bars import BarsBlock
from onnxplain.plot_data import columns_of, views_of
from onnxplain.plot_image import ImageBlock
from onnxplain.plot_page import MARGIN, Page
from onnxplain.plot_series import SeriesBlock
from onnxplain.plot_style import QUIET
from onnxplain.prediction import predictions, sample_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["chosen_samples", "plot"]

BLOCKS: dict[str, type[ImageBlock] | type[BarsBlock] | type[SeriesBlock]] = {
    "image": ImageBlock,
    "table": BarsBlock,
    "tokens": BarsBlock,
    "series": SeriesBlock,
}
MOST = {"image": 8, "table": 4, "tokens": 4, "series": 6}
"""So many samples are shown where nothing is said."""


def plot(
    explanations: Sequence[Explanation],
    *,
    features: Sequence[Any] | None = None,
    samples: int | Sequence[int] | None = None,
    form: str | None = None,
    title: str | None = None,
) -> Figure:
    """A figure of explanations of the same samples, side by side.

    Images get the picture and a heat map per method (summed over channels, zero white), tables the strongest features
    as bars, series their lines on coloured ground, tokens a bar each (summed over the width of the embedding).

    Args:
        explanations: one per method, of the same samples.
        features: names of table columns, of a series' channels, or of tokens (or one list of them per sample).
        samples: which samples; None for the first few.
        form: image, table, series or tokens; None chooses from the shapes.
        title: a line above everything.

    Returns:
        A matplotlib Figure, independent of pyplot; save it with `figure.savefig(path)`.

    Raises:
        InputError: no such sample, a wrong number of features, or explanations of different samples.
        OutputError: no such form, or one that does not fit.
        MissingDependencyError: matplotlib is not installed.
    """
    columns = columns_of(explanations)
    views = views_of(columns, features, form)
    count = sample_count(explanations[0])
    shown = chosen_samples(samples, count, min(MOST[v.form] for v in views))
    predicted, _ = predictions(explanations[0])
    blocks = [BLOCKS[v.form](v, columns, shown, predicted) for v in views]
    captions = [0.24 if len(views) > 1 else 0.0 for _ in views]
    head = 0.42 if title else 0.0
    between = 0.3
    width = max(max(b.width for b in blocks) + 2 * MARGIN, 5.0)
    height = 2 * MARGIN + head + sum(b.height for b in blocks) + sum(captions) + between * (len(blocks) - 1) + 0.32
    page = Page(width, height)
    top = MARGIN
    if title:
        page.text(MARGIN, top - 0.04, title, size=12, weight="bold")
        top += head
    for view, block, caption in zip(views, blocks, captions, strict=True):
        if caption:
            page.text(MARGIN, top, f"{view.name}", size=8.5, colour=QUIET, style="italic")
        block.draw(page, MARGIN, top + caption)
        top += caption + block.height + between
    note = f"first {len(shown)} of {count} samples" if samples is None and len(shown) < count else ""
    legend = page.swatches if all(isinstance(b, BarsBlock) for b in blocks) else page.legend
    signed = [c.signed for c in columns]
    legend(MARGIN, height - MARGIN - 0.04, signed=any(signed), unsigned=not all(signed), note=note)
    return page.figure


def chosen_samples(samples: int | Sequence[int] | None, count: int, most: int) -> list[int]:
    """The samples to show, counted from 0; negative ones from the end.

    Raises:
        InputError: no such sample.
    """
    if samples is None:
        return list(range(min(count, most)))
    wanted = [samples] if isinstance(samples, int) else [int(s) for s in samples]
    bad = [s for s in wanted if not -count <= s < count]
    if bad or not wanted:
        raise InputError(f"no sample {bad[0]}: there are {count}, counted from 0" if bad else "no samples were chosen")
    return [s % count for s in wanted]
