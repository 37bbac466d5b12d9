"""Reading explanations back from .npz files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import InputError

__all__ = ["PARTS", "load_fields"]

PARTS = "explanation"
"""The array of a .npz file that says, as JSON text, which array is what: by name the arrays of attributions, inputs and
outputs, the names of facts, the outputs that are JSON texts themselves (`maps`), and names of classes, features and samples."""


def load_fields(path: Path) -> dict[str, Any]:
    """The fields of an explanation that `save` wrote to a .npz file.

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be read, or holds no explanation of this version.
    """
    if path.suffix.lower() != ".npz":
        raise InputError(f"explanations are read from .npz files, not from {path}; save('explanation.npz') writes one")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise InputError(f"no file at {path}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    if PARTS not in arrays or "about" not in arrays:
        raise InputError(f"{path} holds no explanation that can be read back; Explanation.save writes those that can")
    about, parts = json.loads(str(arrays["about"])), json.loads(str(arrays[PARTS]))
    outputs = {name: arrays[key] for name, key in parts["outputs"].items()}
    return {
        "attributions": {name: arrays[key] for name, key in parts["attributions"].items()},
        "inputs": {name: arrays[key] for name, key in parts["inputs"].items()},
        "outputs": {name: json.loads(str(v)) if name in parts["maps"] else v for name, v in outputs.items()},
        "target": arrays.get("target"),
        "about": about,
        "labels": parts["labels"],
        "delta": arrays.get("delta"),
        "facts": {name: arrays[name] for name in parts["facts"]},
        "features": tuple(parts["features"]),
        "sample_names": tuple(parts["sample_names"]),
    }
