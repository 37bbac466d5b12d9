"""The command `onnxplain rewrite`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from onnxplain.cli.options import json_option, mask_option, method_options, model_options, read_baseline, read_masks, settings_of
from onnxplain.cli.show import show_contract, wrote
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.io.reader import read
from onnxplain.io.samples import read_inputs
from onnxplain.io.writer import check_model_ending, check_writable, write_model
from onnxplain.ir.registry import load_registry
from onnxplain.runtime.inputs import model_inputs
from onnxplain.verification.verify import verify_prediction

__all__ = ["rewrite_command"]


@click.command("rewrite")
@click.argument("model", type=click.Path())
@click.option("-o", "--out", required=True, metavar="FILE", help="Where to write the explained model.")
@model_options
@click.option("-t", "--target", default=None, metavar="T",
              help="As for explain; or input / cotangent: the host chooses at run time.")  # fmt: skip
@click.option(
    "--baseline",
    metavar="NUMBER|FILE|input|ids",
    help="The reference input; `input`: the host provides it at run time, `ids`: as integers to look up.",
)
@mask_option
@click.option("--only-attribution", is_flag=True, help="Omit the model's own outputs, if the host already has the prediction.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples per run: the file processes a batch of any size N samples at a time, which bounds its memory.",
)
@click.option("--verify", "inputs_to_verify", multiple=True, metavar="INPUT",
              help="Compare the prediction on this input with the model's own first; NAME=FILE for several inputs.")  # fmt: skip
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
@json_option
def rewrite_command(
    model: str, out: str, target: str | None, baseline: str | None, masks: tuple[str, ...], only_attribution: bool,
    batch_size: int | None, inputs_to_verify: tuple[str, ...], options: tuple[str, ...], as_json: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Write a model that returns its prediction and its explanation.

    The file runs wherever ONNX Runtime runs. Its inputs and outputs are the original ones, followed by those of the explanation.
    With --verify, the file is not written if its prediction differs from that of the model.
    """
    check_writable(Path(out))
    check_model_ending(Path(out))
    settings = settings_of(**chosen)
    registry = load_registry(settings.pop("rules"))
    source = read(model, hold=True)
    request = Request.for_graph(
        registry=registry, mask=read_masks(masks), target=target, baseline=read_baseline(baseline),
        only_attribution=only_attribution, batch_size=batch_size, options=method_options(options), **settings,
    )  # fmt: skip
    if inputs_to_verify:
        verify_prediction(model, request, read_inputs(inputs_to_verify, model_inputs(model)))
    done = rewrite_source(source, request)
    written = write_model(done.model, Path(out), source.folder, source.lazy_weights)
    if not as_json:
        wrote(written)
    if as_json:
        click.echo(json.dumps(done.about, indent=2, ensure_ascii=False))
    else:
        show_contract(done.model, done.about)
