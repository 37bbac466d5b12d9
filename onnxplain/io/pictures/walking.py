"""Folders and patterns of pictures."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from onnxplain.errors import InputError

__all__ = ["PICTURES", "files_in", "is_pattern", "pictures_in"]

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""File endings of images."""


def files_in(folder: Path, endings: tuple[str, ...]) -> list[str]:
    """The files of a folder and of those in it, as paths within the folder, in their order; hidden files and folders are left
    out."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        wanted = (n for n in names if Path(n).suffix.lower() in endings and not n.startswith("."))
        found += [Path(root, name).relative_to(folder).as_posix() for name in wanted]
    return sorted(found)


def is_pattern(text: str) -> bool:
    """Whether a text is no file itself, but a pattern of names of pictures, such as `photos/*.jpg`."""
    if not glob.has_magic(text) or not text.lower().endswith((*PICTURES, "*")):
        return False
    return not Path(text).exists()


def pictures_in(text: str) -> list[Path]:
    """The pictures of a folder, or those that fit a pattern, in the order of their names.

    Raises:
        InputError: there are none.
    """
    if is_pattern(text):
        found = [Path(p) for p in sorted(glob.glob(text, recursive=True)) if p.lower().endswith(PICTURES)]
        if not found:
            raise InputError(f"no picture fits {text}; pictures end in {', '.join(PICTURES)}")
        return found
    within = files_in(Path(text), PICTURES)
    if not within:
        raise InputError(f"{text} is a folder without pictures ({', '.join(PICTURES)}); name the files in it")
    return [Path(text, name) for name in within]
