"""Options that say how a detector tells what it finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from onnxplain.errors import InputError
from onnxplain.explain.detecting.detector import Detector

__all__ = ["detector_options", "take_detector"]

F = TypeVar("F", bound=Callable[..., Any])

TOLD = ("boxes", "scores", "classes", "objectness", "confidence", "overlap")


def detector_options(function: F) -> F:
    """Add the options of a detector."""
    for option in reversed(
        [
            click.option("--detect", metavar="LAYOUT", help="A detector, whose targets are detections: auto, or a layout "
                         "(yolov5, yolov8, detr, …); -t \"detection 0\", \"best dog\", \"best dog left\", \"all dogs\"."),
            click.option("--boxes", metavar="COLUMNS=FORM", help="Its boxes: dets[0:4]=xyxy; yxyx, cxcywh, xywh; with /1 "
                         "behind it shares of the picture."),
            click.option("--scores", metavar="COLUMNS", help="Its scores: dets[4], or a column for each class, dets[4:]."),
            click.option("--classes", metavar="COLUMNS", help="Where the number of the class is, if a row has one score."),
            click.option("--objectness", metavar="COLUMN", help="A column that multiplies all scores."),
            click.option("--confidence", type=float, metavar="P", help="The least score of a detection.  [default: 0.25]"),
            click.option("--overlap", type=float, metavar="IOU", help="Boxes of a class that overlap a better one by more are "
                         "left out.  [default: 0.45]"),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def take_detector(chosen: dict[str, Any]) -> Detector | None:
    """What was said of a detector, taken out of a command's options; None where nothing was.

    Raises:
        InputError: something was said of one that has no meaning.
    """
    layout = chosen.pop("detect")
    told = {name: value for name in TOLD if (value := chosen.pop(name)) is not None}
    if layout is None and "boxes" not in told:
        if told:
            raise InputError(f"--{next(iter(told))} is of a detector: give --detect auto too")
        return None
    return Detector(layout or "auto", **told)
