"""JSON and TOML from files and shells: nesting without end and numbers without end are told in one line, as any other mistake."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

__all__ = ["as_plain", "from_json", "from_toml"]


def from_json(text: str | bytes) -> Any:
    """The value that JSON text stands for.

    Raises:
        ValueError: it is no JSON, is nested too deeply, or holds an integer of thousands of digits.
    """
    return _bounded(json.loads, text)


def as_plain(value: Any) -> Any:
    """A value in the form that JSON has: arrays become lists, numbers that are not finite null, and what is unknown text."""
    if isinstance(value, Mapping):
        return {str(k): as_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return as_plain(value.tolist())
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def from_toml(text: str) -> dict[str, Any]:
    """The table that TOML text stands for.

    Raises:
        ValueError: it is no TOML, is nested too deeply, or holds an integer of thousands of digits.
    """
    made: dict[str, Any] = _bounded(tomllib.loads, text)
    return made


def _bounded(parse: Callable[[Any], Any], text: str | bytes) -> Any:
    try:
        return parse(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (json.JSONDecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise
    except ValueError as error:
        raise ValueError("it holds an integer of thousands of digits" if "digits" in str(error) else str(error)) from None
