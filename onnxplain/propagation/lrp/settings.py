"""Settings of relevance rules, checked against the annotations of the functions that take them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from onnxplain.propagation.lrp.linear_rules import BIASES

__all__ = ["unfit"]


def unfit(make: Callable[..., Any], given: Mapping[str, Any], called: Mapping[str, str] | None = None) -> list[str]:
    """What is wrong with settings, one line each.

    Args:
        make: the function that takes them; what it annotates as `float` is a number not below zero, as `Bias` one of `BIASES`.
        given: values by the names of its parameters.
        called: what parameters are called where the user writes them.
    """
    kinds = {p.name: str(p.annotation) for p in inspect.signature(make).parameters.values()}
    named = [((called or {}).get(name, name), value, kinds.get(name, "")) for name, value in given.items()]
    return [problem for name, value, kind in named if (problem := _problem(name, value, kind))]


def _problem(name: str, value: Any, kind: str) -> str:
    number = isinstance(value, Real) and not isinstance(value, bool)
    if kind == "float" and not (number and math.isfinite(value) and value >= 0):
        return f"'{name}' is a number not below zero, found {value!r}"
    if kind == "Bias" and value not in BIASES:
        return f"'{name}' is one of {', '.join(BIASES)}, found {value!r}"
    return ""
