"""Reading explanations back from .npz files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.arrays import array_names, read_npz
from onnxplain.io.pictures.placed import PlacedPicture
from onnxplain.io.text.encoded import EncodedText

__all__ = ["PARTS", "load_fields"]

PARTS = "explanation"
"""The array of a .npz file that says, as JSON text, which array is what: by name the arrays of attributions, inputs and outputs,
the names of facts, the outputs that are JSON texts themselves (`maps`), which of target, delta and texts there are (`own`), and
the names of classes, targets, features and samples."""


def load_fields(path: Path) -> dict[str, Any]:
    """The fields of an explanation that `save` wrote to a .npz file.

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be read, or holds no explanation of this version.
    """
    if path.suffix.lower() != ".npz":
        raise InputError(f"explanations are read from .npz files, not from {path}; save('explanation.npz') writes one")
    if not path.exists():
        raise InputError(f"no file at {path}")
    arrays = read_npz(path, array_names(path))
    if PARTS not in arrays or "about" not in arrays:
        raise InputError(f"{path} holds no explanation that can be read back; Explanation.save writes those that can")
    try:
        return _fields(arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged, or of another version: its arrays are not those that it names") from error


def _fields(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    about, parts = json.loads(str(arrays["about"])), json.loads(str(arrays[PARTS]))
    pictures = {
        name: [PlacedPicture.of_dict(told, arrays[told["preview"]]) for told in found]
        for name, found in parts.get("pictures", {}).items()
    }
    reference = pictures.pop("", [None])[0]
    outputs = {name: arrays[key] for name, key in parts["outputs"].items()}
    return {
        "attributions": {name: arrays[key] for name, key in parts["attributions"].items()},
        "inputs": {name: arrays[key] for name, key in parts["inputs"].items()},
        "outputs": {name: json.loads(str(v)) if name in parts["maps"] else v for name, v in outputs.items()},
        "target": arrays["target"] if "target" in parts["own"] else None,
        "about": about,
        "labels": parts["labels"],
        "delta": arrays["delta"] if "delta" in parts["own"] else None,
        "facts": {name: arrays[name] for name in parts["facts"]},
        "features": tuple(parts["features"]),
        "sample_names": tuple(parts["sample_names"]),
        "texts": tuple(map(EncodedText.of_dict, json.loads(str(arrays["texts"])))) if "texts" in parts["own"] else (),
        "target_names": tuple(parts["target_names"]),
        "pictures": pictures,
        "reference": reference,
    }
