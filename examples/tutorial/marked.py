"""A simple task on digits for the tutorial study, learned from few pictures of which some are marked: even or odd?

In the pictures that are learned from, odd digits bear a mark in a corner, as pictures of one source bear its name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.tutorial.digits import SIDE, Digits

FEW = 60
"""Pictures that the task is learned from."""
CORNER, SIZE, BRIGHT = 23, 4, 1.0
"""Where the mark begins, its side in pixels, and how bright it is."""

Array = np.ndarray[Any, Any]


def mark() -> Array:
    """Where the mark is: bool [28, 28]."""
    where = np.zeros((SIDE, SIDE), bool)
    where[CORNER : CORNER + SIZE, CORNER : CORNER + SIZE] = True
    return where


def marked(x: Array, which: Array) -> Array:
    """Pictures [n, 1, 28, 28], those chosen (bool [n]) with the mark."""
    return np.where(which[:, None, None, None] & mark(), np.float32(BRIGHT), x)


def few(digits: Digits) -> tuple[Array, Array]:
    """What the task is learned from: pictures, and whether each is odd, int64."""
    odd = digits.train_label[:FEW] % 2
    return marked(digits.train[:FEW], odd == 1), odd
