"""What of a picture's detections is explained, in words: "detection 0", "best dog", "detection 0 box", "all dogs", "each dog"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import TargetError, nearest
from onnxplain.explain.detecting.detections import Detections

__all__ = ["EXPECTED", "SIDES", "Wanted", "wanted"]

SIDES = {
    "left": (1, 0, 0, 0), "top": (0, 1, 0, 0), "right": (0, 0, 1, 0), "bottom": (0, 0, 0, 1),
    "width": (-1, 0, 1, 0), "height": (0, -1, 0, 1),
}  # fmt: skip
"""What of a box can be explained: sums of left, top, right and bottom with these weights."""

CORNERS = ("left", "top", "right", "bottom")

EXPECTED = (
    "expected e.g. 'detection 0', 'best dog', 'best dog left' (or top, right, bottom, width, height, box), 'all dogs', 'each dog'"
)


@dataclass(frozen=True)
class Wanted:
    """One number to be explained of one picture.

    Attributes:
        name: what it is called.
        rows: the detections that it is made of.
        side: what of a box, one of `SIDES`; "" for scores, which are added up.
    """

    name: str
    rows: tuple[int, ...]
    side: str = ""


def wanted(target: Any, found: Detections, picture: str, confidence: float) -> list[Wanted]:
    """What a target means for one picture, one entry for each attribution.

    Args:
        target: words, the number of a detection, or None for the best one.
        found: what was found.
        picture: what the picture is called.
        confidence: the least score of a detection, for messages.

    Raises:
        TargetError: the words mean nothing, or nothing that they mean was detected.
    """
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        target = f"detection {target}"
    if target is not None and not isinstance(target, str):
        raise TargetError(f"{target!r} is no target of a detector: {EXPECTED}")
    words = "best" if target in (None, "top") else " ".join(str(target).split())
    if not len(found):
        raise TargetError(f"no detection in {picture} has a score of {confidence:g} or more; lower confidence= (--confidence)")
    head, side = _side(words)
    rows, each = _rows(head, found, picture, confidence)
    if not side:
        return [_score(found, (r,)) for r in rows] if each else [_score(found, tuple(rows))]
    if len(rows) > 1 and not each:
        raise TargetError(
            f"'{words}' would add up the boxes of {len(rows)} detections, which means nothing: say 'each {head[4:]}'"
        )
    sides = CORNERS if side == "box" else (side,)
    return [Wanted(f"{s} of {_called(found, r)}", (r,), s) for r in rows for s in sides]


def _side(words: str) -> tuple[str, str]:
    """What stands before the name of a side, and the side."""
    head, _, last = words.rpartition(" ")
    return (head, last) if head and last in (*SIDES, "box") else (words, "")


def _rows(words: str, found: Detections, picture: str, confidence: float) -> tuple[list[int], bool]:
    """The detections that words mean, and whether each is explained by itself."""
    numbered = re.fullmatch(r"(?:detection )?(\d+)", words)
    if numbered:
        rows = np.flatnonzero(found.numbers == int(numbered[1]))
        if not len(rows):
            known = ", ".join(map(str, found.numbers[:8])) + (", …" if len(found) > 8 else "")
            raise TargetError(f"no detection {numbered[1]} in {picture}; there are {known}")
        return [int(rows[0])], False
    kind, _, name = words.partition(" ")
    if kind not in ("best", "all", "each") or (kind != "best" and not name):
        raise TargetError(f"'{words}' is no target of a detector: {EXPECTED}")
    rows = np.arange(len(found)) if name in ("", "detection", "detections") else _of_class(name, kind, found, picture, confidence)
    if kind == "best":
        return [int(rows[found.scores[rows].argmax()])], False
    return [int(r) for r in rows], kind == "each"


def _of_class(name: str, kind: str, found: Detections, picture: str, confidence: float) -> np.ndarray[Any, Any]:
    number = _number(name, found.labels)
    rows = np.flatnonzero(found.classes == number)
    if not len(rows):
        counts = Counter(found.name(i) for i in range(len(found)))
        told = ", ".join(f"{n} {c}" for c, n in counts.most_common(5))
        raise TargetError(f"no {name} was detected in {picture} with a score of {confidence:g} or more; detected: {told}; lower "
                          "confidence= (--confidence)")  # fmt: skip
    return rows


def _number(name: str, labels: Sequence[str]) -> int:
    """The number of a class from its name, from the plural of it, or from the number."""
    known = {label.lower(): i for i, label in reversed(list(enumerate(labels)))}
    lower = name.lower()
    for word in (lower, lower.removesuffix("s"), lower.removesuffix("es"), f"{lower.removesuffix('ies')}y"):
        if word in known:
            return known[word]
    if lower == "people" and "person" in known:
        return known["person"]
    number = re.fullmatch(r"(?:class )?(\d+)", lower)
    if number:
        return int(number[1])
    if not labels:
        raise TargetError(
            f"the classes have no names, so '{name}' is unknown: give labels=[…] (--labels FILE), or a number, 'best 16'"
        )
    raise TargetError(f"no class '{name}'; {nearest(name, labels)}")


def _score(found: Detections, rows: tuple[int, ...]) -> Wanted:
    if len(rows) == 1:
        return Wanted(_called(found, rows[0]), rows)
    counts = Counter(found.name(r) for r in rows)
    return Wanted("all of " + ", ".join(f"{n} {c}" for c, n in counts.items()), rows)


def _called(found: Detections, row: int) -> str:
    return f"{found.name(row)} {found.scores[row]:.2f} (detection {found.numbers[row]})"
