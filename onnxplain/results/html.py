"""Explanations as a web page: one HTML file that needs neither network nor scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.io.writer import write_file
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.found import FoundBox, found_boxes
from onnxplain.results.left_out import left_out_in_words
from onnxplain.results.plot.bars import strongest, value_text
from onnxplain.results.plot.chosen import chosen_samples
from onnxplain.results.plot.curves import CurvesBlock
from onnxplain.results.plot.image import heat_picture, scale_text
from onnxplain.results.plot.page import MARGIN, Page
from onnxplain.results.plot.plot import whole
from onnxplain.results.plot.series import as_channels, lanes_of
from onnxplain.results.plot.style import CLIP, blocks, edges, percent, rim, short, to_picture, veil
from onnxplain.results.plot.tabular.surfaces import SurfacesBlock
from onnxplain.results.plot.tree import TreeBlock
from onnxplain.results.plot.views import PlotColumn, PlotView, columns_of, picture_of, pooled_map, views_of
from onnxplain.results.prediction import Prediction, explained_score, predictions, sample_count
from onnxplain.results.running_text import Stretch, hidden_total, paragraphs, strongest_colour

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["render_explanations", "template", "template_samples", "write_report"]

Array = np.ndarray[Any, Any]

MOST_SAMPLES = 50
MOST_PIXELS = 448
"""Larger images are reduced to this many pixels per side by averaging."""
MOST_ROWS = {"table": 12, "tokens": 400}
MOST_LISTED = 10
MOST_ACROSS = 6
"""The largest number of panels in one row."""


def write_report(
    explanations: Sequence[ExplanationData],
    path: str | Path,
    *,
    features: Sequence[Any] | None = None,
    samples: int | Sequence[int] | None = None,
    title: str | None = None,
    model_name: str | None = None,
    by: str | None = None,
    special: bool = False,
) -> Path:
    """Write a page that shows explanations of the same samples side by side.

    Args:
        explanations: one per method.
        path: the file to write.
        features: names of table columns, of a series' channels, or of tokens.
        samples: the samples to show; None for the first 50.
        title: the heading of the page.
        model_name: the name of the model.
        by: what texts are merged by: "token", "word" (as where none is said) or "sentence".
        special: of texts, whether tokens that the tokenizer added are shown too.

    Returns:
        The path.

    Raises:
        OutputError: the file cannot be written, or the explanations do not fit side by side.
        InputError: a sample does not exist, the number of features is wrong, or the explanations are of different samples.
        MissingDependencyError: Jinja2 or Pillow is not installed.
    """
    page = render_explanations(
        explanations, features=features, samples=samples, title=title, model_name=model_name, by=by, special=special
    )
    return write_file(path, page.encode())


def render_explanations(
    explanations: Sequence[ExplanationData],
    *,
    features: Sequence[Any] | None = None,
    samples: int | Sequence[int] | None = None,
    title: str | None = None,
    model_name: str | None = None,
    by: str | None = None,
    special: bool = False,
) -> str:
    """The page of `write_report` as text; the arguments are the same."""
    page: str = template("report.html").render(
        title=title or (f"Why {model_name} says so" if model_name else "Why the model says so"),
        model_name=model_name,
        methods=_methods(explanations),
        facts=_facts(explanations, predictions(explanations[0])[1]),
        whole=[(e.method, _whole(block)) for e in explanations for block in whole(e, features, samples)],
        **template_samples(explanations, features, samples, by=by, special=special),
    )
    return page


def template(name: str) -> Template:
    """Load a template of this package, with the filters that the pages use.

    Args:
        name: the file name of the template.

    Returns:
        The template.

    Raises:
        MissingDependencyError: Jinja2 or Pillow is not installed.
    """
    with optional("plot", "pages"):
        import PIL  # noqa: F401
        from jinja2 import Environment, PackageLoader
    environment = Environment(loader=PackageLoader("onnxplain.results"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(short=short, percent=percent)
    return environment.get_template(name)


def template_samples(
    explanations: Sequence[ExplanationData],
    features: Sequence[Any] | None = None,
    samples: int | Sequence[int] | None = None,
    numbers: Sequence[int] | None = None,
    *,
    by: str | None = None,
    special: bool = False,
) -> dict[str, Any]:
    """The variables of the template `article`: samples, columns and legend.

    Args:
        explanations: as in `write_report`.
        features: as in `write_report`.
        samples: as in `write_report`.
        numbers: the indices to show, if the samples are part of a larger set.
        by: as in `write_report`.
        special: as in `write_report`.

    Returns:
        Variables by name.
    """
    columns = columns_of(explanations)
    views = views_of(columns, features, by=by, special=special)
    count = sample_count(explanations[0])
    shown = chosen_samples(samples, count, MOST_SAMPLES)
    predicted, _ = predictions(explanations[0])
    signed = [c.signed for c in columns]
    made = [_sample(views, columns, s, predicted[s]) for s in shown]
    for sample, number in zip(made, numbers or shown, strict=True):
        sample["number"] = number
        sample["name"] = explanations[0].sample_names[sample["place"]] if explanations[0].sample_names else f"sample {number}"
    coloured = any(v.form in ("image", "series", "tokens") for v in views)
    return {
        "count": count, "shown": len(shown), "signed": any(signed), "unsigned": not all(signed), "samples": made,
        "only_bars": all(v.form == "table" for v in views),
        "cut": all(c.rectified for c in columns if not c.signed),
        "clip": f"{CLIP:g}" if coloured else "",
        "outlines": any(v.get("outline") and not all(c["printed"] for c in v["cells"]) for s in made for v in s["views"]),
    }  # fmt: skip


def _whole(block: CurvesBlock | SurfacesBlock | TreeBlock) -> str:
    """A block of all samples together as the address of an inline SVG; the same block gives the same text."""
    from matplotlib import rc_context

    buffer, page = BytesIO(), Page(block.width + 2 * MARGIN, block.height + 2 * MARGIN)
    block.draw(page, MARGIN, MARGIN)
    with rc_context({"svg.hashsalt": "onnxplain"}):
        page.figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


# -- methods and facts -----------------------------------------------------------------------------------------------


def _methods(explanations: Sequence[ExplanationData]) -> list[dict[str, Any]]:
    cards = []
    for name in dict.fromkeys(e.method for e in explanations):
        told = [e.about for e in explanations if e.method == name]
        info = told[0].get("method_info", {})
        options = [dict(about.get("options", {})) for about in told]
        cards.append({
            "name": name,
            "summary": info.get("summary", ""),
            "formula": info.get("formula", ""),
            "source": info.get("source", ""),
            "options": [", ".join(f"{k} = {v}" for k, v in o.items()) for o in options if o],
        })  # fmt: skip
    return cards


def _facts(explanations: Sequence[ExplanationData], how: str) -> list[tuple[str, str]]:
    first = explanations[0]
    about = first.about
    names = {"input": "chosen when run: each sample's own, named above", "top": "each sample's top prediction"}
    target = str(about.get("target", ""))
    facts = [("explained", explained_score(first)), ("target", names.get(target, target))]
    facts += [("probabilities", how)] if how else []
    baselines = {str(e.about.get("baseline")) for e in explanations if e.about.get("baseline") is not None}
    facts += [("baseline", ", ".join(sorted(baselines)))] if baselines else []
    if any("assumed_baseline" in e.about for e in explanations):
        facts += [("baseline", "0 stands for what is absent, as none was given")]
    stand_ins = [
        f"'{e['explains']}' at '{e['tensor']}' ({e['kind']})"
        for e in about.get("attributions", {}).values()
        if e["kind"] != "input"
    ]
    facts += [("attributed", ", ".join(stand_ins))] if stand_ins else []
    facts += [("not explained", line) for line in left_out_in_words(first.left_out)]
    facts += [("of all samples together", ", ".join(first.shared))] if first.shared else []
    facts += [("passes", ", ".join(about["passes"]))] if about.get("passes") else []
    facts.append(("source model", f"sha256 {about.get('source_sha256', 'unknown')}"))
    facts.append(("written by", f"onnxplain {about.get('version', '')}"))
    return facts


# -- samples ---------------------------------------------------------------------------------------------------------


def _sample(views: Sequence[PlotView], columns: Sequence[PlotColumn], sample: int, prediction: Prediction) -> dict[str, Any]:
    targets = list(dict.fromkeys(c.target(sample) for c in columns))
    chosen = {c.target_index(sample) for c in columns}
    top = prediction.top[0][2] if prediction.top else 1.0
    return {
        "number": sample,
        "place": sample,
        "base": [(c.heading, *map(short, ends)) for c in columns if (ends := c.from_base(sample)) is not None],
        "prediction": prediction,
        "targets": targets,
        "stacked": len(columns) > 2 and any(v.form == "table" or (v.form == "image" and not is_sharp(v)) for v in views),
        "other": targets != [prediction.label] and not any("→" in c.heading for c in columns),
        "bars": [
            {"name": name, "probability": p, "width": 100 * max(p, 0) / max(top, 1e-12), "explained": index in chosen}
            for index, name, p in prediction.top
        ],
        "views": [_block(v, columns, sample, len(targets) > 1) for v in views],
        "listed": [_listed(v, columns, sample) for v in views],
        "sums": [
            [(c.heading, short(float(np.sum(a[sample], dtype=np.float64)))) for c, a in zip(columns, v.attributions, strict=True)]
            for v in views
        ],
    }


def _block(view: PlotView, columns: Sequence[PlotColumn], sample: int, several: bool) -> dict[str, Any]:
    draw = {"image": _images, "series": _series, "table": _bars, "tokens": _tokens, "text": _text}[view.form]
    notes = [f"for {c.target(sample)}" if several and "→" not in c.heading else "" for c in columns]
    return {"form": view.form, "name": view.name, "notes": notes, **draw(view, columns, sample)}


def _images(view: PlotView, columns: Sequence[PlotColumn], sample: int) -> dict[str, Any]:
    picture = None if view.values is None else blocks(picture_of(view.values[sample]), MOST_PIXELS)
    cells = []
    maps = view.maps or (False,) * len(columns)
    for column, attributions, is_map in zip(columns, view.attributions, maps, strict=True):
        heat = pooled_map(attributions[sample])
        scale = rim(heat)
        small = blocks(heat, MOST_PIXELS)
        printed = is_map and picture is not None
        if printed:
            pixels = np.round(255 * np.clip(heat_picture(small, scale, column.signed, picture, printed=True), 0, 1))
        else:
            pixels = veil(to_picture(small, small.shape if picture is None else picture.shape), scale, column.signed)
        text = scale_text(heat, scale, column.signed)
        boxes = [b for b in found_boxes(column.explanation, sample) if b.explained]
        cells.append({
            "heading": column.heading, "png": _png(pixels), "scale": text, "printed": printed,
            "boxes": _boxes(boxes, heat.shape, named=False),
        })  # fmt: skip
    lines = None if picture is None else edges(picture)
    outline = None
    if lines is not None:
        outline = np.full((*lines.shape, 4), 128.0)
        outline[..., 3] = 150 * lines
    sharp = is_sharp(view)
    most = MOST_ACROSS if sharp else MOST_ACROSS - 1
    panels = len(cells) + (picture is not None)
    return {
        "picture": None if picture is None else _png(np.round(255 * np.clip(picture, 0, 1))),
        "boxes": []
        if view.values is None
        else _boxes(found_boxes(columns[0].explanation, sample), picture_of(view.values[sample]).shape),
        "outline": None if outline is None else _png(outline),
        "sharp": sharp,
        "cells": cells,
        "across": -(-panels // -(-panels // most)),
    }


def _boxes(boxes: Sequence[FoundBox], shape: Sequence[int], *, named: bool = True) -> list[dict[str, Any]]:
    """Detections on a picture of some height and width, with their places in percent of it."""
    high, wide = shape[:2]
    made = []
    for box in boxes:
        (left, right), (top, bottom) = (
            np.clip(box.corners[::2], 0, wide) * 100 / wide,
            np.clip(box.corners[1::2], 0, high) * 100 / high,
        )
        made.append({
            "style": f"left:{left:.2f}%;top:{top:.2f}%;width:{right - left:.2f}%;height:{bottom - top:.2f}%",
            "name": f"{box.number} {box.name} {box.score:.2f}", "explained": box.explained, "named": named,
            "below": top < 8, "leftwards": left > 70,
        })  # fmt: skip
    return made


def is_sharp(view: PlotView) -> bool:
    """Whether the image has so few pixels that each one should be visible."""
    shown = view.attributions[0] if view.values is None else view.values
    return bool(max(picture_of(shown[0]).shape[:2]) < 100)


def _png(pixels: Array) -> str:
    """An image [h, w], [h, w, 3] or [h, w, 4] with values 0..255 as an inline PNG address."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _bars(view: PlotView, columns: Sequence[PlotColumn], sample: int) -> dict[str, Any]:
    rows = [np.nan_to_num(a[sample].ravel().astype(np.float64), posinf=0, neginf=0) for a in view.attributions]
    places = strongest([a[sample] for a in view.attributions], MOST_ROWS["table"], in_order=False)
    scales = [(min(0.0, float(r[places].min())), max(0.0, float(r[places].max()))) for r in rows]
    return {
        "headings": [c.heading for c in columns],
        "rows": [
            {
                "name": view.label(sample, place),
                "value": value_text(view, sample, place),
                "bars": [_bar(float(r[place]), s, c.signed) for r, s, c in zip(rows, scales, columns, strict=True)],
            }
            for place in places
        ],
        "others": rows[0].size - len(places),
        "rest": [short(float(r.sum() - r[places].sum())) for r in rows],
    }


def _bar(value: float, ends: tuple[float, float], signed: bool) -> dict[str, Any]:
    """A bar: its position within its column in percent, its colour and its text."""
    reach = (ends[1] - ends[0]) or 1.0
    start = (min(value, 0.0) - ends[0]) / reach
    colour = ("for" if value >= 0 else "against") if signed else "strength"
    return {
        "left": 100 * start,
        "width": 100 * abs(value) / reach,
        "zero": -100 * ends[0] / reach,
        "colour": colour,
        "text": short(value),
    }


def _tokens(view: PlotView, columns: Sequence[PlotColumn], sample: int) -> dict[str, Any]:
    cells = []
    for column, attributions in zip(columns, view.attributions, strict=True):
        row = np.asarray(attributions[sample], dtype=np.float64).ravel()[: MOST_ROWS["tokens"]]
        scale = rim(row)
        shades = veil(row, scale, column.signed)
        words = [
            {
                "text": _word(view, sample, i),
                "colour": f"rgba({s[0]},{s[1]},{s[2]},{s[3] / 255 * 0.75:.3f})",
                "value": short(float(v)),
            }
            for i, (s, v) in enumerate(zip(shades, row, strict=True))
        ]
        cells.append({"heading": column.heading, "words": words, "scale": scale_text(row, scale, column.signed)})
    return {"cells": cells, "hidden": max(0, view.attributions[0][sample].size - MOST_ROWS["tokens"])}


def _text(view: PlotView, columns: Sequence[PlotColumn], sample: int) -> dict[str, Any]:
    cells = []
    encoded = view.texts[sample]
    for number, column in enumerate(columns):
        units = view.units(sample, number)
        scale = strongest_colour(units)
        rest = hidden_total(encoded, view.attributions[number][sample], units)
        cells.append({
            "heading": column.heading,
            "paragraphs": [[_stretch(s, scale, column.signed) for s in p] for p in paragraphs(encoded, units)],
            "scale": scale_text(np.array([u.value for u in units]), scale, column.signed),
            "rest": None if rest is None else short(rest),
        })  # fmt: skip
    return {"cells": cells}


def _stretch(stretch: Stretch, scale: float, signed: bool) -> dict[str, Any]:
    """A piece of running text: its colour and its number, none for what lies between the words."""
    if stretch.value is None:
        return {"text": stretch.text, "number": None}
    s = veil(np.array([stretch.value]), scale, signed)[0]
    return {
        "text": stretch.text,
        "number": ("+" if stretch.value > 0 and signed else "") + short(stretch.value),
        "colour": f"rgba({s[0]},{s[1]},{s[2]},{s[3] / 255 * 0.75:.3f})",
        "marks": " ".join(["against"] * (signed and stretch.against(scale)) + ["added"] * stretch.added),
    }


def _word(view: PlotView, sample: int, place: int) -> str:
    return view.label(sample, place) if view.labels is not None else value_text(view, sample, place) or str(place)


def _series(view: PlotView, columns: Sequence[PlotColumn], sample: int) -> dict[str, Any]:
    lanes = lanes_of([as_channels(a[sample]) for a in view.attributions])
    values = None if view.values is None else as_channels(np.asarray(view.values[sample], dtype=np.float64))
    named = view.labels is not None and view.attributions[0].ndim == 3
    cells = []
    for column, attributions in zip(columns, view.attributions, strict=True):
        rows = as_channels(attributions[sample])
        scale = rim(rows)
        strips = []
        for lane in lanes:
            ground = blocks_along(rows[lane], 1200)
            line = "" if values is None or values.shape != rows.shape else _line(blocks_along(values[lane], 1200))
            name = view.label(sample, lane) if named else f"channel {lane}" if len(rows) > 1 else ""
            strips.append({"png": _png(veil(ground[None], scale, column.signed)), "line": line, "name": name})
        cells.append({"heading": column.heading, "strips": strips, "scale": scale_text(rows, scale, column.signed)})
    channels = as_channels(view.attributions[0][sample]).shape[0]
    hidden = f"the {len(lanes)} strongest of {channels} channels" if len(lanes) < channels else ""
    return {"cells": cells, "last": view.attributions[0].shape[-1] - 1, "hidden": hidden}


def blocks_along(row: Array, most: int) -> Array:
    """Average a long row [t] over blocks, so that at most `most` values remain."""
    factor = -(-row.size // most)
    return row if factor <= 1 else np.asarray(row[: row.size // factor * factor].reshape(-1, factor).mean(axis=1))


def _line(row: Array) -> str:
    """The points of a line in a field of 1000 × 100, each in the middle of its step."""
    low, high = float(row.min()), float(row.max())
    ys = 90 - 80 * (row - low) / (high - low) if high > low else np.full(row.size, 50.0)
    return " ".join(f"{1000 * (i + 0.5) / row.size:.1f},{y:.1f}" for i, y in enumerate(ys))


def _listed(view: PlotView, columns: Sequence[PlotColumn], sample: int) -> dict[str, Any]:
    """The largest attributions of each column, as a list of numbers."""
    lists = []
    if view.form == "text":
        for number, column in enumerate(columns):
            units = sorted(view.units(sample, number), key=lambda u: -abs(u.value))[:MOST_LISTED]
            lists.append({"heading": column.heading, "rows": [(u.text, "", short(u.value)) for u in units]})
        return {"name": view.name, "lists": lists}
    for column, attributions in zip(columns, view.attributions, strict=True):
        flat = attributions[sample].ravel()
        order = np.argsort(-np.abs(flat), kind="stable")[:MOST_LISTED]
        shape = attributions[sample].shape
        rows = [(_place(view, sample, int(i), shape), value_text(view, sample, int(i)), short(float(flat[i]))) for i in order]
        lists.append({"heading": column.heading, "rows": rows})
    return {"name": view.name, "lists": lists}


def _place(view: PlotView, sample: int, place: int, shape: tuple[int, ...]) -> str:
    if view.form in ("table", "tokens"):
        return view.label(sample, place)
    return "[" + ", ".join(str(i) for i in np.unravel_index(place, shape)) + "]"
