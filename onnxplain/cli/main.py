"""The command line: which commands there are. Each is a file of its own, loaded when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from onnxplain._version import __version__
from onnxplain.errors import OnnxplainError

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "explain": ("explain", "Explain predictions."),
    "rewrite": ("rewrite", "Write a model that returns its prediction and its explanation."),
    "plan": ("plan", "Show which rule serves which node, and what is missing."),
    "check": ("check", "Prove it on your own model and input: finite differences, and what the method promises."),
    "inspect": ("inspect", "Show what an explained model returns, what it needs, and how it was made."),
    "verify": ("verify", "Check an explained model: its metadata, where it came from, and a run."),
    "methods": ("methods", "List the methods, or show one with its options."),
    "operators": ("operators", "List the operators and how each is served."),
    "evaluate": ("evaluate", "Measure which explanation deserves trust."),
    "metrics": ("metrics", "List the metrics of `onnxplain evaluate`, or tell all about one."),
    "bench": ("bench", "Measure what explaining costs."),
    "advise": ("advise", "Say what in a model's structure helps or hinders its explanations."),
    "tcav": ("tcav", "Test whether a class depends on concepts shown by examples."),
    "prototype": ("prototype", "Search the input that the model takes for the best example of a class."),
}
"""By name: the module of this package that holds the command, and what it does in one line."""


class _Group(click.Group):
    """Loads a command when it is called, and prints the project's own errors as one clear line, exiting with code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f"onnxplain.cli.{COMMANDS[cmd_name][0]}"), f"{cmd_name}_command")
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OnnxplainError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"onnxplain: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:
            ctx.exit(0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="onnxplain")
def main(debug: bool) -> None:
    """Explain predictions of any ONNX model.

    Shortest use: onnxplain explain MODEL.onnx INPUT.npy -o explanation.html
    """
