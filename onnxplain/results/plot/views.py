"""Prepares explanations for figures and pages: brings them side by side and chooses the form by their shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import InputError, OutputError, nearest
from onnxplain.io.pictures.placed import PlacedPicture
from onnxplain.io.text.encoded import EncodedText
from onnxplain.io.text.units import TextUnit, check_unit, units_of
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.on_picture import is_map, pictures_of
from onnxplain.results.plot.style import enlarged
from onnxplain.results.prediction import lifted, named_rows, sample_count, scores, target_name
from onnxplain.results.width import over_width, summed_over

__all__ = [
    "PICTURE_FORMS",
    "TABULAR_FORMS",
    "PlotColumn",
    "PlotView",
    "choose_form",
    "columns_of",
    "picture_of",
    "pooled_map",
    "views_of",
]

Array = np.ndarray[Any, Any]

PICTURE_FORMS = ("image", "table", "series", "tokens", "text", "curves")
"""The forms of a picture."""
TABULAR_FORMS = ("waterfall", "force", "beeswarm", "importance", "scatter", "heatmap", "network")
"""More forms of a picture of a table, of single samples (waterfall, force) or of all."""
EVERY = 10
"""With target="all", up to so many targets are all shown; of more, only the `FIRST` with the highest scores."""
FIRST = 5


@dataclass(frozen=True)
class PlotColumn:
    """One column of a figure: a method, or with target="all" one target of a method.

    Attributes:
        heading: the text above the column.
        explanation: the explanation.
        signed: whether signs have a meaning and colours of their own.
        among_all: with target="all", the index of the column's target for each sample; None otherwise.
    """

    heading: str
    explanation: ExplanationData
    signed: bool
    among_all: Array | None = None

    @property
    def rectified(self) -> bool:
        """Whether the method cut off what is below zero."""
        return self.explanation.about.get("options", {}).get("relu") is True

    def from_base(self, sample: int) -> tuple[float, float] | None:
        """The base value, and the score to which the attributions lead from it, of methods that know both."""
        known = self.explanation
        if "base_value" not in known.facts or "completeness" not in known.about.get("axioms", ()):
            return None
        base = lifted(known, known.facts["base_value"])[sample]
        mine = float(base if self.among_all is None else base[self.among_all[sample]])
        return mine, mine + sum(float(self.attributions(n)[sample].sum(dtype=np.float64)) for n in known.attributions)

    def tokens(self) -> Array:
        """The attributions of the tokens of texts [n, tokens], of this column's target."""
        values = self.explanation.token_values()
        return values if self.among_all is None else values[np.arange(len(values)), self.among_all]

    def attributions(self, name: str) -> Array:
        """The attributions [n, …] of this column's target; maps enlarged to the input that they lie on."""
        values = self.explanation.samples_first(name)
        chosen = values if self.among_all is None else values[np.arange(len(values)), self.among_all]
        return _over_input(self.explanation, name, chosen) if self.is_map(name) else chosen

    def is_map(self, name: str) -> bool:
        """Whether the attribution is a map over the positions of an input, computed at an inner layer."""
        return is_map(self.explanation, name)

    def target(self, sample: int) -> str:
        """What was explained about a sample, as text."""
        if self.among_all is None:
            return target_name(self.explanation, sample)
        return self.explanation.class_name(int(self.among_all[sample]))

    def target_index(self, sample: int) -> int | None:
        """The index of the explained element; None if several are explained together."""
        if self.among_all is not None:
            return int(self.among_all[sample])
        return None if self.explanation.target is None else int(self.explanation.target[sample])


@dataclass(frozen=True)
class PlotView:
    """One explained tensor in all columns.

    Attributes:
        name: the tensor's name.
        form: one of `PICTURE_FORMS`.
        values: the input's values [n, …]; for inner tensors the image they belong to, or None.
        attributions: one array [n, …] per column.
        maps: which columns are maps over positions.
        labels: the names of a sample's elements, or one list of names per sample.
        texts: of the form "text", the texts.
        by: what a text is merged by, "token", "word" or "sentence".
        special: whether tokens that the tokenizer added are shown.
        pictures: the pictures that the input was made of, on which attributions are drawn; none where it is an array.
        reference: the picture that the samples were compared with.
    """

    name: str
    form: str
    values: Array | None
    attributions: tuple[Array, ...]
    labels: tuple[str, ...] | tuple[tuple[str, ...], ...] | None
    maps: tuple[bool, ...] = ()
    texts: tuple[EncodedText, ...] = ()
    by: str = "word"
    special: bool = False
    pictures: tuple[PlacedPicture, ...] = ()
    reference: PlacedPicture | None = None

    def picture(self, sample: int) -> Array | None:
        """What attributions of a sample are drawn on, with values 0..1: [h, w] or [h, w, 3]; None where there is nothing."""
        if self.pictures:
            return self.pictures[sample].preview / 255
        return None if self.values is None else picture_of(self.values[sample])

    def heat(self, sample: int, column: int) -> Array:
        """A column's attribution of a sample, summed over channels, on the pixels of `picture`, [h, w]."""
        heat = pooled_map(self.attributions[column][sample])
        if not self.pictures:
            return heat
        seen = self.pictures[sample]
        return seen.placement.drawn(heat, seen.preview.shape[:2], densities=bool(self.maps) and self.maps[column])

    def units(self, sample: int, column: int) -> list[TextUnit]:
        """The parts of a text with their relevance by a column's method."""
        return units_of(self.texts[sample], self.attributions[column][sample], self.by, special=self.special)

    def label(self, sample: int, place: int) -> str:
        """The name of an element, by its flat index."""
        shape = self.attributions[0].shape[1:]
        if self.labels is None:
            if len(shape) < 2 or self.form == "tokens":
                return str(place)
            return ", ".join(str(i) for i in np.unravel_index(place, shape))
        found = self.labels[sample] if isinstance(self.labels[0], tuple) else self.labels
        return str(found[place])


def columns_of(explanations: Sequence[ExplanationData], *, most: int = EVERY) -> list[PlotColumn]:
    """The columns of a side-by-side picture; of more than `most` targets those with the highest scores.

    Raises:
        InputError: there are no explanations, or they are of different samples.
    """
    if not explanations:
        raise InputError("there is nothing to show: no explanation was given")
    counts = {sample_count(e) for e in explanations}
    if len(counts) > 1 or 0 in counts:
        raise InputError(f"explanations of {' and '.join(map(str, sorted(counts)))} samples do not go side by side")
    headings = _headings(explanations)
    result = []
    for heading, explanation in zip(headings, explanations, strict=True):
        negative = any((v < 0).any() for v in explanation.attributions.values())
        signed = negative or bool(explanation.about.get("method_info", {}).get("signed", False))
        signed = signed and not (explanation.texts and explanation.is_per_unit)  # norms have no sign
        if explanation.target is None and explanation.about.get("target") == "all":
            result += _every_target(heading, explanation, signed, most)
        else:
            result.append(PlotColumn(heading, explanation, bool(signed)))
    return result


def _headings(explanations: Sequence[ExplanationData]) -> list[str]:
    """Method names, with the options that distinguish explanations of the same method."""
    names = [e.method for e in explanations]
    result = []
    for explanation, name in zip(explanations, names, strict=True):
        same = [e for e in explanations if e.method == name]
        differing = [
            f"{key} {value}"
            for key, value in explanation.about.get("options", {}).items()
            if len({str(e.about.get("options", {}).get(key)) for e in same}) > 1
        ]
        result.append(", ".join([name, *differing]))
    return result


def _every_target(heading: str, explanation: ExplanationData, signed: bool, most: int) -> list[PlotColumn]:
    values = explanation.samples_first()
    count, targets = values.shape[:2]
    if targets <= most:
        return [
            PlotColumn(f"{heading} → {explanation.class_name(t)}", explanation, signed, np.full(count, t)) for t in range(targets)
        ]
    found = scores(explanation)
    flat = np.zeros((count, targets)) if found is None else found.reshape(count, -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    return [PlotColumn(f"{heading}, rank {r + 1}", explanation, signed, order[:, r]) for r in range(FIRST)]


# -- forms -----------------------------------------------------------------------------------------------------------


def choose_form(values: Array | None, attribution: Array, features: Sequence[Any] | None = None) -> str:
    """The form that fits the data.

    Args:
        values: the input's values [n, …]; None for inner tensors.
        attribution: the attributions [n, …].
        features: names of the elements. A row of named elements is a table.

    Returns:
        "image", "table", "series" or "tokens".
    """
    shape = attribution.shape[1:]
    if values is not None and values.dtype.kind in "iuOUS" and attribution.ndim == values.ndim + 1:
        return "tokens"
    if len(shape) == 3 and min(shape[1:] if channel_axis(shape) == 0 else shape[:2]) > 1:
        return "image"
    if len(shape) == 2:
        low, high = min(shape), max(shape)
        if (low >= 6 and high <= 2 * low) or shape[0] > 16:
            return "image"
        return "series" if shape[1] >= 8 else "table"
    if len(shape) == 1 and shape[0] > 64 and features is None:
        return "series"
    return "table"


def channel_axis(shape: Sequence[int]) -> int:
    """The channel axis of a sample with three axes: 0 or 2."""
    if shape[0] in (1, 3) or (shape[0] == 4 and shape[2] not in (1, 3)):
        return 0
    return 2 if shape[2] in (1, 3, 4) or shape[2] < shape[0] else 0


def pooled_map(attribution: Array) -> Array:
    """The attribution of one sample, summed over its channels: [h, w]."""
    if attribution.ndim == 3:
        return summed_over(attribution, channel_axis(attribution.shape))
    return np.asarray(attribution, dtype=np.float64)


def picture_of(sample: Array) -> Array:
    """One sample as an image with values 0..1: [h, w] (grey) or [h, w, 3].

    Values in 0..1 and integers in 0..255 are shown as they are. Other values are scaled to their range.
    """
    values = np.asarray(sample, dtype=np.float64)
    if values.ndim == 3:
        values = np.moveaxis(values, channel_axis(values.shape), -1)
        values = values[..., :3] if values.shape[-1] in (3, 4) else values.mean(axis=-1)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if low >= 0 and high <= 1:
        return values
    if low >= 0 and 16 < high <= 255 and np.array_equal(values, np.round(values)):
        return values / 255
    return (values - low) / (high - low or 1.0)


def views_of(
    columns: Sequence[PlotColumn], features: Sequence[Any] | None = None, form: str | None = None, by: str | None = None,
    special: bool = False,
) -> list[PlotView]:  # fmt: skip
    """The explained tensors to show. Several small inputs (columns of a table) become one table.

    Args:
        columns: the columns of the figure.
        features: names of the elements; None takes those that the explanations have.
        form: the form; None chooses by shape.
        by: what texts are merged by; None for words.
        special: whether tokens that the tokenizer added are shown.

    Returns:
        One view per tensor.

    Raises:
        OutputError: the form is unknown, or the explanations do not fit side by side.
        InputError: the number of features is not the number of elements.
    """
    if form is not None and form not in PICTURE_FORMS:
        raise OutputError(f"unknown form '{form}' of a picture; {nearest(form, (*PICTURE_FORMS, *TABULAR_FORMS))}")
    features = features if features is not None else columns[0].explanation.features or None
    names = [list(c.explanation.attributions) for c in columns]
    if len({len(n) for n in names}) > 1:
        raise OutputError("explanations of different numbers of tensors do not go side by side; plot them one by one")
    texts = columns[0].explanation.texts
    if form == "text" and not texts:
        raise OutputError("what was explained is no text; explain texts with a tokenizer, or choose another form")
    if texts and form in (None, "text", "tokens"):
        return _text_views(columns, form or "text", check_unit(by or "word"), special)
    if by is not None:
        raise OutputError(f"by={by!r} merges texts, and what was explained is no text")
    views = [_view(columns, place, features if len(names[0]) == 1 else None, form) for place in range(len(names[0]))]
    if len(views) > 1 and form in (None, "table") and all(v.form == "table" for v in views):
        return [_merged(views)]
    return views


def _view(columns: Sequence[PlotColumn], place: int, features: Sequence[Any] | None, form: str | None) -> PlotView:
    names = [list(c.explanation.attributions)[place] for c in columns]
    attributions = tuple(c.attributions(n) for c, n in zip(columns, names, strict=True))
    first = columns[0].explanation
    values = named_rows(first, names[0], np.asarray(first.inputs[names[0]])) if names[0] in first.inputs else None
    chosen = form or choose_form(values, attributions[0], features)
    if chosen == "image":
        values = values if values is not None and values.ndim >= 3 else _input_picture(first)
        if any(a.ndim not in (3, 4) for a in attributions):
            raise OutputError(
                f"'{names[0]}' {list(attributions[0].shape)} is no image; choose another form: {', '.join(PICTURE_FORMS)}"
            )
        return PlotView(
            names[0], chosen, values, attributions, None, tuple(c.is_map(n) for c, n in zip(columns, names, strict=True)),
            pictures=tuple(pictures_of(first, names[0])), reference=first.reference,
        )  # fmt: skip
    if chosen == "tokens":
        slopes = [c.explanation.is_per_unit for c in columns]
        attributions = tuple(over_width(a, s) if a.ndim > 2 else a for a, s in zip(attributions, slopes, strict=True))
    if len({a.shape for a in attributions}) > 1:
        shapes = ", ".join(f"{c.heading} {list(a.shape)}" for c, a in zip(columns, attributions, strict=True))
        raise OutputError(f"attributions of different shapes do not go side by side: {shapes}")
    return PlotView(names[0], chosen, values, attributions, _labels(names[0], attributions[0], features, chosen))


def _text_views(columns: Sequence[PlotColumn], form: str, by: str, special: bool) -> list[PlotView]:
    """The tokens of texts, as running text or as bars; other explained tensors behind them."""
    first = columns[0].explanation
    texts = tuple(first.texts)
    if any(tuple(c.explanation.texts) != texts for c in columns):
        raise OutputError("explanations of different texts do not go side by side; plot them one by one")
    labels = tuple(text.pieces for text in texts) if form == "tokens" else None
    tokens = PlotView(
        str(first.text_input), form, None, tuple(c.tokens() for c in columns), labels, texts=texts, by=by, special=special
    )
    others = [place for place, name in enumerate(first.attributions) if not first.is_of_text(name)]
    return [tokens, *(_view(columns, place, None, None) for place in others)]


def _over_input(explanation: ExplanationData, name: str, values: Array) -> Array:
    """A map [n, 1, places …] enlarged to the places of the input, linearly; in one dimension once for every channel."""
    fed = named_rows(explanation, name, np.asarray(explanation.inputs[name])) if name in explanation.inputs else values
    if fed.ndim != values.ndim or fed.ndim not in (3, 4):
        return values
    if fed.ndim == 3:
        return np.broadcast_to(enlarged(values, fed.shape[2:]), fed.shape)
    channels = channel_axis(fed.shape[1:])
    return enlarged(values, [e for i, e in enumerate(fed.shape[1:]) if i != channels])


def _input_picture(explanation: ExplanationData) -> Array | None:
    """The first input that is an image."""
    for name, array in explanation.inputs.items():
        values = named_rows(explanation, name, np.asarray(array))
        if values.ndim in (3, 4) and values.dtype.kind in "fiu" and choose_form(None, values) == "image":
            return values
    return None


def _labels(
    name: str, attribution: Array, features: Sequence[Any] | None, form: str
) -> tuple[str, ...] | tuple[tuple[str, ...], ...] | None:
    if features is None or len(features) == 0:
        return (name,) if attribution[0].size == 1 else None
    if not isinstance(features[0], str):
        if len(features) != len(attribution):
            raise InputError(f"{len(features)} lists of names for {len(attribution)} samples")
        return tuple(tuple(str(f) for f in row) for row in features)
    wanted = attribution.shape[1] if form == "series" and attribution.ndim == 3 else attribution[0].size
    if len(features) != wanted:
        raise InputError(f"{len(features)} feature names for {wanted} elements of '{name}' {list(attribution.shape)}")
    return tuple(str(f) for f in features)


def _merged(views: Sequence[PlotView]) -> PlotView:
    """Several small inputs as one table."""
    labels: list[str] = []
    for view in views:
        size = view.attributions[0][0].size
        labels += [view.name] if size == 1 else [f"{view.name} [{view.label(0, i)}]" for i in range(size)]
    count = len(views[0].attributions[0])
    columns = range(len(views[0].attributions))
    attributions = tuple(np.concatenate([v.attributions[c].reshape(count, -1) for v in views], axis=1) for c in columns)
    values = None
    if all(v.values is not None and v.values.size == v.attributions[0].size for v in views):
        values = np.concatenate([np.asarray(v.values, dtype=object).reshape(count, -1) for v in views], axis=1)
    return PlotView("inputs", "table", values, attributions, tuple(labels))
