"""Files of an evaluation: tables, numbers, pages and pictures, in the form their ending says."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import OutputError, nearest
from onnxplain.evaluation.report.evaluation import Evaluation
from onnxplain.evaluation.report.page import render_evaluation
from onnxplain.io.plain import as_plain
from onnxplain.io.table import csv_text
from onnxplain.io.writer import check_writable, write_file
from onnxplain.results.plot.style import short
from onnxplain.results.save import check_packages

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EVALUATION_WRITERS", "check_evaluation_ending", "long_frame", "markdown", "save_evaluation"]


def check_evaluation_ending(path: Path) -> None:
    """Say before long work that its result could not be written.

    Raises:
        OutputError: the ending is unknown, or the folder is not there.
        MissingDependencyError: the format needs a package that is not installed.
    """
    check_writable(path)
    if path.suffix not in EVALUATION_WRITERS:
        raise OutputError(f"cannot write {path}: unknown ending '{path.suffix}'; {nearest(path.suffix, EVALUATION_WRITERS)}")
    check_packages(path.suffix)


def save_evaluation(evaluation: Evaluation, path: Path) -> Path:
    """See `Evaluation.save`."""
    check_evaluation_ending(path)
    return write_file(path, EVALUATION_WRITERS[path.suffix](evaluation))


def long_frame(evaluation: Evaluation) -> pd.DataFrame:
    """See `Evaluation.to_pandas`."""
    with optional("table", "tables"):
        import pandas as pd
    frame: pd.DataFrame = pd.DataFrame(_long(evaluation))
    return frame


def _long(evaluation: Evaluation) -> dict[str, list[Any]]:
    """A row per subject, metric and sample, as columns."""
    columns: dict[str, list[Any]] = {"method": [], "metric": [], "sample": [], "score": []}
    for (subject, metric), result in evaluation.results.items():
        columns["method"] += [subject] * len(result.score)
        columns["metric"] += [metric] * len(result.score)
        columns["sample"] += range(len(result.score))
        columns["score"] += result.score.tolist()
    return columns


def _csv(evaluation: Evaluation) -> bytes:
    rows = evaluation.table()
    return csv_text(rows[0], (row.values() for row in rows)).encode()


def _json(evaluation: Evaluation) -> bytes:
    made = {
        "about": dict(evaluation.about),
        "metrics": [
            {
                "label": c.label, "metric": c.metric.name, "family": c.metric.family, "better": c.metric.better,
                "options": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in c.options.items()},
            }
            for c in evaluation.columns
        ],
        "ranks": evaluation.ranks,
        "table": evaluation.table(),
        "skipped": list(evaluation.skipped),
        "results": [
            {
                "method": subject, "metric": metric, "score": result.score,
                "facts": dict(result.facts), "curves": dict(result.curves), "at": result.at,
            }
            for (subject, metric), result in evaluation.results.items()
        ],
    }  # fmt: skip
    return (json.dumps(as_plain(made), indent=1, allow_nan=False) + "\n").encode()


def _parquet(evaluation: Evaluation) -> bytes:
    with optional("table", "Parquet files"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    buffer = BytesIO()
    pq.write_table(pa.table(_long(evaluation)), buffer)
    return buffer.getvalue()


def _png(evaluation: Evaluation) -> bytes:
    buffer = BytesIO()
    evaluation.plot().savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def _html(evaluation: Evaluation) -> bytes:
    return render_evaluation(evaluation).encode()


def markdown(evaluation: Evaluation) -> str:
    """The ranking, then the means with their intervals: methods down, metrics across, the best and what ties with it in bold."""
    families = evaluation.families if len(evaluation.families) > 1 else ()
    lines = ["| " + " | ".join(["method", "mean rank", *families]) + " |", "|" + "---|" * (2 + len(families))]
    for subject, ranks in evaluation.ranks.items():
        cells = [short(ranks[f]) if np.isfinite(ranks.get(f, np.nan)) else "-" for f in ("overall", *families)]
        lines.append("| " + " | ".join([_cell(subject), *cells]) + " |")
    arrows = {"higher": "↑", "lower": "↓"}
    lines += ["", "| metric | " + " | ".join(map(_cell, evaluation.ranks)) + " |", "|---|" + "---|" * len(evaluation.ranks)]
    for column in evaluation.columns:
        cells = [_interval(evaluation, column.label, subject) for subject in evaluation.ranks]
        lines.append(f"| {_cell(column.label)} {arrows[column.metric.better]} | " + " | ".join(cells) + " |")
    count = evaluation.about["samples"]
    lines += [
        "",
        f"Means over {count} samples with 95 % confidence intervals (bootstrap). ↑ more is better, ↓ less is better; bold: the "
        "best, and what cannot be told from it. Mean rank: 1 is best, families of metrics count alike.",
        *(["†: no better than the control."] if evaluation.controls else []),
        *(f"Left out: {text}." for text in evaluation.skipped),
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")


def _interval(evaluation: Evaluation, metric: str, subject: str) -> str:
    found = evaluation.means[metric].get(subject)
    if found is None or not found.count:
        return "-"
    mean = f"**{short(found.value)}**" if found.ties else short(found.value)
    few = f", {found.undefined} undefined" if found.undefined else ""
    mean += "†" if found.beats is False else ""
    return f"{mean} ({short(found.low)} … {short(found.high)}{few})"


EVALUATION_WRITERS: dict[str, Callable[[Evaluation], bytes]] = {
    ".html": _html,
    ".md": lambda evaluation: markdown(evaluation).encode(),
    ".csv": _csv,
    ".json": _json,
    ".parquet": _parquet,
    ".png": _png,
}
"""The endings `save` knows."""
