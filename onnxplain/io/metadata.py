"""How an explained model describes itself: a JSON object among its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import onnx

from onnxplain.errors import ModelError

__all__ = ["CONTRACT", "METADATA_KEY", "read_metadata", "sample_axis_in", "write_metadata"]

METADATA_KEY = "onnxplain"
"""The key of `metadata_props` under which an explained model describes itself."""

CONTRACT = 1
"""The version of the contract an explained model follows: raised when a host has to change (docs/contract.md)."""


def write_metadata(model: onnx.ModelProto, about: dict[str, Any]) -> None:
    """Put the description of an explained model into its metadata."""
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


def read_metadata(model: onnx.ModelProto) -> dict[str, Any] | None:
    """What an explained model says of itself; None for other models.

    Raises:
        ModelError: it is no JSON object.
    """
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                found = json.loads(entry.value)
            except json.JSONDecodeError as error:
                raise ModelError(f"the metadata '{METADATA_KEY}' is damaged: no JSON ({error}); write the file again") from None
            if not isinstance(found, dict):
                raise ModelError(f"the metadata '{METADATA_KEY}' is damaged: expected an object; write the file again")
            return found
    return None
