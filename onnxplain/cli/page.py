"""The command `onnxplain page`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from onnxplain.cli.given import raw_pixels_in_words, sample_names
from onnxplain.cli.options import picture_options
from onnxplain.cli.outputs import force_option, outputs
from onnxplain.cli.show import wrote
from onnxplain.errors import OutputError
from onnxplain.io.metadata import sample_axis_in
from onnxplain.io.pictures.preprocessing import Preprocessing
from onnxplain.io.samples import headers, read_inputs, read_labels
from onnxplain.results.live.description import PageSettings
from onnxplain.results.live.explained_file import ExplainedFile, read_explained
from onnxplain.results.live.page import check_page_place, write_page

__all__ = ["page_command"]


@click.command("page")
@click.argument("files", metavar="EXPLAINED…", nargs=-1, required=True, type=click.Path())
@click.option(
    "-o",
    "--out",
    required=True,
    metavar="FOLDER|FILE.html",
    type=click.Path(),
    help="A folder for a static host, or one file that holds everything.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="INPUT",
    type=click.Path(),
    help="Examples to begin with; of rows also what sliders range over; may be repeated.",
)
@click.option("--labels", type=click.Path(), help="A file with the names of the classes, one per line.")
@click.option("--features", type=click.Path(), help="A file with the names of the columns, one per line.")
@click.option("--title", help="The heading of the page.")
@click.option("--fitted", is_flag=True, help="Small grey pictures: enlarge what is drawn until it fills the picture.")
@picture_options
@click.option(
    "--runtime", metavar="FOLDER", type=click.Path(), help="Where onnxruntime-web lies; otherwise npm fetches it, once."
)
@force_option
def page_command(
    files: tuple[str, ...], out: str, data: tuple[str, ...], labels: str | None, features: str | None, title: str | None,
    fitted: bool, mean: Sequence[float] | None, std: Sequence[float] | None, scale: float | None, layout: str | None,
    runtime: str | None, force: bool,
) -> None:  # fmt: skip
    """Write a page that predicts and explains in the browser what people drop, draw, paste or change.

    EXPLAINED are files that `onnxplain rewrite` wrote, of one model by one method each; with --target input people choose what is
    explained. The page needs no server and no network, and nothing that people put in leaves it.
    """
    place = Path(out)
    check_page_place(place)
    if place.suffix.lower() == ".html":
        outputs([out], force, *files, *data)
    elif place.is_dir() and any(os.scandir(place)) and not force:
        raise OutputError(f"{place} is not empty; give --force to write the page into it, or name another folder")
    explained = [read_explained(file) for file in files]
    first, look = explained[0], Preprocessing().with_numbers(mean, std, scale, layout)
    axes = {t.name: sample_axis_in(first.about, t.name) for t in first.inputs}
    examples = read_inputs(data, first.inputs, mean=mean, std=std, scale=scale, layout=layout, axes=axes) if data else {}
    columns = read_labels(features) if features else headers(data) or ()
    settings = PageSettings(
        title=title, labels=read_labels(labels) if labels else (), features=columns if len(first.inputs) == 1 else (), look=look,
        examples=examples, example_names=sample_names(data, examples) if data else (), fitted=fitted,
    )  # fmt: skip
    made = write_page(explained, place, settings, runtime=runtime)
    _warn(first, look)
    wrote(made)


def _warn(file: ExplainedFile, look: Preprocessing) -> None:
    """Say so where pixel values 0..255 will enter a model whose own file does nothing to bring them into another range."""
    if look.scale is None and file.weighs_pixels:
        click.echo(f"onnxplain: {raw_pixels_in_words(0, 255, file.inputs[0].name)}", err=True)
