"""The command `onnxplain generate`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import numpy as np

from onnxplain.cli.options import compares, method_options, model_options, read_baseline, settings_of
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.explain.generate import generate
from onnxplain.io.arrays import read_npy
from onnxplain.results.generation import check_generation_ending

__all__ = ["generate_command"]


@click.command("generate")
@click.argument("model", type=click.Path())
@click.argument("prompt", metavar="TEXT|IDS|FILE.npy")
@model_options
@click.option("-n", "--new-tokens", default=20, show_default=True, help="How many tokens to generate.")
@click.option("--tokenizer", metavar="FILE", help="A tokenizer.json.  [default: the one beside the model]")
@click.option("--continuation", metavar="TEXT|IDS|FILE.npy", help="Explain these tokens instead of generating any.")
@click.option("--temperature", default=0.0, show_default=True, help="0 takes the top token; above, tokens are drawn.")
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@click.option("--stop", multiple=True, type=int, metavar="ID", help="End after this token; may be repeated.")
@click.option("--chunk", default=8, show_default=True, type=click.IntRange(min=1), help="Targets explained at a time.")
@click.option("-o", "--out", multiple=True, metavar="FILE", help="Write .html .png .npz .json or .csv; may be repeated.")
@force_option
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or an execution provider of ONNX Runtime.")
@click.option("--baseline", metavar="NUMBER|FILE", help="The reference input, for methods that need one.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the method.")
def generate_command(
    model: str, prompt: str, tokenizer: str | None, new_tokens: int, continuation: str | None, temperature: float, seed: int,
    stop: tuple[int, ...], chunk: int, out: tuple[str, ...], force: bool, provider: str, baseline: str | None,
    options: tuple[str, ...], **chosen: Any,
) -> None:  # fmt: skip
    """Continue a prompt, and explain every generated token by the tokens before it.

    The prompt is a text, or token ids, as in 5,9,2, or a .npy file of them.
    """
    settings = settings_of(**chosen)
    paths = outputs(out, force, model, prompt)
    for path in paths:
        check_generation_ending(path)
    given = method_options(options)
    if settings["inputs"] is None:
        settings.pop("inputs")
    based = read_baseline(baseline) if compares(settings["method"], given) else None
    made = generate(
        model, _ids(prompt), new_tokens=new_tokens, continuation=None if continuation is None else _ids(continuation),
        temperature=temperature, seed=seed, stop=stop, chunk=chunk, providers=provider, baseline=based, tokenizer=tokenizer,
        **settings, **given,
    )  # fmt: skip
    for path in paths:
        deliver(path, made.save)
    if not paths:
        for t, position in enumerate(made.positions):
            row = made.matrix[t, : position + 1]
            strongest = ", ".join(f"{s}:{made.text(s)} {row[s]:+.3g}" for s in np.argsort(-np.abs(row))[:5])
            click.echo(f"position {position} → token {made.text(position + 1)}  score {made.scores[t]:.4g}  from {strongest}")


def _ids(text: str) -> Any:
    """Ids of tokens where that is what is given; else the text."""
    if text.endswith(".npy"):
        return read_npy(Path(text))
    return [int(part) for part in text.split(",")] if re.fullmatch(r"\d+(\s*,\s*\d+)*", text.strip()) else text
