"""Options shared by several commands, and how their values are parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from onnxplain.analysis.sample_axis import AUTO, SampleAxisLike
from onnxplain.analysis.score import SCORES
from onnxplain.cli.values import complete_methods, fraction, methods_joined, one_method
from onnxplain.errors import InputError, MethodError
from onnxplain.io.pictures.presets import PRESETS
from onnxplain.io.plain import from_json
from onnxplain.io.samples import read_array, read_arrays
from onnxplain.method.registry import find_method

__all__ = [
    "common_options", "compares", "json_option", "mask_option", "method_option", "method_options", "model_options",
    "options_of_each", "picture_options", "preprocess_option", "read_baseline", "read_masks", "run_options", "sample_axis_option",
    "settings_of", "several_methods", "trust_option",
]  # fmt: skip

F = TypeVar("F", bound=Callable[..., Any])


def _sample_axis(ctx: click.Context, parameter: click.Parameter, given: Sequence[str]) -> SampleAxisLike:
    """NAME=AXIS or NAME=none, by name; AXIS or none for all inputs."""
    made: dict[str, int | None] = {}
    for text in given:
        name, _, value = text.rpartition("=")
        if not value.removeprefix("-").isdigit() and value != "none":
            raise click.BadParameter(f"expected NAME=AXIS or NAME=none, or AXIS or none for all inputs, got '{text}'")
        axis = None if value == "none" else int(value)
        if not name and len(given) == 1:
            return axis
        if not name:
            raise click.BadParameter(f"'{text}' is for all inputs: give it alone, or NAME=AXIS for each")
        made[name] = axis
    return made or AUTO


sample_axis_option = click.option(
    "--sample-axis", "sample_axis", metavar="NAME=AXIS", multiple=True, callback=_sample_axis,
    help="The axis of an input or output that counts samples, or none; without NAME of all inputs; may be repeated.",
)  # fmt: skip


def method_option(read: Callable[..., str], help: str) -> Callable[[F], F]:
    """The option `-m`, read by a function of all that was given."""
    return click.option(
        "-m", "--method", multiple=True, default=("gradient",), show_default=True, callback=read, shell_complete=complete_methods,
        metavar="METHOD", help=help,
    )  # fmt: skip


def model_options(function: F) -> F:
    """Add the options of every command that takes a model and one method."""
    return method_option(one_method, "The method; see `onnxplain methods`.")(common_options(function))


def several_methods(function: F) -> F:
    """Add the options of every command that takes a model and several methods."""
    return method_option(methods_joined, "A method (`onnxplain methods`), or several with commas; may be repeated.")(
        common_options(function)
    )


def common_options(function: F) -> F:
    """Add the options of every command that takes a model."""
    for option in reversed(
        [
            click.option("--output", "output", metavar="NAME", help="The output (or inner tensor) to explain."),
            click.option("--input", "inputs", metavar="NAME", multiple=True, help="Explain only this input; may be repeated."),
            click.option("--layer", "layers", metavar="NAME", multiple=True,
                         help="Explain an inner tensor: its name, a node, a module, or Conv:-1 (the last); may be repeated."),
            click.option("--score", type=click.Choice(SCORES), default="logit", show_default=True,
                         help="What goes into a final softmax or sigmoid, the output as it is, or a score made of logits."),
            sample_axis_option,
            click.option("--rules", metavar="DIR", multiple=True, help="A folder with rules of your own; may be repeated."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

trust_option = click.option(
    "--trust", is_flag=True, help="Take it on trust that the prediction is the original's, instead of comparing on the first run."
)


mask_option = click.option(
    "--mask", "masks", metavar="LAYER=CHANNELS|FILE|input", multiple=True,
    help="Explain only what passes through these channels of a layer (3,17), or weight it by a factor (.npy); may be repeated.",
)  # fmt: skip


def read_masks(given: Sequence[str]) -> dict[str, Any]:
    """Parse LAYER=3,17, LAYER=FILE.npy or LAYER=input into masks by layer."""
    made: dict[str, Any] = {}
    for text in given:
        layer, equals, value = text.rpartition("=")
        if not equals or not layer:
            raise InputError(f"--mask takes LAYER=CHANNELS, LAYER=FILE.npy or LAYER=input, got '{text}'")
        if re.fullmatch(r"-?\d+(,-?\d+)*", value):
            made[layer] = [int(v) for v in value.split(",")]
        else:
            made[layer] = value if value == "input" else read_array(Path(value))
    return made


preprocess_option = click.option(
    "--preprocess", metavar="PRESET|FILE",
    help=f"How pictures become inputs: {', '.join(PRESETS)}, none, or a JSON file such as preprocessor_config.json; what lies "
         "beside the model is found.",
)  # fmt: skip


def run_options(function: F) -> F:
    """Add the options of every command that runs a model."""
    provider = click.option(
        "--provider", default="auto", show_default=True, help="auto, cpu, cuda, or an execution provider of ONNX Runtime."
    )
    baseline = click.option(
        "--baseline", metavar="NUMBER|FILE|TOKEN",
        help="The reference input, for methods that need one; in `explain`, of texts, a token or another text.",
    )  # fmt: skip
    options = click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
    return provider(picture_options(preprocess_option(baseline(options(function)))))


def picture_options(function: F) -> F:
    """Add the options that say how pixels become numbers."""
    for option in reversed(
        [
            click.option("--mean", callback=_numbers, metavar="X[,X…]", help="Subtracted from pixel values, per channel."),
            click.option("--std", callback=_numbers, metavar="X[,X…]", help="Pixel values are divided by it, per channel."),
            click.option("--scale", type=fraction, metavar="X", help="Factor on pixel values before mean and std, e.g. 1/255."),
            click.option("--layout", type=click.Choice(["NCHW", "NHWC", "NHW", "CHW", "HWC", "HW"]),
                         help="Order of an image's axes, if the shape leaves it open."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


def _numbers(ctx: click.Context, parameter: click.Parameter, value: str | None) -> list[float] | None:
    """Parse numbers separated by commas."""
    if value is None:
        return None
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"expected numbers separated by commas, got '{value}'") from None


def settings_of(
    method: str,
    output: str | None,
    inputs: Sequence[str],
    layers: Sequence[str],
    score: str,
    rules: Sequence[str],
    sample_axis: SampleAxisLike,
) -> dict[str, Any]:
    """The shared options as keyword arguments of `onnxplain.rewrite` and `Explainer`."""
    return {
        "method": method, "output": output, "inputs": list(inputs) or None, "layer": list(layers) or None, "score": score,
        "rules": list(rules) or None, "sample_axis": sample_axis,
    }  # fmt: skip


def method_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Parse NAME=VALUE pairs into keyword arguments.

    A value is JSON if it can be parsed, an array (.npy), a dict of arrays (.npz), or else text.
    """
    result: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise MethodError(f"--option takes NAME=VALUE, got '{pair}'")
        try:
            value = from_json(text)
        except json.JSONDecodeError:
            value = (
                read_arrays(Path(text)) if text.endswith(".npz") else read_array(Path(text)) if text.endswith(".npy") else text
            )
        except ValueError as error:
            raise MethodError(f"--option {name}: {error}") from None
        result[name.replace("-", "_")] = value
    return result


def read_baseline(text: str | None, in_words: bool = False) -> Any:
    """Parse a baseline: a number, whole or not as it is written, the word "input" or "ids", or the array in a .npy file; where
    texts are explained, a token or another text."""
    if text is None or text in ("input", "ids") or (in_words and not text.endswith((".npy", ".npz"))):
        return text
    try:
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
    except ValueError:
        return read_array(Path(text))


def compares(method: str, options: dict[str, Any]) -> bool:
    """Whether a method with these options compares with a baseline."""
    found = find_method(method)
    return found.takes_baseline(found.checked(options))


def options_of_each(methods: Sequence[str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Assign options to several methods.

    Each method receives the options that it knows. An option that no method knows is passed to all of them, so that it is
    rejected with an error.
    """
    known = {method: find_method(method).defaults(options).keys() for method in methods}
    everywhere = {name for name in options if not any(name in names for names in known.values())}
    return {method: {k: v for k, v in options.items() if k in names or k in everywhere} for method, names in known.items()}
