"""Detector: what a user says of a detector, and where nothing is said, what is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from onnxplain.analysis.detection.find import AUTO, find_layout
from onnxplain.analysis.detection.layout import DetectionLayout, parse_boxes, parse_columns
from onnxplain.errors import InputError
from onnxplain.io.class_names import found_class_names
from onnxplain.ir.graph import Graph

__all__ = ["Detector", "labels_of"]


@dataclass(frozen=True)
class Detector:
    """How a model tells its detections, and which of them count.

    Attributes:
        layout: "auto" takes what the file proves; or the name of a layout: yolov5, yolov8, yolov8-pose, yolov10, detr, rt-detr,
            ssd, retinanet, pp-yoloe, faster-rcnn, tensorflow; or nms for what goes into the file's own NonMaxSuppression.
        boxes: the columns of the boxes with what they are, `dets[0:4]=xyxy`: xyxy, yxyx, cxcywh or xywh, with /1 behind it where
            they are shares of the picture. With `scores` it takes the layout's place.
        scores: the columns of the scores, one for each class or a single one, `dets[4]`.
        classes: the column of the class's number, where scores have a single one.
        objectness: a column that multiplies all scores.
        confidence: the least score of a detection.
        overlap: boxes of one class that overlap a better one by more than that (intersection over union) are left out, where the
            file does not do so itself.

    Raises:
        InputError: something of it has no meaning.

    Example:
        >>> from onnxplain import Detector, Explainer
        >>> explainer = Explainer("fixtures/shapes/detector.onnx", "grad-cam", detect=Detector(confidence=0.5))
        >>> explainer.layout.name
        'yolov8'
    """

    layout: str = AUTO
    boxes: str | None = None
    scores: str | None = None
    classes: str | None = None
    objectness: str | None = None
    confidence: float = 0.25
    overlap: float = 0.45

    def __post_init__(self) -> None:
        for name in ("confidence", "overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} is between 0 and 1; got {getattr(self, name)}")
        if self.scores is not None and self.boxes is None:
            raise InputError(f"scores '{self.scores}' are told without boxes: tell boxes=COLUMNS=FORM too (--boxes)")
        if self.scores is None and (self.classes or self.objectness):
            raise InputError("classes and objectness are told together with boxes and scores (--boxes, --scores)")

    def find(self, graph: Graph, classes: int) -> DetectionLayout:
        """The layout of a model.

        Args:
            graph: the model, prepared.
            classes: how many classes have names; 0 where that is not known.

        Returns:
            Where boxes, scores and classes are.

        Raises:
            InputError: nothing is proven, or what was said does not fit.
        """
        if self.boxes is None:
            return find_layout(graph, self.layout, classes)
        columns, form, share = parse_boxes(self.boxes)
        if self.scores is None:  # the form of the boxes that go into the file's own NonMaxSuppression
            found = find_layout(graph, self.layout, classes, form)
            if not found.suppression or found.boxes != columns:
                raise InputError(f"boxes '{self.boxes}' are told without scores: tell scores=COLUMNS too (--scores)")
            return found
        kinds, objects = (None if text is None else parse_columns(text) for text in (self.classes, self.objectness))
        layout = DetectionLayout("told", columns, parse_columns(self.scores), kinds, objects, form, share,
                                 suppressed=self.classes is not None)  # fmt: skip
        return find_layout(graph, layout)


def labels_of(model: onnx.ModelProto, given: Sequence[str]) -> list[str]:
    """The names of classes: those given, else the file's own."""
    told = {entry.key: entry.value for entry in model.metadata_props}
    return [str(label) for label in given] or found_class_names(told, None)
