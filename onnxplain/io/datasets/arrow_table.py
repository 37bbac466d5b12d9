"""A .parquet file or an Arrow file (.arrow, .feather), decoded a bounded number of bytes at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import InputError
from onnxplain.io.arrays import reading
from onnxplain.io.datasets.columns import Parsed, WantedColumn
from onnxplain.io.datasets.dataset import Array

__all__ = ["ArrowTable"]

ROWS = 65536
"""Rows that are decoded together, at most."""

BYTES = 4 << 20
"""Bytes that are decoded together, at most, unless one row has more."""


class ArrowTable:
    """A .parquet file or an Arrow file: its row groups or record batches, in slices.

    Args:
        path: the file.

    Raises:
        InputError: it is no such file.
        MissingDependencyError: pyarrow is not installed.
    """

    mends = False

    def __init__(self, path: Path) -> None:
        with optional("table", "Parquet and Arrow files"):
            import pyarrow as pa
            import pyarrow.parquet as pq
        self._path, self._parquet = path, path.suffix.lower() == ".parquet"
        self._open: tuple[int, int, Any] | None = None
        try:
            if self._parquet:
                self._file: Any = pq.ParquetFile(path, buffer_size=1 << 16)  # else all of a row group is held
                schema, groups = self._file.schema_arrow, [self._group(g) for g in range(self._file.num_row_groups)]
            else:
                self._file = pa.ipc.open_file(pa.memory_map(str(path)))
                batches = (self._file.get_batch(b) for b in range(self._file.num_record_batches))
                schema, groups = self._file.schema, [(b.num_rows, b.nbytes) for b in batches]
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
        self.names: Sequence[str] = schema.names
        self.lists = frozenset(f.name for f in schema if _is_list(f.type))
        self.starts: list[int] = [0]
        self._pieces: list[tuple[int, int, int]] = []
        for group, (rows, size) in enumerate(groups):
            step = max(1, min(ROWS, BYTES * rows // max(1, size)))
            for place in range(-(-rows // step)):
                self._pieces.append((group, place, step))
                self.starts.append(self.starts[-1] + min(step, rows - place * step))

    def _group(self, number: int) -> tuple[int, int]:
        """The rows of a row group, and the bytes of its columns when they are decoded, which repeat what is stored once."""
        group = self._file.metadata.row_group(number)
        columns = [group.column(i) for i in range(group.num_columns)]
        return group.num_rows, sum(max(8 * c.num_values, c.total_uncompressed_size) for c in columns)

    @property
    def state(self) -> dict[str, Any]:
        """The size of the file, which is written as a whole."""
        return {"size": self._path.stat().st_size}

    def fingerprint(self, start: int, stop: int) -> None:
        """The file is written as a whole, so that its size is what there is."""
        return None

    def chunk(self, number: int, wanted: Mapping[str, WantedColumn]) -> Parsed:
        """Decode the wanted columns of one chunk; missing numbers and lists of another length are problems of their rows."""
        batch, wrong = reading(self._path, lambda: self._batch(number, list(wanted))), dict[int, str]()
        columns = {n: self._column(batch.column(n), n, w, self.starts[number], wrong) for n, w in wanted.items()}
        return Parsed(columns, wrong)

    def _batch(self, number: int, names: list[str]) -> Any:
        group, place, step = self._pieces[number]
        if not self._parquet:
            if self._open is None or self._open[0] != group:
                self._open = group, 0, self._file.get_batch(group)
            return self._open[2].slice(place * step, step)
        if self._open is None or self._open[0] != group or self._open[1] > place:
            self._open = group, 0, self._file.iter_batches(step, row_groups=[group], columns=names)
        _, at, batches = self._open
        for _ in range(place - at):
            next(batches)
        self._open = group, place + 1, batches
        return next(batches)

    def _column(self, column: Any, name: str, wanted: WantedColumn, first: int, wrong: dict[int, str]) -> Array:
        import pyarrow as pa

        if wanted.kind == "text":
            return np.array([None if v is None else str(v) for v in column.to_pylist()], object)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        whole = wanted.kind == "whole"
        if not _is_list(column.type):
            values, missing = self._numbers(column, name, whole)
            for row in np.flatnonzero(missing):
                wrong[int(row)] = self._lacks(first + int(row), name)
            return values
        lengths = column.value_lengths().fill_null(-1).to_numpy(zero_copy_only=False)
        size = int(lengths.max(initial=0)) if wanted.size is None else wanted.size
        good = lengths == size
        if wanted.size is None and not good.all():
            raise InputError(f"{self._path}, column '{name}' holds lists of several lengths, or none in some rows")
        for row in np.flatnonzero(~good):
            found = "no list" if lengths[row] < 0 else f"a list of {lengths[row]:,} numbers"
            wrong[int(row)] = f"{self._path}, row {first + int(row):,}, column '{name}': {found} where {size:,} are expected"
        values, missing = self._numbers(column.filter(pa.array(good)).flatten(), name, whole)
        for row in np.unique(np.flatnonzero(good)[np.flatnonzero(missing) // max(1, size)]):
            wrong[int(row)] = self._lacks(first + int(row), name)
        made = np.zeros((len(column), size), values.dtype)
        made[good] = values.reshape(-1, size)
        return made

    def _numbers(self, column: Any, name: str, whole: bool) -> tuple[Array, Array]:
        """The numbers of a column, NaN where one is missing, and where whole numbers are missing."""
        import pyarrow as pa

        kind = column.type
        if pa.types.is_decimal(kind) or pa.types.is_null(kind) or (pa.types.is_boolean(kind) and column.null_count and not whole):
            column = column.cast(pa.float64())
        elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise InputError(
                f"{self._path}, column '{name}' holds {kind} where numbers are expected; choose the columns of features by "
                "columns= (--columns), or name this one by key= or keep= (--key, --keep)"
            )
        missing = np.zeros(len(column), bool)
        if whole and column.null_count:
            missing = column.is_null().to_numpy(zero_copy_only=False)
            column = column.fill_null(pa.scalar(0, pa.int8()).cast(column.type))
        return np.asarray(column.to_numpy(zero_copy_only=False)), missing

    def _lacks(self, row: int, name: str) -> str:
        return f"{self._path}, row {row:,}, column '{name}': a number is missing, and the input takes whole numbers only"


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))
