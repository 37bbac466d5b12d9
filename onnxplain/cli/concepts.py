"""The commands on concepts and prototypes: click commands, no logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from onnxplain.errors import InputError

__all__ = ["prototype", "tcav"]

F = TypeVar("F", bound=Callable[..., Any])


def _shared(function: F) -> F:
    """What both commands take."""
    for option in reversed(
        [
            click.option("--output", metavar="NAME", help="The output (or inner tensor) that holds the scores."),
            click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or a name of ONNX Runtime's."),
            click.option("--rules", metavar="DIR", multiple=True, help="A folder with rules of your own; may be repeated."),
            click.option("--scale", type=float, help="Factor on pixel values, e.g. 0.00392157."),
            click.option("--seed", default=0, show_default=True, help="Of what is drawn at random."),
        ]
    ):
        function = option(function)
    return function


def _settings(output: str | None, provider: str, rules: Sequence[str]) -> dict[str, Any]:
    return {"output": output, "providers": provider, "rules": list(rules) or None}


@click.command()
@click.argument("model", type=click.Path())
@click.argument("files", metavar="INPUT…", nargs=-1, required=True)
@click.option("--layer", required=True, metavar="NAME", help="Where to look: tensor, node or module scope.")
@click.option("-t", "--target", required=True, metavar="T", help="Whose score: an index, or a contrast such as 3-5.")
@click.option("--concept", "concepts", required=True, multiple=True, metavar="NAME=FILE",
              help="Examples of a concept; may be repeated, for one concept too.")  # fmt: skip
@click.option("--random", "randoms", required=True, multiple=True, metavar="FILE",
              help="Random examples: one file, dealt out to ten runs, or one for each run.")  # fmt: skip
@click.option("--level", default=0.05, show_default=True, help="Level of significance, divided by the number of concepts.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@_shared
def tcav(
    model: str, files: tuple[str, ...], layer: str, target: str, concepts: tuple[str, ...], randoms: tuple[str, ...],
    level: float, as_json: bool, scale: float | None, seed: int, **chosen: Any,
) -> None:  # fmt: skip
    """Test whether a class depends on concepts shown by examples.

    INPUT are samples of the class. Files are read as by `onnxplain explain`: .npy, .npz, .csv, pictures.
    """
    from onnxplain.cli.show_concepts import show_tcav
    from onnxplain.concepts.tcav import tcav as run_tcav
    from onnxplain.io.samples import read_inputs
    from onnxplain.runtime.inputs import model_inputs

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
        model, layer, shown, random, arrays(files), target, level=level, seed=seed, **_settings(**chosen)
    )  # fmt: skip
    show_tcav(found, as_json)


@click.command()
@click.argument("model", type=click.Path())
@click.option("-t", "--target", required=True, metavar="T", help="The class: an index, several (0,1,2), or all.")
@click.option("-o", "--out", multiple=True, required=True, metavar="FILE", help="Write .png or .npz; may be repeated.")
@click.option("--penalty", "penalties", multiple=True, metavar="NAME[=STRENGTH]",
              help="l2 or tv (total variation), or none; may be repeated.  [default: l2]")  # fmt: skip
@click.option(
    "--expert", multiple=True, metavar="FILE", help="Data to stay close to: fits a density, a Gaussian RBM; may be repeated."
)
@click.option("--weight", default=0.05, show_default=True, help="Of the expert.")
@click.option("--decoder", type=click.Path(), help="A model that makes inputs from codes: search the codes.")
@click.option("--score", type=click.Choice(["log-probability", "logit"]), default="log-probability", show_default=True,
              help="What is maximized.")  # fmt: skip
@click.option("--bounds", nargs=2, type=float, metavar="LOW HIGH", help="Least and greatest value of an element, e.g. 0 1.")
@click.option("--starts", default=4, show_default=True, help="Random starts, of which the best counts.")
@click.option("--labels", metavar="FILE", help="Class names, one per line.")
@_shared
def prototype(
    model: str, target: str, out: tuple[str, ...], penalties: tuple[str, ...], expert: tuple[str, ...], weight: float,
    decoder: str | None, score: str, bounds: tuple[float, float] | None, starts: int, labels: str | None,
    scale: float | None, seed: int, **chosen: Any,
) -> None:  # fmt: skip
    """Search the input that the model takes for the best example of a class.

    Shortest use: onnxplain prototype MODEL.onnx -t all --bounds 0 1 -o prototypes.png
    """
    from onnxplain.cli.show import wrote
    from onnxplain.cli.show_concepts import show_prototypes
    from onnxplain.concepts.picture import check_path
    from onnxplain.concepts.prototype import prototype as run_prototype
    from onnxplain.concepts.rbm import GaussianRBM
    from onnxplain.io.samples import read_inputs, read_labels
    from onnxplain.runtime.inputs import model_inputs

    paths = [Path(o) for o in out]
    for path in paths:
        check_path(path)
    names = read_labels(labels) if labels else []
    arrays = read_inputs(expert, model_inputs(model), scale=scale) if expert else {}
    found = run_prototype(
        model, _classes(target), penalty=_penalties(penalties), weight=weight, decoder=decoder, score=score,
        expert=GaussianRBM.fit(next(iter(arrays.values())), seed=seed) if arrays else None,
        bounds=bounds, starts=starts, seed=seed, **_settings(**chosen),
    )  # fmt: skip
    show_prototypes(found, names)
    for path in paths:
        wrote(found.save(path, **({"labels": names} if path.suffix == ".png" else {})))


def _classes(text: str) -> str | list[int]:
    parts = [p.strip() for p in text.split(",")]
    return [int(p) for p in parts] if all(p.isdigit() for p in parts) else text


def _penalties(given: Sequence[str]) -> dict[str, float | None]:
    """NAME or NAME=STRENGTH, by name."""
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
