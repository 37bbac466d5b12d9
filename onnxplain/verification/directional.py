"""The gradient of a whole model against finite differences along random directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from onnxplain.explain.write import Rewritten
from onnxplain.runtime.session import Session
from onnxplain.verification.axioms import sample_rows
from onnxplain.verification.findings import Finding, sizes_of
from onnxplain.verification.original import Original

__all__ = ["check_slopes"]

STEPS = {"float32": (1e-1, 3e-2, 1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4), "float64": (3e-6, 1e-6, 3e-7, 1e-7, 3e-8)}
"""Steps of the finite differences, in units of each element's own size."""

TOLERANCE = {"float32": 5e-2, "float64": 1e-4}
"""Relative error that counts as agreement, beside three times the uncertainty. In float32 a network's many kinks bias the
differences before rounding drowns them."""


def check_slopes(
    rewritten: Rewritten,
    session: Session,
    feeds: Mapping[str, Any],
    directions: int,
    seed: int,
    original: Original,
) -> Finding:
    """The gradient, as ONNX Runtime computes it, against central differences of the explained score of the original model.

    An integer input cannot be moved: there the explained tensor is not an input, and only the nodes can be checked.
    """
    precision = original.precision
    about = rewritten.about
    entries = {n: e for n, e in about["attributions"].items() if e["kind"] == "input"}
    if not entries:
        return Finding(
            "gradient against finite differences",
            None,
            "the explained tensor is no input; every node is checked instead",
        )
    at = session.run(feeds)
    gradients = {e["explains"]: np.asarray(at[n], np.float64) for n, e in entries.items()}
    scores = np.asarray(at[about["score"]["tensor"]], np.float64)
    predicted = at.get(about["output"])
    ranked = predicted if isinstance(predicted, np.ndarray) and predicted.shape == scores.shape else scores
    rows = sample_rows(about, about["score"]["tensor"], ranked)
    chosen = rows.argmax(axis=1)

    def value(h: float, v: Mapping[str, np.ndarray[Any, Any]]) -> float:
        wide = {n: np.asarray(x, np.float64) if x.dtype.kind == "f" and precision == "float64" else x for n, x in feeds.items()}
        moved = {n: (feeds[n] + h * v[n]).astype(wide[n].dtype) for n in v}
        flat = sample_rows(about, about["score"]["tensor"], original.value({**wide, **moved}))
        return float(flat[np.arange(len(rows)), chosen].sum())

    generator = np.random.default_rng(seed)
    sizes = {n: sizes_of(feeds[n]) for n in gradients}
    typical = float(np.sqrt(sum(np.sum((sizes[n] * g) ** 2) for n, g in gradients.items())))
    errors, certainties = [], []
    for _ in range(directions):
        v = {n: generator.standard_normal(size.shape) * size for n, size in sizes.items()}
        analytic = sum(float(np.sum(v[n] * g)) for n, g in gradients.items())
        numeric, spread = _best_slope(partial(value, v=v), STEPS[precision])
        scale = max(typical, abs(analytic), abs(numeric), 1e-30)
        if spread > 0.1 * scale:
            continue
        if not abs(analytic - numeric) <= TOLERANCE[precision] * scale + 3 * spread:
            return Finding(
                "gradient against finite differences", False,
                f"along a random direction the score changes by {numeric:.6g}, the gradient says {analytic:.6g} "
                f"(finite differences are certain to {spread:.1g})",
            )  # fmt: skip
        errors.append(abs(analytic - numeric) / scale)
        certainties.append(spread / scale)
    if not errors:
        return Finding(
            "gradient against finite differences",
            None,
            f"finite differences do not settle in {precision} at this input",
        )
    return Finding(
        "gradient against finite differences", True,
        f"{len(errors)} random directions agree: relative error ≤ {max(errors):.1e}, "
        f"finite differences in {precision} are certain to {max(certainties):.1e}",
    )  # fmt: skip


def _best_slope(value: Callable[[float], float], steps: Sequence[float]) -> tuple[float, float]:
    """A derivative at 0 by central differences, and how certain it is.

    Large steps cross kinks, small ones drown in rounding: of each four neighbouring steps the ones that agree best give
    the slope, and the range of their slopes its uncertainty.
    """
    slopes = [(value(h) - value(-h)) / (2 * h) for h in steps]
    windows = [slopes[i : i + 4] for i in range(len(slopes) - 3)]
    best = min(windows, key=np.ptp)
    return float(np.median(best)), float(np.ptp(best))
