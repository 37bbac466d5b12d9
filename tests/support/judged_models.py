"""Models that evaluations judge, and the samples they are judged on."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.models import model, node
from tests.support.paths import FIXTURES

Array = np.ndarray[Any, Any]

DIGITS = FIXTURES / "digits" / "model.onnx"
ROWS = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def data_of(name: str) -> dict[str, Array]:
    with np.load(FIXTURES / name / "data.npz") as found:
        return {k: v for k, v in found.items() if k != "label"}


def linear() -> Any:
    return model([node("MatMul", "x w", "y")], {"x": ["n", 4]}, {"y": ["n", 3]}, {"w": WEIGHTS})
