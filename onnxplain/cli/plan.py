"""The command `onnxplain plan`."""

from __future__ import annotations

from typing import Any

import click

from onnxplain.cli.options import method_options, model_options, settings_of
from onnxplain.cli.show import show_plan
from onnxplain.explain.plan import plan as make_plan

__all__ = ["plan_command"]


@click.command("plan")
@click.argument("model", type=click.Path())
@model_options
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
@click.option("--all", "everything", is_flag=True, help="Also show nodes that the explanation does not pass.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plan_command(model: str, options: tuple[str, ...], everything: bool, as_json: bool, **chosen: Any) -> None:
    """Show the rule that serves each node, and the operators without a rule. Exits with 2 if there are any."""
    made = make_plan(model, **settings_of(**chosen), **method_options(options))
    show_plan(made, everything, as_json)
    if made.missing:
        raise click.exceptions.Exit(2)
