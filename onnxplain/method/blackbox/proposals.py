"""Proposals: what methods that compare detections ask of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

__all__ = ["Proposals"]

Array = np.ndarray[Any, Any]


class Proposals(Protocol):
    """Detections that are compared: those explained, and those of any other pictures."""

    @property
    def explained(self) -> list[Array]:
        """Of each sample the detections that are explained, [k, 4 + classes + 1] each: left, top, right, bottom, the scores
        of the classes and the objectness."""

    @property
    def one_class(self) -> bool:
        """Whether the number of one class stands in place of the scores."""

    def of(self, feeds: Mapping[str, Array]) -> list[Array]:
        """All that a detector proposes for each of some pictures, [proposals, 4 + classes + 1] each."""
