"""Makes a detector's candidates outputs, and asks for their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onnxplain.analysis.detection.layout import DetectionLayout
from onnxplain.errors import InputError, MethodError
from onnxplain.explain.detecting.detector import Detector, labels_of
from onnxplain.explain.detecting.outputs import SCORES, with_detections
from onnxplain.explain.request import Request
from onnxplain.io.reader import Source
from onnxplain.ir.graph import Graph

__all__ = ["Detected", "detecting"]


@dataclass(frozen=True)
class Detected:
    """What is known of a detector: its layout, the names of its candidates' tensors, its own outputs, and its classes."""

    layout: DetectionLayout
    tensors: Mapping[str, str]
    outputs: list[str]
    labels: list[str]


def detecting(source: Source, request: Request, detector: Detector, labels: Sequence[str]) -> tuple[Source, Request, Detected]:
    """A prepared source whose candidates are outputs, a request for their scores, and what was found.

    Raises:
        InputError: nothing proves the layout, or what was said of it does not fit.
        MethodError: an output is asked for too.
    """
    if request.output is not None:
        raise MethodError(
            f"a detector is explained at its candidates, and output='{request.output}' was asked for: leave one out"
        )
    names = labels_of(source.model, labels)
    graph = Graph(source.model)
    outputs = [o.name for o in source.model.graph.output]
    layout = detector.find(graph, len(names))
    made, tensors = with_detections(source.copy(), layout)
    width = Graph(made.model).tensor(tensors[SCORES]).dim(2)
    if names and isinstance(width, int) and width > 1 and width != len(names):
        raise InputError(f"{len(names)} names for the {width} classes of layout '{layout.name}' ({layout}); give one for each")
    return made, replace(request, output=tensors[SCORES]), Detected(layout, tensors, outputs, names)
