"""The command `onnxplain check`."""

from __future__ import annotations

from typing import Any

import click

from onnxplain.cli.given import prepared_by
from onnxplain.cli.options import json_option, method_options, model_options, read_baseline, run_options, settings_of
from onnxplain.cli.show import show_check
from onnxplain.explain.picture_front import PictureSettings
from onnxplain.io.reader import read
from onnxplain.io.samples import read_inputs
from onnxplain.runtime.inputs import inputs_and_axes
from onnxplain.verification.check import check as run_check

__all__ = ["check_command"]


@click.command("check")
@click.argument("model", type=click.Path())
@click.argument("files", metavar="[INPUT…]", nargs=-1)
@model_options
@click.option("--directions", default=4, show_default=True, help="Random directions to compare along.")
@click.option("--seed", default=0, show_default=True, help="Seed of the directions, and of the input if none is given.")
@click.option("--nodes", "--calls", "nodes", is_flag=True, help="Check every node on its own, even if the whole model agrees.")
@json_option
@run_options
def check_command(
    model: str, files: tuple[str, ...], directions: int, seed: int, nodes: bool, provider: str, mean: list[float] | None,
    std: list[float] | None, scale: float | None, layout: str | None, preprocess: str | None,
    baseline: str | None, options: tuple[str, ...],    as_json: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Check a method on your own model and input: finite differences, and the method's own axioms.

    Exits with 1 if something disagrees, and names the first node where it does.
    """
    settings = settings_of(**chosen)
    x = None
    if files:
        inputs, axes = inputs_and_axes(model, **{k: settings[k] for k in ("output", "score", "sample_axis", "rules")})
        told = PictureSettings.of(read(model, hold=True), None)
        look = prepared_by(preprocess, told.preprocessing, files, (mean, std, scale, layout), inputs)
        x = read_inputs(files, inputs, mean=mean, std=std, scale=scale, layout=layout, axes=axes.of_inputs, look=look)
    report = run_check(
        model, settings.pop("method"), x, directions=directions, seed=seed, nodes=nodes, providers=provider,
        baseline=read_baseline(baseline), **settings, **method_options(options),
    )  # fmt: skip
    show_check(report, as_json)
    if not report.ok:
        raise click.exceptions.Exit(1)
