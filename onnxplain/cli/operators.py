"""The command `onnxplain operators`."""

from __future__ import annotations

import click

from onnxplain.cli.options import json_option
from onnxplain.cli.show import show_operators
from onnxplain.explain.catalog import operators as list_operators

__all__ = ["operators_command"]


@click.command("operators")
@click.option("--rules", metavar="DIR", multiple=True, help="A folder with your own rules; may be repeated.")
@json_option
def operators_command(rules: tuple[str, ...], as_json: bool) -> None:
    """List the operators and how each is supported.

    By a rule, by the standard's function body, by an expansion, or with a derivative of zero or one (straight-through).
    """
    show_operators(list_operators(list(rules) or None), as_json)
