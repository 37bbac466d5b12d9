"""The command `onnxplain drift`."""

from __future__ import annotations

from pathlib import Path

import click

from onnxplain.cli.options import json_option
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.cli.show_drift import drift_json, show_drift
from onnxplain.errors import OutputError
from onnxplain.results.summary.drift import drift
from onnxplain.results.summary.page import write_drift
from onnxplain.results.summary.summary import Summary

__all__ = ["drift_command"]


@click.command("drift")
@click.argument("first", type=click.Path())
@click.argument("second", type=click.Path())
@click.option("--attribution", "name", metavar="NAME", help="Which attribution, where the runs have several.")
@click.option("-o", "--out", metavar="FILE", help="Write a page, .html.")
@click.option("--top", default=10, show_default=True, help="How many features to print.")
@force_option
@json_option
def drift_command(
    first: str, second: str, name: str | None, out: str | None, force: bool, top: int, as_json: bool
) -> None:  # fmt: skip
    """Compare the attributions of two runs of `onnxplain map`.

    FIRST and SECOND are what the runs wrote; the summaries beside them are read.
    """
    if out is not None and not out.endswith(".html"):
        raise OutputError(f"cannot write {out}: the page of a drift ends in .html")
    paths = outputs([] if out is None else [out], force, first, second)
    found = drift(Summary.load(_beside(first)), Summary.load(_beside(second)), name)
    if as_json:
        click.echo(drift_json(found))
    else:
        show_drift(found, top)
    for path in paths:
        deliver(path, lambda page: write_drift(found, page, (Path(first).name, Path(second).name)), quiet=as_json)


def _beside(text: str) -> Path:
    """The summary of a run."""
    return Path(text) if text.endswith(".summary.npz") else Path(f"{text.rstrip('/')}.summary.npz")
