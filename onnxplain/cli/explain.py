"""`onnxplain explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

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
from onnxplain.cli.show import show_explanation, wrote
from onnxplain.explain.explainer import Explainer
from onnxplain.io.samples import headers, read_inputs, read_labels
from onnxplain.io.writer import check_writable
from onnxplain.results.explanation import Explanation
from onnxplain.results.save import check_explanation_ending, save_explanation

__all__ = ["explain_command"]


@click.command("explain")
@click.argument("model", type=click.Path())
@click.argument("files", metavar="INPUT…", nargs=-1, required=True)
@model_options
@click.option("-t", "--target", default=None, metavar="T",
              help="top, an index, 3,10,12 (one per axis), 3,:,: (sum over axes), 3-5 (contrast), or all.")  # fmt: skip
@click.option("-o", "--out", multiple=True, metavar="FILE", help="Write .html .png .npz .json .csv or .parquet; may be repeated.")
@click.option("--labels", metavar="FILE", help="Class names, one per line.")
@click.option("--features", metavar="FILE", help="Feature names, one per line (a .csv input brings its own).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples per run.")
@mask_option
@click.option(
    "--slide",
    type=click.IntRange(min=1),
    metavar="STRIDE",
    help="Move the model over an input larger than its own, by so many elements at a time.",
)
@click.option("--top", default=5, show_default=True, help="How many elements to print per sample.")
@trust_option
@run_options
def explain_command(
    model: str, files: tuple[str, ...], target: str | None, out: tuple[str, ...], labels: str | None, features: str | None,
    batch_size: int | None, masks: tuple[str, ...], slide: int | None, top: int, provider: str, mean: list[float] | None,
    std: list[float] | None, scale: float | None, layout: str | None, baseline: str | None, options: tuple[str, ...],
    trust: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Explain predictions.

    INPUT is .npy, .npz, .csv, .txt (numbers), .png or .jpg; NAME=FILE where the model has several inputs. Files of one
    input are samples of one batch. Several methods, separated by commas, are shown side by side.
    """
    settings = settings_of(**chosen)
    paths = [Path(o) for o in out]
    for path in paths:
        check_writable(path)
        check_explanation_ending(path, len(settings["method"].split(",")))
    names = read_labels(labels) if labels else []
    methods = settings.pop("method").split(",")
    given = options_of_each(methods, method_options(options))
    explanations: list[Explanation] = []
    arrays: dict[str, Any] = {}
    for method in methods:
        explainer = Explainer(
            model, method, providers=provider, batch_size=batch_size, labels=names, mask=read_masks(masks), trust=trust,
            **settings, **given[method], baseline=read_baseline(baseline) if compares(method, given[method]) else None,
        )  # fmt: skip
        arrays = arrays or read_inputs(files, explainer.inputs, mean=mean, std=std, scale=scale, layout=layout)
        explanations.append(explainer(arrays, target) if slide is None else explainer.slide(arrays, target, stride=slide))
    columns = read_labels(features) if features else headers(files)
    for path in paths:
        named: dict[str, Any] = {} if path.suffix in (".npz", ".json") else {"features": columns}
        if path.suffix == ".html":
            named["model_name"] = Path(model).name
        wrote(save_explanation(explanations, path, **named))
    if not paths:
        for explanation in explanations:
            show_explanation(explanation, top, columns or [])
