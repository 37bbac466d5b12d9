"""Search: runs a detector on pictures and says what it finds, candidate by candidate and detection by detection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from onnxplain.analysis.detection.layout import DetectionLayout
from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.errors import InputError
from onnxplain.explain.detecting.detections import Array, Detections, kept
from onnxplain.explain.detecting.detector import Detector
from onnxplain.explain.detecting.outputs import BOXES, CLASSES, OBJECTNESS, SCORES
from onnxplain.explain.detecting.own_rows import OwnRows, RowTable
from onnxplain.explain.engine import RunSettings
from onnxplain.io.reader import Source
from onnxplain.ir.registry import Registry
from onnxplain.ir.tensor import Tensor
from onnxplain.runtime.chunks import chunks
from onnxplain.runtime.session import Session

__all__ = ["Found", "Search", "picture_size"]

USUAL = 8
"""Pictures in one run where nothing is said."""


@dataclass(frozen=True)
class Found:
    """What was found in one picture.

    Attributes:
        detections: what counts as a detection.
        boxes: of all candidates, in pixels, [candidates, 4].
        scores: of all candidates, [candidates, columns].
        proposals: what D-RISE compares: box in pixels, score of each class and objectness, [proposals, 4 + classes + 1].
        one_class: whether a proposal tells one class: its number then stands in place of the scores.
    """

    detections: Detections
    boxes: Array
    scores: Array
    proposals: Array
    one_class: bool = False


def picture_size(tensors: Sequence[Tensor], feeds: Mapping[str, Array]) -> tuple[int, int]:
    """Width and height of the pictures among the inputs.

    Raises:
        InputError: no input, or more than one, is of pictures.
    """
    found = [t.name for t in tensors if t.name in feeds and feeds[t.name].ndim == 4]
    if len(found) != 1:
        raise InputError(
            f"detections are in pictures, [n, channels, height, width] or with the channels last; {len(found)} inputs are"
        )
    shape = feeds[found[0]].shape
    high, wide = (shape[2], shape[3]) if shape[1] in (1, 3, 4) or shape[3] not in (1, 3, 4) else (shape[1], shape[2])
    return int(wide), int(high)


class Search:
    """Runs a detector.

    Args:
        source: the model, prepared, with the outputs of its candidates.
        layout: where they come from.
        tensors: the candidates' tensors by what they are.
        detector: which detections count.
        labels: names of classes.
        axes: which axes count samples.
        outputs: the model's own outputs.
        inputs: its inputs.
        registry, running: as elsewhere.
    """

    def __init__(
        self, source: Source, layout: DetectionLayout, tensors: Mapping[str, str], detector: Detector, labels: Sequence[str],
        axes: SampleAxes, outputs: list[str], inputs: Sequence[Tensor], registry: Registry, running: RunSettings,
    ) -> None:  # fmt: skip
        self.layout, self.tensors, self.detector, self.labels, self.axes = layout, dict(tensors), detector, labels, axes
        self._inputs = inputs
        self._own = OwnRows(source, layout, outputs, registry, running) if layout.suppression else None
        self._wanted = list(dict.fromkeys([*outputs, *self.tensors.values()])) if self._own else list(self.tensors.values())
        model = source.copy().model
        known = {o.name for o in model.graph.output}
        model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in self.tensors.values() if n not in known)
        self._session = Session(model, running.providers, folder=source.folder, threads=running.threads)
        self._size = running.batch_size or USUAL

    def __call__(self, feeds: Mapping[str, Array], count: int) -> list[Found]:
        """What is found in every picture.

        Args:
            feeds: the inputs, as the model takes them.
            count: how many pictures.

        Raises:
            InputError: what the file returns does not fit the layout.
        """
        size = picture_size(self._inputs, feeds)
        if not self.axes.batched:
            return self._run(dict(feeds), 1, size)
        places = {t.name: self.axes.of_input(t.name) for t in self._inputs}
        rows = self.axes.fixed or (1 if self._own or self.layout.suppressed else min(count, self._size))
        made: list[Found] = []
        for part, given in chunks(feeds, places, count, rows, filled=self.axes.fixed is not None):
            made += self._run(given, part, size)
        return made

    def proposals(self, feeds: Mapping[str, Array], count: int) -> list[Array]:
        """All that is proposed for every picture, as in `Found`, once something was found in one."""
        own = self._own
        if own is None or not own.one_class:
            return [found.proposals for found in self(feeds, count)]
        size = picture_size(self._inputs, feeds)
        if not self.axes.batched:
            return [own.proposals(self._session.run(feeds, self._wanted), size)]
        if (self.axes.fixed or 1) > 1:
            raise InputError("rows of a file that takes several pictures at once do not say which picture they are of")
        places = {t.name: self.axes.of_input(t.name) for t in self._inputs}
        return [own.proposals(self._session.run(given, self._wanted), size) for _, given in chunks(feeds, places, count, 1)]

    def _run(self, feeds: dict[str, Array], count: int, size: tuple[int, int]) -> list[Found]:
        results = self._session.run(feeds, self._wanted)
        boxes, scores = (np.asarray(results[self.tensors[n]], np.float64) for n in (BOXES, SCORES))
        if boxes.shape[:2] != scores.shape[:2] or boxes.shape[2] != 4:
            raise InputError(f"boxes {list(boxes.shape)} and scores {list(scores.shape)} of layout '{self.layout.name}' do not "
                             "lie beside each other: tell it by --boxes and --scores")  # fmt: skip
        if self.layout.share:
            boxes = boxes * np.tile(size, 2)
        beside = {n: np.asarray(results[self.tensors[n]], np.float64)[..., 0] for n in (OBJECTNESS, CLASSES) if n in self.tensors}
        rows = self._own(feeds, results, boxes, size) if self._own else None
        return [self._found(i, boxes[i], scores[i], {n: v[i] for n, v in beside.items()}, rows) for i in range(count)]

    def _found(self, sample: int, boxes: Array, scores: Array, beside: Mapping[str, Array], rows: RowTable | None) -> Found:
        if rows is not None:
            return self._of_rows(sample, boxes, scores, rows)
        told = beside.get(CLASSES)
        candidates, columns = np.nonzero(scores >= self.detector.confidence)
        if told is None and scores.shape[1] > 1:  # a candidate is of its best class
            best = scores.argmax(axis=1)
            candidates = np.flatnonzero(scores.max(axis=1) >= self.detector.confidence)
            columns = best[candidates]
        classes = columns if told is None else told[candidates].astype(np.int64)
        values = scores[candidates, columns]
        if told is not None and self.layout.suppressed:
            left = np.arange(len(candidates))  # rows of the file, in its own order
        elif self.layout.suppressed:
            left = np.argsort(-values, kind="stable")
        else:
            left = kept(boxes[candidates], values, classes, self.detector.overlap)
        candidates, columns = candidates[left], columns[left]
        numbers = candidates if told is not None and self.layout.suppressed else np.arange(len(left))
        detections = Detections(boxes[candidates], values[left], classes[left], numbers, candidates, columns, self.labels)
        if told is not None:
            return Found(detections, boxes, scores, _of_one_class(boxes, scores[:, 0], told), True)
        own = beside.get(OBJECTNESS)
        plain = scores if own is None else np.divide(scores, own[:, None], out=np.zeros_like(scores), where=own[:, None] > 0)
        each = scores.max(axis=1) if own is None else own
        return Found(detections, boxes, scores, np.concatenate([boxes, plain, each[:, None]], axis=1))

    def _of_rows(self, sample: int, boxes: Array, scores: Array, rows: RowTable) -> Found:
        """The file's own rows, under their own numbers."""
        mine = rows.samples == sample
        candidates, columns = rows.candidates[mine], rows.columns[mine]
        classes = columns if rows.classes is None else rows.classes[mine]
        values, own = scores[candidates, columns], boxes[candidates] if rows.boxes is None else rows.boxes[mine]
        every = Detections(own, values, classes, rows.numbers[mine], candidates, columns, self.labels)
        detections = every.only(np.flatnonzero(values >= self.detector.confidence))
        if rows.classes is None:
            proposals = np.concatenate([boxes, scores, scores.max(axis=1, initial=0)[:, None]], axis=1)
        else:
            proposals = _of_one_class(own, values, classes)
        return Found(detections, boxes, scores, proposals, rows.classes is not None)


def _of_one_class(boxes: Array, scores: Array, classes: Array) -> Array:
    """Proposals that tell one class each."""
    return np.concatenate([boxes, classes[:, None].astype(np.float64), scores[:, None]], axis=1)
