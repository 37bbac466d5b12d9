"""`onnxplain plan`."""

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
@click.option("--all", "everything", is_flag=True, help="Show nodes off the way too.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plan_command(model: str, options: tuple[str, ...], everything: bool, as_json: bool, **chosen: Any) -> None:
    """Show which rule serves which node, and what is missing. Exits with 2 if something is."""
    made = make_plan(model, **settings_of(**chosen), **method_options(options))
    show_plan(made, everything, as_json)
    if made.missing:
        raise click.exceptions.Exit(2)
