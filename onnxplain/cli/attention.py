"""The command `onnxplain attention`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import numpy as np

from onnxplain.analysis.score import SCORES
from onnxplain.cli.given import wanted_input
from onnxplain.cli.outputs import deliver, force_option, outputs
from onnxplain.cli.texts import read_texts, tokenizer_of
from onnxplain.errors import InputError
from onnxplain.explain.attention_heads import attention_heads
from onnxplain.io.reader import read
from onnxplain.io.samples import read_inputs, read_labels
from onnxplain.io.text.tokenizer import Tokenizer
from onnxplain.ir.graph import Graph
from onnxplain.results.attention_heads import AttentionHeads, check_attention_ending

__all__ = ["attention_command"]


@click.command("attention")
@click.argument("model", type=click.Path())
@click.argument("inputs", metavar="INPUT…", nargs=-1)
@click.option("-t", "--target", default=None, metavar="T", help="What the gradients are of, as in `explain`.")
@click.option("-o", "--out", multiple=True, metavar="FILE", help="Write .png, .npz or .json; may be repeated.")
@force_option
@click.option("--sample", default=0, show_default=True, type=click.IntRange(min=0), help="Of a picture, which sample it shows.")
@click.option("--tokenizer", metavar="FILE", help="A tokenizer.json, for texts; one beside the model is found.")
@click.option("--max-length", type=click.IntRange(min=1), metavar="N", help="Cut texts to so many tokens.")
@click.option("--score", type=click.Choice(SCORES), default="logit", show_default=True, help="What the gradients are of.")
@click.option("--output", metavar="NAME", help="The output (or inner tensor) that is explained.")
@click.option("--labels", metavar="FILE", help="Class names, one per line, for targets.")
@click.option("--provider", default="auto", show_default=True, help="auto, cpu, cuda, or an execution provider of ONNX Runtime.")
def attention_command(
    model: str, inputs: tuple[str, ...], target: str | None, out: tuple[str, ...], force: bool, sample: int,
    tokenizer: str | None, max_length: int | None, score: str, output: str | None, labels: str | None, provider: str,
) -> None:  # fmt: skip
    """Show how the tokens of an input look at each other, head by head: the attention weights, and gradients there.

    INPUT is a text, a .txt with one on every line, or arrays of ids, as in `explain`.
    """
    paths = outputs(out, force, model, *inputs)
    for path in paths:
        check_attention_ending(path)
    if not inputs:
        raise InputError(wanted_input(model))
    place = tokenizer_of(tokenizer, max_length, model)
    texts = read_texts(inputs, place is not None, tokenizer is not None)
    speller = Tokenizer.read(place, max_length) if texts is not None and place is not None else None
    given = texts if texts is not None else read_inputs(inputs, Graph(read(model).model).inputs)
    found = attention_heads(
        model, given, target, tokenizer=speller, providers=provider, score=score, output=output,
        labels=read_labels(labels) if labels else (),
    )  # fmt: skip
    for path in paths:
        deliver(path, partial(_save, found, sample))
    if not paths:
        _show(found)


def _save(found: AttentionHeads, sample: int, path: Path) -> Path:
    return found.save(path, sample)


def _show(found: AttentionHeads) -> None:
    """What every head looks at most, and whose weights raise the score most."""
    for sample, words in enumerate(found.tokens):
        click.echo(f"sample {sample}: {found.names[sample]}")
        for layer, (name, weights) in enumerate(found.weights.items()):
            for head, row in enumerate(weights[sample]):
                seen = row.mean(axis=0)
                strongest = ", ".join(f"{words[k].strip()} {seen[k]:.2f}" for k in np.argsort(-seen)[:3])
                raised = float((row * found.gradients[name][sample, head]).sum())
                click.echo(f"  layer {layer + 1}, head {head + 1}: looks at {strongest}; weights · gradients {raised:+.3g}")
