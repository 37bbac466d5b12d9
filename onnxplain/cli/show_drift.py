"""Printing a drift."""

from __future__ import annotations

import json
from typing import Any

from onnxplain.cli.show import _console, _table
from onnxplain.io.plain import as_plain
from onnxplain.results.summary.drift import Drift

__all__ = ["drift_json", "show_drift"]


def drift_json(found: Drift) -> str:
    """All that `show_drift` prints, of every feature, as JSON."""
    columns = found.columns()
    told: dict[str, Any] = {"attribution": found.name, "samples": found.counts, "rank_correlation": found.rank_correlation}
    if "psi" not in columns:
        told["psi"] = found.psi[0]
    return json.dumps(as_plain({**told, "features": columns}), ensure_ascii=False, allow_nan=False)


def show_drift(found: Drift, top: int) -> None:
    """Print the features that drifted most."""
    columns = found.columns()
    table = _table(*columns, right=tuple(c for c in columns if c != "feature"))
    for row in list(zip(*columns.values(), strict=True))[:top]:
        table.add_row(*(v if isinstance(v, str) else f"{v:.4g}" for v in row))
    _console().print(table)
    whole = "" if "psi" in columns else f", PSI of all elements together {found.psi[0]:.3f}"
    print(
        f"{found.name}: {found.counts[0]:,} and {found.counts[1]:,} samples, rank correlation {found.rank_correlation:.3f}{whole}"
    )
