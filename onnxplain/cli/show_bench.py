"""Prints the result of `onnxplain bench`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from onnxplain.bench.report import COSTLIEST, HEAD, BenchReport, cells
from onnxplain.bench.sets import SetReport
from onnxplain.cli.show import _console, _table
from onnxplain.cli.text import escape

__all__ = ["show_bench", "show_set", "working"]


@contextmanager
def working() -> Iterator[Callable[[str], None]]:
    """Show the current step on a terminal until the work is done.

    Yields:
        A function to call with a description of the next step.
    """
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    with Console(stderr=True).status("") as status:
        yield lambda text: status.update(escape(text))


def show_bench(report: BenchReport) -> None:
    """Print one row per method and batch size, then the cost of operators."""
    out = _console()
    out.print(f"[bold]{escape(report.model)}[/bold]  {escape(report.conditions())}")
    table = _table(*HEAD, right=HEAD[1:])
    for row in report.rows:
        table.add_row(*cells(row))
    out.print(table)
    for name, found in report.operators.items():
        shown = _table(f"costliest in {name}", "nodes", "ms", "share", right=("nodes", "ms", "share"))
        for operator, cost in list(found.items())[:COSTLIEST]:
            shown.add_row(operator, str(int(cost["nodes"])), f"{1e3 * cost['seconds']:.3g}", f"{cost['share']:.0%}")
        out.print(shown)


def show_set(report: SetReport) -> None:
    """Print the ratios of every model, their geometric means, and what was refused."""
    out = _console()
    out.print(escape(report.conditions()))
    head, body = report.table()
    table = _table(*head, right=head[1:])
    for row in body:
        table.add_row(*row)
    out.print(table)
    for (model, method), why in report.refused.items():
        out.print(f"{escape(model)}, {method}: {escape(why)}")
