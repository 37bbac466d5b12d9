"""What the ONNX standard says of an operator: parameters, their type classes, attribute defaults. Cached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import onnx
from onnx.defs import OpSchema

__all__ = ["Signature", "operators_of", "signature"]


@dataclass(frozen=True)
class Signature:
    """The parameters of one operator version.

    A type class is the schema's name for a set of types ("T") or one fixed type ("tensor(int64)"): parameters of the
    same class carry the same data type. `integer_classes` are those that allow integers only. `attributes` are the names of all,
    `attribute_kinds` their kinds (of `onnx.AttributeProto`), `required` those that may not be left out; `inputs` and `outputs`
    are the least and the greatest number of them, `optional_inputs` the places that may stay empty.
    """

    since: int
    input_classes: tuple[str, ...]
    output_classes: tuple[str, ...]
    variadic_inputs: bool
    variadic_outputs: bool
    defaults: dict[str, Any]
    has_body: bool
    integer_classes: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    inputs: tuple[int, int] = (0, 2**31)
    outputs: tuple[int, int] = (0, 2**31)
    attribute_kinds: Mapping[str, int] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    optional_inputs: frozenset[int] = frozenset()

    def input_class(self, index: int) -> str:
        """The type class of input `index`; the last parameter of a variadic operator repeats."""
        return self.input_classes[min(index, len(self.input_classes) - 1)] if self.input_classes else ""

    def output_class(self, index: int) -> str:
        """The type class of output `index`."""
        return self.output_classes[min(index, len(self.output_classes) - 1)]


@lru_cache(maxsize=4096)
def signature(op: str, domain: str, version: int) -> Signature | None:
    """The signature of an operator in an operator-set version; None for operators the standard does not know."""
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return None

    def variadic(parameters: Any) -> bool:
        return bool(parameters) and parameters[-1].option == OpSchema.FormalParameterOption.Variadic

    fixed = {c.type_param_str: c.allowed_type_strs[0] for c in schema.type_constraints if len(c.allowed_type_strs) == 1}

    def classes(parameters: Any) -> tuple[str, ...]:
        # Variadic parameters of mixed types (Loop, Scan, If) share a class name but not a type.
        return tuple(fixed.get(p.type_str, p.type_str) if p.is_homogeneous else f"{p.type_str}?" for p in parameters)

    defaults = {
        name: onnx.helper.get_attribute_value(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type != onnx.AttributeProto.UNDEFINED
    }
    return Signature(
        since=schema.since_version,
        input_classes=classes(schema.inputs),
        output_classes=classes(schema.outputs),
        variadic_inputs=variadic(schema.inputs),
        variadic_outputs=variadic(schema.outputs),
        defaults={k: _text(v) for k, v in defaults.items()},
        has_body=bool(schema.has_function or schema.has_context_dependent_function),  # type: ignore[attr-defined]
        integer_classes=frozenset(
            c.type_param_str
            for c in schema.type_constraints
            if all(t.startswith(("tensor(int", "tensor(uint")) for t in c.allowed_type_strs)
        ),
        attributes=frozenset(schema.attributes),
        inputs=(schema.min_input, schema.max_input),
        outputs=(schema.min_output, schema.max_output),
        attribute_kinds={n: int(a.type.value) for n, a in schema.attributes.items()},  # type: ignore[attr-defined]
        required=frozenset(n for n, a in schema.attributes.items() if a.required),
        optional_inputs=frozenset(i for i, p in enumerate(schema.inputs) if p.option != OpSchema.FormalParameterOption.Single),
    )


@lru_cache(maxsize=64)
def operators_of(version: int) -> tuple[str, ...]:
    """The names of the standard's operators in an operator-set version."""
    names = {s.name for s in onnx.defs.get_all_schemas_with_history() if not s.domain}
    return tuple(sorted(n for n in names if signature(n, "", version) is not None))


def _text(value: Any) -> Any:
    """Strings as text; what is no string as it is."""
    if isinstance(value, list):
        return [_text(v) for v in value]
    return value.decode() if isinstance(value, bytes) else value
