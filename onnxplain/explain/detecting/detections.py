"""Detections: what a detector found in one picture, and the candidates that each came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Detections", "kept", "overlaps"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Detections:
    """What was found in one picture.

    Attributes:
        boxes: left, top, right and bottom in pixels of the input, [k, 4].
        scores: of each detection, [k].
        classes: the number of each one's class, int64 [k].
        numbers: what each is called: its row in the file's own output where that leaves overlapping boxes out, else its rank by
            score, int64 [k].
        candidates: which candidate each came from, int64 [k].
        columns: which column of the candidates' scores, int64 [k].
        labels: names of classes.

    Example:
        >>> import numpy as np
        >>> from onnxplain import Explainer
        >>> images = np.load("fixtures/shapes/data.npz")["images"].astype(np.float32) / 255
        >>> found = Explainer("fixtures/shapes/detector.onnx", detect="auto").detections(images[:1])[0]
        >>> print(found)
        detection 0: frame 0.99 at 15 47 30 61
        detection 1: cross 0.95 at 18 25 30 37
    """

    boxes: Array
    scores: Array
    classes: Array
    numbers: Array
    candidates: Array
    columns: Array
    labels: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def name(self, row: int) -> str:
        """The class of a detection.

        Args:
            row: which of them.

        Returns:
            Its name, else its number.
        """
        return class_name(self.labels, int(self.classes[row]))

    def __str__(self) -> str:
        return "\n".join(
            f"detection {self.numbers[i]}: {self.name(i)} {self.scores[i]:.2f} at " + " ".join(f"{v:.0f}" for v in self.boxes[i])
            for i in range(len(self))
        )

    def only(self, rows: Array) -> Detections:
        """Some of them.

        Args:
            rows: which, int [k].

        Returns:
            Those.
        """
        parts = (self.boxes, self.scores, self.classes, self.numbers, self.candidates, self.columns)
        boxes, scores, classes, numbers, candidates, columns = (part[rows] for part in parts)
        return Detections(boxes, scores, classes, numbers, candidates, columns, self.labels)


def class_name(labels: Sequence[str], number: int) -> str:
    """The name of a class, else its number as text."""
    return str(labels[number]) if 0 <= number < len(labels) else f"class {number}"


def overlaps(one: Array, other: Array) -> Array:
    """Intersection over union of every box [k, 4] with every other [m, 4]; 0 where there is no area."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = (high - low).clip(min=0).prod(axis=-1)
    sizes = [(b[:, 2:] - b[:, :2]).clip(min=0).prod(axis=-1) for b in (one, other)]
    union = sizes[0][:, None] + sizes[1][None] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))


def kept(boxes: Array, scores: Array, classes: Array, overlap: float) -> Array:
    """Which boxes are left once each that overlaps a better one of its class by more than `overlap` is out, the best first."""
    order = np.argsort(-scores, kind="stable")
    left: list[int] = []
    for row in order:
        rivals = [r for r in left if classes[r] == classes[row]]
        if not rivals or overlaps(boxes[[row]], boxes[rivals]).max() <= overlap:
            left.append(int(row))
    return np.array(left, np.int64)
