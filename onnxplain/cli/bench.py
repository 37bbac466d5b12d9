"""The command `onnxplain bench`."""

from __future__ import annotations

from typing import Any

import click

from onnxplain.bench.benchmark import bench as run_bench
from onnxplain.bench.report import BenchReport, check_ending
from onnxplain.bench.sets import SetReport, bench_set, members
from onnxplain.cli.options import json_option, method_options, options_of_each, several_methods
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.cli.show_bench import show_bench, show_set, working
from onnxplain.errors import InputError
from onnxplain.io.samples import read_inputs
from onnxplain.runtime.inputs import inputs_and_axes

__all__ = ["bench_command"]


@click.command("bench")
@click.argument("model", type=click.Path(), required=False)
@click.argument("files", metavar="[INPUT…]", nargs=-1)
@several_methods
@click.option("--set", "sets", multiple=True, metavar="A|FILE",
              help="In place of MODEL: A, some 17 networks of kinds that people deploy, or a file; may be repeated.")  # fmt: skip
@click.option("--batch", "batches", type=click.IntRange(min=1), multiple=True, metavar="N",
              help="Samples per run; may be repeated.  [default: 1 and 8, or the model's own]")  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N",
              help="Samples that the explained files process at a time.  [default: all]")  # fmt: skip
@click.option("--size", "sizes", multiple=True, metavar="AXIS=N",
              help="Extent of another free axis of random inputs, by name; may be repeated.  [default: 8]")  # fmt: skip
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads within one operator.")
@click.option("--rounds", type=click.IntRange(min=1), default=7, show_default=True, help="Number of rounds.")
@click.option("--seconds", type=click.FloatRange(min=0), default=0.3, show_default=True, help="Least time per file and round.")
@click.option("--profile", is_flag=True, help="Show the operators that cost most.")
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or an execution provider of ONNX Runtime.")
@click.option(
    "--baseline", type=float, default=0.0, show_default=True, help="Value of the reference input, for methods that need one."
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
@click.option("-o", "--out", multiple=True, metavar="FILE",
              help="Write .md, .json or .csv; may be repeated.  [-.md: to standard output]")  # fmt: skip
@force_option
@json_option
def bench_command(
    model: str | None, files: tuple[str, ...], method: str, layers: tuple[str, ...], rules: tuple[str, ...],
    sets: tuple[str, ...], batches: tuple[int, ...], sizes: tuple[str, ...], options: tuple[str, ...], out: tuple[str, ...],
    force: bool, as_json: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Measure what explanations cost: time and memory of the explained models against those of the model itself.

    MODEL, or every model of a set, and its rewritten files (one per method; separate several methods by commas) run in turn,
    each in a process of its own. INPUT is read as by `onnxplain explain`; without it, random samples are used.
    """
    paths = outputs(out, force, model, *files)
    for path in paths:
        check_ending(path)
    methods = method.split(",")
    if (model is None) == (not sets):
        raise InputError("give a MODEL, or models by --set, and not both" if sets else "give a MODEL, or models by --set")
    settings = {
        **chosen, "batches": batches, "extents": _extents(sizes), "layer": list(layers) or None, "rules": list(rules) or None,
        "options": options_of_each(methods, method_options(options)), "inputs": list(chosen["inputs"]) or None,
    }  # fmt: skip
    report: BenchReport | SetReport
    with working() as say:
        if model is None:
            report = bench_set(members(sets), methods, say=say, **settings)
        else:
            x = None
            if files:
                shared = {k: chosen[k] for k in ("output", "score", "sample_axis")}
                own, axes = inputs_and_axes(model, rules=list(rules) or None, **shared)
                x = read_inputs(files, own, axes=axes.of_inputs)
            report = run_bench(model, methods, x, say=say, **settings)
    if as_json:
        click.echo(report.json(), nl=False)
    elif isinstance(report, SetReport):
        show_set(report)
    else:
        show_bench(report)
    for path in paths:
        deliver(path, report.save)


def _extents(given: tuple[str, ...]) -> dict[str, int]:
    """Parse AXIS=N into extents by axis."""
    made = {}
    for text in given:
        name, _, number = text.rpartition("=")
        if not name or not number.isdigit() or int(number) < 1:
            raise InputError(f"--size takes AXIS=N, N at least 1, got '{text}'")
        made[name] = int(number)
    return made
