"""Checks an explained model's metadata against the JSON schema of the contract (docs/contract.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from onnxplain.io.json_schema import problems_of

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
    """
    return list(problems_of(about, metadata_schema()))
