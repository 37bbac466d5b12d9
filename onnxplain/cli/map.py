"""The command `onnxplain map`."""

from __future__ import annotations

from typing import Any

import click

from onnxplain.cli.given import prepared_by
from onnxplain.cli.options import (
    compares,
    mask_option,
    method_options,
    model_options,
    options_of_each,
    read_baseline,
    read_masks,
    run_options,
    settings_of,
    trust_option,
)
from onnxplain.cli.show import wrote
from onnxplain.explain.picture_front import PictureSettings
from onnxplain.explain.streaming.mapping import ENGINES
from onnxplain.explain.streaming.mapping import map as run_map
from onnxplain.explain.streaming.place import beside_results
from onnxplain.io.reader import read
from onnxplain.results.streams.sink import FORMS
from onnxplain.runtime.inputs import model_inputs

__all__ = ["map_command"]


def _names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """Names separated by commas."""
    return None if value is None else [name.strip() for name in value.split(",") if name.strip()]


@click.command("map")
@click.argument("model", type=click.Path())
@click.argument("data", nargs=-1, required=True)
@click.option("-o", "--out", required=True, metavar="PATH", help="A .parquet file, a .zarr store, or a folder with --form.")
@click.option("--form", type=click.Choice(FORMS), help="npy: arrays to map into memory; npz: one file a sample.")
@model_options
@click.option("-t", "--target", default=None, metavar="T", help="As for explain; the same for all samples.  [default: top]")
@click.option("--target-column", metavar="NAME", help="The column of a table that says which index is explained.")
@click.option("--columns", callback=_names, metavar="A,B,…", help="Columns of a table that are features, in the model's order.")
@click.option("--key", metavar="NAME", help="The column of a table that names a sample.")
@click.option("--keep", callback=_names, metavar="A,B,…", help="Columns of a table to hand on to the results.")
@click.option("--cohort", metavar="NAME", help="The column by which the summary tells cohorts apart.")
@click.option("--memory", default="1GB", show_default=True, help="What the run may take beside the loaded model.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples per run.  [default: measured]")
@click.option("--part", type=click.IntRange(min=1), help="Samples per part, a row group of .parquet.  [default: about 2 seconds]")
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True, help="How many run at a time.")
@click.option("--engine", type=click.Choice(ENGINES), default="local", show_default=True, help="ray: a cluster.")
@click.option("--address", metavar="HOST:PORT", help="Of a running Ray cluster; one is started here without.")
@click.option("--on-error", type=click.Choice(["stop", "skip"]), default="stop", show_default=True,
              help="What a sample does that cannot be read or explained: end the run, or be recorded and left out.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped.")
@click.option("--force", "overwrite", is_flag=True, help="Replace what is there.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of one run.")
@mask_option
@trust_option
@run_options
def map_command(
    model: str, data: tuple[str, ...], out: str, form: str | None, target: str | None, provider: str, baseline: str | None,
    options: tuple[str, ...], masks: tuple[str, ...], keep: list[str] | None, preprocess: str | None,
    **given: Any,
) -> None:  # fmt: skip
    """Explain every sample of a data set.

    DATA is a folder of pictures, arrays or texts; .npy, .npz or .zarr; .csv, .parquet, .arrow; .tar archives (WebDataset); or
    NAME=FILE for each input of a model with several. Several methods, separated by commas, share what is read.

    Results are written in parts: Ctrl-C, a crash or a full disk cost one part, and --resume goes on.
    """
    shared = ("method", "output", "inputs", "layers", "score", "rules", "sample_axis")
    settings = settings_of(**{name: given.pop(name) for name in shared})
    methods = settings.pop("method").split(",")
    told = PictureSettings.of(read(model, hold=True), None)
    numbers = (given["mean"], given["std"], given["scale"], given["layout"])
    look = prepared_by(preprocess, told.preprocessing, data, numbers, model_inputs(model))
    own = options_of_each(methods, method_options(options))
    if baseline is not None:
        value = read_baseline(baseline)
        own = {m: {**o, "baseline": value} if compares(m, o) else o for m, o in own.items()}
    try:
        done = run_map(
            model, data, out, methods, form=form, target=target, keep=keep or (), mask=read_masks(masks), providers=provider,
            options=own, preprocess=look if look.name else preprocess, **given, **settings,
        )  # fmt: skip
    except KeyboardInterrupt:
        click.echo(f"onnxplain: stopped; what was done is kept: go on with --resume ({out})", err=True)
        raise SystemExit(130) from None
    wrote(done.path)
    missing = f", {len(done.problems):,} left out ({beside_results(done.path, 'errors.csv')})" if done.problems else ""
    click.echo(f"{done.count - len(done.problems):,} samples explained{missing}; {done.batch:,} in one run")
