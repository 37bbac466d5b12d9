"""The command `onnxplain debug-bundle`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from onnxplain.cli.options import method_options, model_options, read_baseline, settings_of
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.explain.debug_bundle import debug_bundle
from onnxplain.explain.rewrite import rewrite
from onnxplain.io.writer import write_file

__all__ = ["debug_bundle_command"]


@click.command("debug-bundle")
@click.argument("model", type=click.Path())
@click.option("-o", "--out", default="onnxplain-debug.zip", show_default=True, metavar="FILE", help="Where to write it.")
@force_option
@model_options
@click.option("-t", "--target", default=None, metavar="T", help="As for explain.")
@click.option("--baseline", metavar="NUMBER|FILE", help="The reference input, for methods that need one.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
def debug_bundle_command(
    model: str, out: str, force: bool, target: str | None, baseline: str | None, options: tuple[str, ...], **chosen: Any
) -> None:
    """Write what a report of a mistake needs, without the model's weights.

    The archive holds the model's structure, versions, and what happened: names and shapes, but no documentation. Look into it
    before you send it. With the options of the command that failed, the model is rewritten once, and what happens is in the
    report.
    """
    (path,) = outputs([out], force, model)
    attempt = partial(
        rewrite, model, target=target, baseline=read_baseline(baseline), **settings_of(**chosen), **method_options(options)
    )
    data = debug_bundle(model, attempt)
    deliver(path, lambda file: write_file(Path(file), data))
