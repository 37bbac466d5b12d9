"""Figures of explanations: methods side by side, samples one below the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from onnxplain.errors import OutputError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.plot.bars import BarsBlock
from onnxplain.results.plot.chosen import chosen_samples
from onnxplain.results.plot.curves import CurvesBlock, has_curves
from onnxplain.results.plot.heat_style import HeatStyle
from onnxplain.results.plot.image import USUAL, ImageBlock
from onnxplain.results.plot.on_axes import draw_on
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.series import SeriesBlock
from onnxplain.results.plot.style import QUIET
from onnxplain.results.plot.tabular.forms import TabularRequest, tabular_blocks
from onnxplain.results.plot.tabular.surfaces import SurfacesBlock, has_surfaces
from onnxplain.results.plot.text import TextBlock
from onnxplain.results.plot.tree import TreeBlock, has_pictured_filters
from onnxplain.results.plot.views import TABULAR_FORMS, columns_of, views_of
from onnxplain.results.prediction import predictions, sample_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot", "whole"]

BLOCKS: dict[str, type[ImageBlock] | type[BarsBlock] | type[SeriesBlock] | type[TextBlock]] = {
    "image": ImageBlock,
    "table": BarsBlock,
    "tokens": BarsBlock,
    "series": SeriesBlock,
    "text": TextBlock,
}
SAMPLES_SHOWN = {"image": 8, "table": 4, "tokens": 4, "series": 6, "text": 8}
"""The number of samples shown by default."""

Blocks: TypeAlias = "list[tuple[str, Any]]"
"""What is drawn, one below the other, with the captions above."""

OVERALL = "all samples"
"""The target of blocks about all samples together."""


def plot(
    explanations: Sequence[ExplanationData],
    *,
    features: Sequence[Any] | None = None,
    samples: int | Sequence[int] | None = None,
    form: str | None = None,
    title: str | None = None,
    feature: str | int | Sequence[str | int] | None = None,
    by: Any = None,
    most: int | None = None,
    cmap: str | None = None,
    alpha: float | None = None,
    clip: float | None = None,
    overlay: str | None = None,
    ax: Axes | None = None,
    special: bool = False,
) -> Figure:
    """Draw explanations of the same samples side by side.

    Images get the picture and a heat map per method (summed over channels, zero white), tables the strongest features
    as bars, series their lines on coloured ground, tokens a bar each (summed over the width of the embedding), texts running text
    with coloured words. Explanations by
    `ice`, `partial-dependence` and `ale` get their curves, all samples in one panel per feature, and maps of pairs that were
    asked for; soft decision trees of images get their filters.

    Tables have more forms. Of single samples: `waterfall` and `force`, how the score gets from its base to where it is. Of
    many: `beeswarm` and `heatmap`, all attributions at once; `importance`, bars of mean sizes; `scatter`, a feature's
    attributions over its values; `network`, interactions.

    Args:
        explanations: one per method, of the same samples.
        features: names of table columns, of a series' channels, or of tokens (or one list of them per sample).
        samples: which samples; None for the first few.
        form: image, table, series, tokens, text or curves, or one for tables (waterfall, force, beeswarm, importance, scatter,
            heatmap, network); None chooses from the shapes.
        title: a line above everything.
        feature: of a scatter plot, by name or number, or several; None for those that matter most.
        by: the feature that colours a scatter plot, None for the one that interacts most; of importance the cohorts: "class", or
            a label per sample; of texts what they are merged by: "token", "word" (as where none is said) or "sentence".
        most: how many features to show, in forms for tables.
        cmap: a colour map of matplotlib for heat maps, from against to for; None for red and blue on white.
        alpha: how opaque the colours lie on the picture, 0..1; asks for `overlay="picture"`.
        clip: the percentile of sizes that has the strongest colour, 99.5 where nothing is said.
        overlay: what of the picture is drawn under heat maps: its "edges", the "picture" in grey, or "none".
        ax: axes of a figure of yours, for one sample of one explanation: its heat map, bars or lines are drawn there.
        special: of texts, whether tokens that the tokenizer added, such as [CLS] and padding, are shown too.

    Returns:
        A matplotlib Figure that is independent of pyplot, or that of `ax`. Save it with `figure.savefig(path)`.

    Raises:
        InputError: a sample does not exist, the number of features is wrong, or the explanations are of different samples.
        OutputError: the form is unknown or does not fit.
        MissingDependencyError: matplotlib is not installed.
    """
    style = None if {cmap, alpha, clip, overlay} == {None} else HeatStyle.of(cmap, alpha, clip, overlay)
    if ax is not None:
        if special or not (feature is None and by is None and most is None):
            raise OutputError("feature, by, most and special say nothing of what goes on axes: leave them out, or leave ax out")
        return draw_on(ax, explanations, features, samples, form, title, style or USUAL)
    if form in TABULAR_FORMS:
        chosen = None if samples is None else chosen_samples(samples, sample_count(explanations[0]), 0)
        asked = TabularRequest(form, features, chosen, feature, by, most)
        return _page([("", block) for block in tabular_blocks(explanations, asked)], title)
    in_words = any(e.texts for e in explanations) and form in (None, "text", "tokens")
    if feature is not None or (by is not None and not in_words) or most is not None:
        raise OutputError(f"feature, by and most are for these forms: {', '.join(TABULAR_FORMS)}")
    curved = [e for e in explanations if has_curves(e)] if form in (None, "curves") else []
    plain = [e for e in explanations if not any(e is c for c in curved)]
    if form == "curves" and plain:
        raise OutputError(f"{plain[0].method} leaves no curves to draw; ice and partial-dependence do")
    blocks, legend, note = _blocks(plain, features, samples, form, style, by, special) if plain or not curved else ([], None, "")
    pictured = plain if form in (None, "image") else []
    blocks += [("", block) for e in (*curved, *pictured) for block in whole(e, features, samples)]
    return _page(blocks, title, legend, note)


def _page(blocks: Blocks, title: str | None, legend: Callable[..., None] | None = None, note: str = "") -> Figure:
    """Blocks one below the other on a page, with a title above and a legend below."""
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
    explanation: ExplanationData, features: Sequence[Any] | None, samples: int | Sequence[int] | None
) -> list[CurvesBlock | SurfacesBlock | TreeBlock]:
    """What is drawn of all samples together: curves, maps of pairs, or the tree with filters that are images."""
    count = sample_count(explanation)
    if has_curves(explanation):
        every = samples is None or explanation.about["target"] == OVERALL
        curves = CurvesBlock(explanation, features, None if every else chosen_samples(samples, count, count))
        return [curves, SurfacesBlock(explanation, features)] if has_surfaces(explanation) else [curves]
    if has_pictured_filters(explanation):
        return [TreeBlock(explanation, chosen_samples(samples, count, SAMPLES_SHOWN["image"]))]
    return []


def _blocks(
    explanations: Sequence[ExplanationData], features: Sequence[Any] | None, samples: int | Sequence[int] | None,
    form: str | None, style: HeatStyle | None, by: str | None, special: bool,
) -> tuple[Blocks, Callable[..., None], str]:  # fmt: skip
    """The blocks of the figure, the function that draws their legend, and a note about what is not shown."""
    columns = columns_of(explanations)
    views = views_of(columns, features, form, by, special)
    count = sample_count(explanations[0])
    shown = chosen_samples(samples, count, min(SAMPLES_SHOWN[v.form] for v in views))
    predicted, _ = predictions(explanations[0])
    coloured = [v for v in views if v.form in ("image", "series")]
    if style is not None and not coloured:
        raise OutputError("cmap, alpha, clip and overlay are of heat maps; this picture has none")
    known = style or USUAL
    blocks: Blocks = [
        (v.name if len(views) > 1 else "", BLOCKS[v.form](v, columns, shown, predicted, *([known] if v in coloured else [])))
        for v in views
    ]
    notes = [f"first {len(shown)} of {count} samples"] if samples is None and len(shown) < count else []
    unseen = list(explanations[0].left_out)
    if unseen:
        notes.append("not explained: " + ", ".join(unseen[:3]) + (f" and {len(unseen) - 3} more" if len(unseen) > 3 else ""))
    shared = explanations[0].shared
    notes += [f"of all samples together: {', '.join(shared)}"] if shared else []
    notes += [f"full colour from percentile {known.clip:g} of the sizes"] if coloured else []
    signed = [c.signed for c in columns]
    legend: Callable[..., None]
    if coloured or not all(isinstance(b, BarsBlock) for _, b in blocks):
        cut = all(c.rectified for c in columns if not c.signed)
        legend = partial(Page.legend, cmap=known.cmap, weak=("zero", "high, cut off below zero") if cut else ("weak", "strong"))
    else:
        legend = Page.swatches
    return blocks, partial(legend, signed=any(signed), unsigned=not all(signed)), ", ".join(notes)
