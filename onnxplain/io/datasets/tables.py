"""Tables as data sets: the rows of .csv, .parquet and .arrow files, and which of their columns are what."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import InputError, nearest
from onnxplain.io.datasets.arrow_table import ArrowTable
from onnxplain.io.datasets.columns import Chunked, Parsed, WantedColumn
from onnxplain.io.datasets.csv_table import CsvTable
from onnxplain.io.datasets.dataset import Array, Block, Choice, Problem
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor

__all__ = ["TableData"]


@dataclass(frozen=True)
class TableData:
    """The rows of a table.

    Args:
        path: a .csv, .parquet, .arrow or .feather file.
        tensors: the model's inputs: one that takes the features, or one for each column.
        choice: which columns are features, and what the others are for.

    Raises:
        InputError: the file cannot be read, or its columns do not fit the model.
        MissingDependencyError: pyarrow is not installed.
    """

    path: Path
    tensors: Sequence[Tensor]
    choice: Choice
    _table: Chunked = field(init=False, repr=False)
    _taken: dict[str, list[str]] = field(init=False, repr=False)
    _wanted: dict[str, WantedColumn] = field(init=False, repr=False)
    _cache: dict[int, Parsed] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        text = any(t.dtype is not None and t.dtype.kind in "OUS" for t in self.tensors)
        table: Chunked = CsvTable(self.path, text) if self.path.suffix.lower() == ".csv" else ArrowTable(self.path)
        names, told = list(table.names), [n for n in (self.choice.key, *self.choice.keep) if n is not None]
        for name in told:
            if name not in names:
                raise InputError(f"{self.path} has no column '{name}'; {nearest(name, names)}")
        taken = assigned(self.path, names, table.lists, self.tensors, self.choice)
        wanted = {name: WantedColumn("text") for name in told}
        for tensor in self.tensors:
            wanted |= dict.fromkeys(taken[tensor.name], _wanted(tensor, len(taken[tensor.name]) == 1))
        twice = next((n for n in wanted if names.count(n) > 1), None)
        if twice is not None:
            raise InputError(f"{self.path} has {names.count(twice)} columns called '{twice}'; give each a name of its own")
        for name, value in {"_table": table, "_taken": taken, "_wanted": wanted}.items():
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "tensors": self.tensors, "choice": self.choice}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def count(self) -> int:
        """The number of rows."""
        return int(self._table.starts[-1])

    @property
    def features(self) -> list[str] | None:
        """The columns that are features."""
        return [name for names in self._taken.values() for name in names]

    @property
    def ragged(self) -> bool:
        """Samples have one shape."""
        return False

    @property
    def mends(self) -> bool:
        """Whether single rows can be mended while a run over them is not complete."""
        return self._table.mends

    def state(self) -> dict[str, Any]:
        """The file, the number of its rows and the columns."""
        return {"file": str(self.path), "rows": self.count, "columns": self._taken, **self._table.state}

    def fingerprint(self, start: int, stop: int) -> str | None:
        """What tells some rows from others in their place."""
        return self._table.fingerprint(start, stop)

    def read(self, start: int, stop: int) -> Iterator[Block | Problem]:
        """Some rows."""
        starts, stop = self._table.starts, min(stop, self.count)
        number = int(np.searchsorted(starts, start, "right")) - 1
        while start < stop:
            end = min(stop, int(starts[number + 1]))
            yield from self._rows(number, start, end)
            start, number = end, number + 1

    def _rows(self, number: int, start: int, stop: int) -> Iterator[Block | Problem]:
        parsed, first = self._chunk(number), int(self._table.starts[number])
        rows: slice | Array = slice(start - first, stop - first)
        index = np.arange(start, stop, dtype=np.int64)
        wrong = [r for r in range(start - first, stop - first) if r in parsed.wrong] if parsed.wrong else []
        keys = None if self.choice.key is None else parsed.columns[self.choice.key]
        for r in wrong:
            yield Problem(first + r, str(first + r if keys is None else keys[r]), parsed.wrong[r])
        if wrong:
            rows = np.setdiff1d(np.arange(start - first, stop - first), wrong)
            index = rows + first
        if len(index):
            arrays = {t.name: self._array(t, parsed, rows) for t in self.tensors}
            kept = {name: parsed.columns[name][rows] for name in self.choice.keep}
            yield Block(index, None if keys is None else [str(k) for k in keys[rows]], arrays, kept)

    def _chunk(self, number: int) -> Parsed:
        if number not in self._cache:
            while len(self._cache) > 1:
                self._cache.pop(next(iter(self._cache)), None)
            self._cache[number] = self._table.chunk(number, self._wanted)
        return self._cache[number]

    def _array(self, tensor: Tensor, parsed: Parsed, rows: slice | Array) -> Array:
        """The rows of one input."""
        columns = [parsed.columns[name][rows] for name in self._taken[tensor.name]]
        shape = tensor.shape or ()
        try:
            array = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
            if len(shape) > 1 and all(isinstance(d, int) for d in shape[1:]):
                return array.reshape(len(array), *(int(d) for d in shape[1:] if isinstance(d, int)))
        except ValueError:
            found = [f"'{n}' {list(c.shape[1:])}" for n, c in zip(self._taken[tensor.name], columns, strict=True) if c.ndim > 1]
            raise InputError(
                f"{self.path}: lists in {', '.join(found[:5])} do not fit input '{tensor.name}' {named_dims(tensor)}"
            ) from None
        return array[:, None] if len(shape) == 2 and array.ndim == 1 else array


def assigned(
    path: Path, names: Sequence[str], lists: Collection[str], tensors: Sequence[Tensor], choice: Choice
) -> dict[str, list[str]]:
    """The columns of each input. A column of its own name is all of an input if it holds lists, or if the input takes one number.

    Raises:
        InputError: they are more or fewer than an input takes, or there is no column for an input.
    """
    if len(tensors) > 1:
        lost = [t.name for t in tensors if t.name not in names]
        if lost:
            raise InputError(f"{path} has no column '{lost[0]}' for the input of that name; {nearest(lost[0], names)}")
        return {t.name: [t.name] for t in tensors}
    tensor = tensors[0]
    chosen = list(choice.features or [])
    strange = [n for n in chosen if n not in names]
    if strange:
        raise InputError(f"{path} has no column '{strange[0]}'; {nearest(strange[0], names)}")
    size, used = _size(tensor), {choice.key, *choice.keep}
    if not chosen:
        own = tensor.name in names and (tensor.name in lists or size == 1)
        chosen = [tensor.name] if own else [n for n in names if n not in used]
    if size not in (None, len(chosen)) and not (len(chosen) == 1 and chosen[0] in lists):
        raise InputError(
            f"{path} has {len(chosen)} columns of features, input '{tensor.name}' {named_dims(tensor)} takes {size}; "
            f"choose them by columns= (--columns) or name others by key= and keep= (--key, --keep): {', '.join(names[:12])}"
        )
    return {tensor.name: chosen}


def _size(tensor: Tensor) -> int | None:
    """How many numbers a sample has; None where the model leaves it open."""
    extents = (tensor.shape or (None, None))[1:]
    return prod(int(d) for d in extents if isinstance(d, int)) if all(isinstance(d, int) for d in extents) else None


def _wanted(tensor: Tensor, alone: bool) -> WantedColumn:
    """What the columns of an input are read as; a single one may hold lists."""
    kind = "f" if tensor.dtype is None else tensor.dtype.kind
    return WantedColumn("text" if kind in "OUS" else "whole" if kind in "iub" else "number", _size(tensor) if alone else None)
