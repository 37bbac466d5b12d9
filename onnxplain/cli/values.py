"""How values of options are parsed: numbers and fractions, lists of methods."""

from __future__ import annotations

from collections.abc import Sequence

import click

from onnxplain.errors import MethodError
from onnxplain.method.registry import all_methods

__all__ = ["complete_methods", "fraction", "methods_joined", "one_method"]


def fraction(text: str) -> float:
    """A number, or one divided by another: 1/255.

    Raises:
        BadParameter: it is neither.
    """
    above, _, below = str(text).partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise click.BadParameter(f"'{text}' is no number; expected one such as 0.5 or 1/255") from None


def methods_joined(ctx: click.Context, parameter: click.Parameter, given: Sequence[str]) -> str:
    """Several methods, each named by an option of its own or in a list with commas, as one list."""
    return ",".join(given)


def one_method(ctx: click.Context, parameter: click.Parameter, given: Sequence[str]) -> str:
    """The only method that a command takes."""
    if len(given) > 1:
        raise MethodError(f"`{ctx.info_name}` takes one method, not {len(given)}: {', '.join(given)}; run it once for each")
    return given[0]


def complete_methods(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The methods that continue what was typed, after the last comma."""
    before, comma, begun = incomplete.rpartition(",")
    return [before + comma + name for name in all_methods() if name.startswith(begun)]
