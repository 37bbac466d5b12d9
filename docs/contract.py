"""The example and the table of contract.md, from a real file and the schema; `generate.py` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from onnxplain.explain.rewrite import rewrite
from onnxplain.io.contract import metadata_schema
from onnxplain.io.metadata import read_metadata

ROOT = Path(__file__).resolve().parent.parent


def example() -> str:
    """What a file says that is made from the digits model."""
    made = rewrite(ROOT / "fixtures" / "digits" / "model.onnx", "taylor", target="input", baseline="input")
    about = read_metadata(made)
    return f"```json\n{json.dumps(about, indent=2, ensure_ascii=False)}\n```"


def members() -> str:
    """One row per member."""
    rows = [f"| `{name}` | {kind(entry)} | {entry.get('description', '')} |" for name, entry in walk(metadata_schema(), "")]
    return "\n".join(["| member | type | meaning |", "|---|---|---|", *rows])


def walk(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The members of an object and of the objects in it."""
    named = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict) and "$ref" not in schema["additionalProperties"]:
        named["<name>"] = schema["additionalProperties"]
    for name, entry in named.items():
        yield f"{prefix}{name}", entry
        yield from walk(entry, f"{prefix}{name}.")


def kind(entry: Mapping[str, Any]) -> str:
    """The type of a member in a word."""
    if "$ref" in entry:
        return "object of names"
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f'"{value}"' for value in entry["enum"])
    if "anyOf" in entry:
        return ", ".join(kind(choice) for choice in entry["anyOf"])
    types = entry["type"] if isinstance(entry["type"], list) else [entry["type"]]
    inner = f" of {kind(entry['items'])}" if "items" in entry else ""
    return " or ".join(types) + inner
