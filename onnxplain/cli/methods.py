"""The command `onnxplain methods`."""

from __future__ import annotations

import click

from onnxplain.cli.options import json_option
from onnxplain.cli.show import show_method, show_methods
from onnxplain.cli.values import complete_methods
from onnxplain.method.registry import all_methods, find_method

__all__ = ["methods_command"]


@click.command("methods")
@click.argument("name", required=False, shell_complete=complete_methods)
@json_option
def methods_command(name: str | None, as_json: bool) -> None:
    """List the methods, or show one method with its options."""
    if name is None:
        show_methods(all_methods(), as_json)
    else:
        show_method(find_method(name), as_json)
