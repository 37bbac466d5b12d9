"""The command `onnxplain evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from onnxplain.analysis.score import SCORES
from onnxplain.cli.given import prepared_by
from onnxplain.cli.options import preprocess_option, sample_axis_option, trust_option
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.cli.show_evaluation import show_evaluation
from onnxplain.cli.values import complete_methods, fraction
from onnxplain.errors import InputError, nearest
from onnxplain.evaluation.report.files import check_evaluation_ending
from onnxplain.evaluation.spec import split_specs
from onnxplain.evaluation.study import evaluate as run_evaluate
from onnxplain.explain.picture_front import PictureSettings
from onnxplain.io.reader import read
from onnxplain.io.samples import headers, read_array, read_arrays, read_inputs, read_labels
from onnxplain.runtime.inputs import inputs_and_axes

__all__ = ["evaluate_command"]


@click.command("evaluate")
@click.argument("model", type=click.Path())
@click.argument("files", metavar="DATA…", nargs=-1, required=True)
@click.option("-m", "--method", "methods", multiple=True, metavar="METHOD", shell_complete=complete_methods,
              help='A method, e.g. "smoothgrad(samples=16)" or "ig=integrated-gradients"; may be repeated.')  # fmt: skip
@click.option("-a", "--attribution", "attributions", multiple=True, metavar="NAME=FILE",
              help="Attributions from elsewhere (.npy, .npz), in the shape of the input; may be repeated.")  # fmt: skip
@click.option("-q", "--metric", "metrics", multiple=True, metavar="METRIC",
              help='A metric, e.g. "deletion(replace=mean)"; a family; or all; may be repeated.')  # fmt: skip
@click.option("-o", "--out", multiple=True, metavar="FILE",
              help="Write .html .md .csv .json .parquet or .png; may be repeated.  [-.md: to standard output]")  # fmt: skip
@force_option
@click.option("-t", "--target", default=None, metavar="T",
              help="top, an index, 3,10 (per axis), 3;5 (per sample), or labels (the true classes).  [default: top]")  # fmt: skip
@click.option("--labels", metavar="FILE", help="The true classes, a number per sample: .npy .csv .txt, or FILE.npz:NAME.")
@click.option("--masks", metavar="FILE", help="Masks of the objects, nonzero inside: .npy, or FILE.npz:NAME.")
@click.option(
    "--baseline", metavar="NUMBER|FILE", help="Replaces removed features; also the reference input of methods.  [default: 0]"
)
@click.option(
    "--journal", metavar="FILE", help="Stores results as they arrive; after a crash the same command continues from there."
)
@click.option("--input", "name", metavar="NAME", help="The input to explain, if the model has several.")
@click.option("--output", metavar="NAME", help="The output (or inner tensor) to explain.")
@click.option("--score", type=click.Choice(SCORES), default="logit", show_default=True,
              help="What goes into a final softmax or sigmoid, the output as it is, or a score made of logits.")  # fmt: skip
@sample_axis_option
@click.option("--classes", metavar="FILE", help="Class names for pictures, one per line.")
@click.option("--features", metavar="FILE", help="Feature names for pictures, one per line (a .csv brings its own).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Rows in one run, at most.")
@click.option("--seed", default=0, show_default=True, help="Of what is drawn at random.")
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or a name of ONNX Runtime's.")
@click.option("--rules", metavar="DIR", multiple=True, help="A folder with rules of your own; may be repeated.")
@click.option("--scale", type=fraction, metavar="NUMBER", help="Factor on pixel values, e.g. 1/255.")
@preprocess_option
@trust_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate_command(
    model: str, files: tuple[str, ...], methods: tuple[str, ...], attributions: tuple[str, ...], metrics: tuple[str, ...],
    out: tuple[str, ...], force: bool, target: str | None, labels: str | None, masks: str | None, baseline: str | None,
    journal: str | None, name: str | None, classes: str | None, features: str | None,
    rules: Sequence[str], scale: float | None, preprocess: str | None, provider: str,
    as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Compare explanation methods by quantitative metrics.

    DATA is read as by `onnxplain explain`: .npy, .npz, .csv or images; NAME=FILE if the model has several inputs. Everything is
    checked before the run starts. The method `random` is a control with random attributions.

    Shortest use: onnxplain evaluate MODEL.onnx DATA.npy -m gradient -m lrp-epsilon -o report.html
    """
    paths = outputs(out, force, model, journal, *files)
    for path in paths:
        check_evaluation_ending(path)
    shared = {k: settings[k] for k in ("output", "score", "sample_axis")}
    inputs, axes = inputs_and_axes(model, rules=list(rules) or None, **shared)
    told = PictureSettings.of(read(model, hold=True), None)
    look = prepared_by(preprocess, told.preprocessing, files, (None, None, scale, None), inputs)
    arrays = read_inputs(files, inputs, scale=scale, axes=axes.of_inputs, look=look)
    found = run_evaluate(
        model, arrays, [m for text in methods for m in split_specs(text)],
        [m for text in metrics for m in split_specs(text)] or None, attributions=dict(map(_named, attributions)),
        journal=journal, classes=read_labels(classes) if classes else [],
        features=read_labels(features) if features else headers(files) or [], target=_target(target),
        labels=None if labels is None else _whole(_array(labels)), masks=None if masks is None else _array(masks),
        baseline=_baseline(baseline), input=name, providers=provider, rules=list(rules) or None, **settings,
    )  # fmt: skip
    for path in paths:
        deliver(path, found.save)
    if as_json or not paths:
        show_evaluation(found, as_json)


def _named(text: str) -> tuple[str, Any]:
    name, equals, file = text.partition("=")
    if not equals or not name or not file:
        raise InputError(f"--attribution takes NAME=FILE, got '{text}'")
    return name, _array(file)


def _target(text: str | None) -> Any:
    return None if text in (None, "top") else text


def _array(text: str) -> Any:
    """The array in a file; in FILE.npz:NAME the array of that name."""
    file, colon, name = text.rpartition(":")
    if not colon or not file.endswith(".npz"):
        return read_array(Path(text))
    arrays = read_arrays(Path(file))
    if name not in arrays:
        raise InputError(f"{file} holds no array '{name}'; {nearest(name, arrays)}")
    return arrays[name]


def _whole(array: Any) -> Any:
    """Class indices from text files, where every number was read as a float."""
    flat = np.asarray(array)
    flat = flat.ravel() if flat.ndim == 2 and 1 in flat.shape else flat
    return flat.astype(np.int64) if flat.dtype.kind == "f" and (flat == np.floor(flat)).all() else flat


def _baseline(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return _array(text)
