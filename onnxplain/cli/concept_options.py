"""Options shared by the commands on concepts and prototypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from onnxplain.cli.values import fraction

__all__ = ["concept_options", "concept_settings"]

F = TypeVar("F", bound=Callable[..., Any])


def concept_options(function: F) -> F:
    """Add the options that both commands take."""
    for option in reversed(
        [
            click.option("--output", metavar="NAME", help="The output (or inner tensor) that holds the scores."),
            click.option(
                "--provider", default="auto", show_default=True, help="auto, cpu, cuda, or an execution provider of ONNX Runtime."
            ),
            click.option("--rules", metavar="DIR", multiple=True, help="A folder with your own rules; may be repeated."),
            click.option("--scale", type=fraction, metavar="NUMBER", help="Factor on pixel values, e.g. 1/255."),
            click.option("--seed", default=0, show_default=True, help="Seed of the random numbers."),
        ]
    ):
        function = option(function)
    return function


def concept_settings(output: str | None, provider: str, rules: Sequence[str]) -> dict[str, Any]:
    """The values of these options as keyword arguments."""
    return {"output": output, "providers": provider, "rules": list(rules) or None}
