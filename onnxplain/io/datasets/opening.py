"""Opening a data set: which kind it is follows from its path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnxplain.errors import InputError, nearest
from onnxplain.io.datasets.arrays import ArrayData
from onnxplain.io.datasets.dataset import Choice, DataSet
from onnxplain.io.datasets.files import FolderData, TarData
from onnxplain.io.datasets.tables import TableData
from onnxplain.io.images import Look
from onnxplain.ir.tensor import Tensor

__all__ = ["DATA_ENDINGS", "open_data"]

TABLES = (".csv", ".parquet", ".arrow", ".feather")
ARRAYS = (".npy", ".npz", ".zarr")
DATA_ENDINGS = (*ARRAYS, *TABLES, ".tar")
"""Endings of data sets; folders of samples are another kind."""


def open_data(paths: Sequence[str], tensors: Sequence[Tensor], look: Look, choice: Choice) -> DataSet:
    """Open a data set. Nothing but what tells its size is read.

    Args:
        paths: one file or folder; several .tar archives; or `name=file` for each input, of .npy, .npz or .zarr.
        tensors: the model's inputs.
        look: how pixel values become input values, for pictures.
        choice: which columns of a table are what.

    Raises:
        InputError: there is no such data, or it does not fit the model.
        MissingDependencyError: its kind needs a package that is not installed.
    """
    named = {n: Path(p) for n, p in (_split(text, tensors) for text in paths)}
    first = next(iter(named.values()))
    if len(named) < len(paths) and not all(p.lower().endswith(".tar") and not Path(p).is_dir() for p in paths):
        raise InputError(
            f"{' and '.join(paths[:2])} are several data sets: give one, or .tar archives, or name=file for each input"
        )
    kind = first.suffix.lower()
    if look.is_used and kind in (*TABLES, *ARRAYS):
        raise InputError("mean, std, scale and layout are for pictures; prepare arrays and tables yourself")
    if choice != Choice() and kind not in TABLES:
        raise InputError(f"columns, key and keep are for tables ({', '.join(TABLES)}), not for {first}")
    if kind == ".tar" and not first.is_dir():
        return TarData.of([Path(p) for p in paths], _only(tensors, first), look)
    if first.is_dir() and kind != ".zarr":
        archives = sorted(first.glob("*.tar"))
        if archives:
            return TarData.of(archives, _only(tensors, first), look)
        return FolderData.of(first, _only(tensors, first), look)
    if len(named) > 1 or (kind in ARRAYS and len(paths) == 1):
        other = next((p for p in named.values() if p.suffix.lower() not in ARRAYS), None)
        if other is not None:
            raise InputError(f"{other}: several files are one data set if each is an input of arrays, name=file.npy")
        return ArrayData(named, tuple(tensors))
    if kind in TABLES:
        return TableData(first, tuple(tensors), choice)
    raise InputError(f"cannot read {first}: unknown ending '{first.suffix}'; known: folders, {', '.join(DATA_ENDINGS)}")


def _split(text: str, tensors: Sequence[Tensor]) -> tuple[str, Path]:
    """The input's name, "" where none is given, and the path, which exists."""
    name, equals, rest = text.partition("=")
    known = [t.name for t in tensors]
    if equals and not Path(text).exists():
        if name not in known:
            raise InputError(f"no input '{name}' in the model; {nearest(name, known)}")
        text = rest
    else:
        name = ""
    if not Path(text).exists():
        raise InputError(f"no file or folder at {text}")
    return name, Path(text)


def _only(tensors: Sequence[Tensor], path: Path) -> Tensor:
    if len(tensors) != 1:
        names = ", ".join(t.name for t in tensors)
        raise InputError(
            f"{path} holds one file a sample, and the model has {len(tensors)} inputs ({names}); give name=file.npy each"
        )
    return tensors[0]
