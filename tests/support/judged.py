"""Cases for tests of metrics: a model with samples, explained by a method or by arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from onnxplain.evaluation.case import MetricBatch, MetricContext
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metric import MetricResult, metric_named
from onnxplain.evaluation.subject import Subject
from tests.support.models import model, node

Array = np.ndarray[Any, Any]


def linear(weights: Any, bias: Any = 0.0) -> onnx.ModelProto:
    """f(x) = x W + b, of rows: W [columns, outputs]."""
    w = np.asarray(weights, np.float32)
    b = np.broadcast_to(np.asarray(bias, np.float32), w.shape[1])
    inputs, outputs = {"x": ("batch", w.shape[0])}, {"y": ("batch", w.shape[1])}
    return model([node("Gemm", "x w b", "y")], inputs, outputs, {"w": w, "b": b.copy()})


def squares(shape: tuple[int, ...]) -> onnx.ModelProto:
    """f(x) = Σ x² / 2, whose gradient is x itself; a second output element is 0."""
    axes = list(range(1, len(shape) + 1))
    nodes = [
        node("Mul", "x x", "square"),
        node("Mul", "square half", "part"),
        node("ReduceSum", "part axes", "sum", keepdims=0),
        node("Unsqueeze", "sum one", "column"),
        node("Sub", "column column", "nothing"),
        node("Concat", "column nothing", "y", axis=1),
    ]
    weights = {"half": np.float32(0.5), "axes": np.array(axes), "one": np.array([1])}
    return model(nodes, {"x": ("batch", *shape)}, {"y": ("batch", 2)}, weights)


def explained(made: Any, x: Array, method: str = "gradient", options: dict[str, Any] | None = None, **given: Any) -> MetricBatch:
    """All samples, explained by a method."""
    return MetricBatch.of(Subject(method, Data(made, x, **given), method=method, options=options))


def from_array(made: Any, x: Array, attribution: Any, **given: Any) -> MetricBatch:
    """All samples, with attributions from elsewhere."""
    return MetricBatch.of(Subject("mine", Data(made, x, **given), attribution=np.asarray(attribution)))


def measured(batch: MetricBatch, name: str, **options: Any) -> MetricResult:
    return metric_named(name).compute(batch, **options)


def score(batch: MetricBatch, name: str, **options: Any) -> Array:
    return measured(batch, name, **options).score


def refusals(batch: MetricBatch, name: str, **options: Any) -> str:
    """Why the metric cannot be computed here, in one text."""
    return "; ".join(metric_named(name).problems(MetricContext.of(batch.subject), options))


def one_by_one(batch: MetricBatch, name: str, **options: Any) -> Array:
    """The scores of the samples each in a batch of its own, the last first."""
    made = [score(MetricBatch.of(batch.subject, np.array([i])), name, **options)[0] for i in batch.samples[::-1]]
    return np.array(made[::-1])


def random(*shape: int, seed: int = 0) -> Array:
    """Normal numbers, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
