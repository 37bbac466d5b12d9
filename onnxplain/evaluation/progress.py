"""Progress of an evaluation, on a terminal only."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.progress

__all__ = ["Progress"]


class Progress:
    """A bar on standard error with what is being done, how much is done and how long the rest will take.

    Args:
        total: results wanted.
        done: results that are there already.
        show: None shows it on a terminal.
    """

    def __init__(self, total: int, done: int, show: bool | None) -> None:
        self._bar: rich.progress.Progress | None = None
        self._total, self._done = total, done
        self._show = sys.stderr.isatty() if show is None else show

    def __enter__(self) -> Progress:
        if self._show and self._done < self._total:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self._total, completed=self._done)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def says(self, what: str) -> None:
        """Show what is being done now."""
        if self._bar is not None:
            from rich.markup import escape

            self._bar.update(self._task, description=escape(what))

    def advance(self, count: int) -> None:
        """Count further results as done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)
