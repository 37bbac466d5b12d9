"""Benchmarks a set of models with the same methods, so that no one network decides."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.bench.benchmark import bench
from onnxplain.bench.networks.images import IMAGES
from onnxplain.bench.networks.sequences import SEQUENCES
from onnxplain.bench.report import BenchReport, Row, check_ending
from onnxplain.errors import InputError
from onnxplain.io.reader import ModelLike
from onnxplain.io.writer import write_file

__all__ = ["SETS", "SetReport", "bench_set", "members"]

SETS: Mapping[str, tuple[Callable[[], Any], ...]] = {"A": (*IMAGES, *SEQUENCES)}
"""Sets of networks that are made on the spot, by name."""


@dataclass(frozen=True)
class SetReport:
    """The measurements of a set of models.

    Attributes:
        reports: of each model, by name.
        refused: what could not be measured, and why, by model and method.
    """

    reports: Mapping[str, BenchReport]
    refused: Mapping[tuple[str, str], str]

    def rows(self) -> list[tuple[str, Row]]:
        """Every model with each of its rows."""
        return [(name, row) for name, report in self.reports.items() for row in report.rows]

    def means(self) -> dict[tuple[str, int], tuple[float, float, str]]:
        """By method and batch size: the geometric mean of the ratios to the forward run, and the greatest with its model."""
        found: dict[tuple[str, int], list[tuple[float, str]]] = {}
        for name, row in self.rows():
            found.setdefault((row.method, row.batch), []).append((row.ratio.median, name))
        return {key: (float(np.exp(np.mean([np.log(r) for r, _ in each]))), *max(each)) for key, each in found.items()}

    def conditions(self) -> str:
        """One line on machine, versions and date."""
        return next(report.conditions() for report in self.reports.values())

    def table(self) -> tuple[list[str], list[list[str]]]:
        """A row per model and batch size, a column per method, and the means below."""
        methods = list(dict.fromkeys(row.method for _, row in self.rows()))
        cells: dict[tuple[str, int], dict[str, Row]] = {}
        for name, row in self.rows():
            cells.setdefault((name, row.batch), {})[row.method] = row
        body = []
        for (name, batch), found in cells.items():
            forward = 1e3 * float(np.median(next(iter(found.values())).forward))
            body.append([name, str(batch), f"{forward:.3g}", *(str(found[m].ratio) if m in found else "–" for m in methods)])
        means = self.means()
        for batch in sorted({b for _, b in means}):
            shown = [f"{means[m, batch][0]:.3g}" if (m, batch) in means else "–" for m in methods]
            body.append(["geometric mean", str(batch), "", *shown])
        return ["model", "batch", "forward, ms", *methods], body

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
        return write_file(path, {".md": self.markdown, ".json": self.json, ".csv": self.csv}[path.suffix]().encode())

    def markdown(self) -> str:
        """The table, with the conditions and what was refused."""
        head, body = self.table()
        lines = ["# What explaining costs, in forward runs", "", self.conditions(), "", f"| {' | '.join(head)} |"]
        lines += ["|---|" + "---:|" * (len(head) - 1), *(f"| {' | '.join(row)} |" for row in body)]
        lines += ["", *(f"- {model}, `{method}`: {why}" for (model, method), why in self.refused.items())]
        return "\n".join(lines).rstrip() + "\n"

    def json(self) -> str:
        """All rows as JSON, with the means and what was refused."""
        rows = [{"model": name, **row.to_dict()} for name, row in self.rows()]
        means = [
            {"method": m, "batch": b, "mean": mean, "greatest": high, "of": name}
            for (m, b), (mean, high, name) in self.means().items()
        ]
        refused = [{"model": m, "method": k, "why": why} for (m, k), why in self.refused.items()]
        return json.dumps({"conditions": self.conditions(), "rows": rows, "means": means, "refused": refused}, indent=2) + "\n"

    def csv(self) -> str:
        """The rows as CSV with a header."""
        rows = [{"model": name, **row.to_dict()} for name, row in self.rows()]
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]) if rows else ["model"])
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()


def members(names: Sequence[str]) -> dict[str, ModelLike]:
    """The models of sets, and single files, by name.

    Args:
        names: of sets (`SETS`), or paths of models.

    Returns:
        The models.

    Raises:
        InputError: a name is neither.
    """
    found: dict[str, ModelLike] = {}
    for name in names:
        if name in SETS:
            found.update({make.__name__: make() for make in SETS[name]})
        elif Path(name).is_file():
            found[Path(name).stem if Path(name).stem not in found else name] = name
        else:
            raise InputError(f"--set takes {' or '.join(SETS)} or the path of a model, and '{name}' is neither")
    return found


def bench_set(
    models: Mapping[str, ModelLike], methods: Sequence[str], *, say: Callable[[str], None] = lambda text: None, **settings: Any
) -> SetReport:
    """Measure time and memory of explained models against each model's own.

    Args:
        models: by name.
        methods: names from `onnxplain.methods()`. A method that a model refuses is left out there, and the reason kept.
        say: told what is done next.
        settings: as of `onnxplain.bench`.

    Returns:
        The measurements.

    Example:
        >>> from onnxplain.bench.sets import bench_set, members
        >>> found = bench_set({"mlp": members(["A"])["mlp"]}, ["gradient"], batches=[1], rounds=1, seconds=0.0)
        >>> [row.method for _, row in found.rows()]
        ['gradient']
    """
    reports, refused = {}, {}
    for name, model in models.items():
        problems: dict[str, str] = {}
        reports[name] = bench(model, methods, refused=problems, say=lambda text, name=name: say(f"{name}: {text}"), **settings)  # type: ignore[misc]
        refused.update({(name, method): why for method, why in problems.items()})
    return SetReport(reports, refused)
