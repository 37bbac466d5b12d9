"""The command `onnxplain generate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from onnxplain.cli.options import compares, method_options, model_options, read_baseline, settings_of
from onnxplain.cli.show import wrote
from onnxplain.errors import InputError
from onnxplain.explain.generate import generate
from onnxplain.results.generation import check_generation_ending

__all__ = ["generate_command"]


@click.command("generate")
@click.argument("model", type=click.Path())
@click.argument("prompt", metavar="IDS|FILE.npy")
@model_options
@click.option("-n", "--new-tokens", default=20, show_default=True, help="How many tokens to generate.")
@click.option("--continuation", metavar="IDS|FILE.npy", help="Explain these tokens instead of generating any.")
@click.option("--temperature", default=0.0, show_default=True, help="0 takes the top token; above, tokens are drawn.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("--stop", multiple=True, type=int, metavar="ID", help="End after this token; may be repeated.")
@click.option("--chunk", default=8, show_default=True, type=click.IntRange(min=1), help="Targets explained at a time.")
@click.option("-o", "--out", multiple=True, metavar="FILE", help="Write .html .png .npz .json or .csv; may be repeated.")
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or an execution provider of ONNX Runtime.")
@click.option("--baseline", metavar="NUMBER|FILE", help="The reference input, for methods that need one.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
def generate_command(
    model: str, prompt: str, new_tokens: int, continuation: str | None, temperature: float, seed: int, stop: tuple[int, ...],
    chunk: int, out: tuple[str, ...], provider: str, baseline: str | None, options: tuple[str, ...], **chosen: Any,
) -> None:  # fmt: skip
    """Continue a prompt and explain every generated token by the tokens before it.

    The prompt is token ids, as in 5,9,2, or a .npy file of them.
    """
    settings = settings_of(**chosen)
    paths = [Path(o) for o in out]
    for path in paths:
        check_generation_ending(path)
    given = method_options(options)
    if settings["inputs"] is None:
        settings.pop("inputs")
    based = read_baseline(baseline) if compares(settings["method"], given) else None
    made = generate(
        model, _ids(prompt), new_tokens=new_tokens, continuation=None if continuation is None else _ids(continuation),
        temperature=temperature, seed=seed, stop=stop, chunk=chunk, providers=provider, baseline=based, **settings, **given,
    )  # fmt: skip
    for path in paths:
        wrote(made.save(path))
    if not paths:
        for t, position in enumerate(made.positions):
            row = made.matrix[t, : position + 1]
            strongest = ", ".join(f"{s}:{made.text(s)} {row[s]:+.3g}" for s in np.argsort(-np.abs(row))[:5])
            click.echo(f"position {position} → token {made.text(position + 1)}  score {made.scores[t]:.4g}  from {strongest}")


def _ids(text: str) -> Any:
    if text.endswith(".npy"):
        return np.load(text, allow_pickle=False)
    if not re.fullmatch(r"\d+(\s*,\s*\d+)*", text.strip()):
        raise InputError(f"'{text}' is no prompt: expected token ids, as in 5,9,2, or a .npy file of them")
    return [int(part) for part in text.split(",")]
