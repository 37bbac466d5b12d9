"""Files on their way: unfinished parts with a lock each, so that what a killed process left behind is known and removed."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from onnxplain.errors import OutputError

__all__ = ["claimed", "lock", "part_of", "sweep"]

PREFIX = ".onnxplain-"
"""How the names of unfinished files and of claims begin."""

LONGEST = 200
"""Bytes of a file's name up to which its claim has that name too."""

CLAIMS, PAUSE = 4, 0.02
"""How often a claim is tried, and the seconds between: a sweep holds one for far less."""

ATTEMPTS = 100
"""Unfinished files that are begun before it is said that others remove them."""


def lock(file: IO[Any]) -> bool:
    """Lock an open file until it is closed or its process ends.

    Returns:
        Whether nobody else holds the lock: False where another process does. True where the system, or the file system, has no
        such locks.
    """
    return _locked(file) is not False


def _locked(file: IO[Any]) -> bool | None:
    """Whether the lock is ours; False where another process holds it, None where there are no such locks."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return None
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # some network file systems answer ENOLCK or ENOSYS
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
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
    for _ in range(ATTEMPTS):
        part = folder / f"{PREFIX}{secrets.token_hex(8)}.part"
        file = open(part, "xb")  # noqa: SIM115 - handed on open
        if lock(file) and _still(file, part):
            return file, part
        file.close()
        with suppress(OSError):
            part.unlink(missing_ok=True)
    raise OSError(errno.EAGAIN, "other processes remove its unfinished files")


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Keep other processes from writing the same file, from the first check to the last byte.

    Raises:
        OutputError: another process writes it now, or the folder cannot be written.
    """
    claim = path.parent / _claim_name(path.name)
    with _claim(claim, path):
        try:
            yield
        finally:
            with suppress(OSError):
                claim.unlink(missing_ok=True)


def _claim(claim: Path, path: Path) -> IO[bytes]:
    """The open and locked file that claims a path. A sweep of another process may hold it for an instant: then once more."""
    for attempt in range(CLAIMS):
        try:
            file = open(claim, "ab")  # noqa: SIM115 - open as long as the claim is held
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from None
        if lock(file) and _still(file, claim):
            return file
        file.close()
        if attempt < CLAIMS - 1:
            time.sleep(PAUSE)
    raise OutputError(f"another process is writing {path}; wait for it, or name another file")


def _claim_name(name: str) -> str:
    """The name of the file that claims one of this name: file systems take 255 bytes, so long names stand as their digest."""
    size = len(os.fsencode(name))
    return f"{PREFIX}{name if size <= LONGEST else hashlib.sha256(os.fsencode(name)).hexdigest()}.claim"


def sweep(folder: Path) -> None:
    """Remove the unfinished files in a folder whose processes are gone. Where there are no locks, nothing is removed."""
    with suppress(OSError), os.scandir(folder) as entries:
        left = [e.path for e in entries if e.name.startswith(PREFIX) and e.name.endswith((".part", ".claim"))]
        for name in left:
            with suppress(OSError), open(name, "rb") as file:
                if _locked(file):
                    os.unlink(name)


def _still(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one of that name: whoever held the claim before may have removed it."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False
