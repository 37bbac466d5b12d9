"""The command `onnxplain inspect`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from onnxplain.cli.show import show_contract, show_plain_model
from onnxplain.errors import ModelError
from onnxplain.io.contract import metadata_problems
from onnxplain.io.metadata import METADATA_KEY, read_metadata
from onnxplain.io.reader import read

__all__ = ["inspect_command"]


@click.command("inspect")
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect_command(file: str, as_json: bool) -> None:
    """Show what an explained model takes and returns, and how it was made."""
    model = read(file).model
    about: Mapping[str, Any] | None = read_metadata(model)
    problems = [] if about is None else metadata_problems(about)
    if problems:
        told = "; ".join(problems[:3])
        raise ModelError(f"the metadata '{METADATA_KEY}' of {file} breaks the contract: {told}; write the file again")
    if as_json:
        click.echo(json.dumps(about, indent=2))  # in ASCII: names may hold control characters
    elif about is None:
        show_plain_model(model)
    else:
        show_contract(model, about)
