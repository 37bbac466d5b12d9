"""Writing files atomically, and writing explained models with their external data."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from onnxplain.errors import OutputError
from onnxplain.io.lazy_weights import Held, all_tensors
from onnxplain.io.parts import part_of

__all__ = ["check_model_ending", "check_not_read", "check_writable", "write_file", "write_model"]

Writer = Callable[[IO[bytes]], None]

Piece = bytes | tuple[int, int]
"""A part of a file to write: bytes, or a range of the original model's file as (start, length)."""

FILE_LIMIT = 2**31 - 1
"""The largest size of a model file in bytes: the limit of protocol buffers."""


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, so that a long computation does not fail at its end.

    Args:
        path: the file to be written.

    Raises:
        OutputError: the path is a folder, or its folder does not exist or is not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a folder; name a file in it")
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {folder}; create it first")
    if not os.access(folder if not path.exists() or path.is_file() else path, os.W_OK):
        raise OutputError(f"cannot write {path}: no permission to write in {folder}")


def check_not_read(path: str | os.PathLike[str], sources: Iterable[str | os.PathLike[str]]) -> None:
    """Check that a file or folder to be written is none that is read, and holds none.

    Args:
        path: what is to be written.
        sources: files and folders that are read, or `name=file`.

    Raises:
        OutputError: it is one of them, or a folder with one of them in it.
    """
    real = Path(os.path.realpath(path))
    given = [os.fspath(source) for source in sources]
    for text in [*given, *(file for source in given if (file := source.partition("=")[2]))]:
        read = Path(os.path.realpath(text))
        if real == read:
            raise OutputError(f"{path} is read by this command and would be replaced; name another output")
        if real in read.parents and real.exists():
            raise OutputError(f"{path} holds {text}, which is read by this command and would be replaced; name another output")


def check_model_ending(path: Path) -> None:
    """Check that a file for a model is called as one, so that none is written under the name of a picture or a table.

    Raises:
        OutputError: the ending is another than .onnx, of a file.
    """
    if path.suffix.lower() != ".onnx" and (path.is_file() or not path.exists()):
        raise OutputError(f"{path} is written as an ONNX model: call it {path.with_suffix('.onnx').name}")


def write_file(path: str | os.PathLike[str], content: bytes | Writer) -> Path:
    """Write a file atomically: under a temporary name in the same folder, then renamed.

    Args:
        path: the file. An existing file is replaced; a link keeps its target.
        content: the bytes, or a function that writes them to the open file it receives.

    Returns:
        The path.

    Raises:
        OutputError: the folder does not exist or is not writable, or the disk is full.
    """
    path = Path(path)
    check_writable(path)
    if path.exists() and not path.is_file():  # a pipe or a device must not be replaced by a file
        return _write_through(path, content)
    real = Path(os.path.realpath(path))
    try:
        with part_of(real) as file:
            file.write(content) if isinstance(content, bytes) else content(file)
            if real.exists():
                shutil.copymode(real, file.name)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _write_through(path: Path, content: bytes | Writer) -> Path:
    """Write to a pipe or a device, which cannot be replaced."""
    try:
        with open(path, "wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


# -- models ----------------------------------------------------------------------------------------------------------


def write_model(model: onnx.ModelProto, path: Path, folder: Path | None, lazy_weights: Held | None = None) -> Path:
    """Write an explained model, with a copy of its external data beside it. In the folder of the original nothing is copied.

    Args:
        model: the model. Its external data is not read.
        path: the file to write.
        folder: the folder of the external data; None if unknown.
        lazy_weights: the original model's file, if large weights are still in it. They are copied from there.

    Returns:
        The path.

    Raises:
        OutputError: the file cannot be written, or another file already has the name of an external data file.
    """
    path = Path(path)
    pieces = _serialized(model, lazy_weights, path)
    check_writable(path)
    own = None if lazy_weights is None else lazy_weights.name
    made: list[Path] = []
    try:
        locations = sorted({ExternalDataInfo(t).location for t in all_tensors(model) if uses_external_data(t)} - {own})
        if any(os.path.realpath(path) == os.path.realpath(path.parent / location) for location in locations):
            raise OutputError(f"cannot write {path}: weights of the model are read from a file of that name; name another file")
        for location in locations:
            made += _bring(location, folder, path)
        return write_file(path, lambda file: _write_pieces(pieces, lazy_weights, file))
    except BaseException:
        for file in made:
            file.unlink(missing_ok=True)
        raise


def _serialized(model: onnx.ModelProto, lazy_weights: Held | None, path: Path) -> list[Piece]:
    """The pieces of the model's file, after checking that they fit into one file."""
    too_large = OutputError(f"cannot write {path}: the model holds more than 2 GB itself; store its weights as external data")
    try:
        pieces: list[Piece] = [model.SerializeToString()] if lazy_weights is None else lazy_weights.pieces(model)
    except Exception as error:
        raise too_large from error
    if sum(len(piece) if isinstance(piece, bytes) else piece[1] for piece in pieces) > FILE_LIMIT:
        raise too_large
    return pieces


def _write_pieces(pieces: Sequence[Piece], lazy_weights: Held | None, file: IO[bytes]) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            file.write(piece)
        else:
            assert lazy_weights is not None
            file.flush()
            _copy(lazy_weights.file, file, *piece)


def _bring(location: str, folder: Path | None, path: Path) -> list[Path]:
    """Copy an external data file to the folder of the model, and return the files that were created."""
    if Path(location).is_absolute() or ".." in Path(location).parts:
        raise OutputError(f"cannot write {path}: external data '{location}' lies outside the folder of its model")
    goal = path.resolve().parent / location
    if folder is None:
        if goal.is_file():
            return []
        raise OutputError(f"cannot write {path}: it needs its external data '{location}' beside it; load the model from its path")
    source = (folder / location).resolve()
    if goal.exists():
        if os.path.samefile(source, goal) or filecmp.cmp(source, goal, shallow=False):
            return []
        raise OutputError(
            f"cannot write {path}: {goal} exists and differs from the external data of that name; choose another folder"
        )
    goal.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as opened:
        write_file(goal, lambda file: _copy(opened, file, 0, source.stat().st_size))
    return [goal]


def _copy(source: IO[bytes], file: IO[bytes], start: int, length: int) -> None:
    """Copy a part of a file, sharing disk blocks if the file system supports it.

    Links would be faster, but onnx rejects external data that is linked, even that of the original model.
    """
    done = 0
    if hasattr(os, "copy_file_range"):
        with suppress(OSError):  # not between these files
            while step := os.copy_file_range(source.fileno(), file.fileno(), length - done, start + done):
                done += step
    if done:
        file.seek(0, os.SEEK_END)
    source.seek(start + done)
    while part := source.read(min(length - done, 1 << 24)):
        file.write(part)
        done += len(part)
