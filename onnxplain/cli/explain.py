"""The command `onnxplain explain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from onnxplain.cli.detector_options import detector_options, take_detector
from onnxplain.cli.given import check_features, sample_names, wanted_input, warn_of_raw_pixels
from onnxplain.cli.options import (
    compares,
    json_option,
    mask_option,
    method_options,
    options_of_each,
    read_baseline,
    read_masks,
    run_options,
    settings_of,
    several_methods,
    trust_option,
)
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.cli.show import show_explanation
from onnxplain.cli.texts import check_options, check_unnamed, read_texts, tokenizer_of
from onnxplain.errors import InputError, OutputError, nearest
from onnxplain.explain.explainer import Explainer
from onnxplain.io.metadata import sample_axis_in
from onnxplain.io.samples import headers, read_inputs, read_labels
from onnxplain.io.text.tokenizer import Tokenizer
from onnxplain.io.text.units import check_unit
from onnxplain.results.explanation import Explanation
from onnxplain.results.plot.views import PICTURE_FORMS, TABULAR_FORMS
from onnxplain.results.prediction import sample_count
from onnxplain.results.save import PICTURE_ENDINGS, check_explanation_ending, explanation_json, save_explanation

__all__ = ["explain_command"]


@click.command("explain")
@click.argument("model", type=click.Path())
@click.argument("files", metavar="INPUT…", nargs=-1)
@several_methods
@click.option("-t", "--target", default=None, metavar="T",
              help="top, an index, 3,10,12 (one per axis), 3,:,: (sum over axes), 3-5 (contrast), or all; 7,3;6,5: one of these "
                   "per sample.")  # fmt: skip
@click.option("-o", "--out", multiple=True, metavar="FILE",
              help="Write .html .png .jpg .webp .svg .pdf .npz .json .csv or .parquet; may be repeated.  "
                   "[-.json: to standard output]")  # fmt: skip
@force_option
@click.option("--labels", metavar="FILE", help="Class names, one per line.")
@click.option("--features", metavar="FILE", help="Feature names, one per line (a .csv input has its own).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples per run.")
@mask_option
@click.option(
    "--slide",
    type=click.IntRange(min=1),
    metavar="STRIDE",
    help="Move the model over a larger input in steps of so many elements.",
)
@click.option("--form", metavar="FORM", help="The form of a .png: waterfall, force, beeswarm, importance, scatter, …")
@click.option("--feature", metavar="NAME", multiple=True, help="Of --form scatter: what to draw; may be repeated.")
@click.option("--by", metavar="NAME|class|FILE|UNIT",
              help="Of scatter: the feature that colours; of importance: cohorts; of texts: token, word, sentence.")  # fmt: skip
@click.option("--tokenizer", metavar="FILE", help="A tokenizer.json, for texts; one beside the model is found.")
@click.option("--max-length", type=click.IntRange(min=1), metavar="N", help="Cut texts to so many tokens.")
@click.option("--special", is_flag=True, help="Show the tokens that the tokenizer adds, such as [CLS] and padding.")
@click.option("--interactions", is_flag=True, help="Write interactions of features into .csv and .parquet, a row per set.")
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many elements to print per sample.")
@json_option
@trust_option
@detector_options
@run_options
def explain_command(
    model: str, files: tuple[str, ...], target: str | None, out: tuple[str, ...], force: bool, labels: str | None,
    features: str | None, batch_size: int | None, masks: tuple[str, ...], slide: int | None, form: str | None,
    feature: tuple[str, ...], by: str | None, tokenizer: str | None, max_length: int | None, special: bool,
    interactions: bool, top: int, as_json: bool, provider: str, mean: list[float] | None, std: list[float] | None,
    scale: float | None, layout: str | None, baseline: str | None, options: tuple[str, ...], trust: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Explain predictions.

    INPUT is .npy, .npz, .csv, .txt (numbers), .png or .jpg; NAME=FILE if the model has several inputs. Several files for one
    input are a batch. For models with a tokenizer, INPUT is a text, or a .txt with one on every line; a tab parts the two of a
    pair. Several methods, separated by commas, are shown side by side.
    """
    detector = take_detector(chosen)
    settings = settings_of(**chosen)
    paths = outputs(out, force, model, *files)
    for path in paths:
        check_explanation_ending(path, len(settings["method"].split(",")))
    if not files:
        raise InputError(wanted_input(model))
    place = tokenizer_of(tokenizer, max_length, model)
    texts = read_texts(files, place is not None, tokenizer is not None)
    check_options(texts, {"--tokenizer": tokenizer, "--max-length": max_length, "--special": special}, {
        "--mean": mean, "--std": std, "--scale": scale, "--layout": layout, "--features": features, "--feature": feature,
        "--interactions": interactions, "--slide": slide,
    })  # fmt: skip
    reads = Tokenizer.read(place, max_length) if texts is not None and place is not None else None
    unit = "word" if texts is None else check_unit(by or "word")
    pictured = _picture(paths, form, feature, by if texts is None else None)
    if interactions and not any(path.suffix.lower() in (".csv", ".parquet") for path in paths):
        raise OutputError("--interactions is of tables: give -o FILE.csv or -o FILE.parquet too")
    names = read_labels(labels) if labels else []
    methods = settings.pop("method").split(",")
    given = options_of_each(methods, method_options(options))
    explanations: list[Explanation] = []
    arrays: dict[str, Any] = {}
    named_samples: tuple[str, ...] = ()
    columns = read_labels(features) if features else headers(files)
    for method in methods:
        explainer = Explainer(
            model, method, providers=provider, batch_size=batch_size, labels=names, mask=read_masks(masks), trust=trust,
            **settings, **given[method], tokenizer=reads, detect=detector,
            baseline=read_baseline(baseline, texts is not None) if compares(method, given[method]) else None,
        )  # fmt: skip
        if texts is not None:
            check_unnamed(texts, [t.name for t in explainer.inputs])
        elif not arrays:
            axes = {t.name: sample_axis_in(explainer.about, t.name) for t in explainer.inputs}
            arrays = read_inputs(files, explainer.inputs, mean=mean, std=std, scale=scale, layout=layout, axes=axes)
            named_samples = sample_names(files, arrays)
            if features and not settings["layer"]:
                check_features(columns or [], arrays)
            warn_of_raw_pixels(files, explainer, arrays, scale)
        asked = arrays if texts is None else texts
        made = explainer(asked, target) if slide is None else explainer.slide(asked, target, stride=slide)
        explanations.append(replace(made, sample_names=_row_names(made, named_samples)))
    for path in paths:
        named: dict[str, Any] = {} if path.suffix.lower() in (".npz", ".json") else {"features": columns}
        if path.suffix.lower() in PICTURE_ENDINGS:
            named |= pictured
        if interactions and path.suffix.lower() in (".csv", ".parquet"):
            named["interactions"] = True
        if path.suffix.lower() == ".html":
            named["model_name"] = Path(model).name
        if texts is not None and path.suffix.lower() not in (".npz", ".json"):
            named |= {"by": unit} if path.suffix.lower() in (".csv", ".parquet") else {"by": unit, "special": special}
        deliver(path, partial(save_explanation, explanations, **named), quiet=as_json)
    if as_json:
        click.echo(explanation_json(explanations))
    elif not paths:
        for explanation in explanations:
            show_explanation(explanation, top, columns or [], unit, special)


def _row_names(made: Explanation, names: tuple[str, ...]) -> tuple[str, ...]:
    """The name of each attribution's sample; a picture may have several, of what a detector found in it."""
    pictures = made.facts.get("picture")
    if pictures is not None and len(names) > pictures.max():
        names = tuple(names[int(i)] for i in pictures)
    return names if len(names) == sample_count(made) else ()


def _picture(paths: Sequence[Path], form: str | None, feature: Sequence[str], by: str | None) -> dict[str, Any]:
    """What a picture is told, checked before a long run."""
    if form is None and (feature or by):
        raise OutputError("--feature and --by are of a picture's form: give --form scatter or --form importance too")
    if form is not None and not any(path.suffix.lower() in PICTURE_ENDINGS for path in paths):
        raise OutputError("--form is of a picture: give -o FILE.png too")
    if form is not None and form not in (*PICTURE_FORMS, *TABULAR_FORMS):
        raise OutputError(f"unknown form '{form}' of a picture; {nearest(form, (*PICTURE_FORMS, *TABULAR_FORMS))}")
    given: dict[str, Any] = {"form": form, "feature": list(feature) or None, "by": by}
    if form == "importance" and by not in (None, "class"):
        given["by"] = read_labels(by)
    return {name: value for name, value in given.items() if value is not None}
