"""Checks an explained model's metadata against the JSON schema of the contract (docs/contract.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from onnxplain._optional import optional

__all__ = ["metadata_problems", "metadata_schema"]


@lru_cache(maxsize=1)
def metadata_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of the metadata entry `onnxplain` of an explained model."""
    text = files("onnxplain.io").joinpath("contract.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def metadata_problems(about: Mapping[str, Any]) -> list[str]:
    """Check metadata against the schema.

    Args:
        about: the metadata of an explained model, as `read_metadata` returns it.

    Returns:
        One line per violation, with its place in the metadata; empty if the metadata conforms.

    Raises:
        MissingDependencyError: jsonschema is not installed.
    """
    with optional("verify", "checks of metadata"):
        from jsonschema import Draft202012Validator
    errors = sorted(Draft202012Validator(metadata_schema()).iter_errors(about), key=lambda e: list(map(str, e.absolute_path)))
    return [f"{'.'.join(map(str, e.absolute_path)) or 'the object'}: {e.message}" for e in errors]
