"""Names of classes that a model's file, or a file beside it, tells."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["found_class_names"]

LONGEST = 1 << 20
"""Characters of metadata that are read as names."""


def found_class_names(metadata: Mapping[str, str], folder: Path | None) -> list[str]:
    """The names of a model's classes: `names` in its metadata, as Ultralytics writes them; `id2label` (transformers) or
    `label_names` (timm) of a config.json beside it or, of a model in a folder `onnx`, above it.

    What cannot be read as such is no error: it was not asked for.

    Args:
        metadata: the entries of the model's metadata.
        folder: where its file lies; None if unknown.

    Returns:
        A name per class, in order; none where nothing tells, or numbers are missing.
    """
    told = _in_order(_literal(metadata.get("names", "")))
    if told or folder is None:
        return told
    for place in (folder, folder.parent) if folder.name == "onnx" else (folder,):
        try:
            config = json.loads((place / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(config, Mapping):
            return _in_order(config.get("id2label") or config.get("label_names"))
    return []


def _literal(text: str) -> Any:
    """A dict or list written as Python writes it."""
    try:
        return ast.literal_eval(text) if 0 < len(text) <= LONGEST else None
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None


def _in_order(given: Any) -> list[str]:
    """Names by number, or listed, as a list."""
    if isinstance(given, Mapping):
        try:
            named = {int(key): str(value) for key, value in given.items()}
        except (TypeError, ValueError):
            return []
        return [named[i] for i in range(len(named))] if set(named) == set(range(len(named))) else []
    if isinstance(given, Sequence) and not isinstance(given, str | bytes) and all(isinstance(g, str) for g in given):
        return list(given)
    return []
