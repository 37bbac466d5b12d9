"""The digits of the tutorial study: MNIST from a file, or scikit-learn's digits brought to MNIST's form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from examples.page import arrays
from onnxplain.results.plot.style import enlarged

SIDE, DIGIT = 28, 20
"""Pixels of a picture's side, and of the square in its middle that a digit fills."""
SEED, TRAIN = 0, 1300
"""How scikit-learn's 1,797 digits are shuffled, and how many of them train."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Digits:
    """Pictures float32 [n, 1, 28, 28] in 0..1, and classes int64 [n]."""

    train: Array
    train_label: Array
    test: Array
    test_label: Array
    name: str


def load(file: Path | None = None) -> Digits:
    """The digits of an .npz as Keras ships MNIST (x_train, y_train, x_test, y_test), or the stand-in where no file is given.

    Raises:
        ValueError: the file holds other arrays, or pictures of another size.
    """
    if file is None:
        return stand_in()
    found = arrays(file, ("x_train", "y_train", "x_test", "y_test"))
    parts = [found[name] for name in ("x_train", "x_test")]
    labels = [found[name].astype(np.int64) for name in ("y_train", "y_test")]
    for part in parts:
        if part.shape[1:] != (SIDE, SIDE) or part.dtype != np.uint8:
            raise ValueError(f"{file} holds {part.dtype} {list(part.shape)}; expected uint8 [n, {SIDE}, {SIDE}]")
    train, test = ((part[:, None] / np.float32(255)).astype(np.float32) for part in parts)
    return Digits(train, labels[0], test, labels[1], "MNIST")


def stand_in() -> Digits:
    """scikit-learn's 8×8 digits, enlarged to 20×20 between the centres of their pixels, in the middle of 28×28 as in MNIST."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(SEED).permutation(len(digits.target))
    x = np.zeros((len(order), 1, SIDE, SIDE), np.float32)
    edge = (SIDE - DIGIT) // 2
    x[:, 0, edge:-edge, edge:-edge] = enlarged(digits.images[order] / 16, (DIGIT, DIGIT))
    label = digits.target[order].astype(np.int64)
    return Digits(x[:TRAIN], label[:TRAIN], x[TRAIN:], label[TRAIN:], "scikit-learn's digits")


def moved(x: Array, down: int, right: int) -> Array:
    """Pictures [..., h, w] shifted by whole pixels; what comes in is black."""
    made = np.zeros_like(x)
    height, width = x.shape[-2:]
    to = [slice(max(0, by), size + min(0, by)) for by, size in ((down, height), (right, width))]
    of = [slice(max(0, -by), size + min(0, -by)) for by, size in ((down, height), (right, width))]
    made[..., to[0], to[1]] = x[..., of[0], of[1]]
    return made
