"""What there is: methods and operators."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from onnxplain.method import Method, all_methods
from onnxplain.registry import describe, load_registry

__all__ = ["methods", "operators"]


def methods() -> dict[str, Method]:
    """Every method by name, with summary, formula, source, axioms and options."""
    return all_methods()


def operators(rules: str | Path | Iterable[str | Path] | None = None) -> list[dict[str, Any]]:
    """Every operator version with a rule: operator, domain, since, role, rule, file; `rules` as in `rewrite`."""
    return [describe(spec) for spec in load_registry(rules)]
