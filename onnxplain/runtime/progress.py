"""A progress bar on long work, on a terminal only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["track"]

T = TypeVar("T")


def track(items: Sequence[T], title: str, show: bool | None) -> Iterator[T]:
    """The items one by one, with a bar on standard error that goes away at the end."""
    if show is False or (show is None and not sys.stderr.isatty()) or len(items) < 2:
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, description=title, console=Console(stderr=True), transient=True)
