"""What a detector found, read from an explanation: boxes with their names, for tables, figures and pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onnxplain.results.explanation_data import ExplanationData

__all__ = ["FoundBox", "found_boxes"]


@dataclass(frozen=True)
class FoundBox:
    """A detection: left, top, right and bottom in pixels, its score, class and number, and whether it is explained."""

    corners: tuple[float, float, float, float]
    score: float
    name: str
    number: int
    explained: bool


def found_boxes(explanation: ExplanationData, sample: int) -> list[FoundBox]:
    """The detections of a sample, in the order of their numbers; none where no detector was explained."""
    if "detections" not in explanation.facts:
        return []
    rows = explanation.facts["detections"][sample]
    return [
        FoundBox(
            (float(r[0]), float(r[1]), float(r[2]), float(r[3])),
            float(r[4]),
            _name(explanation, int(r[5])),
            int(r[6]),
            bool(r[7]),
        )
        for r in rows[~np.isnan(rows[:, 0])]
    ]


def _name(explanation: ExplanationData, number: int) -> str:
    """The name of a class, whose number alone would be taken for that of a detection."""
    return str(explanation.labels[number]) if 0 <= number < len(explanation.labels) else f"class {number}"
