"""Arrays from .npy and .npz files. What a header asks for is compared with what is there before any memory is taken."""

from __future__ import annotations

import ast
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxplain.errors import InputError

__all__ = ["UNREADABLE", "array_names", "check_expansion", "check_npy", "open_member", "read_npy", "read_npz", "reading"]

Array = np.ndarray[Any, Any]

LONGEST_HEADER = 10_000
"""Bytes of a header, as NumPy has it."""

EXPANDED = 1 << 30
"""Bytes that an archive may always expand to; beyond them a hundred times its own size."""

UNREADABLE = (
    OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, struct.error, zipfile.BadZipFile, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
"""What NumPy and zipfile raise on files that are none of theirs."""


def read_npy(path: Path, content: IO[bytes] | None = None) -> Array:
    """The array in a .npy file.

    Args:
        path: the file.
        content: its content where it lies within another file; the path then names it in errors.

    Raises:
        InputError: the file is none, is cut off, or holds Python objects.
    """
    with _told(path), open(path, "rb") if content is None else nullcontext(content) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        check_npy(file, size)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def array_names(path: Path) -> list[str]:
    """The names of the arrays in a .npz file.

    Raises:
        InputError: the file is no archive.
    """
    with _told(path), zipfile.ZipFile(path) as archive:
        return [_name(info) for info in archive.infolist()]


def read_npz(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """Some of the arrays in a .npz file, by name.

    Raises:
        InputError: the file is no archive, one of them is no array, is encrypted, or expands to far more than the file.
    """
    with _told(path), zipfile.ZipFile(path) as archive:
        infos = {_name(info): info for info in archive.infolist()}
        wanted = {name: infos[name] for name in names}
        check_expansion(path, wanted.values())
        return {name: _member(archive, info) for name, info in wanted.items()}


def check_expansion(path: Path, members: Iterable[zipfile.ZipInfo]) -> None:
    """Refuse an archive whose members expand to far more than the file.

    Raises:
        InputError: they come to more than `EXPANDED` bytes, and to more than a hundred times the file.
    """
    most, total = max(EXPANDED, 100 * path.stat().st_size), sum(info.file_size for info in members)
    if total > most:
        raise InputError(f"{path} expands to {total:,} bytes, which is beyond a limit of {most:,}; save large arrays as .npy")


def open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> IO[bytes]:
    """A member of an archive, opened.

    Raises:
        ValueError: it is encrypted.
    """
    if info.flag_bits & 1:
        raise ValueError(f"'{info.filename}' is encrypted; save the arrays without a password")
    return archive.open(info)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    with open_member(archive, info) as file:
        check_npy(file, info.file_size)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def check_npy(file: IO[bytes], size: int) -> None:
    """Check that the bytes from a file's position on hold what their .npy header asks for, and go back to that position.

    Args:
        file: an open file.
        size: how many bytes from there on belong to the array.

    Raises:
        ValueError: they are no array, or fewer than it needs.
    """
    start = file.tell()
    magic = file.read(min(8, size))
    if magic[:6] != b"\x93NUMPY" or magic[6:7] not in (b"\1", b"\2", b"\3"):
        raise ValueError("it is no array in NumPy's format (.npy)")
    width, form = (2, "<H") if magic[6] == 1 else (4, "<I")
    (length,) = struct.unpack(form, file.read(width).ljust(width, b"\0"))
    if length > LONGEST_HEADER:
        raise ValueError(f"its header has {length:,} bytes, more than {LONGEST_HEADER:,}")
    try:
        header = ast.literal_eval(file.read(length).decode("utf-8" if magic[6] == 3 else "latin-1").strip())
        shape, kind = header["shape"], np.dtype(np.lib.format.descr_to_dtype(header["descr"]))
        if type(shape) is not tuple or any(type(d) is not int for d in shape):
            raise TypeError
        asked = prod(shape) * kind.itemsize
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError, OverflowError, AttributeError):
        raise ValueError("its header is damaged") from None
    if any(d < 0 for d in shape):
        raise ValueError(f"it has a negative extent: {list(shape)}")
    if kind.hasobject:
        raise ValueError("it holds Python objects, which need allow_pickle")
    there = size - 8 - width - length
    if asked > there:
        raise ValueError(f"it is cut off: {list(shape)} of {kind} needs {asked:,} bytes, {there:,} are there")
    file.seek(start)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors with the name of the file."""
    try:
        yield
    except InputError:
        raise
    except UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        hint = "; store text as a fixed-width array (astype(str))" if "allow_pickle" in reason else ""
        raise InputError(f"cannot read {path}: {reason}{hint}") from error


def reading(path: Path, read: Callable[[], Any]) -> Any:
    """What reading a file returns.

    Args:
        path: the file, which errors name.
        read: reads it.

    Raises:
        InputError: it raised an error of reading.
    """
    with _told(path):
        return read()
