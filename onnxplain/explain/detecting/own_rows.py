"""What a file's own NonMaxSuppression leaves: for each row of its outputs the candidate that it came from.

The way back is asked of the gradient, which knows every Gather, TopK and Reshape between. One cotangent with the number of each
row and one of ones go backward to the candidates' scores: where a candidate receives messages, their ratio is its row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np

from onnxplain.analysis.detection.layout import BoxForm, DetectionLayout
from onnxplain.analysis.liveness import liveness
from onnxplain.errors import InputError
from onnxplain.explain.detecting.detections import Array
from onnxplain.explain.engine import RunSettings
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io.reader import Source
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import Registry
from onnxplain.runtime.session import Session

__all__ = ["OwnRows", "RowTable"]

TELL = "tell the file's rows themselves by --boxes, --scores and --classes, e.g. dets[0:4]=xyxy, dets[4], dets[5]"

CLOSE = 1e-3
"""Numbers of a box that differ by less, of the picture's size, are the same."""


@dataclass(frozen=True)
class RowTable:
    """RowTable of the outputs with their candidates: the sample, column and number of each, boxes where the file has its own, and
    classes where candidates do not tell them."""

    numbers: Array
    samples: Array
    columns: Array
    candidates: Array
    boxes: Array | None
    classes: Array | None


class OwnRows:
    """Reads the rows of one file.

    Args:
        source: the model, prepared, with the outputs of its candidates.
        layout: what goes into its NonMaxSuppression.
        outputs: the model's own outputs.
        registry, running: as elsewhere.

    Raises:
        InputError: no output holds the candidates' scores.
    """

    def __init__(
        self, source: Source, layout: DetectionLayout, outputs: list[str], registry: Registry, running: RunSettings
    ) -> None:
        graph = Graph(source.model)
        scores = graph.tensor(layout.scores.tensor)
        live = liveness(graph.nodes, [scores], [graph.tensor(o) for o in outputs], registry.role).tensors
        found = [o for o in outputs if o in live]
        if not found:
            raise InputError(f"no output holds the scores '{scores.name}' that go into NonMaxSuppression: {TELL}")
        self.layout, self.output = layout, found[0]
        self.others = [o for o in outputs if o != self.output]
        request = Request.for_graph("gradient", target="cotangent", output=self.output, layer=scores.name, score="probability",
                                    registry=registry)  # fmt: skip
        rewritten = rewrite_source(source.copy(), replace(request, sample_axis=None))
        self._seed = rewritten.about["run_time_inputs"]["seed"]
        (self._message,) = rewritten.about["attributions"]
        self._candidates = scores.dim(layout.scores.axis)
        self._reading: _Reading | None = None
        self._session = Session(rewritten.model, running.providers, folder=source.folder, threads=running.threads)

    def __call__(self, feeds: dict[str, Array], results: dict[str, Any], corners: Array, size: tuple[int, int]) -> RowTable:
        """The rows of one run.

        Args:
            feeds: the inputs.
            results: the outputs.
            corners: of the candidates, in pixels, [samples, candidates, 4].
            size: width and height of the picture.

        Raises:
            InputError: rows share a candidate, or what their columns are is not proven.
        """
        table = np.asarray(results[self.output])
        flat = _by_row(table)
        for column in range(flat.shape[1] if len(flat) else 0):
            ones, numbered = (
                self._message_of(feeds, table, column, w) for w in (np.ones(len(flat)), np.arange(1.0, len(flat) + 1))
            )
            if ones.any():
                return self._rows(flat, column, ones, numbered, results, corners, size)
        nothing = np.zeros(0, np.int64)
        return RowTable(nothing, nothing, nothing, nothing, None, nothing if self.one_class else None)

    @property
    def one_class(self) -> bool:
        """Whether candidates have one score, and the file's rows say which class it is of."""
        return self._candidates == 1

    def proposals(self, results: dict[str, Any], size: tuple[int, int]) -> Array:
        """All rows of another run as boxes in pixels, class and score, [rows, 6]. What the columns are is known from
        a run that found something."""
        flat = _by_row(np.asarray(results[self.output]))
        found = self._reading
        assert found is not None
        boxes = results[found.boxes].reshape(-1, 4) if isinstance(found.boxes, str) else flat[:, found.boxes : found.boxes + 4]
        if found.classes is None:
            classes = np.zeros(len(flat))
        else:
            classes = results[found.classes].reshape(-1) if isinstance(found.classes, str) else flat[:, found.classes]
        corners = _corners(np.asarray(boxes, np.float64) * (np.tile(size, 2) if found.share else 1), found.form)
        return np.concatenate([corners, np.asarray(classes, np.float64)[:, None], flat[:, [found.score]]], axis=1)

    def _message_of(self, feeds: dict[str, Array], table: Array, column: int, weights: Array) -> Array:
        """What a weighted sum of a column's scores sends back to the candidates' scores."""
        cotangent = np.zeros(_by_row(table).shape, table.dtype)
        cotangent[:, column] = weights
        found = self._session.run({**feeds, self._seed: cotangent.reshape(table.shape)}, [self._message])
        return np.asarray(found[self._message], np.float64)

    def _rows(
        self,
        flat: Array,
        column: int,
        ones: Array,
        numbered: Array,
        results: dict[str, Any],
        corners: Array,
        size: tuple[int, int],
    ) -> RowTable:
        places = np.argwhere(ones != 0)
        ratio = numbered[tuple(places.T)] / ones[tuple(places.T)] - 1
        numbers = np.round(ratio).astype(np.int64)
        if np.abs(ratio - numbers).max() > 1e-3 or len(set(numbers.tolist())) != len(numbers):
            raise InputError(f"rows of '{self.output}' share a candidate or mix several, so none of them has one score: {TELL}")
        order = np.argsort(numbers)
        numbers, (samples, columns, candidates) = numbers[order], places[order].T
        if not self.one_class:
            return RowTable(numbers, samples, columns, candidates, None, None)
        if self._reading is None:
            self._reading = self._read(flat[numbers], len(flat), column, results, samples, corners[samples, candidates], size)
        told = self.proposals(results, size)[numbers]
        return RowTable(numbers, samples, columns, candidates, told[:, :4], told[:, 4].astype(np.int64))

    def _read(
        self, rows: Array, count: int, column: int, results: dict[str, Any], samples: Array, corners: Array, size: tuple[int, int]
    ) -> _Reading:
        """What the outputs beside the scores are, seen from rows whose candidates are known."""
        beside = {o: np.asarray(results[o]) for o in self.others}
        boxes = [o for o, v in beside.items() if v.dtype.kind == "f" and v.shape[-1:] == (4,) and v.size == 4 * count]
        whole = [o for o, v in beside.items() if v.dtype.kind in "iu" and v.size == count]
        share, form = self.layout.share, self.layout.form
        if len(boxes) == 1 and form in ("xyxy", "yxyx"):
            place, taken = _Reading(boxes[0], column, column, form, share), {column}
        else:
            place = self._box_columns(rows, column, corners, size)
            assert isinstance(place.boxes, int)
            taken = {column, *range(place.boxes, place.boxes + 4)}
        if len(whole) == 1:
            return replace(place, classes=whole[0])
        rest = [c for c in range(rows.shape[1]) if c not in taken and np.array_equal(rows[:, c], np.round(rows[:, c]))]
        if len(rest) == 2:  # the number of the picture lies beside it
            rest = [c for c in rest if not np.array_equal(rows[:, c], samples)]
        if len(rest) == 1:
            return replace(place, classes=rest[0])
        if not rest and not whole and len(taken) == rows.shape[1]:  # a detector of one class, which says none
            return replace(place, classes=None)
        raise InputError(f"nothing proves what says the class of a row of '{self.output}': {TELL}")

    def _box_columns(self, rows: Array, column: int, corners: Array, size: tuple[int, int]) -> _Reading:
        """The four columns that hold the candidates' boxes, in one of the forms."""
        for start in range(rows.shape[1] - 3):
            for share in (False, True):
                given = rows[:, start : start + 4] * (np.tile(size, 2) if share else 1)
                for form in get_args(BoxForm):
                    if np.abs(_corners(given, form) - corners).max() <= CLOSE * max(size):
                        return _Reading(start, column, column, form, share)
        raise InputError(f"nothing proves which columns of '{self.output}' are the boxes of its rows: {TELL}")


@dataclass(frozen=True)
class _Reading:
    """Where rows tell their boxes, scores and classes: the first column, or the name of another output; None of a detector of one
    class."""

    boxes: int | str
    score: int
    classes: int | str | None
    form: BoxForm
    share: bool


def _by_row(table: Array) -> Array:
    """A table [rows], [rows, columns] or [samples, rows, columns] with a line for each row."""
    return table.reshape(-1, 1) if table.ndim == 1 else table.reshape(int(np.prod(table.shape[:-1])), table.shape[-1])


def _corners(boxes: Array, form: BoxForm) -> Array:
    """Boxes [k, 4] of any form as left, top, right and bottom."""
    if form == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    first, second = boxes[:, :2], boxes[:, 2:]
    if form == "cxcywh":
        return np.concatenate([first - second / 2, first + second / 2], axis=1)
    return np.concatenate([first, first + second], axis=1) if form == "xywh" else boxes
