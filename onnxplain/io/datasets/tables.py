"""Tables as data sets: .csv, .parquet and .arrow files, read chunk by chunk."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError, nearest
from onnxplain.io.arrays import reading
from onnxplain.io.datasets.dataset import Array, Block, Choice, Problem
from onnxplain.io.samples import cell_number, starts_with_names
from onnxplain.ir.graph import named_dims
from onnxplain.ir.tensor import Tensor

__all__ = ["TableData"]

CHUNK = 4096
"""Rows of a .csv that are parsed together."""

BATCH = 65536
"""Rows of a row group of .parquet that are decoded together."""


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
    def starts(self) -> Sequence[int]:
        """The number of the first row of each chunk, and at the end the number of rows."""

    def chunk(self, number: int, wanted: Mapping[str, str]) -> Parsed:
        """Some columns of a chunk: their names with what they are, "number", "whole" or "text"."""


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
    _cache: dict[int, Parsed] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        text = any(t.dtype is not None and t.dtype.kind in "OUS" for t in self.tensors)
        table: Chunked = CsvTable(self.path, text) if self.path.suffix.lower() == ".csv" else arrow_table(self.path)
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_taken", assigned(self.path, table.names, self.tensors, self.choice))
        for name in (self.choice.key, *self.choice.keep):
            if name is not None and name not in table.names:
                raise InputError(f"{self.path} has no column '{name}'; {nearest(name, table.names)}")

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

    def state(self) -> dict[str, Any]:
        """The file with its size, and the columns."""
        return {"file": str(self.path), "size": self.path.stat().st_size, "rows": self.count, "columns": self._taken}

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
        rows = np.arange(start - first, stop - first)
        wrong = [int(r) for r in rows if int(r) in parsed.wrong] if parsed.wrong else []
        keys = None if self.choice.key is None else parsed.columns[self.choice.key]
        for r in wrong:
            yield Problem(first + r, str(first + r if keys is None else keys[r]), parsed.wrong[r])
        rows = np.setdiff1d(rows, wrong) if wrong else rows
        if len(rows):
            arrays = {t.name: self._array(t, parsed, rows) for t in self.tensors}
            kept = {name: parsed.columns[name][rows] for name in self.choice.keep}
            yield Block((rows + first).astype(np.int64), None if keys is None else [str(k) for k in keys[rows]], arrays, kept)

    def _chunk(self, number: int) -> Parsed:
        if number not in self._cache:
            while len(self._cache) > 1:
                self._cache.pop(next(iter(self._cache)), None)
            wanted = {name: "text" for name in (self.choice.key, *self.choice.keep) if name is not None}
            for tensor in self.tensors:
                kind = "f" if tensor.dtype is None else tensor.dtype.kind
                wanted |= dict.fromkeys(
                    self._taken[tensor.name], "text" if kind in "OUS" else "whole" if kind in "iub" else "number"
                )
            self._cache[number] = self._table.chunk(number, wanted)
        return self._cache[number]

    def _array(self, tensor: Tensor, parsed: Parsed, rows: Array) -> Array:
        """The rows of one input."""
        columns = [parsed.columns[name][rows] for name in self._taken[tensor.name]]
        array = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
        shape = tensor.shape or ()
        if len(shape) > 1 and all(isinstance(d, int) for d in shape[1:]):
            return array.reshape(len(rows), *(int(d) for d in shape[1:] if isinstance(d, int)))
        return array[:, None] if len(shape) == 2 and array.ndim == 1 else array


def assigned(path: Path, names: Sequence[str], tensors: Sequence[Tensor], choice: Choice) -> dict[str, list[str]]:
    """The columns of each input.

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
    used = {choice.key, *choice.keep}
    chosen = chosen or ([tensor.name] if tensor.name in names else [n for n in names if n not in used])
    extents = (tensor.shape or (None, None))[1:]
    if chosen != [tensor.name] and all(isinstance(d, int) for d in extents):
        size = prod(int(d) for d in extents if isinstance(d, int))
        if size != len(chosen):
            raise InputError(
                f"{path} has {len(chosen)} columns of features, input '{tensor.name}' {named_dims(tensor)} takes {size}; "
                f"choose them by columns= (--columns) or name others by key= and keep= (--key, --keep): {', '.join(names[:12])}"
            )
    return {tensor.name: chosen}


class CsvTable:
    """A .csv file: where every chunk of rows begins is found by one pass over its bytes.

    Args:
        path: the file.
        text: whether the model takes text, so that the first line of a file without numbers is no header by that alone.
    """

    def __init__(self, path: Path, text: bool) -> None:
        self._path = path
        offsets, starts, lines = [], [], []
        rows = line = at = 0
        opening, first = True, b""
        try:
            with open(path, "rb") as file:
                for part in file:
                    if opening and part.strip():
                        if not rows:
                            first = part
                        if rows % CHUNK == 0:
                            offsets.append(at)
                            starts.append(rows)
                            lines.append(line)
                        rows += 1
                    opening ^= part.count(b'"') % 2 == 1  # a quoted cell may go on in the next line
                    at += len(part)
                    line += 1
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        if not rows:
            raise InputError(f"{path} is empty")
        head = reading(path, lambda: first.decode("utf-8-sig"))
        self._delimiter = next((d for d in (",", ";", "\t") if d in head), ",")
        cells = [c.strip() for c in next(csv.reader([head], delimiter=self._delimiter))]
        self._header = starts_with_names(cells, text)
        if self._header and rows == 1:
            raise InputError(f"{path} holds a header and no rows")
        self.names: Sequence[str] = cells if self._header else [str(i) for i in range(len(cells))]
        self._offsets, self._lines = [*offsets, at], lines
        self.starts: Sequence[int] = [max(0, s - int(self._header)) for s in starts] + [rows - int(self._header)]

    def chunk(self, number: int, wanted: Mapping[str, str]) -> Parsed:
        """Parse one chunk; rows of another width and cells that are no numbers are problems of their rows."""
        with open(self._path, "rb") as file:
            file.seek(self._offsets[number])
            data = file.read(self._offsets[number + 1] - self._offsets[number])
        reader = csv.reader(reading(self._path, lambda: data.decode("utf-8-sig")).splitlines(True), delimiter=self._delimiter)
        numbered = [
            (reader.line_num + self._lines[number], [c.strip() for c in row]) for row in reader if any(map(str.strip, row))
        ]
        if self._header and number == 0:
            numbered = numbered[1:]
        width, wrong = len(self.names), dict[int, str]()
        for i, (line, row) in enumerate(numbered):
            if len(row) != width:
                wrong[i] = f"{self._path}, line {line}: {len(row)} values where {width} are expected"
                numbered[i] = line, (row + [""] * width)[:width]
        cells = np.array([row for _, row in numbered], dtype=str)
        columns = {}
        for name, kind in wanted.items():
            column = cells[:, self.names.index(name)]
            columns[name] = column.astype(object) if kind == "text" else self._numbers(column, name, kind, numbered, wrong)
        return Parsed(columns, wrong)

    def _numbers(self, cells: Array, name: str, kind: str, numbered: Sequence[tuple[int, Any]], wrong: dict[int, str]) -> Array:
        """The numbers in a column; a row with something else becomes a problem."""
        whole = kind == "whole"
        try:
            return cells.astype(np.int64 if whole else np.float64)
        except ValueError:
            made = np.zeros(len(cells), np.int64 if whole else np.float64)
        for i, cell in enumerate(cells):
            try:
                if i not in wrong:
                    made[i] = cell_number(str(cell), f"{self._path}, line {numbered[i][0]}, column '{name}'", whole)
            except InputError as error:  # noqa: PERF203 - only cells that are no plain numbers come here
                wrong[i] = str(error)
        return made


class ArrowTable:
    """A .parquet file or an Arrow file: row groups, or record batches."""

    def __init__(self, path: Path, file: Any, parquet: bool, pieces: Sequence[tuple[int, int]], names: Sequence[str]) -> None:
        self._path, self._file, self._parquet, self._pieces = path, file, parquet, pieces
        self.names: Sequence[str] = names
        self._open: tuple[int, int, Any] | None = None
        self.starts: list[int] = [0]

    def add(self, rows: int) -> None:
        """Count another chunk."""
        self.starts.append(self.starts[-1] + rows)

    def chunk(self, number: int, wanted: Mapping[str, str]) -> Parsed:
        """Decode the wanted columns of one chunk."""
        batch = reading(self._path, lambda: self._batch(number, list(wanted)))
        return Parsed({n: self._column(batch.column(n), n, kind) for n, kind in wanted.items()}, {})

    def _batch(self, number: int, names: list[str]) -> Any:
        group, place = self._pieces[number]
        if not self._parquet:
            return self._file.get_batch(group)
        if self._open is None or self._open[0] != group or self._open[1] > place:
            self._open = group, 0, self._file.iter_batches(BATCH, row_groups=[group], columns=names)
        _, at, batches = self._open
        for _ in range(place - at):
            next(batches)
        self._open = group, place + 1, batches
        return next(batches)

    def _column(self, column: Any, name: str, kind: str) -> Array:
        if kind == "text":
            return np.array([None if v is None else str(v) for v in column.to_pylist()], object)
        values = column.to_numpy(zero_copy_only=False)
        if values.dtype == object:
            rows = [np.asarray(v) for v in values]
            if len({r.shape for r in rows}) != 1 or rows[0].dtype.kind not in "iufb":
                raise InputError(f"{self._path}, column '{name}' holds neither numbers nor lists of numbers of one length")
            return np.stack(rows)
        if kind == "whole" and values.dtype.kind == "f" and np.isnan(values).any():
            raise InputError(f"{self._path}, column '{name}': values are missing, and the input takes whole numbers only")
        return np.asarray(values)


def arrow_table(path: Path) -> ArrowTable:
    """Open a .parquet file or an Arrow file (.arrow, .feather)."""
    with optional("table", "Parquet and Arrow files"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            sizes = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
            pieces = [(g, p, min(BATCH, n - p * BATCH)) for g, n in enumerate(sizes) for p in range(-(-n // BATCH))]
            names = file.schema_arrow.names
        else:
            file = pa.ipc.open_file(pa.memory_map(str(path)))
            pieces = [(b, 0, file.get_batch(b).num_rows) for b in range(file.num_record_batches)]
            names = file.schema.names
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    table = ArrowTable(path, file, path.suffix.lower() == ".parquet", [(g, p) for g, p, _ in pieces], names)
    for _, _, rows in pieces:
        table.add(rows)
    return table
