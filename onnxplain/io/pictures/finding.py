"""Where preprocessing is said: by the user, in the model's file, or beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from onnxplain.errors import InputError
from onnxplain.io.pictures.config_files import from_ultralytics, read_preprocessing
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.pictures.presets import PRESETS

__all__ = ["METADATA_KEY", "PreprocessLike", "find_preprocessing", "preprocessing_of"]

PreprocessLike: TypeAlias = "str | os.PathLike[str] | Mapping[str, Any] | Preprocessing"
"""The name of a preset, a file, a dict of fields, or the thing itself."""

METADATA_KEY = "onnxplain_preprocess"
"""The entry of a model's metadata with its preprocessing as JSON."""
BESIDE = ("preprocessor_config.json", "config.json")
NONE = "none"


def preprocessing_of(given: PreprocessLike) -> Preprocessing:
    """The preprocessing that a user means.

    Args:
        given: "none", the name of a preset, a JSON file, or fields by name.

    Raises:
        InputError: there is no such preset or file, or its contents are wrong.
    """
    if isinstance(given, Preprocessing):
        return given
    if isinstance(given, Mapping):
        return Preprocessing.from_dict(given)
    if isinstance(given, str) and given == NONE:
        return Preprocessing()
    if isinstance(given, str) and given in PRESETS:
        return PRESETS[given]
    path = Path(given)
    if path.is_dir():
        path = next((path / name for name in BESIDE if (path / name).is_file()), path / BESIDE[0])
    if not path.is_file():
        raise InputError(f"no preprocessing '{given}'; known: {', '.join((*PRESETS, NONE))}, or name a JSON file")
    return read_preprocessing(path)


def find_preprocessing(metadata: Mapping[str, str], folder: Path | None) -> Preprocessing | None:
    """The preprocessing that a model's file or its folder tells of.

    A model in a folder `onnx`, as on the Hugging Face hub, has its files in the folder above.

    Args:
        metadata: the entries of its metadata.
        folder: where its file lies; None if unknown.

    Returns:
        What the metadata says; else preprocessor_config.json, else the pretrained_cfg of a config.json; else None.

    Raises:
        InputError: what is found is wrong.
    """
    if METADATA_KEY in metadata:
        try:
            return Preprocessing.from_dict(json.loads(metadata[METADATA_KEY]), "the model's metadata")
        except (ValueError, AttributeError, RecursionError):
            raise InputError(f"the model's metadata '{METADATA_KEY}' is no JSON object") from None
    told = from_ultralytics(metadata)
    if told is not None or folder is None:
        return told
    for place in (folder, folder.parent) if folder.name == "onnx" else (folder,):
        for name in BESIDE:
            if (place / name).is_file() and (name == BESIDE[0] or _is_timm(place / name)):
                return read_preprocessing(place / name)
    return None


def _is_timm(path: Path) -> bool:
    """Whether a config.json, which many programs write, is timm's."""
    try:
        return '"pretrained_cfg"' in path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False
