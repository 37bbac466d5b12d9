"""The command `onnxplain rewrite`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from onnxplain.cli.detector_options import detector_options, take_detector
from onnxplain.cli.options import (
    json_option,
    mask_option,
    method_options,
    model_options,
    preprocess_option,
    read_baseline,
    read_masks,
    settings_of,
)
from onnxplain.cli.outputs import deliver, force_option, outputs, to_stdout
from onnxplain.cli.references import read_reference, similarity_options
from onnxplain.cli.show import show_contract, wrote
from onnxplain.errors import InputError, OutputError
from onnxplain.explain.detecting.candidates import detecting
from onnxplain.explain.picture_front import PictureSettings
from onnxplain.explain.request import Request
from onnxplain.explain.rewrite import rewrite_source
from onnxplain.explain.similarity import embedding_of, similar_to
from onnxplain.io.reader import read
from onnxplain.io.samples import read_inputs
from onnxplain.io.triton import write_triton
from onnxplain.io.writer import check_model_ending, check_not_read, write_model
from onnxplain.ir.registry import load_registry
from onnxplain.passes import prepared
from onnxplain.runtime.inputs import inputs_and_axes
from onnxplain.verification.verify import verify_prediction

__all__ = ["rewrite_command"]


@click.command("rewrite")
@click.argument("model", type=click.Path())
@click.option("-o", "--out", metavar="FILE", help="Where to write the explained model; - for standard output.")
@force_option
@click.option("--triton", "repository", metavar="DIR", help="Write it into a model repository of Triton, with its configuration.")
@click.option("--triton-name", metavar="NAME", help="What Triton calls it.  [default: MODEL_METHOD]")
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
@similarity_options
@preprocess_option
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
@detector_options
@json_option
def rewrite_command(
    model: str, out: str | None, force: bool, repository: str | None, triton_name: str | None, target: str | None,
    baseline: str | None, masks: tuple[str, ...], only_attribution: bool, batch_size: int | None,
    inputs_to_verify: tuple[str, ...], options: tuple[str, ...], as_json: bool,
    reference: str | None, similarity: str | None, preprocess: str | None, **chosen: Any,
) -> None:  # fmt: skip
    """Write a model that returns its prediction and its explanation.

    The file runs wherever ONNX Runtime runs. Its inputs and outputs are the original ones, followed by those of the explanation.
    With --verify, the file is not written if its prediction differs from that of the model.
    """
    if out is None and repository is None:
        raise OutputError("say where to write: -o FILE, or --triton DIR for a model repository")
    paths = outputs([] if out is None else [out], force, model)
    for path in paths:
        if not to_stdout(path):
            check_model_ending(path)
    detector = take_detector(chosen)
    settings = settings_of(**chosen)
    registry = load_registry(settings.pop("rules"))
    source = read(model, hold=True)
    other = read_reference(reference, model)
    if isinstance(other, Path | dict):
        other = PictureSettings.of(source, preprocess).with_reference(source, other)[1]
    output = settings.pop("output")
    similar = similar_to(other, similarity, output, lambda given, name: embedding_of(read(model), given, name))
    request = Request.for_graph(
        output=output, similarity=similar,
        registry=registry, mask=read_masks(masks), target=target, baseline=read_baseline(baseline),
        only_attribution=only_attribution, batch_size=batch_size, options=method_options(options), **settings,
    )  # fmt: skip
    name = triton_name or f"{Path(model).stem}_{request.method.name}"
    if repository is not None:
        _check_repository(Path(repository) / name, force, model)
    if detector is not None:
        if inputs_to_verify:
            raise InputError("--verify compares files as they are, and --detect adds the candidates to this one: leave one out")
        source, request, _ = detecting(prepared(source, registry), request, detector, [])
    if inputs_to_verify:
        shared = {k: chosen[k] for k in ("output", "score", "sample_axis")}
        inputs, axes = inputs_and_axes(model, rules=list(chosen["rules"]) or None, **shared)
        verify_prediction(model, request, read_inputs(inputs_to_verify, inputs, axes=axes.of_inputs))
    done = rewrite_source(source, request)
    for path in paths:
        deliver(path, lambda file: write_model(done.model, file, source.folder, source.lazy_weights), quiet=as_json)
    if repository is not None:
        made = write_triton(
            done.model, done.about, Path(repository), name, source=source.folder, lazy_weights=source.lazy_weights
        )  # fmt: skip
        if not as_json:
            wrote(made / "config.pbtxt")
    if as_json:
        click.echo(json.dumps(done.about, indent=2, ensure_ascii=False))
    else:
        show_contract(done.model, done.about)


def _check_repository(folder: Path, force: bool, model: str) -> None:
    """Refuse to replace a model in a repository unasked, or by itself.

    Raises:
        OutputError: it is there already, or is what is explained.
    """
    check_not_read(folder / "1" / "model.onnx", [model])
    if folder.exists() and not force:
        raise OutputError(f"{folder} exists; give --force to replace what is in it, or another name with --triton-name")
