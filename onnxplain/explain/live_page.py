"""The live page of explainers: their explained models, written and handed to the page."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onnxplain.results.live.description import PageSettings
from onnxplain.results.live.explained_file import read_explained
from onnxplain.results.live.page import write_page

__all__ = ["page_of"]


def page_of(
    saves: Sequence[tuple[str, Callable[[Path], Path]]],
    path: str | os.PathLike[str],
    settings: PageSettings,
    runtime: str | os.PathLike[str] | None,
) -> Path:
    """Write a page for explained models that are not in files yet.

    Args:
        saves: a name for each model, and what writes it to a path.
        path: as in `write_page`.
        settings: as in `write_page`.
        runtime: as in `write_page`.

    Returns:
        The page.
    """
    with tempfile.TemporaryDirectory(prefix="onnxplain-") as folder:
        files = []
        for place, (name, save) in enumerate(saves):
            (Path(folder) / str(place)).mkdir()  # external weights of models lie beside them, under names of their own
            files.append(read_explained(save(Path(folder) / str(place) / f"{_unique(name, place, saves)}.onnx")))
        return write_page(files, path, settings, runtime=runtime)


def _unique(name: str, place: int, saves: Sequence[tuple[str, object]]) -> str:
    """The name of a file: the method, with its place among several by the same one."""
    same: Mapping[int, str] = {i: n for i, (n, _) in enumerate(saves) if n == name}
    return name if len(same) == 1 else f"{name}-{list(same).index(place) + 1}"
