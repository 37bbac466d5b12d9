"""A value checked against a JSON schema, as far as the schema of the contract goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["problems_of"]

KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip


def problems_of(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, place: str = "") -> Iterator[str]:
    """What violates a schema (draft 2020-12), with its place in the value.

    Known are type, const, enum, anyOf, $ref to a definition of the same schema, properties, required, additionalProperties,
    minProperties, items, uniqueItems, minLength, pattern and minimum.

    Args:
        value: what was parsed from JSON.
        schema: the schema, or a part of it.
        root: the whole schema; None where `schema` is it.
        place: of the value, for messages.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        yield from problems_of(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, place)
    if "anyOf" in schema and all(any(True for _ in problems_of(value, s, root)) for s in schema["anyOf"]):
        yield _told(place, f"{_short(value)} is none of what is allowed")
    wanted = schema.get("type")
    if wanted is not None and not any(_is(value, kind) for kind in ([wanted] if isinstance(wanted, str) else wanted)):
        yield _told(place, f"{_short(value)} is not of type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}")
        return
    if "const" in schema and not _equal(value, schema["const"]):
        yield _told(place, f"{_short(value)} is not {schema['const']!r}")
    if "enum" in schema and not any(_equal(value, e) for e in schema["enum"]):
        yield _told(place, f"{_short(value)} is not one of {', '.join(map(repr, schema['enum']))}")
    if isinstance(value, dict):
        yield from _of_object(value, schema, root, place)
    elif isinstance(value, list):
        for i, item in enumerate(value if "items" in schema else ()):
            yield from problems_of(item, schema["items"], root, f"{place}.{i}")
        if schema.get("uniqueItems") and len({_key(item) for item in value}) < len(value):
            yield _told(place, f"{_short(value)} names something twice")
    elif isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield _told(place, f"{value!r} is too short")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield _told(place, f"{_short(value)} does not match {schema['pattern']}")
    elif _is(value, "number") and value < schema.get("minimum", value):
        yield _told(place, f"{value} is less than {schema['minimum']}")


def _of_object(value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], place: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield _told(place, f"'{name}' is missing")
    if len(value) < schema.get("minProperties", 0):
        yield _told(place, "it is empty")
    for name, part in value.items():
        inner = known.get(name, schema.get("additionalProperties"))
        if isinstance(inner, Mapping):
            yield from problems_of(part, inner, root, f"{place}.{name}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, KINDS[kind]) or (kind == "integer" and isinstance(value, float) and value.is_integer())


def _equal(a: Any, b: Any) -> bool:
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _key(value: Any) -> str:
    """A text that equal values share; 1 and 1.0 are equal, 1 and true are not."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _told(place: str, problem: str) -> str:
    return f"{place.removeprefix('.') or 'the object'}: {problem}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
