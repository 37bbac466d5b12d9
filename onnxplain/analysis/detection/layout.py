"""DetectionLayout: which columns of which tensors hold the boxes, scores and classes of a detector's candidates."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from onnxplain.errors import InputError, nearest

__all__ = ["BoxForm", "Columns", "DetectionLayout", "parse_boxes", "parse_columns"]

BoxForm: TypeAlias = Literal["xyxy", "yxyx", "cxcywh", "xywh"]
"""What the four numbers of a box are: two corners, rows first or last, its middle and size, or its upper left corner and size."""

Activation: TypeAlias = Literal["", "sigmoid", "softmax"]

COLUMNS = re.compile(r"(?P<tensor>.+?)(?:\[(?P<start>\d*)(?P<colon>:)?(?P<stop>\d*)\](?:@(?P<axis>-?\d+))?)?")


@dataclass(frozen=True)
class Columns:
    """Some columns of a tensor [samples, candidates, columns], or of one with its axes otherwise.

    Attributes:
        tensor: its name.
        start, stop: the columns, from one to before the other; None as in Python.
        axis: the axis of the columns.
    """

    tensor: str
    start: int | None = None
    stop: int | None = None
    axis: int = -1

    def __str__(self) -> str:
        if self.start is None and self.stop is None:
            return self.tensor
        single = self.start is not None and self.stop == self.start + 1
        span = (
            f"{self.start}" if single else f"{'' if self.start is None else self.start}:{'' if self.stop is None else self.stop}"
        )
        return f"{self.tensor}[{span}]" + (f"@{self.axis}" if self.axis != -1 else "")


@dataclass(frozen=True)
class DetectionLayout:
    """How a file tells its detections.

    Attributes:
        name: what it is called: "yolov8", "nms", …; "told" where the user said it.
        boxes: four columns a candidate.
        scores: a column for each class, or one.
        classes: the number of the class, where scores have one column.
        objectness: a factor of all scores of a candidate.
        form: what the numbers of a box are.
        share: whether boxes are shares of the picture's width and height, not pixels.
        activation: what makes probabilities of the scores where the file does not.
        background: the column of scores that stands for no object, 0 or -1; None where there is none.
        suppressed: whether candidates are detections already, with no overlapping ones to be left out.
        suppression: the selected indices of the file's own NonMaxSuppression, whose candidates these are; "" where it has none.
        reason: how that is known, in words.
    """

    name: str
    boxes: Columns
    scores: Columns
    classes: Columns | None = None
    objectness: Columns | None = None
    form: BoxForm = "xyxy"
    share: bool = False
    activation: Activation = ""
    background: int | None = None
    suppressed: bool = False
    suppression: str = ""
    reason: str = "told"

    def __str__(self) -> str:
        parts = [f"boxes {self.boxes} ({self.form}{', shares of the picture' if self.share else ''})", f"scores {self.scores}"]
        parts += [f"objectness {self.objectness}"] if self.objectness else []
        parts += [f"classes {self.classes}"] if self.classes else []
        return ", ".join(parts)


def parse_columns(text: str) -> Columns:
    """Columns from `TENSOR`, `TENSOR[5]` or `TENSOR[0:4]`; `@1` behind it says that they lie along axis 1.

    Raises:
        InputError: it is none of these.
    """
    found = COLUMNS.fullmatch(text.strip())
    if found is None or not found["tensor"] or "[" in found["tensor"] or (found["start"] == "" and not found["colon"]):
        raise InputError(
            f"'{text}' names no columns: expected TENSOR, TENSOR[5] or TENSOR[0:4], with @1 where they lie along axis 1"
        )
    axis = int(found["axis"] or -1)
    if found["start"] is None:
        return Columns(found["tensor"], axis=axis)
    start = int(found["start"] or 0)
    stop = (int(found["stop"]) if found["stop"] else None) if found["colon"] else start + 1
    return Columns(found["tensor"], start, stop, axis)


def parse_boxes(text: str) -> tuple[Columns, BoxForm, bool]:
    """Boxes from `COLUMNS=FORM`: the columns, what they are, and whether they are shares of the picture (`cxcywh/1`).

    Raises:
        InputError: no form is named, or an unknown one; each has a meaning of its own, so none is assumed.
    """
    columns, equals, form = text.rpartition("=")
    share = form.endswith("/1")
    form = form.removesuffix("/1")
    forms = get_args(BoxForm)
    if not equals or form not in forms:
        told = f"; {nearest(form, forms)}" if equals else ""
        raise InputError(f"boxes are told as COLUMNS=FORM, e.g. dets[0:4]=xyxy, forms: {', '.join(forms)}; with /1 behind it "
                         f"where they are shares of the picture; got '{text}'{told}")  # fmt: skip
    return parse_columns(columns), form, share  # type: ignore[return-value]
