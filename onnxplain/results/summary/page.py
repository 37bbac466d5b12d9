"""The page of a drift: one HTML file without scripts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from onnxplain.io.writer import write_file
from onnxplain.results.html import template
from onnxplain.results.summary.drift import Drift

__all__ = ["write_drift"]

MOST = 60
"""Features that the page lists, those that drifted most."""


def write_drift(found: Drift, path: Path, names: tuple[str, str]) -> Path:
    """Write the page.

    Args:
        found: the drift.
        path: the .html file.
        names: what the page calls the two runs.

    Raises:
        OutputError: the file cannot be written.
        MissingDependencyError: Jinja is not installed.
    """
    own = len(found.psi) == len(found.before)
    top = max(float(np.nanmax(found.before)), float(np.nanmax(found.after)), 1e-300)
    rows = [
        {
            "feature": found.features[i],
            "before": f"{found.before[i]:.3g}",
            "after": f"{found.after[i]:.3g}",
            "widths": (100 * found.before[i] / top, 100 * found.after[i] / top),
            "psi": f"{found.psi[i]:.3f}" if own else "",
            "level": "" if not own else "large" if found.psi[i] > 0.25 else "some" if found.psi[i] > 0.1 else "none",
        }
        for i in found.order[:MOST]
    ]
    page = template("drift.html").render(
        found=found, names=names, rows=rows, own=own, rest=max(0, len(found.before) - MOST), overall=f"{float(found.psi[0]):.3f}",
        correlation=f"{found.rank_correlation:.3f}",
    )  # fmt: skip
    return write_file(path, page.encode())
