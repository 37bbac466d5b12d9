"""Specs: a method or a metric with its options, as users write them - `smoothgrad(samples=16)`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnxplain.errors import InputError
from onnxplain.io.plain import from_json
from onnxplain.io.samples import read_array

__all__ = ["Spec", "read_spec", "split_specs"]


@dataclass(frozen=True)
class Spec:
    """A label for tables, the name of a method or metric, and its options."""

    label: str
    name: str
    options: Mapping[str, Any]


def read_spec(text: str, label: str | None = None) -> Spec:
    """Read a method or metric with its options from text: `name`, `name(option=value, …)` or `label=name(…)`.

    Args:
        text: the text. Values are JSON where they can be, arrays (.npy files), or text.
        label: the label in tables, where the text has none.

    Returns:
        Name, options and label.

    Raises:
        InputError: the text has another form.
    """
    text = text.strip()
    found = re.fullmatch(r"(?:([^()=,]+)=)?\s*([^()\s=,]+)\s*(?:\((.*)\))?", text, re.DOTALL)
    if found is None:
        raise InputError(f"'{text}' is no name with options; expected e.g. smoothgrad(samples=16) or label=smoothgrad")
    options: dict[str, Any] = {}
    for part in _split(found[3] or ""):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise InputError(f"'{text}': options are NAME=VALUE, found '{part.strip()}'")
        options[name.strip().replace("-", "_")] = _value(value.strip())
    return Spec(label or (found[1] or text).strip(), found[2], options)


def split_specs(text: str) -> list[str]:
    """Several specs separated by commas; those within brackets do not separate."""
    return [part.strip() for part in _split(text)]


def _split(text: str) -> list[str]:
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [p for p in parts if p.strip()]


def _value(text: str) -> Any:
    try:
        return from_json(text)
    except json.JSONDecodeError:
        return read_array(Path(text)) if text.endswith(".npy") else text
    except ValueError as error:
        raise InputError(f"'{text[:40]}…' is no value: {error}") from None
