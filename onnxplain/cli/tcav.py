"""The command `onnxplain tcav`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from onnxplain.cli.concept_options import concept_options, concept_settings
from onnxplain.cli.show_concepts import show_tcav
from onnxplain.concepts.tcav import tcav as run_tcav
from onnxplain.errors import InputError
from onnxplain.io.samples import read_inputs
from onnxplain.runtime.inputs import model_inputs

__all__ = ["tcav_command"]


@click.command("tcav")
@click.argument("model", type=click.Path())
@click.argument("files", metavar="INPUT…", nargs=-1, required=True)
@click.option("--layer", required=True, metavar="NAME", help="The layer: a tensor, node or module scope.")
@click.option("-t", "--target", required=True, metavar="T", help="The class: an index, or a contrast such as 3-5.")
@click.option("--concept", "concepts", required=True, multiple=True, metavar="NAME=FILE",
              help="Examples of a concept; may be repeated, also for the same concept.")  # fmt: skip
@click.option("--random", "randoms", required=True, multiple=True, metavar="FILE",
              help="Random examples: one file, which is split into ten runs, or one file per run.")  # fmt: skip
@click.option(
    "--level", default=0.05, show_default=True, help="Significance level; it is divided by the number of concepts (Bonferroni)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@concept_options
def tcav_command(
    model: str, files: tuple[str, ...], layer: str, target: str, concepts: tuple[str, ...], randoms: tuple[str, ...],
    level: float, as_json: bool, scale: float | None, seed: int, **chosen: Any,
) -> None:  # fmt: skip
    """Test whether the score of a class depends on a concept given by examples.

    INPUT contains samples of the class. Files are read as by `onnxplain explain`: .npy, .npz, .csv or images.
    """
    tensors = model_inputs(model)
    named: dict[str, list[str]] = {}
    for text in concepts:
        name, equals, file = text.partition("=")
        if not equals or not name or not file:
            raise InputError(f"--concept takes NAME=FILE, got '{text}'")
        named.setdefault(name, []).append(file)

    def arrays(paths: Sequence[str]) -> dict[str, Any]:
        return read_inputs(paths, tensors, scale=scale)

    shown = {name: arrays(paths) for name, paths in named.items()}
    random = arrays(randoms) if len(randoms) == 1 else [arrays([file]) for file in randoms]
    found = run_tcav(
        model, layer, shown, random, arrays(files), target, level=level, seed=seed, **concept_settings(**chosen)
    )  # fmt: skip
    show_tcav(found, as_json)
