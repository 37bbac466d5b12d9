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
    """The detections of a sample, in the order of their numbers, in pixels of the input or of the picture that is drawn in its
    place; none where no detector was explained."""
    if "detections" not in explanation.facts:
        return []
    rows = explanation.facts["detections"][sample]
    pictures = next(iter(explanation.pictures.values()), None)
    if pictures is not None:
        high, wide = pictures[sample].preview.shape[:2]
        place = pictures[sample].placement
        ways = (place.width, wide), (place.height, high), (place.width, wide), (place.height, high)
        rows = rows.copy()
        rows[:, :4] = np.stack([axis.back(rows[:, i], pixels) for i, (axis, pixels) in enumerate(ways)], axis=1)
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
