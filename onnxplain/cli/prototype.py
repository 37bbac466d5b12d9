"""The command `onnxplain prototype`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from onnxplain.cli.concept_options import concept_options, concept_settings
from onnxplain.cli.options import json_option
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.cli.show_concepts import show_prototypes
from onnxplain.concepts.picture import check_path
from onnxplain.concepts.prototype import prototype as run_prototype
from onnxplain.concepts.rbm import GaussianRBM
from onnxplain.errors import InputError
from onnxplain.io.samples import read_inputs, read_labels
from onnxplain.runtime.inputs import model_inputs

__all__ = ["prototype_command"]


@click.command("prototype")
@click.argument("model", type=click.Path())
@click.option("-t", "--target", required=True, metavar="T", help="The class: an index, several (0,1,2), or all.")
@click.option("-o", "--out", multiple=True, required=True, metavar="FILE",
              help="Write .png or .npz; may be repeated.  [-.npz: to standard output]")  # fmt: skip
@force_option
@click.option("--penalty", "penalties", multiple=True, metavar="NAME[=STRENGTH]",
              help="l2 or tv (total variation), or none; may be repeated.  [default: l2]")  # fmt: skip
@click.option(
    "--expert",
    multiple=True,
    metavar="FILE",
    help="Data to stay close to; a density (a Gaussian RBM) is fitted to it. May be repeated.",
)
@click.option("--weight", default=0.05, show_default=True, help="Weight of the expert.")
@click.option("--decoder", type=click.Path(), help="A model that generates inputs from codes; the codes are searched.")
@click.option("--score", type=click.Choice(["log-probability", "logit"]), default="log-probability", show_default=True,
              help="The score that is maximized.")  # fmt: skip
@click.option("--bounds", nargs=2, type=float, metavar="LOW HIGH", help="Smallest and largest value of an element, e.g. 0 1.")
@click.option("--starts", default=4, show_default=True, help="Number of random starts; the best result is kept.")
@click.option("--labels", metavar="FILE", help="Class names, one per line.")
@json_option
@concept_options
def prototype_command(
    model: str, target: str, out: tuple[str, ...], force: bool, penalties: tuple[str, ...], expert: tuple[str, ...],
    weight: float,
    decoder: str | None, score: str, bounds: tuple[float, float] | None, starts: int, labels: str | None,
    scale: float | None, seed: int, as_json: bool, **chosen: Any,
) -> None:  # fmt: skip
    """Search for the input with the highest score for a class (activation maximization).

    Shortest use: onnxplain prototype MODEL.onnx -t all --bounds 0 1 -o prototypes.png
    """
    paths = outputs(out, force, model, decoder, *expert)
    for path in paths:
        check_path(path)
    names = read_labels(labels) if labels else []
    arrays = read_inputs(expert, model_inputs(model), scale=scale) if expert else {}
    found = run_prototype(
        model, _classes(target), penalty=_penalties(penalties), weight=weight, decoder=decoder, score=score,
        expert=GaussianRBM.fit(next(iter(arrays.values())), seed=seed) if arrays else None,
        bounds=bounds, starts=starts, seed=seed, **concept_settings(**chosen),
    )  # fmt: skip
    show_prototypes(found, names, as_json)
    for path in paths:
        deliver(path, partial(found.save, labels=names) if path.suffix == ".png" else found.save, quiet=as_json)


def _classes(text: str) -> str | list[int]:
    parts = [p.strip() for p in text.split(",")]
    return [int(p) for p in parts] if all(p.isdigit() for p in parts) else text


def _penalties(given: Sequence[str]) -> dict[str, float | None]:
    """Parse NAME or NAME=STRENGTH into strengths by name."""
    made: dict[str, float | None] = {}
    for text in given or ("l2",):
        name, equals, strength = text.partition("=")
        if name == "none" and not equals:
            continue
        try:
            made[name] = float(strength) if equals else None
        except ValueError:
            raise InputError(f"--penalty takes NAME or NAME=STRENGTH, got '{text}'") from None
    return made
