"""What an embedding is compared with, from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from onnxplain.explain.similarity import AT_RUN_TIME, MEASURES
from onnxplain.io.pictures.walking import PICTURES
from onnxplain.io.samples import read_array
from onnxplain.runtime.inputs import model_inputs

__all__ = ["read_reference", "similarity_options"]

F = TypeVar("F", bound=Callable[..., Any])


def similarity_options(function: F) -> F:
    """Add the options of commands that explain how similar an embedding is to another."""
    for option in (
        click.option("--similarity", type=click.Choice(MEASURES), help="How embeddings are compared.  [default: cosine]"),
        click.option("--reference", metavar="FILE|NAME=FILE|input",
                     help="Explain how similar the embedding is to another: a vector (.npy), a picture, or NAME=FILE, an input "
                          "of the model, of which it makes one."),
    ):  # fmt: skip
        function = option(function)
    return function


def read_reference(text: str | None, model: str) -> Any:
    """A reference from what was written.

    Args:
        text: a file with a vector; a picture; NAME=FILE with a picture or an array for an input; or "input".
        model: the model.

    Returns:
        An array, a picture's path, a dict of one of these by input, or the word.

    Raises:
        InputError: the file cannot be read.
    """
    if text is None or text == AT_RUN_TIME:
        return text
    name, equals, rest = text.partition("=")
    if equals and name in {t.name for t in model_inputs(model)}:
        return {name: _content(rest)}
    return _content(text)


def _content(path: str) -> Any:
    return Path(path) if path.lower().endswith(PICTURES) else read_array(Path(path))
