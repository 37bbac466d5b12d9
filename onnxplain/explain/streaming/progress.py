"""Progress of a run over a data set: how many samples are done, how fast, and how long the rest takes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from onnxplain.explain.streaming.pipeline import Tell

__all__ = ["watched"]


@contextmanager
def watched(total: int, done: int, show: bool | None) -> Iterator[Tell]:
    """A bar on standard error; gives what is to be told of progress.

    Args:
        total: samples in all.
        done: how many a run before has finished.
        show: whether to show it; None shows it on a terminal.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda done, lost, part: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(), TextColumn("{task.fields[lost]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=60) as bar:
        task = bar.add_task("explaining", total=total, completed=done, rate="", lost="")
        missing = 0

        def tell(more: int, lost: int, part: bool) -> None:
            nonlocal missing
            missing += lost
            bar.advance(task, more + lost)
            speed = bar.tasks[0].speed
            bar.update(task, rate="" if speed is None else f"{speed:,.0f}/s", lost=f"{missing} left out" if missing else "")

        yield tell
