"""`onnxplain operators`."""

from __future__ import annotations

import click

from onnxplain.cli.show import show_operators
from onnxplain.explain.catalog import operators as list_operators

__all__ = ["operators_command"]


@click.command("operators")
@click.option("--rules", metavar="DIR", multiple=True, help="A folder with rules of your own; may be repeated.")
def operators_command(rules: tuple[str, ...]) -> None:
    """List the operators and how each is served: by a rule, the standard's body, an expansion, zero, straight-through."""
    show_operators(list_operators(list(rules) or None))
