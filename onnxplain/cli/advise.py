"""The command `onnxplain advise`."""

from __future__ import annotations

import click

from onnxplain.cli.show_advice import show_advice
from onnxplain.evaluation.advice.advise import advise as make_advice

__all__ = ["advise_command"]


@click.command("advise")
@click.argument("model", type=click.Path())
@click.option("--output", metavar="NAME", help="The output (or inner tensor) that holds the scores.")
@click.option("--rules", metavar="DIR", multiple=True, help="A folder with your own rules; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def advise_command(model: str, output: str | None, rules: tuple[str, ...], as_json: bool) -> None:
    """Point out what in a model's structure helps or hinders explanations, and recommend a method.

    The model is not run; everything is read from its graph.
    """
    show_advice(make_advice(model, output=output, rules=list(rules) or None), as_json)
