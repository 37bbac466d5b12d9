"""Explanations made by hand, for tests of what is done with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.method.registry import find_method
from onnxplain.results.explanation import Explanation


def explanation(
    attribution: np.ndarray[Any, Any],
    fed: np.ndarray[Any, Any] | None = None,
    *,
    name: str = "x",
    method: str = "gradient",
    scores: Any = None,
    target: Sequence[int] | None = None,
    labels: Sequence[str] = (),
    **about: Any,
) -> Explanation:
    """An explanation of [n, …] with scores [n, 3]; the first class is explained."""
    count = len(attribution)
    given = np.linspace(0, 1, count * 3, dtype=np.float32).reshape(count, 3) * 5 if scores is None else scores
    described = {
        "version": "0.1.0",
        "method": method,
        "method_info": find_method(method).info,
        "options": {},
        "target": "input",
        "output": "scores",
        "score": {"tensor": "scores", "kind": "output", "activation": "", "shape": ["batch", 3]},
        "batched": True,
        "baseline": None,
        "attributions": {f"{name}_attribution": {"explains": name, "tensor": name, "kind": "input"}},
        "run_time_inputs": {"target": "target"},
        "source_sha256": "0" * 64,
        "passes": [],
        **about,
    }
    inputs = {} if fed is None else {name: fed}
    chosen = np.zeros(count, np.int64) if target is None else np.asarray(target)
    return Explanation({name: attribution}, inputs, {"scores": given}, chosen, described, labels)


def image(count: int = 2, method: str = "gradient", seed: int = 0) -> Explanation:
    """An explanation of grey 8×8 images [n, 1, 8, 8]."""
    random = np.random.default_rng(seed)
    attribution = random.normal(size=(count, 1, 8, 8)).astype(np.float32)
    if method in ("saliency", "sensitivity"):
        attribution = np.abs(attribution)
    return explanation(attribution, random.random((count, 1, 8, 8), dtype=np.float32), method=method)


def table(count: int = 2) -> Explanation:
    """An explanation of rows of four features [n, 4]."""
    random = np.random.default_rng(1)
    return explanation(random.normal(size=(count, 4)).astype(np.float32), random.random((count, 4), dtype=np.float32))
