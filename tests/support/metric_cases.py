"""Models, attributions and samples whose metrics have closed forms or are what a plain loop finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from onnxplain.evaluation.case import MetricBatch
from onnxplain.evaluation.metric import MetricResult
from tests.support import judged
from tests.support.judged import Array
from tests.support.models import model, node

ROWS = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32) + 0.1
WEIGHTS = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
BIAS = np.array([0.3, -0.2, 0.1], np.float32)
PICTURES = np.random.default_rng(2).random((4, 2, 6, 5)).astype(np.float32)


def linear() -> onnx.ModelProto:
    nodes = [node("MatMul", "x w", "m"), node("Add", "m b", "y")]
    return model(nodes, {"x": ["n", 6]}, {"y": ["n", 3]}, {"w": WEIGHTS, "b": BIAS})


def network(softmax: bool = False) -> onnx.ModelProto:
    """A small network on pictures [n, 2, 6, 5] with three classes."""
    random = np.random.default_rng(3)
    weights = {"w": random.normal(size=(60, 8)).astype(np.float32), "v": random.normal(size=(8, 3)).astype(np.float32)}
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f w", "h"), node("Tanh", "h", "t"), node("MatMul", "t v", "y")]
    nodes += [node("Softmax", "y", "p", axis=1)] if softmax else []
    return model(nodes, {"x": ["n", 2, 6, 5]}, {"p" if softmax else "y": ["n", 3]}, weights)


def measured(name: str, of: MetricBatch, **options: Any) -> MetricResult:
    """A metric of a batch that it applies to."""
    assert not judged.refusals(of, name, **options)
    return judged.measured(of, name, **options)


def score(name: str, of: MetricBatch, **options: Any) -> Array:
    return measured(name, of, **options).score
