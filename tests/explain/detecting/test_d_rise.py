"""D-RISE against loops over masks, detections and formulas, with nothing of the package but its random masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from onnxplain import Detector, Explainer
from onnxplain.errors import MethodError
from onnxplain.method.blackbox.rise import smooth_masks
from tests.support.detectors import SHAPES, detector, pictures

Array = np.ndarray[Any, Any]
SAMPLES, CELLS = 30, 8


def proposals(x: Array) -> list[list[tuple[Array, Array]]]:
    """The corners and class scores of each candidate, picture by picture."""
    session = ort.InferenceSession(str(SHAPES / "detector.onnx"), providers=["CPUExecutionProvider"])
    (rows,) = session.run(None, {"images": x})
    found = []
    for picture in rows.astype(np.float64):
        corners = [np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]) for cx, cy, w, h, *_ in picture.T]
        found.append(list(zip(corners, picture[4:].T, strict=True)))
    return found


def similarity(box: Array, scores: Array, other: Array, theirs: Array, objectness: float) -> float:
    """s_L · s_P · s_O of two detections."""
    wide, high = min(box[2], other[2]) - max(box[0], other[0]), min(box[3], other[3]) - max(box[1], other[1])
    both = max(wide, 0.0) * max(high, 0.0)
    union = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1]) - both
    size = float(np.sqrt((scores @ scores) * (theirs @ theirs)))
    cosine = float(scores @ theirs) / size if size else 0.0
    return float(both / union) * cosine * objectness


def saliency(x: Array, *, objectness: bool, centred: bool) -> Array:
    """Equation 5's sum over masks for the candidate of the greatest score."""
    masks = smooth_masks(np.random.default_rng(3).spawn(2), SAMPLES, x.shape[1:], CELLS, 0.5)
    box, scores = max(proposals(x[None])[0], key=lambda p: p[1].max())
    masked = np.stack([x * mask.astype(np.float32) for mask in masks])
    total = np.zeros(x.shape[1:])
    for mask, found in zip(masks, proposals(masked), strict=True):
        best = 0.0
        for other, theirs in found:
            best = max(best, similarity(box, scores, other, theirs, float(theirs.max()) if objectness else 1.0))
        total += best * (mask - 0.5 if centred else mask)
    return total / (SAMPLES * 0.5)


@pytest.mark.parametrize(("objectness", "centred"), [(True, True), (False, False)])
def test_a_loop_over_masks(objectness: bool, centred: bool) -> None:
    x = pictures(1)
    made = Explainer(str(SHAPES / "detector.onnx"), "d-rise", detect="auto", samples=SAMPLES, cells=CELLS, seed=3,
                     objectness=objectness, centred=centred)(x)  # fmt: skip
    right = saliency(x[0], objectness=objectness, centred=centred)
    # Where every proposal counts in full, classes of 1e-38 have cosines too, which rounding turns.
    assert made.attribution[0] == pytest.approx(np.broadcast_to(right, x[0].shape), abs=1e-5 if objectness else 5e-3)


SLOW = [pytest.param(layout, marks=pytest.mark.slow) for layout in ("yolov5", "nms")]


@pytest.mark.parametrize("layout", ["yolov10", "nms-filtered", "nms-torchvision", *SLOW])
def test_any_layout_points_at_the_object(layout: str) -> None:
    """Rows that tell one class each are compared by it, and a file may find another number of them behind every mask."""
    x = pictures(1)
    made = Explainer(detector(layout), "d-rise", detect="auto", samples=200, cells=6)(x, "best frame")
    left, top, right, bottom = next(row[:4] for row in made.facts["detections"][0] if row[7])
    heat = made.attribution[0].sum(axis=0)
    rows, columns = np.indices(heat.shape)
    inside = (columns >= left - 4) & (columns <= right + 4) & (rows >= top - 4) & (rows <= bottom + 4)
    assert heat[inside].mean() > heat[~inside].mean() + heat.std()


def test_several_pictures_and_detections() -> None:
    x = pictures(2)
    explainer = Explainer(str(SHAPES / "detector.onnx"), "d-rise", detect="auto", samples=40)
    each = explainer(x, "each detection")
    assert each.attribution[-1] == pytest.approx(explainer(x[1:], "detection 1").attribution[0], abs=1e-9)
    few = Explainer(str(SHAPES / "detector.onnx"), "d-rise", detect="auto", samples=40, batch_size=3)(x, "each detection")
    assert few.attribution == pytest.approx(each.attribution, abs=1e-5)
    every = explainer(x[:1], "all detections").attribution[0]
    count = sum("detection" in name for name in explainer(x[:1], "each detection").target_names)
    assert every == pytest.approx(each.attribution[:count].sum(axis=0), abs=1e-9)


def test_what_it_does_not_explain() -> None:
    with pytest.raises(MethodError, match=r"d-rise explains the detections of a detector: pass detect='auto' \(--detect\)"):
        Explainer(str(SHAPES / "detector.onnx"), "d-rise")(pictures(1), (4, 0))
    with pytest.raises(MethodError, match="'d-rise' compares whole detections: leave the side of the box out"):
        Explainer(str(SHAPES / "detector.onnx"), "d-rise", detect=Detector())(pictures(1), "best left")
