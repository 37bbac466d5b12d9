"""The methods: named, user-facing ways to explain. A method is passes, a composite, a seed and a finish."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from onnxplain.composite import GRADIENT, Composite
from onnxplain.errors import MethodError, nearest

if TYPE_CHECKING:
    from onnxplain.tensor import Tensor

__all__ = ["Method", "Option", "all_methods", "find_method", "method"]

FAMILIES = ("gradient", "taylor", "lrp")
"""The files of this folder that define methods, in the order users see them."""


@dataclass(frozen=True)
class Option:
    """A method's option, read from the signature of its function."""

    name: str
    default: Any
    annotation: str


@dataclass(frozen=True)
class Method:
    """A way to explain: `run(job, **options)` returns the attribution of every explained tensor."""

    name: str
    run: Callable[..., dict[Tensor, Tensor]]
    summary: str
    formula: str
    source: str
    axioms: tuple[str, ...]
    needs_baseline: bool
    signed: bool
    composite: Composite | Callable[..., Composite]
    options: tuple[Option, ...]

    def rules(self, options: dict[str, Any] | None = None) -> Composite:
        """The composite that serves the method's walk, for the given options."""
        return self.composite if isinstance(self.composite, Composite) else self.composite(**self.checked(options or {}))

    def checked(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options with defaults filled in.

        Raises:
            MethodError: an option the method does not know; the message names those it does.
        """
        known = {o.name: o.default for o in self.options}
        for name in options:
            if name not in known:
                takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
                raise MethodError(f"method '{self.name}' has no option '{name}'; {takes}")
        return {**known, **options}


_METHODS: dict[str, Method] = {}


def method(
    name: str,
    *,
    summary: str,
    formula: str,
    source: str,
    axioms: tuple[str, ...] = (),
    needs_baseline: bool = False,
    signed: bool = True,
    composite: Composite | Callable[..., Composite] = GRADIENT,
    options: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., dict[Tensor, Tensor]]], Callable[..., dict[Tensor, Tensor]]]:
    """Enter the decorated function as a method; its keyword-only parameters are the method's options.

    Args:
        name: lower-case, with hyphens, as in the literature.
        summary: one line for tables.
        formula: the attribution in one line of mathematics.
        source: where the method was published.
        axioms: what it promises, of completeness, conservation, sensitivity, implementation-invariance.
        needs_baseline: whether it compares with a reference input.
        signed: whether attributions may be negative.
        composite: which rule serves which call; a function of the options where it depends on them.
        options: the function whose keyword-only parameters are the options, where it is not the decorated one.
    """

    def register(function: Callable[..., dict[Tensor, Tensor]]) -> Callable[..., dict[Tensor, Tensor]]:
        parameters = [p for p in inspect.signature(options or function).parameters.values() if p.kind is p.KEYWORD_ONLY]
        known = tuple(Option(p.name, p.default, str(p.annotation)) for p in parameters)
        _METHODS[name] = Method(name, function, summary, formula, source, axioms, needs_baseline, signed, composite, known)
        return function

    return register


def all_methods() -> dict[str, Method]:
    """Every method by name."""
    for family in FAMILIES:
        import_module(f"onnxplain.method.{family}")
    return dict(_METHODS)


def find_method(name: str) -> Method:
    """The method of that name, or an error with the nearest names."""
    known = all_methods()
    if name not in known:
        raise MethodError(f"no method '{name}'; {nearest(name, known)}")
    return known[name]
