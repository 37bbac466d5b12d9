"""Composites of your own, on top of those of a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onnxplain.ir.registry import Rule
from onnxplain.method.registry import find_method
from onnxplain.propagation.composite import Composite, NodePattern

__all__ = ["own_composite"]


def own_composite(name: str, entries: Sequence[tuple[NodePattern, Rule]], base: str | Composite = "lrp-epsilon") -> Composite:
    """A composite of your own: its entries are tried first, a method's composite serves the rest.

    Args:
        name: what it is called in tables.
        entries: `(Where(…), rule)` in the order they are tried.
        base: the name of a method, with its default options, or another composite.

    Raises:
        MethodError: there is no method of that name.
    """
    rest = base if isinstance(base, Composite) else find_method(base).rules()
    return replace(rest, name=name, entries=(*entries, *rest.entries), own=len(entries))
