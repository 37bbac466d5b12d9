"""NumPy's .npz archives: written the same for the same arrays, and mapped into memory without loading them."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from onnxplain.io.arrays import check_expansion, check_npy, open_member

__all__ = ["mapped_npy", "mapped_npz", "write_npz"]

Array = np.ndarray[Any, Any]

LOCAL_HEADER = 30
"""Bytes of a member's header in a zip file before its name (PKWARE APPNOTE, section 4.3.7)."""


def write_npz(file: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write arrays as .npz. The same arrays give the same bytes.

    Members are stored as they are, as `numpy.savez` does: floating-point numbers shrink by a few percent only, and that takes
    longer than most explanations.

    Args:
        file: an open file.
        arrays: by name.
    """
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def mapped_npz(path: Path) -> dict[str, Array]:
    """The arrays of a .npz file, mapped into memory where they are stored as they are, and loaded where they are compressed.

    Args:
        path: the file.

    Raises:
        InputError: what is compressed expands to far more than the file.
        onnxplain.io.arrays.UNREADABLE: it is no .npz file, is damaged, is encrypted, or holds objects.
    """
    made: dict[str, Array] = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        entries = archive.infolist()
        check_expansion(path, [e for e in entries if e.compress_type != zipfile.ZIP_STORED])
        for entry in entries:
            with open_member(archive, entry) as member:  # compares the header before the member with the archive's directory
                name = entry.filename.removesuffix(".npy")
                if entry.compress_type == zipfile.ZIP_STORED:
                    file.seek(entry.header_offset + 26)
                    name_length, extra_length = struct.unpack("<HH", file.read(4))
                    file.seek(entry.header_offset + LOCAL_HEADER + name_length + extra_length)
                    made[name] = _mapped(path, file, entry.file_size)
                else:
                    check_npy(member, entry.file_size)
                    made[name] = np.asarray(np.lib.format.read_array(member, allow_pickle=False))
    return made


def mapped_npy(path: Path) -> Array:
    """The array of a .npy file, mapped into memory.

    Args:
        path: the file.

    Raises:
        onnxplain.io.arrays.UNREADABLE: it is no .npy file, is cut off, or holds objects.
    """
    with open(path, "rb") as file:
        return _mapped(path, file, os.fstat(file.fileno()).st_size)


def _mapped(path: Path, file: IO[bytes], size: int) -> Array:
    """The array whose .npy bytes, `size` of them, begin at the file's position."""
    check_npy(file, size)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if fortran else "C")
