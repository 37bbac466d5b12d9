"""The commands on concepts and prototypes: click commands, no logic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from onnxplain.errors import InputError

__all__ = ["tcav"]

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
    from onnxplain.concepts.tcav import tcav as run_tcav
    from onnxplain.inputs import model_inputs
    from onnxplain.reading import read_inputs
    from onnxplain.show_concepts import show_tcav

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
