"""Sinks: where results go, part by part. A part is written whole or not at all, so that a run can stop anywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from onnxplain._optional import optional
from onnxplain.errors import OutputError
from onnxplain.io.npz import mapped_npz, write_npz
from onnxplain.io.writer import write_file

__all__ = ["FORMS", "ArraySink", "FileSink", "ParquetSink", "Sink", "sink_for", "wrong_disk"]

Array = np.ndarray[Any, Any]

Layout = dict[str, tuple[str, list[int]]]
"""Of every column of an array sink, the type and the shape of one sample."""


class Sink(Protocol):
    """A place for results. Columns come by name, with the samples first."""

    def begin(self, sample: Mapping[str, Any], count: int) -> None:
        """Make room for so many samples of the form of this one; what is there already is kept."""

    def write(self, part: int, columns: Mapping[str, Any], keys: Sequence[str] | None) -> None:
        """Write a part. When this returns it is on the disk."""

    def finish(self, parts: int, count: int) -> None:
        """Join all parts, which have so many samples, and move the result into its place."""


@dataclass(frozen=True)
class ParquetSink:
    """One .parquet file with a row group for each part.

    Numbers of one sample each are columns; arrays are lists, with their shape in the column's metadata, or in a column of its own
    where it differs from sample to sample.

    Args:
        path: the file.
        work: the folder for parts.
        ragged: whether samples differ in shape.
    """

    path: Path
    work: Path
    ragged: bool = False

    def begin(self, sample: Mapping[str, Any], count: int) -> None:
        """There is nothing to make room for."""
        with optional("table", "Parquet files"):
            import pyarrow.parquet  # noqa: F401 - to say so before a long run

    def write(self, part: int, columns: Mapping[str, Any], keys: Sequence[str] | None) -> None:
        """Write a part as a file of one row group."""
        import pyarrow.parquet as pq

        table = _table(columns, keys, self.ragged)
        write_file(self._part(part), lambda file: pq.write_table(table, file, row_group_size=max(1, table.num_rows), **OPTIONS))

    def finish(self, parts: int, count: int) -> None:
        """Copy the row groups of all parts into one file."""
        import pyarrow.parquet as pq

        files = [self._part(p) for p in range(parts) if self._part(p).exists()]
        if not files:
            raise OutputError(f"nothing to write to {self.path}: no sample could be explained")
        schema = pq.read_schema(files[0])
        temporary = self.work / "joined.parquet"
        try:
            with pq.ParquetWriter(temporary, schema, **OPTIONS) as writer:
                for file in files:
                    writer.write_table(pq.read_table(file, schema=schema), row_group_size=1 << 40)
            os.replace(temporary, self.path)
        except OSError as error:
            raise wrong_disk(self.path, error) from error

    def _part(self, part: int) -> Path:
        return self.work / f"{part:06}.parquet"


OPTIONS: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}
"""How Parquet is written: attributions seldom repeat, and compressing them takes longer than most explanations."""


def _table(columns: Mapping[str, Any], keys: Sequence[str] | None, ragged: bool) -> Any:
    import pyarrow as pa

    named: dict[str, Any] = {}
    fields = []

    def add(name: str, values: Any, shape: Sequence[int] | None = None) -> None:
        named[name] = values
        fields.append(pa.field(name, values.type, metadata=None if shape is None else {"shape": ",".join(map(str, shape))}))

    for name, value in columns.items():
        if isinstance(value, list) or (ragged and value.ndim > 1 and value.dtype.kind in "iufb"):
            flat = [np.ascontiguousarray(v).ravel() for v in value]
            add(name, pa.array(flat, pa.list_(pa.from_numpy_dtype(flat[0].dtype))))
            add(f"{name}_shape", pa.array([list(v.shape) for v in value], pa.list_(pa.int64())))
        elif value.dtype.kind in "OUS":
            text = [_plain(v) for v in value]
            add(name, pa.array(text, pa.list_(pa.string()) if value.ndim > 1 else pa.string()))
        elif value.ndim == 1:
            add(name, pa.array(value))
        else:
            shape = value.shape[1:]
            flat_values = pa.array(np.ascontiguousarray(value).ravel())
            add(name, pa.FixedSizeListArray.from_arrays(flat_values, int(np.prod(shape))), shape)
        if name == "index" and keys is not None:
            add("key", pa.array(list(keys), pa.string()))
    return pa.table(list(named.values()), schema=pa.schema(fields))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.ravel()]
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)


@dataclass(frozen=True)
class ArraySink:
    """A folder of .npy files that can be mapped into memory, or a Zarr store, with one array per column for all samples.

    Samples that could not be explained are NaN, or 0 in whole numbers; `index` is −1 there.

    Args:
        path: the folder.
        work: the folder for parts.
        zarr: whether it is a Zarr store.
        size: samples in a part.
    """

    path: Path
    work: Path
    zarr: bool = False
    size: int = 1
    _held: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_held": {}}

    def begin(self, sample: Mapping[str, Any], count: int) -> None:
        """Make the arrays, in the size that they will have."""
        folder = self.work / "arrays"
        folder.mkdir(exist_ok=True)
        if self.zarr:
            with optional("zarr", "Zarr stores"):
                import zarr
            zarr.open_group(str(folder), mode="a")
        try:
            names: dict[str, str] = {}
            for name, value in {**sample, "index": np.zeros(1, np.int64)}.items():
                if not isinstance(value, np.ndarray) or value.dtype.kind not in "iufb":
                    continue
                if (other := names.setdefault(_file_name(name), name)) != name:
                    raise OutputError(f"'{other}' and '{name}' would both be in {_file_name(name)}: write .parquet")
                fill = -1 if name == "index" else np.nan if value.dtype.kind == "f" else 0
                self._make(folder / _file_name(name), (count, *value.shape[1:]), value.dtype, fill)
        except OSError as error:
            raise wrong_disk(self.path, error) from error

    def _make(self, path: Path, shape: tuple[int, ...], dtype: Any, fill: float) -> None:
        if self.zarr:
            import zarr

            chunk = (min(self.size, shape[0]), *shape[1:])
            if not path.exists():
                zarr.create_array(store=str(path), shape=shape, chunks=chunk, dtype=dtype, fill_value=fill)
            return
        goal = path.with_name(f"{path.name}.npy")
        if goal.exists():
            return
        temporary = goal.with_suffix(".tmp")
        rows = max(1, (1 << 24) // max(1, int(np.prod(shape[1:])) * dtype.itemsize))
        with open(temporary, "wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, shape[0], rows):
                file.write(np.full((min(rows, shape[0] - start), *shape[1:]), fill, dtype).tobytes())
        os.replace(temporary, goal)

    def write(self, part: int, columns: Mapping[str, Any], keys: Sequence[str] | None) -> None:
        """Write the rows of a part into every array, and then mark it as done."""
        folder, index = self.work / "arrays", np.asarray(columns["index"])
        try:
            for name, value in columns.items():
                if isinstance(value, list):
                    raise OutputError(
                        f"'{name}' has another shape from sample to sample: write .parquet, or one file a sample (npz)"
                    )
                if value.dtype.kind in "iufb" and len(index):
                    self._put(folder / _file_name(name), index, value)
            if keys is not None:
                lines = "".join(f"{' '.join(k.splitlines())}\n" for k in keys)
                write_file(self.work / f"{part:06}.keys", lines.encode())
        except OSError as error:
            raise wrong_disk(self.path, error) from error

    def _put(self, path: Path, index: Array, value: Array) -> None:
        if self.zarr:
            import zarr

            array = self._held.setdefault(str(path), zarr.open_array(str(path), mode="r+"))
            array.oindex[index] = value
            return
        # Mapped memory would end the process where the disk is full.
        with open(path.with_name(f"{path.name}.npy"), "r+b") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            start, row = file.tell(), int(np.prod(shape[1:])) * dtype.itemsize
            if value.shape[1:] != shape[1:]:
                raise OutputError(
                    f"'{path.name}' has another shape from sample to sample ({list(shape[1:])}, {list(value.shape[1:])}): write "
                    ".parquet, or one file a sample (npz)"
                )
            for run in np.split(np.arange(len(index)), np.flatnonzero(np.diff(index) != 1) + 1):
                file.seek(start + int(index[run[0]]) * row)
                file.write(np.ascontiguousarray(value[run], dtype).tobytes())
            file.flush()
            os.fsync(file.fileno())

    def finish(self, parts: int, count: int) -> None:
        """Move the folder into its place, with a line for the key of every sample, empty where it could not be explained."""
        folder = self.work / "arrays"
        files = [f for p in range(parts) if (f := self.work / f"{p:06}.keys").exists()]
        if folder.exists() and files:
            keys = (key for file in files for key in file.read_text(encoding="utf-8").split("\n")[:-1])
            lines = "".join(f"{next(keys) if i >= 0 else ''}\n" for i in self._index(folder))
            write_file(folder / "keys.txt", lines.encode())
        if self.zarr:  # it writes under temporary names, and leaves one where a run is killed
            for left in folder.rglob("*.partial"):
                if left.is_file():
                    left.unlink()
        _moved(folder, self.path)

    def _index(self, folder: Path) -> Array:
        """The numbers of the samples, −1 for those that could not be explained."""
        if self.zarr:
            import zarr

            return np.asarray(zarr.open_array(str(folder / "index"), mode="r")[:])
        return np.asarray(np.load(folder / "index.npy"))


@dataclass(frozen=True)
class FileSink:
    """A folder with an .npz file for each sample, named by its key, or its number.

    Args:
        path: the folder.
        work: the folder for parts.
    """

    path: Path
    work: Path

    def begin(self, sample: Mapping[str, Any], count: int) -> None:
        """Make the folder."""
        (self.work / "files").mkdir(exist_ok=True)

    def write(self, part: int, columns: Mapping[str, Any], keys: Sequence[str] | None) -> None:
        """Write a file for each sample."""
        folder = self.work / "files"
        for i, index in enumerate(columns["index"]):
            name = f"{int(index):09}" if keys is None else keys[i]
            goal = folder / f"{name.strip('/').replace('..', '_')}.npz"
            try:
                goal.parent.mkdir(parents=True, exist_ok=True)
                self._check_free(goal, int(index))
                arrays = {n: _storable(v[i]) for n, v in columns.items()}
                part_name = goal.with_name(f".{int(index)}{UNFINISHED}")
                with open(part_name, "wb") as file:  # not by write_file, which looks through the folder each time
                    write_npz(file, arrays)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part_name, goal)
            except ValueError:
                raise OutputError(
                    f"sample {int(index)}: no file can be called {name!r}: choose another key, or write .parquet"
                ) from None
            except OSError as error:
                raise wrong_disk(self.path, error) from error

    def _check_free(self, goal: Path, index: int) -> None:
        """Refuse to write over another sample; a part that is repeated writes over its own."""
        if goal.exists() and (other := int(mapped_npz(goal)["index"])) != index:
            raise self._same(min(index, other), max(index, other), goal)

    def _same(self, first: int, second: int, goal: Path) -> OutputError:
        name = goal.relative_to(self.work / "files")
        return OutputError(
            f"samples {first} and {second} would both be {name}; choose another key and begin anew, or write .parquet"
        )

    def finish(self, parts: int, count: int) -> None:
        """Move the folder into its place, without what a killed run left half-written."""
        folder = self.work / "files"
        for left in folder.rglob(f".*{UNFINISHED}"):
            left.unlink()
        there = sum(1 for _ in folder.rglob("*.npz"))
        if folder.exists() and there != count:  # written at the same time by two processes
            raise OutputError(
                f"{count - there} samples have the key of another: choose another key and begin anew, or write .parquet"
            )
        _moved(folder, self.path)


def _storable(value: Any) -> Array:
    array = np.asarray(value)
    return array.astype(str) if array.dtype.kind == "O" else array


def _moved(folder: Path, path: Path) -> None:
    """Move results into their place. What was there is moved aside, into the folder for parts, and goes with it."""
    if path.exists() and not folder.exists():  # moved by a run that was stopped after it
        return
    try:
        if path.exists():
            os.replace(path, folder.with_name("replaced"))
        os.replace(folder, path)
    except OSError as error:
        raise wrong_disk(path, error) from error


def _file_name(name: str) -> str:
    """A column's name as that of a file."""
    return name.replace("/", "_")


def wrong_disk(path: Path, error: OSError) -> OutputError:
    """What to say where the disk does not take what is written."""
    return OutputError(f"cannot write {path}: {error.strerror or error}; what was done is kept: go on with resume (--resume)")


UNFINISHED = ".part"
"""How the name of a file ends that is being written into the folder for parts."""

FORMS = ("parquet", "npy", "zarr", "npz")
"""Forms of results: one file, a folder of arrays, a Zarr store, a folder with one file a sample."""


def sink_for(path: Path, form: str | None, work: Path, size: int, ragged: bool = False) -> Sink:
    """The sink for a path.

    Args:
        path: where results go.
        form: one of `FORMS`; None reads it from the ending.
        work: the folder for parts.
        size: samples in a part.
        ragged: whether samples differ in shape.

    Raises:
        OutputError: the form is unknown, or the ending tells none.
    """
    ending = path.suffix.lower().removeprefix(".")
    found = form or {"parquet": "parquet", "zarr": "zarr"}.get(ending)
    if found not in FORMS:
        raise OutputError(
            f"cannot tell the form of {path}: end it in .parquet or .zarr, or name a folder and say form='npy' (arrays to map "
            "into memory) or form='npz' (one file a sample); in the shell --form"
        )
    if found == "parquet":
        return ParquetSink(path, work, ragged)
    return FileSink(path, work) if found == "npz" else ArraySink(path, work, found == "zarr", size)
