"""What the readers of tables have in common: a table is read chunk by chunk, the columns that are wanted as arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from onnxplain.io.datasets.dataset import Array

__all__ = ["Chunked", "Parsed", "WantedColumn"]


@dataclass(frozen=True)
class WantedColumn:
    """What a column is read as.

    Attributes:
        kind: numbers, whole numbers (int64), or text.
        size: how many numbers a cell holds, where it may hold a list; None where that is open.
    """

    kind: Literal["number", "whole", "text"]
    size: int | None = None


@dataclass(frozen=True)
class Parsed:
    """The rows of a chunk: their columns by name, and for rows that are no samples the reason."""

    columns: dict[str, Array]
    wrong: dict[int, str]


class Chunked(Protocol):
    """A table that is read chunk by chunk."""

    @property
    def names(self) -> Sequence[str]:
        """The names of its columns."""

    @property
    def lists(self) -> Collection[str]:
        """The columns whose cells are lists of numbers."""

    @property
    def starts(self) -> Sequence[int]:
        """The number of the first row of each chunk, and at the end the number of rows."""

    @property
    def mends(self) -> bool:
        """Whether single rows can be mended while a run over them is not complete."""

    @property
    def state(self) -> Mapping[str, Any]:
        """What tells this table from others, beside its rows and columns."""

    def chunk(self, number: int, wanted: Mapping[str, WantedColumn]) -> Parsed:
        """Some columns of a chunk, by name."""

    def fingerprint(self, start: int, stop: int) -> str | None:
        """What tells some rows from others in their place; None where they cannot change while the state is the same."""
