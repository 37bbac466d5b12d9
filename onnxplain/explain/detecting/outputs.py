"""Adds two outputs to a detector: the corners of all candidates' boxes, and their scores, whatever the file's own layout is.

A file explained with them says at run time what it found before overlapping boxes were left out: a host that picks one hands its
number over as the target.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from onnxplain.analysis.detection.layout import Columns, DetectionLayout
from onnxplain.io.reader import Source
from onnxplain.ir.edit import Names, NodeWriter, names_in
from onnxplain.ir.graph import Graph
from onnxplain.passes.final_logits import final_logits
from onnxplain.passes.shapes import infer_shapes

__all__ = ["BOXES", "CLASSES", "OBJECTNESS", "SCORES", "with_detections"]

BOXES, SCORES = "detection_boxes", "detection_scores"
"""Left, top, right and bottom in the file's own units [samples, candidates, 4], and [samples, candidates, classes]."""
OBJECTNESS, CLASSES = "detection_objectness", "detection_classes"
"""What is read beside them where the file has it: the objectness of every candidate, and the number of its class."""

PASS = "detection-outputs"


def with_detections(source: Source, layout: DetectionLayout) -> tuple[Source, dict[str, str]]:
    """A prepared source with the two outputs, in place, and the names of all four tensors, by what they are called here."""
    model = source.model
    graph = Graph(model)
    names = names_in(model.graph)
    made = _Writer(graph, NodeWriter(names, "detection_", model.graph.node, model.graph.initializer), names)
    tensors = made.all(layout)
    for name in (BOXES, SCORES):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensors[name]))
    infer_shapes(model)
    final_logits(model)
    return replace(source, passes=(*(source.passes or ()), PASS)), tensors


class _Writer:
    """Writes the nodes that bring columns into one form."""

    def __init__(self, graph: Graph, writer: NodeWriter, names: Names) -> None:
        self.graph, self.writer, self.names = graph, writer, names

    def all(self, layout: DetectionLayout) -> dict[str, str]:
        """The tensors of a layout, by the names that they have here."""
        scores, own = self._scores(layout), {}
        if layout.objectness is not None:
            own[OBJECTNESS] = self._columns(layout.objectness)
            scores = self.writer.op("Mul", scores, own[OBJECTNESS])
        if layout.classes is not None:
            own[CLASSES] = self._columns(layout.classes)
        return {BOXES: self._called(BOXES, self._corners(layout)), SCORES: self._called(SCORES, scores), **own}

    def _called(self, name: str, tensor: str) -> str:
        made = self.names.fresh(name)
        self.writer.nodes.append(onnx.helper.make_node("Identity", [tensor], [made], made))
        return made

    def _columns(self, columns: Columns) -> str:
        """Columns as [samples, candidates, columns]."""
        tensor = self.graph.tensor(columns.tensor)
        name, rank = tensor.name, tensor.rank
        if (columns.start, columns.stop) != (None, None) and rank > 1:
            axis = columns.axis % rank
            stop = 2**31 - 1 if columns.stop is None else columns.stop
            name = self.writer.op("Slice", name, [columns.start or 0], [stop], [axis])
            rank = tensor.rank
        if rank == 3:
            return self.writer.op("Transpose", name, perm=[0, 2, 1]) if columns.axis % 3 == 1 else name
        if rank == 2 and columns.start is None and columns.stop is None and self._per_sample(tensor.name):
            return self.writer.op("Unsqueeze", name, [2])
        return self.writer.op("Unsqueeze", name, [0] if rank == 2 else [0, 2])

    def _per_sample(self, name: str) -> bool:
        """Whether a tensor of two axes has a number for each of a sample's candidates, as TensorFlow's scores do: its boxes have
        three axes, the first two alike."""
        shape = self.graph.tensor(name).shape
        return any(t.shape is not None and t.rank == 3 and t.shape[:2] == shape for t in self.graph.outputs)

    def _scores(self, layout: DetectionLayout) -> str:
        scores = self._columns(layout.scores)
        if layout.activation == "sigmoid":
            scores = self.writer.op("Sigmoid", scores)
        elif layout.activation == "softmax":
            scores = self.writer.op("Softmax", scores, axis=-1)
        if layout.background == 0:
            return self.writer.op("Slice", scores, [1], [2**31 - 1], [2])
        return self.writer.op("Slice", scores, [0], [-1], [2]) if layout.background == -1 else scores

    def _corners(self, layout: DetectionLayout) -> str:
        boxes = self._columns(layout.boxes)
        if layout.form == "xyxy":
            return boxes
        if layout.form == "yxyx":
            return self.writer.op("Gather", boxes, [1, 0, 3, 2], axis=2)
        first, second = (self.writer.op("Slice", boxes, [a], [a + 2], [2]) for a in (0, 2))
        if layout.form == "xywh":
            return self.writer.op("Concat", first, self.writer.op("Add", first, second), axis=-1)
        half = self.writer.op("Div", second, self._two())
        return self.writer.op("Concat", self.writer.op("Sub", first, half), self.writer.op("Add", first, half), axis=-1)

    def _two(self) -> str:
        kind = next((t.dtype for t in self.graph.outputs if t.dtype is not None and t.is_float), np.dtype(np.float32))
        return self.writer.constant(np.array(2, kind), "two")
