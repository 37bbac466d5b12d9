"""Files on their way: unfinished parts with a lock each, so that what a killed process left behind is known and removed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from onnxplain.errors import OutputError

__all__ = ["claimed", "lock", "part_of", "sweep"]

PREFIX = ".onnxplain-"
"""How the names of unfinished files and of claims begin."""


def lock(file: IO[bytes]) -> bool:
    """Lock an open file until it is closed or its process ends.

    Returns:
        Whether the lock is ours: False where another process holds it. True where the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def part_of(path: Path) -> Iterator[IO[bytes]]:
    """An unfinished file in the folder of `path`, which replaces it when all went well, and is removed otherwise.

    Raises:
        OSError: the file cannot be written; `path` is as it was.
    """
    sweep(path.parent)
    opened, part = _begun(path.parent)
    try:
        with opened as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _begun(folder: Path) -> tuple[IO[bytes], Path]:
    """A new unfinished file, locked. Another process may sweep it away before the lock is ours: then another one."""
    while True:
        part = folder / f"{PREFIX}{secrets.token_hex(8)}.part"
        file = open(part, "xb")  # noqa: SIM115 - handed on open
        if lock(file) and _still(file, part):
            return file, part
        file.close()


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep other processes from writing the same file, from the first check to the last byte.

    Raises:
        OutputError: another process writes it now, or the folder cannot be written.
    """
    claim = path.parent / f"{PREFIX}{path.name}.claim"
    try:
        file = open(claim, "ab")  # noqa: SIM115 - open as long as the claim is held
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
    with file:
        if not lock(file) or not _still(file, claim):
            raise OutputError(f"another process is writing {path}; wait for it, or name another file")
        try:
            yield
        finally:
            with suppress(OSError):
                claim.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove the unfinished files in a folder whose processes are gone. Where the system has no locks, nothing is removed."""
    try:
        import fcntl  # noqa: F401
    except ImportError:  # pragma: no cover - Windows
        return
    with suppress(OSError), os.scandir(folder) as entries:
        left = [e.path for e in entries if e.name.startswith(PREFIX) and e.name.endswith((".part", ".claim"))]
        for name in left:
            with suppress(OSError), open(name, "rb") as file:
                if lock(file):
                    os.unlink(name)


def _still(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one of that name: whoever held the claim before may have removed it."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
