"""Text of models and files as a terminal may get it."""

from __future__ import annotations

from rich.markup import escape as escape_markup

from onnxplain.errors import visible

__all__ = ["escape"]


def escape(text: str) -> str:
    """Text from a model or a file, so that it is neither taken for a style by rich nor for a command by the terminal."""
    return escape_markup(visible(text))
