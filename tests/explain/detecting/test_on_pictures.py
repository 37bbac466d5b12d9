"""Detections of photographs are drawn in the photographs' own pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxplain import Detector, Explainer
from onnxplain.results.found import found_boxes
from tests.support.paths import FIXTURES


def test_boxes_lie_on_the_picture(tmp_path: Path) -> None:
    """A picture of 128×96 is fitted into 64×64: halved, with eight rows above it."""
    shape = np.load(FIXTURES / "shapes" / "data.npz")["images"][0]
    wide = np.full((96, 128, 3), 114, np.uint8)
    wide[16:80, 20:84] = np.moveaxis(shape, 0, -1)
    Image.fromarray(wide).save(tmp_path / "street.png")
    explainer = Explainer(FIXTURES / "shapes" / "detector.onnx", detect=Detector("auto", confidence=0.02), preprocess="yolo")
    found = explainer(tmp_path / "street.png", "best")
    rows = found.facts["detections"][0]
    boxes = found_boxes(found, 0)
    assert boxes
    for box, row in zip(boxes, rows, strict=False):
        assert box.corners == pytest.approx([2 * row[0], 2 * (row[1] - 8), 2 * row[2], 2 * (row[3] - 8)])
