"""The command line: click commands, no logic."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from onnxplain import __version__
from onnxplain.cli.advise import advise
from onnxplain.cli.bench import bench_command
from onnxplain.cli.concepts import prototype, tcav
from onnxplain.cli.evaluate import evaluate, metrics
from onnxplain.errors import InputError, MethodError, OnnxplainError

if TYPE_CHECKING:
    from onnxplain.results.explanation import Explanation

__all__ = ["main"]

F = TypeVar("F", bound=Callable[..., Any])


class _Group(click.Group):
    """Prints the project's own errors as one clear line and exits with code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except OnnxplainError as error:
            if ctx.params.get("debug"):
                raise
            click.echo(f"onnxplain: {error}", err=True)
            ctx.exit(2)
        except BrokenPipeError:
            ctx.exit(0)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.version_option(__version__, prog_name="onnxplain")
def main(debug: bool) -> None:
    """Explain predictions of any ONNX model.

    Shortest use: onnxplain explain MODEL.onnx INPUT.npy -o explanation.html
    """


def _model_options(function: F) -> F:
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


_mask_option = click.option(
    "--mask", "masks", metavar="LAYER=CHANNELS|FILE|input", multiple=True,
    help="Explain only what passes these channels of a layer (3,17), or a factor (.npy); may be repeated.",
)  # fmt: skip


def _masks(given: Sequence[str]) -> dict[str, Any]:
    """LAYER=3,17, LAYER=FILE.npy or LAYER=input, by layer."""
    made: dict[str, Any] = {}
    for text in given:
        layer, equals, value = text.rpartition("=")
        if not equals or not layer:
            raise InputError(f"--mask takes LAYER=CHANNELS, LAYER=FILE.npy or LAYER=input, got '{text}'")
        channels = value.replace("-", "").replace(",", "")
        made[layer] = [int(v) for v in value.split(",")] if channels.isdigit() else value if value == "input" else _array(value)
    return made


def _run_options(function: F) -> F:
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


def _settings(
    method: str, output: str | None, inputs: Sequence[str], layers: Sequence[str], score: str, rules: Sequence[str]
) -> dict[str, Any]:
    return {
        "method": method, "output": output, "inputs": list(inputs) or None, "layer": list(layers) or None, "score": score,
        "rules": list(rules) or None,
    }  # fmt: skip


def _method_options(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs as keyword arguments; values are JSON where they can be, arrays (.npy), dicts of them (.npz), or text."""
    result: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise MethodError(f"--option takes NAME=VALUE, got '{pair}'")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = _arrays(text) if text.endswith(".npz") else _array(text) if text.endswith(".npy") else text
        result[name.replace("-", "_")] = value
    return result


def _baseline(text: str | None) -> Any:
    """A number, the word "input", or the array in a .npy file."""
    if text is None or text == "input":
        return text
    try:
        return float(text)
    except ValueError:
        return _array(text)


def _arrays(file: str) -> Any:
    from onnxplain.io.samples import read_arrays

    return read_arrays(Path(file))


def _array(file: str) -> Any:
    from onnxplain.io.samples import read_array

    return read_array(Path(file))


@main.command()
@click.argument("model", type=click.Path())
@click.argument("files", metavar="INPUT…", nargs=-1, required=True)
@_model_options
@click.option("-t", "--target", default=None, metavar="T",
              help="top, an index, 3,10,12 (one per axis), 3,:,: (sum over axes), 3-5 (contrast), or all.")  # fmt: skip
@click.option("-o", "--out", multiple=True, metavar="FILE", help="Write .html .png .npz .json .csv or .parquet; may be repeated.")
@click.option("--labels", metavar="FILE", help="Class names, one per line.")
@click.option("--features", metavar="FILE", help="Feature names, one per line (a .csv input brings its own).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Samples per run.")
@_mask_option
@click.option(
    "--slide",
    type=click.IntRange(min=1),
    metavar="STRIDE",
    help="Move the model over an input larger than its own, by so many elements at a time.",
)
@click.option("--top", default=5, show_default=True, help="How many elements to print per sample.")
@_run_options
def explain(
    model: str, files: tuple[str, ...], target: str | None, out: tuple[str, ...], labels: str | None, features: str | None,
    batch_size: int | None, masks: tuple[str, ...], slide: int | None, top: int, provider: str, mean: list[float] | None,
    std: list[float] | None, scale: float | None, layout: str | None, baseline: str | None, options: tuple[str, ...],
    **chosen: Any,
) -> None:  # fmt: skip
    """Explain predictions.

    INPUT is .npy, .npz, .csv, .txt (numbers), .png or .jpg; NAME=FILE where the model has several inputs. Files of one
    input are samples of one batch. Several methods, separated by commas, are shown side by side.
    """
    from onnxplain.cli.show import show_explanation, wrote
    from onnxplain.explain.explainer import Explainer
    from onnxplain.io.samples import headers, read_inputs, read_labels
    from onnxplain.io.writer import check_form, check_writable, save

    settings = _settings(**chosen)
    paths = [Path(o) for o in out]
    for path in paths:
        check_writable(path)
        check_form(path, len(settings["method"].split(",")))
    names = read_labels(labels) if labels else []
    methods = settings.pop("method").split(",")
    given = _options_of_each(methods, _method_options(options))
    explanations: list[Explanation] = []
    arrays: dict[str, Any] = {}
    for method in methods:
        explainer = Explainer(
            model, method, providers=provider, batch_size=batch_size, labels=names, mask=_masks(masks), **settings,
            **given[method], baseline=_baseline(baseline) if _compares(method, given[method]) else None,
        )  # fmt: skip
        arrays = arrays or read_inputs(files, explainer.inputs, mean=mean, std=std, scale=scale, layout=layout)
        explanations.append(explainer(arrays, target) if slide is None else explainer.slide(arrays, target, stride=slide))
    columns = read_labels(features) if features else headers(files)
    for path in paths:
        named: dict[str, Any] = {} if path.suffix in (".npz", ".json") else {"features": columns}
        if path.suffix == ".html":
            named["model_name"] = Path(model).name
        wrote(save(explanations, path, **named))
    if not paths:
        for explanation in explanations:
            show_explanation(explanation, top, columns or [])


def _compares(method: str, options: dict[str, Any]) -> bool:
    from onnxplain.methods.registry import find_method

    found = find_method(method)
    return found.compares(found.checked(options))


def _options_of_each(methods: Sequence[str], options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options for each of several methods: those it knows; one that none knows goes to all, to be refused."""
    from onnxplain.methods.registry import find_method

    known = {method: find_method(method).defaults(options).keys() for method in methods}
    everywhere = {name for name in options if not any(name in names for names in known.values())}
    return {method: {k: v for k, v in options.items() if k in names or k in everywhere} for method, names in known.items()}


@main.command()
@click.argument("model", type=click.Path())
@click.option("-o", "--out", required=True, metavar="FILE", help="Where to write the explained model.")
@_model_options
@click.option("-t", "--target", default=None, metavar="T",
              help="As for explain; or input / seed: chosen by the host at run time.")  # fmt: skip
@click.option("--baseline", metavar="NUMBER|FILE|input", help="The reference input; `input`: given by the host at run time.")
@_mask_option
@click.option("--only-attribution", is_flag=True, help="Leave the model's own outputs out: the host has the prediction.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples per run: the file takes a batch of any size through the model N at a time, which bounds its memory.",
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
def rewrite(
    model: str, out: str, target: str | None, baseline: str | None, masks: tuple[str, ...], only_attribution: bool,
    batch_size: int | None, options: tuple[str, ...],
    **chosen: Any,
) -> None:  # fmt: skip
    """Write a model that returns its prediction and its explanation.

    The file runs wherever ONNX Runtime runs. Its inputs and outputs are the original ones, then what was asked for.
    """
    from onnxplain.cli.show import show_contract, wrote
    from onnxplain.explain.rewrite import rewrite_source
    from onnxplain.io.reader import read
    from onnxplain.io.writer import check_writable, write_model
    from onnxplain.ir.registry import load_registry

    check_writable(Path(out))
    settings = _settings(**chosen)
    settings["registry"] = load_registry(settings.pop("rules"))
    source = read(model, hold=True)
    done = rewrite_source(
        source, mask=_masks(masks), target=target, baseline=_baseline(baseline), only_attribution=only_attribution,
        batch_size=batch_size, options=_method_options(options), **settings,
    )  # fmt: skip
    wrote(write_model(done.model, Path(out), source.folder, source.held))
    show_contract(done.model, done.about)


@main.command()
@click.argument("model", type=click.Path())
@_model_options
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
@click.option("--all", "everything", is_flag=True, help="Show calls off the way too.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def plan(model: str, options: tuple[str, ...], everything: bool, as_json: bool, **chosen: Any) -> None:
    """Show which rule serves which node, and what is missing. Exits with 2 if something is."""
    from onnxplain.cli.show import show_plan
    from onnxplain.explain.plan import plan as make_plan

    made = make_plan(model, **_settings(**chosen), **_method_options(options))
    show_plan(made, everything, as_json)
    if made.missing:
        raise click.exceptions.Exit(2)


@main.command()
@click.argument("model", type=click.Path())
@click.argument("files", metavar="[INPUT…]", nargs=-1)
@_model_options
@click.option("--directions", default=4, show_default=True, help="Random directions to compare along.")
@click.option("--seed", default=0, show_default=True, help="Chooses the directions, and the input where none is given.")
@click.option("--calls", is_flag=True, help="Check every call alone, even where the whole agrees.")
@_run_options
def check(
    model: str, files: tuple[str, ...], directions: int, seed: int, calls: bool, provider: str, mean: list[float] | None,
    std: list[float] | None, scale: float | None, layout: str | None, baseline: str | None, options: tuple[str, ...],
    **chosen: Any,
) -> None:  # fmt: skip
    """Prove it on your own model and input: finite differences, and what the method promises.

    Exits with 1 if something disagrees; the first call at which it does is named.
    """
    from onnxplain.cli.show import show_check
    from onnxplain.io.samples import read_inputs
    from onnxplain.runtime.inputs import model_inputs
    from onnxplain.verification.check import check as run_check

    settings = _settings(**chosen)
    x = None
    if files:
        x = read_inputs(files, model_inputs(model), mean=mean, std=std, scale=scale, layout=layout)
    report = run_check(
        model, settings.pop("method"), x, directions=directions, seed=seed, calls=calls, providers=provider,
        baseline=_baseline(baseline), **settings, **_method_options(options),
    )  # fmt: skip
    show_check(report)
    if not report.ok:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("file", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def inspect(file: str, as_json: bool) -> None:
    """Show what an explained model returns, what it needs, and how it was made."""
    from onnxplain.cli.show import show_contract, show_plain_model
    from onnxplain.explain.rewrite import read_metadata
    from onnxplain.io.reader import read

    model = read(file).model
    about: Mapping[str, Any] | None = read_metadata(model)
    if as_json:
        click.echo(json.dumps(about, indent=2, ensure_ascii=False))
    elif about is None:
        show_plain_model(model)
    else:
        show_contract(model, about)


@main.command()
@click.argument("file", type=click.Path())
@click.argument("files", metavar="[INPUT…]", nargs=-1)
@click.option("--model", type=click.Path(), help="The model it was made from: its hash, inputs and prediction are compared too.")
@click.option("--seed", default=0, show_default=True, help="Chooses the random input, where none is given.")
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or a name of ONNX Runtime's.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def verify(file: str, files: tuple[str, ...], model: str | None, seed: int, provider: str, as_json: bool) -> None:
    """Check an explained model: its metadata, where it came from, and a run.

    Exits with 1 if something is wrong.
    """
    from onnxplain.cli.show import show_check
    from onnxplain.io.samples import read_inputs
    from onnxplain.verification.verify import own_inputs
    from onnxplain.verification.verify import verify as run_verify

    x = read_inputs(files, own_inputs(file)) if files else None
    report = run_verify(file, model, x, providers=provider, seed=seed)
    show_check(report, as_json)
    if not report.ok:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("name", required=False)
def methods(name: str | None) -> None:
    """List the methods, or show one with its options."""
    from onnxplain.cli.show import show_method, show_methods
    from onnxplain.methods.registry import all_methods, find_method

    if name is None:
        show_methods(all_methods())
    else:
        show_method(find_method(name))


@main.command()
@click.option("--rules", metavar="DIR", multiple=True, help="A folder with rules of your own; may be repeated.")
def operators(rules: tuple[str, ...]) -> None:
    """List the operators and how each is served: by a rule, the standard's body, an expansion, zero, straight-through."""
    from onnxplain.cli.show import show_operators
    from onnxplain.explain.catalog import operators as list_operators

    show_operators(list_operators(list(rules) or None))


main.add_command(evaluate)
main.add_command(metrics)
main.add_command(bench_command(_model_options, _method_options, _options_of_each))
main.add_command(advise)
main.add_command(tcav)
main.add_command(prototype)
