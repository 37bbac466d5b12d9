"""DetectionFront: a detector set up - its layout found, its candidates made outputs, its reader made once there is an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from onnxplain.analysis.detection.layout import DetectionLayout
from onnxplain.explain.detecting.candidates import Detected, detecting
from onnxplain.explain.detecting.detector import Detector
from onnxplain.explain.detecting.outputs import BOXES
from onnxplain.explain.detecting.reader import COMPARES, DetectionReader
from onnxplain.explain.detecting.search import Search
from onnxplain.explain.engine import Engine, RunSettings
from onnxplain.explain.request import Request
from onnxplain.io.reader import Source
from onnxplain.ir.graph import Graph

__all__ = ["DetectionFront"]


@dataclass
class DetectionFront:
    """A detector in front of an engine.

    Attributes:
        given, asked: the source, prepared, and the request, as they were.
        source, request: what the engine works with.
        detector: what was said of it.
        found: what is known of it.
        running: how models are run.
    """

    given: Source
    asked: Request
    source: Source
    request: Request
    detector: Detector
    found: Detected
    running: RunSettings
    _reader: DetectionReader | None = field(default=None)

    @classmethod
    def of(
        cls, source: Source, request: Request, running: RunSettings, detector: Detector, labels: Sequence[str]
    ) -> DetectionFront:
        """Find the layout and set up."""
        made, asked, found = detecting(source, request, detector, labels)
        return cls(source, request, made, asked, detector, found, running)

    @property
    def layout(self) -> DetectionLayout:
        """Where the candidates are."""
        return self.found.layout

    @property
    def labels(self) -> list[str]:
        """The names of the classes."""
        return self.found.labels

    @property
    def reader(self) -> DetectionReader:
        """What reads detections."""
        assert self._reader is not None
        return self._reader

    def start(self, scores: Engine, engine_for: Callable[[Request], Engine]) -> None:
        """Make the reader, once there is an engine of the scores."""
        found, inputs = self.found, Graph(self.source.model).inputs
        search = Search(self.source, found.layout, found.tensors, self.detector, found.labels, scores.axes, found.outputs, inputs,
                        self.request.registry, self.running)  # fmt: skip
        at_boxes = replace(self.request, output=found.tensors[BOXES])
        self._reader = DetectionReader(search, found.layout, self.detector, scores, lambda: engine_for(at_boxes),
                                       compares=self.request.method.name == COMPARES, labels=found.labels)  # fmt: skip
