"""What a file's own NonMaxSuppression leaves: for each row of its outputs the candidate that it came from.

The way back is asked of the gradient, which knows every Gather, TopK and Reshape between. One cotangent with the number of each
row and one of ones go backward to the candidates' scores: where a candidate receives messages, their ratio is its row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxplain.analysis.detection.layout import DetectionLayout
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

__all__ = ["OwnRows", "Rows"]

TELL = "tell the file's rows themselves by --boxes, --scores and --classes, e.g. dets[0:4]=xyxy, dets[4], dets[5]"

CLOSE = 1e-3
"""Numbers of a box that differ by less, of the picture's size, are the same."""


@dataclass(frozen=True)
class Rows:
    """Rows of the outputs with their candidates: the sample, column and number of each, boxes where the file has its own, and
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
        self._session = Session(rewritten.model, running.providers, folder=source.folder, threads=running.threads)

    def __call__(self, feeds: dict[str, Array], results: dict[str, Any], corners: Array, size: tuple[int, int]) -> Rows:
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
        count = table.shape[-1] if table.ndim == 1 else int(np.prod(table.shape[:-1]))
        flat = table.reshape(count, -1)
        for column in range(flat.shape[1] if count else 0):
            ones, numbered = (self._message_of(feeds, table, column, w) for w in (np.ones(count), np.arange(1.0, count + 1)))
            if ones.any():
                return self._rows(table, flat, column, ones, numbered, results, corners, size)
        nothing = np.zeros(0, np.int64)
        return Rows(nothing, nothing, nothing, nothing, None, None)

    def _message_of(self, feeds: dict[str, Array], table: Array, column: int, weights: Array) -> Array:
        """What a weighted sum of a column's scores sends back to the candidates' scores."""
        cotangent = np.zeros((len(weights), int(table.size // max(len(weights), 1))), table.dtype)
        cotangent[:, column] = weights
        found = self._session.run({**feeds, self._seed: cotangent.reshape(table.shape)}, [self._message])
        return np.asarray(found[self._message], np.float64)

    def _rows(
        self, table: Array, flat: Array, column: int, ones: Array, numbered: Array, results: dict[str, Any], corners: Array,
        size: tuple[int, int],
    ) -> Rows:  # fmt: skip
        places = np.argwhere(ones != 0)
        ratio = numbered[tuple(places.T)] / ones[tuple(places.T)] - 1
        numbers = np.round(ratio).astype(np.int64)
        if np.abs(ratio - numbers).max() > 1e-3 or len(set(numbers.tolist())) != len(numbers):
            raise InputError(f"rows of '{self.output}' share a candidate or mix several, so none of them has one score: {TELL}")
        order = np.argsort(numbers)
        numbers, (samples, columns, candidates) = numbers[order], places[order].T
        classes, own = None, self._own_boxes(results, flat.shape[0], numbers, size)
        if ones.shape[1] == 1:  # candidates of any class: the class is told beside them
            classes = self._classes(flat, column, results, numbers, samples, corners[samples, candidates], size, own)
        return Rows(numbers, samples, columns, candidates, own, classes)

    def _own_boxes(self, results: dict[str, Any], count: int, numbers: Array, size: tuple[int, int]) -> Array | None:
        """The boxes of an output that holds nothing else."""
        found = [v for o in self.others if (v := np.asarray(results[o])).dtype.kind == "f" and v.shape[-1:] == (4,)]
        found = [v for v in found if v.size == 4 * count]
        if len(found) != 1 or self.layout.form not in ("xyxy", "yxyx"):
            return None
        boxes = found[0].reshape(-1, 4)[numbers]
        return boxes if self.layout.form == "xyxy" else boxes[:, [1, 0, 3, 2]]

    def _classes(
        self, flat: Array, column: int, results: dict[str, Any], numbers: Array, samples: Array, corners: Array,
        size: tuple[int, int], own: Array | None,
    ) -> Array:  # fmt: skip
        whole = [v for o in self.others if (v := np.asarray(results[o])).dtype.kind in "iu" and v.size == len(flat)]
        if len(whole) == 1:
            return np.asarray(whole[0].reshape(-1)[numbers], np.int64)
        rows = flat[numbers]
        taken = {column, *(() if own is not None else self._box_columns(rows, corners, size))}
        rest = [c for c in range(rows.shape[1]) if c not in taken and np.array_equal(rows[:, c], np.round(rows[:, c]))]
        if len(rest) == 2:  # the number of the picture lies beside it
            rest = [c for c in rest if not np.array_equal(rows[:, c], samples)]
        if len(rest) == 1:
            return rows[:, rest[0]].astype(np.int64)
        if flat.shape[1] - len(taken) == 0 and not whole:  # a detector of one class
            return np.zeros(len(rows), np.int64)
        raise InputError(f"nothing proves which column of '{self.output}' is the class of a row: {TELL}")

    def _box_columns(self, rows: Array, corners: Array, size: tuple[int, int]) -> tuple[int, ...]:
        """The four columns that hold the candidates' boxes, in one of the forms."""
        low, high = corners[:, :2], corners[:, 2:]
        forms = (corners, corners[:, [1, 0, 3, 2]], np.concatenate([(low + high) / 2, high - low], 1),
                 np.concatenate([low, high - low], 1))  # fmt: skip
        for start in range(rows.shape[1] - 3):
            for form in forms:
                for scale in (1, np.tile(size, 2)):
                    if np.abs(rows[:, start : start + 4] * scale - form).max() <= CLOSE * max(size):
                        return tuple(range(start, start + 4))
        raise InputError(f"nothing proves which columns of '{self.output}' are the boxes of its rows: {TELL}")
