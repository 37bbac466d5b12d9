"""The metadata of an explained model: one JSON object that describes how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx

from onnxplain.errors import ModelError
from onnxplain.io.plain import from_json

__all__ = ["CONTRACT", "METADATA_KEY", "added_inputs", "read_metadata", "sample_axis_in", "write_metadata"]

METADATA_KEY = "onnxplain"
"""The key of the description in `metadata_props`."""

CONTRACT = 1
"""The version of the contract (docs/contract.md). It is raised when hosts have to change."""


def write_metadata(model: onnx.ModelProto, about: dict[str, Any]) -> None:
    """Store the description of an explained model in its metadata.

    Args:
        model: the explained model, changed in place.
        about: the description; JSON-serializable.
    """
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(about, ensure_ascii=False, sort_keys=False)


def sample_axis_in(about: Mapping[str, Any], name: str) -> int | None:
    """The axis of an input, an output or the explained tensor of an explained model that counts samples; None where none does.

    Files written before there were other axes than the first say only whether there is one.
    """
    if not about.get("batched", True):
        return None
    axes: Mapping[str, int | None] = about.get("sample_axes", {})
    return axes.get(name, 0)


def added_inputs(about: Mapping[str, Any]) -> dict[str, str]:
    """The inputs beyond the model's own, with the kind of each."""
    run_time = about.get("run_time_inputs", {})
    named = {kind: [value] if isinstance(value, str) else list(value.values()) for kind, value in run_time.items()}
    return {name: kind for kind, names in named.items() for name in names}


def read_metadata(model: onnx.ModelProto) -> dict[str, Any] | None:
    """Read the description of an explained model from its metadata.

    Args:
        model: any model.

    Returns:
        The description; None if the model is not an explained one.

    Raises:
        ModelError: the entry is not a JSON object.
    """
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                found = from_json(entry.value)
            except ValueError as error:
                raise ModelError(f"the metadata '{METADATA_KEY}' is damaged: no JSON ({error}); write the file again") from None
            if not isinstance(found, dict):
                raise ModelError(f"the metadata '{METADATA_KEY}' is damaged: expected an object; write the file again")
            return found
    return None
