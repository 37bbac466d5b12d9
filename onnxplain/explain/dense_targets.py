"""Targets of outputs that say something of every place, in words: a class where it is predicted, or within a region.

The score of a class summed over the pixels where it is predicted is what Seg-Grad-CAM explains (Vinogradova, Dibrov, Myers 2020,
Towards Interpretable Semantic Segmentation via Gradient-weighted Class Activation Mapping, eq. 2); any method takes it here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import TargetError, nearest

__all__ = ["DenseTarget", "dense_target"]

Array = np.ndarray[Any, Any]

REGION = re.compile(r"(?:(?P<name>.+?) in|region) (?P<corners>-?\d+(?: ?, ?-?\d+){3})")
MASK = re.compile(r"mask of (?P<name>.+)")


@dataclass(frozen=True)
class DenseTarget:
    """What is summed.

    Attributes:
        name: the class; "" for all channels.
        corners: left, top, right and bottom of a region, in places of the output; None for where the class is predicted.
    """

    name: str
    corners: tuple[int, int, int, int] | None = None

    def cotangent(self, scores: Array, labels: Sequence[str], threshold: float) -> Array:
        """Ones where the explained scores are summed.

        Args:
            scores: the prediction, [n, channels, height, width] or with the channels last; of masks with any number of axes.
            labels: names of classes.
            threshold: where the class of a single channel is predicted, its score lies above it.

        Raises:
            TargetError: there is no such class, it is predicted nowhere, or the region lies outside.
        """
        axis = _channels(scores.shape, labels, str(self))
        moved = np.moveaxis(scores, axis, 1)
        made = np.zeros_like(moved)
        if self.corners is None:
            channel = _channel(self.name, labels, moved.shape[1])
            made[:, channel] = self._mask(moved, channel, threshold)
        else:
            self._check_region(moved)
            left, top, right, bottom = self.corners
            made[:, _channel(self.name, labels, moved.shape[1]) if self.name else slice(None), top:bottom, left:right] = 1
        return np.moveaxis(made, 1, axis)

    def _mask(self, scores: Array, channel: int, threshold: float) -> Array:
        """Where a class has the greatest score of all, or that of a single channel lies above the threshold."""
        mask = scores.argmax(axis=1) == channel if scores.shape[1] > 1 else scores[:, 0] > threshold
        empty = np.flatnonzero(~mask.reshape(len(mask), -1).any(axis=1))
        if len(empty):
            where = f" in picture {empty[0]}" if len(scores) > 1 else ""
            raise TargetError(f"'{self.name}' is predicted nowhere{where}: name another class, or a region, as "
                              f"'{self.name} in LEFT,TOP,RIGHT,BOTTOM'")  # fmt: skip
        return np.asarray(mask)

    def _check_region(self, scores: Array) -> None:
        assert self.corners is not None
        left, top, right, bottom = self.corners
        if scores.ndim != 4:
            raise TargetError(
                f"'{self}' is of a picture's places, [n, channels, height, width]; the output is {list(scores.shape)}"
            )
        if not (0 <= left < right <= scores.shape[3] and 0 <= top < bottom <= scores.shape[2]):
            raise TargetError(
                f"the region {left},{top},{right},{bottom} (left, top, right, bottom) does not lie within the output, which is "
                f"{scores.shape[3]} wide and {scores.shape[2]} high"
            )

    def __str__(self) -> str:
        if self.corners is None:
            return f"mask of {self.name}"
        corners = ",".join(map(str, self.corners))
        return f"{self.name} in {corners}" if self.name else f"region {corners}"


def dense_target(target: Any) -> DenseTarget | None:
    """The target that words mean; None where they are no target of this kind.

    Words: "mask of road", the scores of a class summed where it is predicted; "road in 10,20,40,60", summed within left, top,
    right and bottom; "region 10,20,40,60", all channels summed there, as of a depth map, which has one.
    """
    if not isinstance(target, str):
        return None
    words = " ".join(target.split())
    mask, region = MASK.fullmatch(words), REGION.fullmatch(words)
    if mask:
        return DenseTarget(mask["name"])
    if region:
        left, top, right, bottom = (int(v) for v in region["corners"].split(","))
        return DenseTarget(region["name"] or "", (left, top, right, bottom))
    return None


def _channels(shape: Sequence[int], labels: Sequence[str], words: str) -> int:
    """The axis of the channels: the second or the last, by the number of classes, or the one that is shorter than all others.

    Raises:
        TargetError: the output has no places, or nothing tells which axis counts channels.
    """
    if len(shape) < 3:
        raise TargetError(f"'{words}' is of an output that says something of every place; this one has the shape {list(shape)}")
    last = len(shape) - 1
    if labels:
        found = [axis for axis in (1, last) if shape[axis] == len(labels)]
        if not found:
            raise TargetError(
                f"{len(labels)} labels, and no axis of the output {list(shape)} is as long; give one for each channel"
            )
    else:
        found = [axis for axis in (1, last) if all(shape[axis] < n for i, n in enumerate(shape) if i not in (0, axis))]
    if len(found) != 1:
        raise TargetError(
            f"nothing tells which axis of the output {list(shape)} counts channels: give labels=[…] (--labels FILE)"
        )
    return found[0]


def _channel(name: str, labels: Sequence[str], count: int) -> int:
    known = {label.lower(): i for i, label in reversed(list(enumerate(labels)))}
    number = re.fullmatch(r"(?:class |channel )?(\d+)", name)
    if name.lower() in known:
        found = known[name.lower()]
    elif number:
        found = int(number[1])
    elif labels:
        raise TargetError(f"no class '{name}'; {nearest(name, labels)}")
    else:
        raise TargetError(f"the classes have no names, so '{name}' is unknown: give labels=[…] (--labels FILE), or a number")
    if found >= count:
        raise TargetError(f"class {found} is out of range: the output has {count} channels")
    return found
