"""DataSet: samples by number, read a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

__all__ = ["Block", "Choice", "DataSet", "Problem"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Problem:
    """A sample that could not be read or explained: its number, its key, and why."""

    index: int
    key: str
    reason: str


@dataclass(frozen=True)
class Block:
    """Some samples of a data set, of one shape.

    Attributes:
        index: their numbers, int64 [k], ascending.
        keys: their names; None where only numbers tell them apart.
        arrays: by input name, with the samples first, [k, …].
        columns: what else is kept of each, by name, [k].
    """

    index: Array
    keys: list[str] | None
    arrays: dict[str, Array]
    columns: dict[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def one_by_one(self) -> Iterator[Block]:
        """Every sample in a block of its own."""
        for i in range(len(self)):
            keys = None if self.keys is None else self.keys[i : i + 1]
            arrays = {n: v[i : i + 1] for n, v in self.arrays.items()}
            yield Block(self.index[i : i + 1], keys, arrays, {n: v[i : i + 1] for n, v in self.columns.items()})

    def key(self, place: int) -> str:
        """The key of one sample, or its number."""
        return str(self.index[place]) if self.keys is None else self.keys[place]


@dataclass(frozen=True)
class Choice:
    """What is taken of a table.

    Attributes:
        features: the columns that are the model's features, in its order; None for all that are not used otherwise.
        key: the column that names a sample.
        keep: columns that are handed on to the results.
    """

    features: Sequence[str] | None = None
    key: str | None = None
    keep: Sequence[str] = ()


class DataSet(Protocol):
    """Samples by number. It holds names of files, and no data, so that it can be sent to other processes."""

    @property
    def count(self) -> int:
        """The number of samples."""

    @property
    def features(self) -> list[str] | None:
        """The names of a sample's features, where the data has them."""

    @property
    def ragged(self) -> bool:
        """Whether samples may differ in shape."""

    @property
    def mends(self) -> bool:
        """Whether single samples can be mended while a run over the data is not complete."""

    def state(self) -> Mapping[str, Any]:
        """What tells this data from other data: names, counts, and sizes where samples cannot be mended."""

    def fingerprint(self, start: int, stop: int) -> str | None:
        """What tells the samples from `start` to before `stop` from others in their place; None where the state tells enough."""

    def read(self, start: int, stop: int) -> Iterator[Block | Problem]:
        """The samples from `start` to before `stop`, in order, in one block or several, and those that cannot be read."""
