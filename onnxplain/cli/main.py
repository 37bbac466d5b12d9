"""The entry point of the command line. The module of a command is loaded when the command is called."""

from __future__ import annotations

import logging
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from onnxplain._version import __version__
from onnxplain.errors import InternalError, OnnxplainError, visible

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "explain": ("explain", "Explain predictions."),
    "generate": ("generate", "Continue a prompt, and explain every generated token by the tokens before it."),
    "attention": ("attention", "Show how the tokens of an input look at each other, head by head."),
    "map": ("map", "Explain every sample of a data set."),
    "rewrite": ("rewrite", "Write a model that returns its prediction and its explanation."),
    "plan": ("plan", "Show the rule that serves each node, and the operators without a rule."),
    "check": ("check", "Check a method on your own model and input: finite differences, and the method's own axioms."),
    "page": ("page", "Write a page that predicts and explains in the browser what people drop, draw, paste or change."),
    "inspect": ("inspect", "Show what an explained model takes and returns, and how it was made."),
    "verify": ("verify", "Check an explained model: its metadata, its origin, and a run."),
    "methods": ("methods", "List the methods, or show one method with its options."),
    "operators": ("operators", "List the operators and how each is supported."),
    "evaluate": ("evaluate", "Compare explanation methods by quantitative metrics."),
    "metrics": ("metrics", "List the metrics of `onnxplain evaluate`, or show one metric in detail."),
    "bench": ("bench", "Measure what explanations cost: time and memory."),
    "advise": ("advise", "Point out what in a model's structure helps or hinders explanations."),
    "example": ("example", "Write a small model that reads handwritten digits"),
    "completion": ("completion", "Print a script for the shell that completes commands, options, methods and metrics."),
    "tcav": ("tcav", "Test whether the score of a class depends on a concept given by examples."),
    "drift": ("drift", "Compare the attributions of two runs of `onnxplain map`."),
    "prototype": ("prototype", "Search for the input with the highest score for a class."),
    "debug-bundle": ("debug_bundle", "Write what a report of a mistake needs, without the model's weights."),
}
"""By name of the command: its module in this package, and a summary."""


MISTAKE = 3
"""The exit status of errors that are mistakes of onnxplain's own."""


class _Group(click.Group):
    """Loads commands on demand. Prints the project's own errors as one line and exits with code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f"onnxplain.cli.{COMMANDS[cmd_name][0]}"), f"{COMMANDS[cmd_name][0]}_command")
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
            ctx.exit(MISTAKE if isinstance(error, InternalError) else 2)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except MemoryError:
            if ctx.params.get("debug"):
                raise
            click.echo("onnxplain: there is not enough memory; take a smaller batch or fewer samples", err=True)
            ctx.exit(2)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"onnxplain: {unforeseen(error)}", err=True)
            ctx.exit(MISTAKE)


def unforeseen(error: Exception) -> str:
    """An error that nobody foresaw, in one line."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    what = visible(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}".removesuffix(": "))
    return (
        f"an error that is a mistake of onnxplain's own ({what}, in {Path(where.filename).name}, line {where.lineno}); "
        "please report it, with the file that `onnxplain debug-bundle MODEL` writes; `onnxplain --debug …` shows the traceback"
    )


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done, as the logger `onnxplain` does in Python.")
@click.version_option(__version__, prog_name="onnxplain")
def main(debug: bool, verbose: bool) -> None:
    """Explain predictions of any ONNX model.

    Shortest use: onnxplain explain MODEL.onnx INPUT.npy -o explanation.html
    """
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(relativeCreated)6.0f ms  %(name)s: %(message)s"))
        logger = logging.getLogger("onnxplain")
        logger.setLevel(logging.DEBUG)
        logger.handlers = [handler]
