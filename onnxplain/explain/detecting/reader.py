"""DetectionReader: explains detections that words name, at the candidates that they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxplain.analysis.detection.layout import DetectionLayout
from onnxplain.analysis.target import Target
from onnxplain.errors import InputError, MethodError, TargetError
from onnxplain.explain.detecting.detections import Array, Detections
from onnxplain.explain.detecting.detector import Detector
from onnxplain.explain.detecting.search import Found, Search
from onnxplain.explain.detecting.words import SIDES, Wanted, wanted
from onnxplain.explain.engine import Engine, Question, count_samples
from onnxplain.results.explanation import Explanation

__all__ = ["COMPARES", "DetectionReader"]

COMPARES = "d-rise"
"""The method that compares whole detections."""

MOST = 300
"""Detections of a picture that an explanation keeps, at most; those explained are among them."""


@dataclass(frozen=True)
class _Row:
    """One attribution: the picture it is of, and what of it."""

    sample: int
    wanted: Wanted


class DetectionReader:
    """Explains detections.

    Args:
        search: runs the detector.
        layout: where its candidates are.
        detector: which detections count.
        scores: the engine of the candidates' scores.
        boxes: makes the engine of their boxes.
        compares: whether the method compares detections rather than following one.
        labels: names of classes.
    """

    def __init__(
        self, search: Search, layout: DetectionLayout, detector: Detector, scores: Engine, boxes: Callable[[], Engine], *,
        compares: bool, labels: Sequence[str],
    ) -> None:  # fmt: skip
        self.search, self.layout, self.detector, self.labels = search, layout, detector, labels
        self._scores, self._make_boxes, self._compares = scores, boxes, compares
        self._boxes: Engine | None = None

    def detections(self, feeds: Mapping[str, Array]) -> list[Detections]:
        """What is found in every picture."""
        return [found.detections for found in self.search(feeds, count_samples(self._scores.axes, feeds))]

    def explain(self, feeds: dict[str, Array], target: Any, given: Mapping[str, Any]) -> Explanation:
        """Explain detections.

        Args:
            feeds: the inputs, checked.
            target: words, the number of a detection, None for the best, or a list with one of these for each picture.
            given: what else is given for this batch.

        Raises:
            TargetError: the words mean nothing, or nothing that they mean was detected.
        """
        axes = self._scores.axes
        count = count_samples(axes, feeds)
        found = self.search(feeds, count)
        rows = self._rows(target, found)
        sides = {bool(row.wanted.side) for row in rows}
        if len(sides) > 1:
            raise TargetError("scores and boxes are explained one after the other: name either for all pictures")
        of_boxes = sides == {True}
        if not axes.batched and len(rows) > 1:
            raise TargetError(
                f"the file takes one picture at a time, and so one target, not {len(rows)}: name a side or a detection"
            )
        question = self._question(feeds, rows, found, given, of_boxes)
        made = self._engine(of_boxes).explain(question)
        return self._told(made, rows, found)

    def _engine(self, of_boxes: bool) -> Engine:
        if not of_boxes:
            return self._scores
        if self._compares:
            raise MethodError(f"'{COMPARES}' compares whole detections: leave the side of the box out, or choose another method")
        if self._boxes is None:
            self._boxes = self._make_boxes()
        return self._boxes

    def _rows(self, target: Any, found: Sequence[Found]) -> list[_Row]:
        """What is explained, picture by picture."""
        each = target.split(";") if isinstance(target, str) and ";" in target else target
        if isinstance(each, np.ndarray):
            each = each.tolist()
        if isinstance(each, list):
            if len(each) != len(found):
                raise TargetError(f"expected one target for each of the {len(found)} pictures, got {len(each)}")
        else:
            each = [each] * len(found)
        rows = []
        for i, (told, one) in enumerate(zip(each, found, strict=True)):
            picture = f"picture {i}" if len(found) > 1 else "the picture"
            rows += [_Row(i, w) for w in wanted(told, one.detections, picture, self.detector.confidence)]
        return rows

    def _question(
        self, feeds: dict[str, Array], rows: Sequence[_Row], found: Sequence[Found], given: Mapping[str, Any], of_boxes: bool
    ) -> Question:
        axes = self._scores.axes
        samples = [row.sample for row in rows]
        if samples != list(range(len(found))):  # a picture with several attributions is fed several times
            feeds = {
                n: np.ascontiguousarray(v.take(samples, a)) if (a := axes.of_input(n)) is not None else v
                for n, v in feeds.items()
            }
        proposals = _Proposals(self.search, [_explained(found[r.sample], r.wanted) for r in rows], found[0].one_class)
        shapes = [np.shape(found[r.sample].boxes if of_boxes else found[r.sample].scores) for r in rows]
        if len(set(shapes)) > 1:
            counts = ", ".join(str(len(some.scores)) for some in found)
            raise InputError(f"the file has another number of candidates in every picture ({counts}): explain one at a time")
        terms = [self._terms(found[r.sample], r.wanted, of_boxes) for r in rows]
        if all(len(term) == 1 for term in terms):
            chosen = np.array([term[0][0] for term in terms], np.int64)
            return Question(feeds, len(rows), Target("input", ()), chosen, None, given, proposals)
        cotangent = np.zeros((len(rows), int(np.prod(shapes[0]))), self._engine(of_boxes).axes.score.dtype)
        for line, term in zip(cotangent, terms, strict=True):
            for place, weight in term:
                line[place] += weight
        whole = cotangent.reshape(len(rows), *shapes[0])
        return Question(feeds, len(rows), Target("seed", ()), None, whole, given, proposals)

    @staticmethod
    def _terms(found: Found, wanted: Wanted, of_boxes: bool) -> list[tuple[int, float]]:
        """The elements of a sample's candidates that are added up, with their weights."""
        some = found.detections
        if of_boxes:
            first = 4 * int(some.candidates[wanted.rows[0]])
            return [(first + i, float(w)) for i, w in enumerate(SIDES[wanted.side]) if w]
        wide = found.scores.shape[1]
        return [(int(some.candidates[r]) * wide + int(some.columns[r]), 1.0) for r in wanted.rows]

    def _told(self, made: Explanation, rows: Sequence[_Row], found: Sequence[Found]) -> Explanation:
        """The explanation with the detections of every picture and the names of what was explained."""
        tables = [_table(found[r.sample].detections, r.wanted.rows) for r in rows]
        most = max(map(len, tables))
        padded = np.stack([np.pad(t, ((0, most - len(t)), (0, 0)), constant_values=np.nan) for t in tables])
        layout = {"name": self.layout.name, "columns": str(self.layout), "reason": self.layout.reason,
                  "confidence": self.detector.confidence, "overlap": self.detector.overlap}  # fmt: skip
        about = {**made.about, "target": "; ".join(dict.fromkeys(r.wanted.name for r in rows)), "detector": layout}
        return replace(made, about=about, labels=self.labels, target_names=[r.wanted.name for r in rows],
                       facts={**made.facts, "detections": padded, "picture": np.array([r.sample for r in rows])})  # fmt: skip


@dataclass(frozen=True)
class _Proposals:
    """What D-RISE compares."""

    search: Search
    explained: list[Array]
    one_class: bool

    def of(self, feeds: Mapping[str, Array]) -> list[Array]:
        """All that the detector proposes for each of some pictures."""
        return self.search.proposals(feeds, count_samples(self.search.axes, feeds))


def _explained(found: Found, wanted: Wanted) -> Array:
    """The proposals that detections are."""
    some, rows = found.detections, list(wanted.rows)
    if found.one_class:
        return np.concatenate([some.boxes[rows], some.classes[rows, None], some.scores[rows, None]], axis=1)
    return np.asarray(found.proposals[some.candidates[rows]])


def _table(found: Detections, explained: Sequence[int]) -> Array:
    """A row per detection: box in pixels, score, class, number, and whether it is explained; [k, 8]."""
    mine = np.isin(np.arange(len(found)), explained)
    rows = np.flatnonzero(mine | (np.arange(len(found)) < MOST))
    columns = (found.boxes, found.scores[:, None], found.classes[:, None], found.numbers[:, None], mine[:, None])
    return np.concatenate([np.asarray(c, np.float64) for c in columns], axis=1)[rows]
