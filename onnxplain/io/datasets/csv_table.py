"""A .csv file, parsed chunk by chunk. One pass over it finds where chunks begin, with the parser that reads them later."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.arrays import reading
from onnxplain.io.datasets.columns import Parsed, WantedColumn
from onnxplain.io.datasets.dataset import Array
from onnxplain.io.samples import cell_number, starts_with_names

__all__ = ["CsvTable"]

ROWS = 4096
"""Rows that are parsed together, at most."""

BYTES = 1 << 20
"""Bytes of the file that are parsed together, at most, unless one row has more. Parsed cells take about ten times as much."""

Record = tuple[int, int, int, int, list[str]]
"""Bytes and lines of the file before a row, bytes and lines up to its end, and its cells."""


class CsvTable:
    """A .csv file: commas, semicolons or tabs; with or without a line of names; cells in quotes may hold line breaks.

    Args:
        path: the file.
        text: whether the model takes text, so that the first line of a file without numbers is no header by that alone.

    Raises:
        InputError: it is no table in UTF-8, or holds no rows.
    """

    lists: Sequence[str] = ()
    mends = True

    def __init__(self, path: Path, text: bool) -> None:
        self._path = path
        head = reading(path, lambda: _head(path))
        self._delimiter = next((d for d in (",", ";", "\t") if d in head), ",")
        offsets, firsts, lines = list[int](), list[int](), list[int]()
        rows = end = 0
        cells: list[str] = []
        try:
            with open(path, "rb") as file:
                for begin, line, end, _, row in self._records(file):
                    if not rows:
                        cells = [c.strip() for c in row]
                    if not rows or rows - firsts[-1] >= ROWS or end - offsets[-1] > BYTES:
                        offsets.append(begin)
                        firsts.append(rows)
                        lines.append(line)
                    rows += 1
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        if not rows:
            raise InputError(f"{path} is empty")
        self._header = starts_with_names(cells, text)
        if self._header and rows == 1:
            raise InputError(f"{path} holds a header and no rows")
        self.names: Sequence[str] = cells if self._header else [str(i) for i in range(len(cells))]
        self._offsets, self._lines = [*offsets, end], lines
        self.starts: Sequence[int] = [max(0, f - int(self._header)) for f in firsts] + [rows - int(self._header)]

    @property
    def state(self) -> dict[str, Any]:
        """Nothing: rows are told apart by their bytes."""
        return {}

    def fingerprint(self, start: int, stop: int) -> str:
        """A checksum of the bytes of some rows."""
        place, end, found = self._place(start), self._place(stop), 0
        with open(self._path, "rb") as file:
            file.seek(place)
            while place < end and (part := file.read(min(BYTES, end - place))):
                place, found = place + len(part), zlib.crc32(part, found)
        return f"{found:08x}"

    def _place(self, row: int) -> int:
        """Where a row begins in the file."""
        if row >= self.starts[-1]:
            return self._offsets[-1]
        number = int(np.searchsorted(self.starts, row, "right")) - 1
        before = row - self.starts[number] + int(self._header and number == 0)
        record = next(islice(self._records(io.BytesIO(self._bytes(number))), before, None), None)
        return self._offsets[number] + (0 if record is None else record[0])

    def _bytes(self, number: int) -> bytes:
        with open(self._path, "rb") as file:
            file.seek(self._offsets[number])
            return file.read(self._offsets[number + 1] - self._offsets[number])

    def _records(self, file: IO[bytes]) -> Iterator[Record]:
        """The rows that hold something; lines of nothing but delimiters hold nothing.

        Raises:
            InputError: it is no table, or no text in UTF-8.
        """
        at = begin = line = 0

        def lines() -> Iterator[str]:
            nonlocal at
            for part in file:
                text = part.decode("utf-8-sig" if at == 0 else "utf-8")
                at += len(part)
                yield text

        reader = csv.reader(lines(), delimiter=self._delimiter, strict=True)
        try:
            for row in reader:
                if any(map(str.strip, row)):
                    yield begin, line, at, reader.line_num, row
                begin, line = at, reader.line_num
        except UnicodeDecodeError:
            raise InputError(f"{self._path}, line {reader.line_num + 1}: it is no text in UTF-8; save it in UTF-8") from None
        except csv.Error as error:
            what = "it ends lines with carriage returns alone; save it with line feeds" if "new-line" in str(error) else error
            raise InputError(f"{self._path}, line {line + 1}, is no row of a table: {what}") from None

    def chunk(self, number: int, wanted: Mapping[str, WantedColumn]) -> Parsed:
        """Parse one chunk; rows of another width and cells that are no numbers are problems of their rows."""
        data, width, wrong = self._bytes(number), len(self.names), dict[int, str]()
        found = list(self._records(io.BytesIO(data)))[int(self._header and number == 0) :]
        lines, rows = [self._lines[number] + r[3] for r in found], [r[4] for r in found]
        for i, row in enumerate(rows):
            if len(row) != width:
                wrong[i] = f"{self._path}, line {lines[i]}: {len(row)} values where {width} are expected"
                rows[i] = (row + [""] * width)[:width]
        cells = dict(zip(self.names, zip(*rows, strict=True), strict=True))
        plain = b"_" not in data  # which Python takes in numbers
        columns = {n: self._column(n, w, cells[n], lines, wrong, plain) for n, w in wanted.items()}
        return Parsed(columns, wrong)

    def _column(
        self, name: str, wanted: WantedColumn, cells: Sequence[str], lines: Sequence[int], wrong: dict[int, str], plain: bool
    ) -> Array:
        """The cells of a column; a row with something that is no number becomes a problem."""
        if wanted.kind == "text":
            return np.array([c.strip() for c in cells], object)
        whole = wanted.kind == "whole"
        dtype = np.int64 if whole else np.float64
        if plain:
            with suppress(ValueError, OverflowError):
                return np.fromiter(map(int if whole else float, cells), dtype, len(cells))
        made = np.zeros(len(cells), dtype)
        for i, cell in enumerate(cells):
            where = f"{self._path}, line {lines[i]}, column '{name}'"
            try:
                if i not in wrong:
                    made[i] = cell_number(cell.strip(), where, whole)
            except InputError as error:
                wrong[i] = str(error)
            except OverflowError:
                wrong[i] = f"{where}: '{cell.strip()}' has more than 64 bits"
        return made


def _head(path: Path) -> str:
    """The first line that holds something."""
    with open(path, "rb") as file:
        return next((part for part in file if part.strip()), b"").decode("utf-8-sig")
