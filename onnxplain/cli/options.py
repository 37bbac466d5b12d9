"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from onnxplain.errors import InputError, MethodError
from onnxplain.io.samples import read_array, read_arrays
from onnxplain.method.registry import find_method

__all__ = [
    "compares", "mask_option", "method_options", "model_options", "options_of_each", "read_baseline", "read_masks", "run_options",
    "settings_of", "trust_option",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


def model_options(function: F) -> F:
    """What every command on a model takes."""
    for option in reversed(
        [
            click.option("-m", "--method", default="gradient", show_default=True, help="How; see `onnxplain methods`."),
            click.option("--output", "output", metavar="NAME", help="The output (or inner tensor) to explain."),
            click.option("--input", "inputs", metavar="NAME", multiple=True, help="Explain only this input; may be repeated."),
            click.option("--layer", "layers", metavar="NAME", multiple=True,
                         help="Explain an inner tensor: its name, a node, a module, or Conv:-1 (the last); may be repeated."),
            click.option("--score", type=click.Choice(["logit", "probability"]), default="logit", show_default=True,
                         help="Explain what goes into a final softmax or sigmoid, or the output as it is."),
            click.option("--rules", metavar="DIR", multiple=True, help="A folder with rules of your own; may be repeated."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


trust_option = click.option(
    "--trust", is_flag=True, help="Take it on trust that the prediction is the original's, instead of comparing on the first run."
)


mask_option = click.option(
    "--mask", "masks", metavar="LAYER=CHANNELS|FILE|input", multiple=True,
    help="Explain only what passes these channels of a layer (3,17), or a factor (.npy); may be repeated.",
)  # fmt: skip


def read_masks(given: Sequence[str]) -> dict[str, Any]:
    """LAYER=3,17, LAYER=FILE.npy or LAYER=input, by layer."""
    made: dict[str, Any] = {}
    for text in given:
        layer, equals, value = text.rpartition("=")
        if not equals or not layer:
            raise InputError(f"--mask takes LAYER=CHANNELS, LAYER=FILE.npy or LAYER=input, got '{text}'")
        channels = value.replace("-", "").replace(",", "")
        made[layer] = (
            [int(v) for v in value.split(",")] if channels.isdigit() else value if value == "input" else read_array(Path(value))
        )
    return made


def run_options(function: F) -> F:
    """What every command that runs a model takes."""
    for option in reversed(
        [
            click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or a name of ONNX Runtime's."),
            click.option("--mean", callback=_numbers, metavar="X[,X…]", help="Subtracted from pixel values, per channel."),
            click.option("--std", callback=_numbers, metavar="X[,X…]", help="Pixel values are divided by it, per channel."),
            click.option("--scale", type=float, help="Factor on pixel values before mean and std, e.g. 0.00392157."),
            click.option("--layout", type=click.Choice(["NCHW", "NHWC", "NHW", "CHW", "HWC", "HW"]),
                         help="Order of an image's axes, if not plain from its shape."),
            click.option("--baseline", metavar="NUMBER|FILE", help="The reference input of methods that compare with one."),
            click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def _numbers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[float] | None:
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"expected numbers separated by commas, got '{value}'") from None


def settings_of(
    method: str, output: str | None, inputs: Sequence[str], layers: Sequence[str], score: str, rules: Sequence[str]
) -> dict[str, Any]:
    return {
        "method": method, "output": output, "inputs": list(inputs) or None, "layer": list(layers) or None, "score": score,
        "rules": list(rules) or None,
    }  # fmt: skip


def method_options(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs as keyword arguments; values are JSON where they can be, arrays (.npy), dicts of them (.npz), or text."""
    result: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise MethodError(f"--option takes NAME=VALUE, got '{pair}'")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = (
                read_arrays(Path(text)) if text.endswith(".npz") else read_array(Path(text)) if text.endswith(".npy") else text
            )
        result[name.replace("-", "_")] = value
    return result


def read_baseline(text: str | None) -> Any:
    """A number, whole or not as it is written, the word "input" or "ids", or the array in a .npy file."""
    if text is None or text in ("input", "ids"):
        return text
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return read_array(Path(text))


def compares(method: str, options: dict[str, Any]) -> bool:
    found = find_method(method)
    return found.takes_baseline(found.checked(options))


def options_of_each(methods: Sequence[str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options for each of several methods: those it knows; one that none knows goes to all, to be refused."""
    known = {method: find_method(method).defaults(options).keys() for method in methods}
    everywhere = {name for name in options if not any(name in names for names in known.values())}
    return {method: {k: v for k, v in options.items() if k in names or k in everywhere} for method, names in known.items()}
