"""The command `onnxplain verify`."""

from __future__ import annotations

import click

from onnxplain.cli.show import show_check
from onnxplain.io.samples import read_inputs
from onnxplain.verification.verify import own_inputs
from onnxplain.verification.verify import verify as run_verify

__all__ = ["verify_command"]


@click.command("verify")
@click.argument("file", type=click.Path())
@click.argument("files", metavar="[INPUT…]", nargs=-1)
@click.option("--model", type=click.Path(), help="The original model; its hash, inputs and prediction are compared, too.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random input, if none is given.")
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or an execution provider of ONNX Runtime.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify_command(file: str, files: tuple[str, ...], model: str | None, seed: int, provider: str, as_json: bool) -> None:
    """Check an explained model: its metadata, its origin, and a run.

    Exits with 1 if something is wrong.
    """
    x = read_inputs(files, own_inputs(file)) if files else None
    report = run_verify(file, model, x, providers=provider, seed=seed)
    show_check(report, as_json)
    if not report.ok:
        raise click.exceptions.Exit(1)
