"""Reading explanations back from .npz files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.errors import InputError
from onnxplain.io.arrays import array_names, read_npz
from onnxplain.io.contract import metadata_schema
from onnxplain.io.json_schema import problems_of
from onnxplain.io.plain import from_json
from onnxplain.io.text.encoded import EncodedText
from onnxplain.results.explanation_data import ExplanationData

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
        fields = _fields(arrays)
        problem = _problem(ExplanationData(**fields))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged, or of another version: its arrays are not those that it names") from error
    if problem:
        raise InputError(f"{path} is damaged, or of another version: {problem}")
    return fields


def _problem(made: ExplanationData) -> str:
    """What cannot be, in what was read; empty where all fits together."""
    wrong = next(problems_of(made.about, {**metadata_schema(), "required": ["method", "target", "output"]}), "")
    if wrong:
        return f"of what it says of itself, {wrong}"
    for name, values in made.attributions.items():
        if values.dtype.kind not in "fiu" or values.ndim <= (made.sample_axis(name) or 0):
            return f"the attribution of '{name}' is {list(values.shape)} of {values.dtype}"
    if not made.attributions:
        return "it has no attribution"
    count = len(made)
    for name in made.attributions:
        if len(made.samples_first(name)) != count:
            return f"the attribution of '{name}' has another number of samples than {count}"
    if made.target is not None and (made.target.dtype.kind not in "iu" or made.target.shape not in ((1,), (count,))):
        return f"the target is {list(made.target.shape)} of {made.target.dtype}, of {count} samples"
    if made.delta is not None and (made.delta.dtype.kind != "f" or made.delta.shape[:1] != (count,)):
        return f"the delta is {list(made.delta.shape)} of {made.delta.dtype}, of {count} samples"
    for kind in ("sample_names", "target_names", "texts"):
        if len(getattr(made, kind)) not in (0, count):
            return f"{kind} are {len(getattr(made, kind))}, of {count} samples"
    return ""


def _names(given: Any) -> list[str]:
    """A list of names.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise TypeError("no list of names")
    return given


def _fields(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    about, parts = from_json(str(arrays["about"])), from_json(str(arrays[PARTS]))
    outputs = {name: arrays[key] for name, key in parts["outputs"].items()}
    return {
        "attributions": {name: arrays[key] for name, key in parts["attributions"].items()},
        "inputs": {name: arrays[key] for name, key in parts["inputs"].items()},
        "outputs": {name: from_json(str(v)) if name in parts["maps"] else v for name, v in outputs.items()},
        "target": arrays["target"] if "target" in parts["own"] else None,
        "about": about,
        "labels": _names(parts["labels"]),
        "delta": arrays["delta"] if "delta" in parts["own"] else None,
        "facts": {name: arrays[name] for name in parts["facts"]},
        "features": tuple(_names(parts["features"])),
        "sample_names": tuple(_names(parts["sample_names"])),
        "texts": tuple(map(EncodedText.of_dict, from_json(str(arrays["texts"])))) if "texts" in parts["own"] else (),
        "target_names": tuple(_names(parts["target_names"])),
    }
