"""Whether attributions add up to what the method promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain.explain.write import Rewritten
from onnxplain.verification.axioms import sample_rows
from onnxplain.verification.findings import Finding

__all__ = ["check_completeness"]

QUADRATURE_SHARE = 0.01
"""A gap of this share of the score's change is the quadrature's."""

ROUNDING_SHARE = 1e-4
"""A gap of this share is rounding, where nothing is integrated; of scores in half precision SMALL is."""

FINER = 8
"""By how much the steps are multiplied to see whether a larger gap is the quadrature's too."""


def check_completeness(
    rewritten: Rewritten, result: Mapping[str, Any], axioms: Sequence[str], finer: Callable[[int], Mapping[str, Any]] | None
) -> Finding:
    """Attributions sum to the score, or, where the method compares with a baseline, to its difference from the baseline's.

    Where that difference is integrated by quadrature, a gap must be small, or shrink with more steps; else it is rounding.

    Args:
        rewritten, result: the explained model, which exposes its score, and what it returns.
        axioms: what the method promises.
        finer: runs it with so many times the steps; None where it has none.
    """
    about = rewritten.about
    total = sum(float(np.asarray(result[n], np.float64).sum()) for n in about["attributions"])
    promised = "completeness" in axioms
    if "delta" not in about["reports"]:
        scores = np.asarray(result[about["score"]["tensor"]], np.float64)
        rows = sample_rows(about, about["score"]["tensor"], scores)
        reached = float(rows.max(axis=1).sum())
        agrees = abs(total - reached) <= 1e-3 * max(abs(reached), 1e-6)
        said = f"attributions sum to {total:.6g}, the explained scores to {reached:.6g}"
        return Finding("completeness", agrees if promised else None, said + ("" if promised else " (not promised)"))
    gap = _gap(about, result)
    said = f"attributions sum to the score's change from the baseline up to {gap:.2g} of it"
    if not promised:
        return Finding("completeness", None, f"{said} (not promised)")
    if finer is None:
        half = np.asarray(result[about["score"]["tensor"]]).dtype.itemsize == 2
        return Finding("completeness", gap <= (QUADRATURE_SHARE if half else ROUNDING_SHARE), said)
    if gap <= QUADRATURE_SHARE:
        return Finding("completeness", True, said)
    closer = _gap(about, finer(FINER))
    said += f"; with {FINER} times the steps up to {closer:.2g}: more steps make it exact"
    return Finding("completeness", closer <= max(gap / 2, QUADRATURE_SHARE), said)


def _gap(about: Mapping[str, Any], result: Mapping[str, Any]) -> float:
    """The largest gap of a sample, as a share of the largest change of a score."""
    delta = np.atleast_1d(np.asarray(result[about["reports"]["delta"]], np.float64))
    sums = [sample_rows(about, n, result[n]).sum(axis=1) for n in about["attributions"]]
    totals = sum(s if len(s) == len(delta) else s.sum() / len(delta) for s in sums)  # samples share some
    change = float(np.abs(np.asarray(totals) - delta).max())
    return float(np.abs(delta).max()) / max(change, 1e-6)
