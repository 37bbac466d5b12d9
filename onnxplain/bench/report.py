"""The result of `onnxplain bench`, as Markdown, JSON or CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxplain.bench.spread import Spread, ratio
from onnxplain.errors import OutputError
from onnxplain.io.table import csv_text
from onnxplain.io.writer import write_file

__all__ = ["COSTLIEST", "ENDINGS", "HEAD", "BenchReport", "Row", "cells", "check_ending"]

ENDINGS = (".md", ".json", ".csv")
"""File endings of a report."""

COSTLIEST = 5
"""The number of operators that a report lists."""


@dataclass(frozen=True)
class Row:
    """One method at one batch size.

    Attributes:
        method: the method's name.
        batch: the number of samples of a run.
        forward: seconds of a run of the original model, one value per round.
        explained: seconds of a run of the explained model, one value per round.
        memory_forward: peak memory of the original model in bytes.
        memory_explained: peak memory of the explained model in bytes.
        size_forward: size of the original file in bytes.
        size_explained: size of the explained file in bytes.
    """

    method: str
    batch: int
    forward: tuple[float, ...]
    explained: tuple[float, ...]
    memory_forward: int
    memory_explained: int
    size_forward: int
    size_explained: int

    @property
    def ratio(self) -> Spread:
        """The time of an explained run in units of a forward run."""
        return ratio(self.explained, self.forward)

    def to_dict(self) -> dict[str, Any]:
        """The row as numbers by name: times in milliseconds, median and quartiles of the ratio, memory and file sizes in MB."""
        forward, explained = Spread.of(self.forward), Spread.of(self.explained)
        return {
            "method": self.method,
            "batch": self.batch,
            "forward_ms": 1e3 * forward.median,
            "explained_ms": 1e3 * explained.median,
            "ratio": self.ratio.median,
            "ratio_low": self.ratio.low,
            "ratio_high": self.ratio.high,
            "rounds": len(self.forward),
            "memory_forward_mb": self.memory_forward / 1e6,
            "memory_explained_mb": self.memory_explained / 1e6,
            "size_forward_mb": self.size_forward / 1e6,
            "size_explained_mb": self.size_explained / 1e6,
        }


@dataclass(frozen=True)
class BenchReport:
    """The measurements of one benchmark.

    Attributes:
        model: the model's name.
        about: the machine, the versions, the settings and the date.
        rows: one per method and batch size.
        operators: if a profile was asked for, the cost of each operator by method; the original model is "forward".
    """

    model: str
    about: Mapping[str, Any]
    rows: tuple[Row, ...]
    operators: Mapping[str, Mapping[str, Mapping[str, float]]]

    def save(self, path: Path) -> Path:
        """Write the report.

        Args:
            path: a file ending in .md, .json or .csv.

        Returns:
            The path.

        Raises:
            OutputError: the ending is unknown, or the file cannot be written.
        """
        check_ending(path)
        text = {".md": self.markdown, ".json": self.json, ".csv": self.csv}[path.suffix]()
        return write_file(path, text.encode())

    def json(self) -> str:
        """The whole report as JSON, with one object per row."""
        rows = [r.to_dict() for r in self.rows]
        return json.dumps({"model": self.model, **self.about, "rows": rows, "operators": self.operators}, indent=2) + "\n"

    def csv(self) -> str:
        """The rows as CSV with a header."""
        rows = [r.to_dict() for r in self.rows]
        return csv_text(rows[0], (row.values() for row in rows), newline="\r\n")

    def markdown(self) -> str:
        """The rows as a table, with the conditions of the measurement and the most expensive operators."""
        lines = [f"# What explaining {self.model} costs", "", self.conditions(), ""]
        lines += [f"| {' | '.join(HEAD)} |", "|---|" + "---:|" * (len(HEAD) - 1)]
        lines += [f"| {' | '.join(cells(r))} |" for r in self.rows]
        for name, found in self.operators.items():
            lines += ["", f"Costliest operators of {name}, in share of their time:", "", "| operator | nodes | ms | share |"]
            lines += ["|---|---:|---:|---:|"]
            lines += [
                f"| {op} | {int(c['nodes'])} | {1e3 * c['seconds']:.3g} | {c['share']:.0%} |"
                for op, c in list(found.items())[:COSTLIEST]
            ]
        return "\n".join(lines) + "\n"

    def conditions(self) -> str:
        """One line on machine, versions and date."""
        about = self.about
        threads = counted(about["threads"], "thread") if about["threads"] else "threads as ONNX Runtime chooses"
        versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        machine = f"{about['processor']}, {counted(int(about['cores']), 'core')}, {threads}"
        return f"{machine}; {versions}; {about['date']}; {counted(about['rounds'], 'round')}."


def counted(number: int, what: str) -> str:
    """A number with a noun in singular or plural, such as `1 core` and `2 cores`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


HEAD = (
    "method", "batch", "forward, ms", "explained, ms", "ratio (middle half of rounds)", "memory, MB", "× forward's", "file, MB",
    "larger by",
)  # fmt: skip


def cells(row: Row) -> list[str]:
    """The cells of a row, under `HEAD`. Memory is empty if the system does not report it."""
    d = row.to_dict()
    known = row.memory_forward > 0
    return [
        row.method,
        str(row.batch),
        f"{d['forward_ms']:.3g}",
        f"{d['explained_ms']:.3g}",
        str(row.ratio),
        f"{d['memory_explained_mb']:.0f}" if known else "",
        f"{row.memory_explained / row.memory_forward:.2f}" if known else "",
        f"{d['size_explained_mb']:.3g}",
        f"{row.size_explained / row.size_forward - 1:.1%}",
    ]


def check_ending(path: Path) -> None:
    """Check that a report can be written in this form, so that a long run does not fail at its end.

    Args:
        path: the file to be written.

    Raises:
        OutputError: the ending is unknown.
    """
    if path.suffix not in ENDINGS:
        raise OutputError(f"cannot write {path}: a benchmark is written as {', '.join(ENDINGS)}")
